"""What turns texts into unit vectors, and how it is had with the least waiting.

A CLIP's texts need neither torch nor transformers: its tokenizer and its text tower are opened alone, in a tenth of a
second. Every other model is loaded whole, by transformers. Who answers many questions may have a way that takes longer
to open and less for each. Knows which is which; nothing of pictures.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
from book_search.clip.templates import TEMPLATES
from book_search.clip.text_memory import TextMemory
from book_search.clip.text_tower import TextTower, open_text_tower
from book_search.clip.tokens import ClipTokenizer, open_clip_tokenizer

if TYPE_CHECKING:
    from book_search.clip.packed_texts import PackedTexts

WORTH_TORCH = 0.008  # seconds of a query's texts; below that nothing is gained that anybody would notice
TRIED = 3  # times that this is measured; the least counts


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
    tower: "TextTower | PackedTexts"

    @property
    def logit_scale(self) -> float:
        """The model's learned inverse temperature."""
        return self.tower.logit_scale

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of texts: float32 [n, dim]. What goes beyond the model's length is left out, with a warning."""
        return self.tower.encode(self.tokenizer.ids(texts))


@dataclass(frozen=True, eq=False)
class LazyTexts:
    """A `TextEncoder` that is known before it is loaded: whoever refuses a model for what it is waits for nothing.

    Threads may share it.

    Attributes:
        description: which model it is.
        load: gives what encodes; called once, by whoever asks first.
        memory: of the texts encoded last.
    """

    description: ModelDescription
    load: Callable[[], "ClipTexts | TextEncoder"]
    memory: TextMemory = field(default_factory=TextMemory)
    _loaded: "list[ClipTexts | TextEncoder]" = field(default_factory=list, init=False, repr=False)
    _turn: AbstractContextManager[Any] = field(default_factory=threading.RLock, init=False, repr=False)

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
        return self.memory.vectors(texts, self._encode)

    @property
    def loaded(self) -> "ClipTexts | TextEncoder":
        """What encodes; loaded by whoever asks first."""
        with self._turn:
            if not self._loaded:
                self._loaded.append(self.load())
            return self._loaded[0]

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        loaded = self.loaded
        if isinstance(loaded, ClipTexts):
            return loaded.encode_texts(texts)
        with self._turn:  # transformers' tokenizers pad by changing themselves
            return loaded.encode_texts(texts)


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


def quickened(texts: LazyTexts, engine: str) -> LazyTexts:
    """The same model's texts quicker for whoever answers many questions: by torch, over packed weights.

    Takes some seconds and some hundred MB, most of them torch's import. Where texts are encoded quickly as they are,
    or can be in no other way, they are given back as they came.

    Args:
        engine: as pictures have it (`engines.ENGINES`): `transformers` for no other way, `fp32`, `bf16` where the
            processor computes in it, or `auto`: the same as `bf16`.
    """
    loaded = texts.loaded
    if engine == "transformers" or not isinstance(loaded, ClipTexts) or not isinstance(loaded.tower, TextTower):
        return texts
    if min(_seconds(loaded) for _ in range(TRIED)) < WORTH_TORCH:
        return texts
    import torch

    from book_search.clip.engines import computes_in_bfloat16
    from book_search.clip.packed_texts import packed_texts

    half = engine != "fp32" and computes_in_bfloat16()
    packed = packed_texts(loaded.tower, torch.bfloat16 if half else torch.float32)
    if packed is None:
        return texts
    quicker = replace(loaded, tower=packed)
    return LazyTexts(texts.description, lambda: quicker)


def _seconds(texts: ClipTexts) -> float:
    started = time.perf_counter()
    texts.encode_texts([template.replace("{}", "a white ship") for template in TEMPLATES])
    return time.perf_counter() - started


def open_clip_texts(folder: Path, description: ModelDescription) -> ClipTexts | None:
    """The text half of the CLIP in a folder; None where transformers must load it."""
    tower = open_text_tower(folder)
    tokenizer = open_clip_tokenizer(folder, description.text_length) if tower else None
    if tower is None or tokenizer is None:
        return None
    beginnings = tokenizer.ids([template.partition("{}")[0] for template in TEMPLATES])
    return ClipTexts(tokenizer, replace(tower, beginnings=tuple(ids[:-1] for ids in beginnings)))
