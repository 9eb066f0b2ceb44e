"""Which model: its identity, what its configuration says, where its files are, and how it is loaded.

Knows folders and the Hugging Face hub; nothing of pixels, texts or the lake. Torch and transformers are imported
by `load_clip` alone, so that identities can be compared in a process that never computes a vector.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

logger = logging.getLogger(__name__)

CONFIGURATION_FILES = ("*.json", "*.txt", "*.model")
WEIGHT_FILES = ("model*.safetensors",)  # never pickles; not another library's copy of the weights either
COMMIT = re.compile(r"[0-9a-f]{40}")

# Defaults that a published config.json leaves out (transformers' CLIPConfig and Siglip*Config).
CLIP_PROJECTION, CLIP_TEXT_LENGTH = 512, 77
SIGLIP_HIDDEN, SIGLIP_TEXT_LENGTH = 768, 64
IMAGE_SIZE = 224


class ModelUnavailableError(RuntimeError):
    """The model's files are not at hand; the message says what to set."""


@dataclass(frozen=True)
class ModelIdentity:
    """What two vectors must share to be compared: the model, its revision, and how pictures were prepared.

    `revision` is a commit of the hub, or the sha256 over the files of a local folder: changed weights are
    another model, wherever the folder lies.
    """

    model_id: str
    revision: str
    preprocessing: str

    @property
    def slug(self) -> str:
        """The identity as one name of a folder: letters, digits, `-`, `_` and `.` only."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "--", self.model_id).strip("-.")
        return f"{name}-{self.revision[:12]}-{self.preprocessing}"

    def __str__(self) -> str:
        return f"{self.model_id} at {self.revision[:12]} with {self.preprocessing}"


@dataclass(frozen=True)
class ModelDescription:
    """What a model's configuration tells without its weights.

    Attributes:
        identity: which model this is.
        dim: numbers in a vector.
        image_size: pixels of the square that it looks at.
        text_length: tokens that it reads of a text.
        kind: transformers' `model_type`, such as `clip` or `siglip`.
    """

    identity: ModelIdentity
    dim: int
    image_size: int
    text_length: int
    kind: str

    @property
    def is_siglip(self) -> bool:
        """Whether the model was trained with a sigmoid a pair (SigLIP), not with CLIP's softmax over labels."""
        return self.kind.startswith("siglip")


def describe_model(model: str, revision: str = "main") -> ModelDescription:
    """Identity and shape of a model, from its configuration alone.

    Args:
        model: a folder that `save_pretrained` could have written, or a name on the hub.
        revision: of the hub: a branch, a tag or a commit. A folder's revision is its content.

    Raises:
        ModelUnavailableError: there is no such folder, or the hub cannot be reached and its cache lacks the model.
        ValueError: the configuration is not one of a CLIP-like model.
    """
    folder = _local_folder(model)
    if folder is None:
        folder = _hub_snapshot(model, revision, CONFIGURATION_FILES, needed="config.json")
        return _description(folder, model, folder.name)
    return _description(folder, folder.resolve().name, folder_revision(folder))


def load_clip(model: str, revision: str = "main", device: str = "auto") -> "Clip":
    """The model itself, in float32, ready to encode. Takes some seconds, most of them imports.

    Args:
        model, revision: as `describe_model` takes them.
        device: `cpu`, `cuda`, `mps`, or `auto`: the best that is present.

    Raises:
        ModelUnavailableError: as `describe_model`, or the weights are not there as safetensors.
    """
    folder = _local_folder(model)
    if folder is None:
        files = CONFIGURATION_FILES + WEIGHT_FILES
        folder = _hub_snapshot(model, revision, files, needed="model*.safetensors")
        description = _description(folder, model, folder.name)
    else:
        description = describe_model(model)
        if not any(folder.glob("model*.safetensors")):
            raise ModelUnavailableError(
                f"{folder} holds no model.safetensors. Pickled weights are never loaded: "
                "load them with transformers once and save_pretrained() them as safetensors."
            )

    import torch

    from book_search.clip.encoder import Clip, best_device

    transformers: Any = import_module("transformers")
    with _quiet(import_module("transformers.utils.logging")):
        # A checkpoint loads in the dtype that it was saved in, and half precision is slow on a CPU: ask for float32.
        weights = transformers.AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # By name: with torchvision installed the default backend resizes by other code, to other pixels.
        image_processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    logger.debug("loaded %s, %d numbers a vector", description.identity, description.dim)
    return Clip(description, weights, tokenizer, image_processor, best_device() if device == "auto" else device)


def folder_revision(folder: Path) -> str:
    """The sha256 over everything in a model's folder that decides a vector: weights, configuration, vocabulary."""
    patterns = (*WEIGHT_FILES, *CONFIGURATION_FILES)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)} - set(folder.glob("README*")))
    stats = ((path, path.stat()) for path in files)
    return _digest(tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats))


@lru_cache(maxsize=16)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """Size and time of change are only the cache's key: the digest is of names and contents."""
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{Path(name).name}\0{size}\0".encode())
        with Path(name).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _local_folder(model: str) -> Path | None:
    """The folder that `model` names; None where it is a name on the hub (`owner/name`, or `name` of old)."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelUnavailableError(f"{folder} holds no config.json: it is no model's folder. {_ADVICE}")
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ModelUnavailableError(f"there is no model's folder at {folder}. {_ADVICE}")
    return None


_ADVICE = (
    "Set BOOK_SEARCH_MODEL to a folder with the model (as save_pretrained writes it), or HF_HOME to a filled "
    "Hugging Face cache, or, for a trial, use the tiny CLIP of the sample: book-search demo, then book-search --demo."
)


def _hub_snapshot(model: str, revision: str, files: tuple[str, ...], needed: str) -> Path:
    """The folder in the hub's cache that holds `files` of the model; named by the commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # A commit never changes: where the cache has it, nobody needs to be asked.
    for offline in (True, False) if COMMIT.fullmatch(revision) else (False,):
        try:
            found = snapshot_download(
                model, revision=revision, allow_patterns=list(files), local_files_only=offline, max_workers=2
            )
        except (OSError, HfHubHTTPError, HFValidationError) as error:
            if offline:
                continue
            raise ModelUnavailableError(
                f"the model {model} ({revision}) cannot be fetched: {error} {_ADVICE}"
            ) from error
        if any(Path(found).glob(needed)):
            return Path(found)
    raise ModelUnavailableError(f"the model {model} ({revision}) has no {needed} here. {_ADVICE}")


def _description(folder: Path, model_id: str, revision: str) -> ModelDescription:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    kind = str(config.get("model_type", ""))
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    if "vision_config" not in config or "text_config" not in config:
        raise ValueError(f"{model_id} is a {kind or 'nameless'} model, not one that reads both pictures and texts")
    if kind.startswith("siglip"):
        dim, text_length, preprocessing = vision.get("hidden_size", SIGLIP_HIDDEN), SIGLIP_TEXT_LENGTH, "stretch-1"
    else:
        dim, text_length, preprocessing = (
            config.get("projection_dim", CLIP_PROJECTION),
            CLIP_TEXT_LENGTH,
            "centre-crop-1",
        )
    return ModelDescription(
        identity=ModelIdentity(model_id, revision, preprocessing),
        dim=int(dim),
        image_size=int(vision.get("image_size", IMAGE_SIZE)),
        text_length=int(text.get("max_position_embeddings", text_length)),
        kind=kind,
    )


@contextmanager
def _quiet(hf_logging: Any) -> Iterator[None]:
    """Loading a checkpoint reports its keys and draws a bar: neither is news here."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
