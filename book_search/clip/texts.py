"""What turns texts into unit vectors, and how it is had with the least waiting.

A CLIP's texts need neither torch nor transformers: its tokenizer and its text tower are opened alone, in a tenth of a
second. Every other model is loaded whole, by transformers. Knows which is which; nothing of pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from book_search.clip.model import (
    AS_TRAINED,
    Crop,
    ModelDescription,
    ModelIdentity,
    checkpoint,
    describe_model,
    load_clip,
)
from book_search.clip.text_tower import TextTower, open_text_tower
from book_search.clip.tokens import ClipTokenizer, open_clip_tokenizer


class TextEncoder(Protocol):
    """What a query by text needs of a model; a loaded `Clip` has all of it."""

    def __hash__(self) -> int:
        """What was computed with one model is kept by it."""

    @property
    def description(self) -> ModelDescription:
        """Which model this is, and its shape."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is; vectors of another identity are not comparable."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def logit_scale(self) -> float:
        """The model's learned inverse temperature."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts: float32 [n, dim]. What goes beyond the model's length is left out, with a warning."""


@dataclass(frozen=True, eq=False)
class ClipTexts:
    """The half of a CLIP that reads texts. Threads may share it.

    Attributes:
        tokenizer: CLIP's.
        tower: from tokens to vectors.
    """

    tokenizer: ClipTokenizer
    tower: TextTower

    @property
    def logit_scale(self) -> float:
        """The model's learned inverse temperature."""
        return self.tower.logit_scale

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts: float32 [n, dim]. What goes beyond the model's length is left out, with a warning."""
        return self.tower.encode(self.tokenizer.ids(texts))


@dataclass(frozen=True, eq=False)
class LazyTexts:
    """A `TextEncoder` that is known before it is loaded: whoever refuses a model for what it is waits for nothing."""

    description: ModelDescription
    load: Callable[[], "ClipTexts | TextEncoder"]

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is; vectors of another identity are not comparable."""
        return self.description.identity

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.description.dim

    @property
    def logit_scale(self) -> float:
        """The model's learned inverse temperature."""
        return self.loaded.logit_scale

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts: float32 [n, dim]. What goes beyond the model's length is left out, with a warning."""
        return self.loaded.encode_texts(texts)

    @cached_property
    def loaded(self) -> "ClipTexts | TextEncoder":
        """What encodes; loaded by whoever asks first."""
        return self.load()


def load_texts(
    model: str, revision: str = "main", crop: Crop = AS_TRAINED, load_whole: Callable[[], TextEncoder] | None = None
) -> LazyTexts:
    """What encodes texts by a model; its weights are looked at when the first text comes.

    Args:
        model, revision, crop: as `load_clip` takes them.
        load_whole: gives the whole model where its texts cannot be had alone. Default: `load_clip`.

    Raises:
        ModelUnavailableError, ValueError: as `describe_model`; the first text may raise them too, as `load_clip`.
    """
    description = describe_model(model, revision, crop)

    def whole() -> TextEncoder:
        return load_whole() if load_whole else load_clip(model, description.identity.revision, crop=crop)

    def load() -> ClipTexts | TextEncoder:
        # Of a branch on the hub, the commit that was described: it may have moved since.
        folder, found = checkpoint(model, description.identity.revision, crop)
        return open_clip_texts(folder, found) or whole()

    return LazyTexts(description, load)


def open_clip_texts(folder: Path, description: ModelDescription) -> ClipTexts | None:
    """The text half of the CLIP in a folder; None where transformers must load it."""
    tower = open_text_tower(folder)
    tokenizer = open_clip_tokenizer(folder, description.text_length) if tower else None
    return ClipTexts(tokenizer, tower) if tower and tokenizer else None
