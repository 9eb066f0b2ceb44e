"""A model's tokenizer and its image processor, as the model was trained with them. Knows transformers; no weights."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenizers import normalizers

from book_search.clip.model import ModelDescription, ModelUnavailableError

# A folder is read as it lies, and no code that came with a model is ever run.
LOCALLY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load_tokenizer(folder: Path, description: ModelDescription) -> Any:
    """transformers' tokenizer of a model; SigLIP's lowers the case and pads at the end, as all SigLIP were trained.

    SigLIP 2 is published with Gemma's tokenizer, which keeps capitals (its paper lowers them: Tschannen et al. 2025,
    section 2.1) and pads at the beginning where its file does not say otherwise (transformers 5's class does, the
    training code, google-research/big_vision, does not).

    Raises:
        ModelUnavailableError: there is none, or it needs a library that is not installed; the message names it.
    """
    transformers: Any = import_module("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCALLY)
    except ImportError as error:  # SigLIP's first tokenizer needs a library that the others do without
        raise ModelUnavailableError(
            f"the tokenizer of {description.identity.model_id} cannot be loaded: {_sentence(error)}. "
            "Install what SigLIP needs with: pip install 'book_search[siglip]'"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"{description.identity.model_id} has no tokenizer that can be loaded: {_sentence(error)}"
        ) from error
    if description.is_siglip:
        if "padding_side" not in _said(folder / "tokenizer_config.json"):
            tokenizer.padding_side = "right"
        if backend := getattr(tokenizer, "backend_tokenizer", None):
            rest = [backend.normalizer] if backend.normalizer else []
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
    return tokenizer


def load_image_processor(folder: Path, description: ModelDescription) -> Any:
    """transformers' image processor of a model, on PIL: with torchvision installed its default gives other pixels.

    Raises:
        ModelUnavailableError: there is none, or it is of no kind that transformers knows.
    """
    transformers: Any = import_module("transformers")
    try:
        return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **LOCALLY)
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"{description.identity.model_id} has no image processor that can be loaded: {_sentence(error)}"
        ) from error


def _sentence(error: Exception) -> str:
    """The first sentence of a long message."""
    return " ".join(str(error).split()).partition(". ")[0]


def _said(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return said
