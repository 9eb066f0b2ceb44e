"""A loaded CLIP: pictures and texts in, unit vectors out. Knows torch; nothing of files, the hub or the lake."""

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from book_search.clip.model import ModelDescription, ModelIdentity
from book_search.clip.preprocessing import Picture, UndecodableImageError, batches, open_image, pixels

logger = logging.getLogger(__name__)

BATCH_SIZE = 32


@dataclass(frozen=True)
class Clip:
    """A model that reads pictures and texts, with its tokenizer and its image processor.

    Attributes:
        description: which model it is, and its shape.
        model, tokenizer, image_processor: transformers' own, as `model.load_clip` makes them.
        device: where the model computes: `cpu`, `cuda`, `mps`.
    """

    description: ModelDescription
    model: Any
    tokenizer: Any
    image_processor: Any
    device: str = "cpu"

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

    def encode_images(self, images: Iterable[Picture], batch_size: int = BATCH_SIZE) -> np.ndarray:
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
        self, images: Iterable[Picture], batch_size: int = BATCH_SIZE
    ) -> tuple[np.ndarray, dict[int, str]]:
        """Unit vectors of pictures, float32 [n, dim], and for each undecodable one its position and the reason.

        The row of an undecodable picture is NaN throughout.
        """
        rows: list[np.ndarray] = []
        undecodable: dict[int, str] = {}

        def prepare(picture: Picture) -> np.ndarray:
            return pixels(self.image_processor, open_image(picture))

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode") as threads:
            for batch in batches(images, prepare, batch_size, threads):
                part = np.full((len(batch.positions) + len(batch.undecodable), self.dim), np.nan, np.float32)
                if batch.positions:
                    first = min([*batch.positions, *batch.undecodable])
                    part[np.asarray(batch.positions) - first] = self._image_vectors(batch.pixels)
                rows.append(part)
                undecodable |= batch.undecodable
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32), undecodable

    def encode_texts(self, texts: Sequence[str], batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Unit vectors of texts: float32 [n, dim]. What goes beyond the model's length is left out, with a warning."""
        rows = [
            self._text_vectors(list(texts[start : start + batch_size])) for start in range(0, len(texts), batch_size)
        ]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens that the model would read of each text, without padding."""
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.description.text_length)
        return [list(ids) for ids in encoded["input_ids"]]

    @torch.inference_mode()
    def _image_vectors(self, stacked: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(stacked).to(self.device)
        return _unit(self.model.get_image_features(pixel_values=values).pooler_output)

    @torch.inference_mode()
    def _text_vectors(self, texts: list[str]) -> np.ndarray:
        length = self.description.text_length
        counts = [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]
        if long := [(text, count) for text, count in zip(texts, counts, strict=True) if count > length]:
            logger.warning(
                "%d of %d texts are longer than the %d tokens that the model reads; the rest is left out of them: "
                "%r... is %d tokens long",
                len(long), len(texts), length, long[0][0][:40], long[0][1],
            )  # fmt: skip
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
        return _unit(self.model.get_text_features(**inputs).pooler_output)


def best_device() -> str:
    """`cuda` or Apple's `mps` where there is one, else `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _unit(vectors: torch.Tensor) -> np.ndarray:
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    return unit.cpu().numpy()
