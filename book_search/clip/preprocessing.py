"""From the bytes of a picture to what the model looks at: decoding, RGB, and the model's own resize and crop.

The reference path: plain PIL, equal to OpenAI's published tensor to the last bit. Any change of what comes out
needs a new name in `ModelIdentity.preprocessing`. Knows nothing of vectors.

Covers are taller than CLIP's square: what else than the centre can be shown of them is in `crops`.
"""

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from book_search.clip.crops import mean_colour, views
from book_search.clip.model import AS_TRAINED, Crop

# What covers come in. A list, because PIL knows formats that start other programs (EPS) or are seldom well kept.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
LONGEST_SHAPE = 30  # times longer than wide: such a strip is no cover, and resizing it would take gigabytes
WHITE = (255, 255, 255, 255)

# What PIL raises on a broken file, by format: they share no base class.
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)

Picture = bytes | Image.Image


class UndecodableImageError(ValueError):
    """These bytes are no picture that can be shown to the model."""


def open_image(picture: Picture) -> Image.Image:
    """A picture as a person would see it, in 8 bit RGB.

    Turned as its EXIF says; the first frame of an animation; transparency on white; 16 bit grey scaled to 8 bit
    (PIL alone would clip it to white); CMYK and palettes by PIL's own conversion, colour profiles ignored.

    Raises:
        UndecodableImageError: broken or cut off bytes, a format that covers do not come in, a picture too
            large (PIL's limit against decompression bombs) or more than 30 times longer than wide.
    """
    try:
        image = picture if isinstance(picture, Image.Image) else Image.open(io.BytesIO(picture), formats=FORMATS)
        _refuse_strip(image)
        image.load()
        return _rgb(_turned(image))
    except UndecodableImageError:
        raise
    except UnidentifiedImageError as error:  # PIL's own words name an address in memory
        raise UndecodableImageError(f"no picture in any of the formats {', '.join(FORMATS)}") from error
    except BROKEN as error:
        raise UndecodableImageError(f"{type(error).__name__}: {error}") from error


def pixels(image_processor: Any, image: Image.Image) -> np.ndarray:
    """What the model looks at: float32 [3, height, width], by the model's own image processor."""
    values: np.ndarray = image_processor(image, return_tensors="np")["pixel_values"][0]
    return values.astype(np.float32, copy=False)


def pixels_of_views(image_processor: Any, image: Image.Image, crop: Crop) -> np.ndarray:
    """As `pixels`, and for a crop of two views float32 [2, 3, height, width]."""
    if crop == AS_TRAINED:
        return pixels(image_processor, image)
    shown = [pixels(image_processor, view) for view in views(image, crop, mean_colour(image_processor.image_mean))]
    return shown[0] if len(shown) == 1 else np.stack(shown)


@dataclass(frozen=True)
class Batch:
    """Pictures ready for the model.

    Attributes:
        positions: of the decodable ones, among all pictures.
        pixels: float32 [len(positions), 3, height, width], or [len(positions), views, 3, height, width].
        undecodable: position and reason of the others.
    """

    positions: list[int]
    pixels: np.ndarray
    undecodable: dict[int, str]


def batches(
    pictures: Iterable[Picture],
    prepare: Callable[[Picture], np.ndarray],
    batch_size: int,
    threads: ThreadPoolExecutor,
) -> Iterator[Batch]:
    """Pictures on their way to the model: the next batch is decoded in threads while the model works on this one.

    At most two batches are held, so that a long stream of pictures takes no more memory than a short one.
    """
    source = iter(pictures)

    def submit() -> list[Future[np.ndarray]]:
        return [threads.submit(prepare, picture) for picture in islice(source, batch_size)]

    start, ahead = 0, submit()
    while ahead:
        current, ahead = ahead, submit()
        yield _gathered(start, current)
        start += len(current)


def _gathered(start: int, futures: list[Future[np.ndarray]]) -> Batch:
    ready: dict[int, np.ndarray] = {}
    undecodable: dict[int, str] = {}
    for position, future in enumerate(futures, start):
        try:
            ready[position] = future.result()
        except UndecodableImageError as error:
            undecodable[position] = str(error)
    stacked = np.stack(list(ready.values())) if ready else np.empty((0, 3, 0, 0), np.float32)
    return Batch(list(ready), stacked, undecodable)


def _refuse_strip(image: Image.Image) -> None:
    if max(image.size) > LONGEST_SHAPE * max(min(image.size), 1):
        raise UndecodableImageError(f"a strip of {image.width} x {image.height} pixels is no cover")


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except BROKEN:  # a picture that shows is worth more than its broken EXIF
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _eight_bit(image).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        canvas = Image.new("RGBA", image.size, WHITE)
        canvas.alpha_composite(image.convert("RGBA"))
        return canvas.convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits, its full scale brought to 255. Wider modes hold 8, 16 or more bits: the values tell."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float32))
    largest = float(grey.max(initial=0))
    full = 65535.0 if image.mode.startswith("I;16") or largest > 255 else 255.0
    return Image.fromarray(np.clip(grey * (255 / max(full, largest)), 0, 255).astype(np.uint8))
