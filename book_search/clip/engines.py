"""Which way pictures take to their vectors: transformers' own model, or the packed one, in float32 or bfloat16.

`transformers` is the reference. The other ways are taken only after they agreed with it on a few random pictures,
and where the model is built as they expect. Knows the ways; nothing of batches, files or the lake.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from book_search.clip.accelerators import AcceleratedVision, find_batch_size, seconds_of
from book_search.clip.crops import mean_colour, views
from book_search.clip.model import Crop
from book_search.clip.preprocessing import Picture, open_image, pixels_of_views
from book_search.clip.quick_pixels import QuickPixels
from book_search.clip.vision import PackedVision, UnknownArchitectureError

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "transformers", "fp32", "bf16"]
ENGINES: tuple[str, ...] = get_args(EngineName)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TRIED_ON = 2  # random pictures
LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.999}


@dataclass(frozen=True)
class Engine:
    """A way from pictures to vectors.

    Attributes:
        name: such as `bf16, packed` or `fp32, transformers`, for logs and metadata.
        prepare: a picture to what `forward` takes of it; raises UndecodableImageError.
        forward: stacked pixels, [n, ...], to unit vectors, float32 [n, dim].
        beside: where pictures are prepared: in `threads` beside the model, in `processes`, or in `lanes`: the threads
            that run the model too, each on its own batch.
        batch_size: pictures that `forward` is best given at once.
    """

    name: str
    prepare: Callable[[Picture], np.ndarray]
    forward: Callable[[np.ndarray], np.ndarray]
    beside: Literal["threads", "processes", "lanes"]
    batch_size: int


def choose_engine(model: Any, image_processor: Any, crop: Crop, device: str, asked: str) -> Engine:
    """The engine asked for, or the best that can be had: on an accelerator its own bf16 one.

    Args:
        model, image_processor: transformers' own.
        crop: how tall pictures are shown.
        device: where the model is.
        asked: `transformers`, `fp32`, `bf16`, or `auto`: bf16 where the processor computes in it, else fp32.

    Raises:
        ValueError: no engine is called so.
    """
    if asked not in ENGINES:
        raise ValueError(f"there is no engine {asked!r}; there are {', '.join(ENGINES)}")
    reference = _reference(model, image_processor, crop, device)
    if asked == "transformers" or (device != "cpu" and asked == "fp32"):
        return reference
    quick = QuickPixels.like(image_processor)
    if quick is None:
        return _instead(reference, f"{type(image_processor).__name__} prepares pictures in a way of its own")
    precision = "bf16" if device != "cpu" else _precision(asked)
    try:
        if device == "cpu":
            quicker = _packed(model, quick, crop, precision)
        else:
            quicker = _accelerated(model, quick, crop, device)
        agreed = _agreement(reference, quicker, quick)
    except (UnknownArchitectureError, RuntimeError, AttributeError) as error:  # not built so; or a torch without oneDNN
        return _instead(reference, f"{type(error).__name__}: {error}")
    if not agreed >= LEAST_COSINE[precision]:
        return _instead(reference, f"the vectors of the way {quicker.name} are only {agreed:.6f} like its own")
    logger.info("pictures are encoded in %s; 1 - cosine to transformers %.1e", quicker.name, 1 - agreed)
    return quicker


def _precision(asked: str) -> str:
    if asked == "fp32" or computes_in_bfloat16():
        return "fp32" if asked == "fp32" else "bf16"
    if asked == "bf16":
        logger.warning("this processor has no instructions for bfloat16; float32 is used")
    return "fp32"


def computes_in_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by instructions of its own: emulated it is slower than float32."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _reference(model: Any, image_processor: Any, crop: Crop, device: str) -> Engine:
    def prepare(picture: Picture) -> np.ndarray:
        return pixels_of_views(image_processor, open_image(picture), crop)

    @torch.inference_mode()
    def forward(stacked: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(stacked).to(device)
        return unit_rows(model.get_image_features(pixel_values=values).pooler_output)

    return Engine("fp32, transformers", prepare, forward, beside="threads", batch_size=32)


def _packed(model: Any, quick: QuickPixels, crop: Crop, precision: str) -> Engine:
    vision = PackedVision(model, quick.mean, quick.std, DTYPES[precision])

    def forward(stacked: np.ndarray) -> np.ndarray:
        return unit_rows(vision(torch.from_numpy(stacked)))

    return Engine(f"{precision}, packed", _QuickPrepare(quick, crop), forward, beside="lanes", batch_size=16)


def _accelerated(model: Any, quick: QuickPixels, crop: Crop, device: str) -> Engine:
    vision = AcceleratedVision(model, quick.mean, quick.std, device)

    def forward(stacked: np.ndarray) -> np.ndarray:
        return unit_rows(vision(torch.from_numpy(stacked)))

    size = find_batch_size(seconds_of(vision, quick.height, quick.width))
    return Engine(f"bf16, {device}", _QuickPrepare(quick, crop), forward, beside="processes", batch_size=size)


@dataclass(frozen=True)
class _QuickPrepare:
    """A picture to uint8 [height, width, 3], or [views, height, width, 3]. Can be sent to another process."""

    quick: QuickPixels
    crop: Crop

    def __call__(self, picture: Picture) -> np.ndarray:
        ground = mean_colour(self.quick.mean.tolist())
        shown = [self.quick(view) for view in views(open_image(picture), self.crop, ground)]
        return shown[0] if len(shown) == 1 else np.stack(shown)


def _agreement(reference: Engine, quicker: Engine, quick: QuickPixels) -> float:
    """The smallest cosine between both engines' vectors of the same random pixels."""
    shape = (TRIED_ON, quick.height, quick.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    normalised = (pixels / np.float32(255) - quick.mean.numpy()) / quick.std.numpy()
    expected = reference.forward(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2), np.float32))
    return float((expected * quicker.forward(pixels)).sum(axis=1).min())


def _instead(reference: Engine, reason: str) -> Engine:
    logger.warning("pictures are encoded by transformers in float32, which is slow: %s", reason)
    return reference


def unit_rows(vectors: torch.Tensor) -> np.ndarray:
    """Rows brought to unit length: float32 [n, dim], in the processor's memory."""
    unit: np.ndarray = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit
