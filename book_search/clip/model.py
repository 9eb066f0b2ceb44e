"""Which model: its identity, what its configuration says, where its files are, and how it is loaded.

Knows folders and the Hugging Face hub; nothing of pixels, texts or the lake. Torch and transformers are imported
by `load_clip` alone, so that identities can be compared in a process that never computes a vector.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from book_search.clip.digests import digest_of_files

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

logger = logging.getLogger(__name__)

CONFIGURATION_FILES = ("*.json", "*.txt", "*.model")
WEIGHT_FILES = ("model*.safetensors",)  # never pickles; not another library's copy of the weights either
COMMIT = re.compile(r"[0-9a-f]{40}")

# transformers' `model_type`. OpenCLIP's conversions (LAION, DataComp) are `clip`, and SigLIP 2 of a fixed size is
# `siglip`; `siglip2` is the NaFlex kind, which reads patches of any number instead of a square.
KINDS = ("clip", "metaclip_2", "chinese_clip", "siglip")

# Defaults that a published config.json leaves out (transformers' CLIPConfig and Siglip*Config).
CLIP_PROJECTION, CLIP_TEXT_LENGTH = 512, 77
SIGLIP_HIDDEN, SIGLIP_TEXT_LENGTH = 768, 64
IMAGE_SIZE = 224

Crop = Literal["as-trained", "pad", "two-crops"]  # see book_search.clip.crops
CROPS: tuple[Crop, ...] = get_args(Crop)
AS_TRAINED: Crop = "as-trained"


class ModelUnavailableError(RuntimeError):
    """The model's files are not at hand; the message says what to set."""


class ModelMismatchError(RuntimeError):
    """Vectors of one model meet another model."""


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
        kind: transformers' `model_type`: one of KINDS.
        crop: how pictures that are no squares are shown to it; part of the identity's preprocessing.
    """

    identity: ModelIdentity
    dim: int
    image_size: int
    text_length: int
    kind: str
    crop: Crop = AS_TRAINED

    @property
    def is_siglip(self) -> bool:
        """Whether the model was trained with a sigmoid a pair (SigLIP), not with CLIP's softmax over labels."""
        return self.kind.startswith("siglip")


def describe_model(model: str, revision: str = "main", crop: Crop = AS_TRAINED) -> ModelDescription:
    """Identity and shape of a model, from its configuration alone.

    Args:
        model: a folder that `save_pretrained` could have written, or a name on the hub.
        revision: of the hub: a branch, a tag or a commit. A folder's revision is its content.
        crop: how pictures that are no squares are to be shown to it.

    Raises:
        ModelUnavailableError: there is no such folder, or the hub cannot be reached and its cache lacks the model.
        ValueError: the configuration is not one of a CLIP-like model, or there is no such crop.
    """
    folder = _local_folder(model)
    if folder is None:
        folder = _hub_snapshot(model, revision, CONFIGURATION_FILES, needed="config.json")
        return _description(folder, model, folder.name, crop)
    return _description(folder, folder.resolve().name, folder_revision(folder), crop)


def load_clip(
    model: str,
    revision: str = "main",
    device: str = "auto",
    crop: Crop = AS_TRAINED,
    engine: str = "transformers",
) -> "Clip":
    """The model itself, in float32, ready to encode. Takes some seconds, most of them imports.

    Args:
        model, revision, crop: as `describe_model` takes them.
        device: `cpu`, `cuda`, `mps`, or `auto`: the best that is present.
        engine: the way that pictures take to their vectors: `transformers`, the reference, or a faster one
            (`engines.ENGINES`; vectors 0.999 alike or more), or `auto`: the fastest here.

    Raises:
        ModelUnavailableError: as `describe_model`, or the weights are not there as safetensors, or the tokenizer or
            the image processor cannot be loaded.
        ValueError: as `describe_model`.
    """
    folder, description = checkpoint(model, revision, crop)

    import torch

    from book_search.clip.encoder import Clip, best_device
    from book_search.clip.processors import LOCALLY, load_image_processor, load_tokenizer
    from book_search.clip.texts import open_clip_texts

    transformers: Any = import_module("transformers")
    with _quiet(import_module("transformers.utils.logging")):
        # A checkpoint loads in the dtype that it was saved in, and half precision is slow on a CPU: ask for float32.
        weights = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **LOCALLY)
        tokenizer = load_tokenizer(folder, description)
        image_processor = load_image_processor(folder, description)
    logger.debug("loaded %s, %d numbers a vector", description.identity, description.dim)
    device = best_device() if device == "auto" else device
    texts = open_clip_texts(folder, description) if device == "cpu" else None
    return Clip(description, weights, tokenizer, image_processor, device, texts, engine)


