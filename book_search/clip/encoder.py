"""A loaded CLIP: pictures and texts in, unit vectors out. Knows torch; nothing of files, the hub or the lake."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from book_search.clip.accelerators import decode, decoded_in_processes
from book_search.clip.crops import vectors_of_views
from book_search.clip.engines import Engine, choose_engine, unit_rows
from book_search.clip.lanes import side_by_side
from book_search.clip.model import ModelDescription, ModelIdentity
from book_search.clip.preprocessing import Picture, UndecodableImageError, batches
from book_search.clip.texts import ClipTexts
from book_search.clip.tokens import warn_of_long_texts

BATCH_SIZE = 32

Part = tuple[np.ndarray, dict[int, str]]  # vectors [n, dim], NaN where there is none; and why, by the row


@dataclass(frozen=True)
class Clip:
    """A model that reads pictures and texts, with its tokenizer and its image processor.

    Attributes:
        description: which model it is, and its shape.
        model, tokenizer, image_processor: transformers' own, as `model.load_clip` makes them.
        device: where the model computes: `cpu`, `cuda`, `mps`.
        texts: reads texts in the model's stead, to the same vectors and sooner; None for models other
            than CLIP, and on an accelerator.
        engine_name: the way that pictures take, one of `engines.ENGINES`. `transformers` is the reference, `auto` the
            fastest here, of which `engine` tells the name once a picture was encoded.
    """

    description: ModelDescription
    model: Any
    tokenizer: Any
    image_processor: Any
    device: str = "cpu"
    texts: ClipTexts | None = None
    engine_name: str = "transformers"

    def __post_init__(self) -> None:
        self.model.eval().to(self.device)

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
        """CLIP's learned inverse temperature: probabilities are softmax(logit_scale * cosine). About 100."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def logit_bias(self) -> float:
        """SigLIP's learned bias: probabilities are sigmoid(logit_scale * cosine + logit_bias). 0 for CLIP."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach())

    def encode_images(self, images: Iterable[Picture], batch_size: int | None = None) -> np.ndarray:
        """Unit vectors of pictures: float32 [n, dim].

        Raises:
            UndecodableImageError: some of them cannot be decoded; it names each by position. Use
                `encode_each_image` where one bad picture must cost only itself.
        """
        vectors, undecodable = self.encode_each_image(images, batch_size)
        if undecodable:
            reasons = "; ".join(f"picture {position}: {reason}" for position, reason in undecodable.items())
            raise UndecodableImageError(reasons)
        return vectors

    def encode_each_image(
        self, images: Iterable[Picture], batch_size: int | None = None
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Unit vectors of pictures, float32 [n, dim], and for each undecodable one its position and the reason.

        The row of an undecodable picture is NaN throughout.
        """
        rows: list[np.ndarray] = []
        undecodable: dict[int, str] = {}
        done = 0
        ways = {"lanes": self._in_lanes, "threads": self._beside_threads, "processes": self._beside_processes}
        for vectors, failed in ways[self.engine.beside](images, batch_size or self.engine.batch_size):
            rows.append(vectors)
            undecodable |= {done + row: reason for row, reason in failed.items()}
            done += len(vectors)
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32), undecodable

    @cached_property
    def engine(self) -> Engine:
        """The way that pictures take; chosen, and made ready, when the first is encoded."""
        return choose_engine(self.model, self.image_processor, self.description.crop, self.device, self.engine_name)

    def encode_texts(self, texts: Sequence[str], batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Unit vectors of texts: float32 [n, dim]. What goes beyond the model's length is left out, with a warning."""
        if self.texts is not None:
            return self.texts.encode_texts(texts)
        rows = [
            self._text_vectors(list(texts[start : start + batch_size])) for start in range(0, len(texts), batch_size)
        ]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens that the model would read of each text, without padding."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.description.text_length)
        return [list(ids) for ids in encoded["input_ids"]]

    def _in_lanes(self, pictures: Iterable[Picture], batch_size: int) -> Iterator[Part]:
        def work(batch: list[Picture]) -> Part:
            decoded = decode(self.engine.prepare, batch)
            return self._vectors(decoded.rows, decoded.pixels, len(batch)), decoded.undecodable

        return side_by_side(pictures, work, batch_size)

    def _beside_processes(self, pictures: Iterable[Picture], batch_size: int) -> Iterator[Part]:
        for decoded in decoded_in_processes(pictures, self.engine.prepare, batch_size):
            count = len(decoded.rows) + len(decoded.undecodable)
            yield self._vectors(decoded.rows, decoded.pixels, count), decoded.undecodable

    def _beside_threads(self, pictures: Iterable[Picture], batch_size: int) -> Iterator[Part]:
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode") as threads:
            for batch in batches(pictures, self.engine.prepare, batch_size, threads):
                first = min([*batch.positions, *batch.undecodable])
                rows = [position - first for position in batch.positions]
                failed = {position - first: reason for position, reason in batch.undecodable.items()}
                yield self._vectors(rows, batch.pixels, len(rows) + len(failed)), failed

    def _vectors(self, rows: list[int], pixels: np.ndarray, count: int) -> np.ndarray:
        """float32 [count, dim] with the vectors of `pixels` in these rows, the others NaN."""
        vectors = np.full((count, self.dim), np.nan, np.float32)
        if rows:
            vectors[rows] = vectors_of_views(self.engine.forward, pixels)
        return vectors

    @torch.inference_mode()
    def _text_vectors(self, texts: list[str]) -> np.ndarray:
        length = self.description.text_length
        counts = [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]
        warn_of_long_texts(texts, counts, length)
        # CLIP's attention is causal and its vector is taken at the end token: padding to the longest text of the
        # batch changes nothing. SigLIP was trained with every text padded to the full length, and without a mask.
        encoded = self.tokenizer(
            texts,
            padding="max_length" if self.description.is_siglip else "longest",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        inputs = {"input_ids": encoded["input_ids"].to(self.device)}
        if not self.description.is_siglip:
            inputs["attention_mask"] = encoded["attention_mask"].to(self.device)
        return unit_rows(self.model.get_text_features(**inputs).pooler_output)


def best_device() -> str:
    """`cuda` or Apple's `mps` where there is one, else `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