def checkpoint(model: str, revision: str = "main", crop: Crop = AS_TRAINED) -> tuple[Path, ModelDescription]:
    """Where a model's configuration, tokenizer and weights lie, fetched from the hub if need be; and which it is.

    Raises:
        ModelUnavailableError: as `describe_model`, or the weights are not there as safetensors.
        ValueError: as `describe_model`.
    """
    folder = _local_folder(model)
    if folder is None:
        folder = _hub_snapshot(model, revision, CONFIGURATION_FILES + WEIGHT_FILES, needed="model*.safetensors")
        return folder, _description(folder, model, folder.name, crop)
    description = describe_model(model, crop=crop)
    if not any(folder.glob("model*.safetensors")):
        raise ModelUnavailableError(
            f"{folder} holds no model.safetensors. Pickled weights are never loaded: "
            "load them with transformers once and save_pretrained() them as safetensors."
        )
    return folder, description


def folder_revision(folder: Path) -> str:
    """The sha256 over everything in a model's folder that decides a vector: weights, configuration, vocabulary."""
    patterns = (*WEIGHT_FILES, *CONFIGURATION_FILES)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)} - set(folder.glob("README*")))
    return digest_of_files(files)


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
    # A commit never changes: where the cache has it, nobody needs to be asked, nor half the hub's library imported.
    if COMMIT.fullmatch(revision) and (cached := _cached_snapshot(model, revision)) and any(cached.glob(needed)):
        return cached

    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        found = Path(snapshot_download(model, revision=revision, allow_patterns=list(files), max_workers=2))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ModelUnavailableError(f"the model {model} ({revision}) cannot be fetched: {error} {_ADVICE}") from error
    if any(found.glob(needed)):
        return found
    raise ModelUnavailableError(f"the model {model} ({revision}) has no {needed} here. {_ADVICE}")


def _cached_snapshot(model: str, commit: str) -> Path | None:
    """The folder of a commit in the hub's cache (huggingface_hub's guide "Understand caching"), if it is there."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}" / "snapshots" / commit
    return folder if folder.is_dir() else None


def _description(folder: Path, model_id: str, revision: str, crop: Crop) -> ModelDescription:
    config = _json(folder / "config.json")
    kind = str(config.get("model_type", ""))
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    if kind == "siglip2":
        raise ValueError(
            f"{model_id} is a NaFlex SigLIP 2, which reads no squares; take one of a fixed size, such as "
            "google/siglip2-base-patch16-224"
        )
    if "vision_config" not in config or "text_config" not in config:
        raise ValueError(f"{model_id} is a {kind or 'nameless'} model, not one that reads both pictures and texts")
    if kind not in KINDS:
        raise ValueError(f"{model_id} is a {kind or 'nameless'} model; those that are read here are {', '.join(KINDS)}")
    if kind == "siglip":
        dim, text_length = vision.get("hidden_size", SIGLIP_HIDDEN), SIGLIP_TEXT_LENGTH
    else:
        dim, text_length = config.get("projection_dim", CLIP_PROJECTION), CLIP_TEXT_LENGTH
    size = vision.get("image_size", IMAGE_SIZE)
    return ModelDescription(
        identity=ModelIdentity(model_id, revision, _preprocessing(folder, kind, crop)),
        dim=int(dim),
        image_size=int(size[0] if isinstance(size, list) else size),
        text_length=int(text.get("max_position_embeddings", text_length)),
        kind=kind,
        crop=crop,
    )


def _preprocessing(folder: Path, kind: str, crop: Crop) -> str:
    """How pictures are prepared; a change of the pixels needs a new number here."""
    if crop not in CROPS:
        raise ValueError(f"there is no crop {crop!r}; there are {', '.join(CROPS)}")
    if crop != AS_TRAINED:
        return f"{crop}-1"
    written = _json(folder / "processor_config.json").get("image_processor") or _json(
        folder / "preprocessor_config.json"
    )
    return "centre-crop-1" if written.get("do_center_crop", kind != "siglip") else "stretch-1"


def _json(path: Path) -> dict[str, Any]:
    """What a file of the model's folder says; nothing where there is none."""
    said: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return said


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
