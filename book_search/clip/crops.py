"""How a picture that is no square is shown to a model that looks at squares: as it was trained, whole, or in two parts.

Covers are taller than wide, by about 3 to 2. CLIP's centre crop, with which it was trained, then leaves out the top
and the bottom sixth, where title and author stand. `pad` shows all of it, at two thirds of the size and with a third
of the model's patches spent on nothing; `two-crops` shows the upper and the lower square at full size and takes the
mean of their vectors, for twice the work. Which finds covers best is measured by `book_search.sample.measure_crops`.
Knows pictures and arrays; nothing of models or files.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from book_search.clip.model import AS_TRAINED, Crop

Colour = tuple[int, int, int]


def views(image: Image.Image, crop: Crop, ground: Colour) -> list[Image.Image]:
    """What the model is shown of a picture: one view or two, squares unless `crop` leaves that to the model.

    Args:
        image: in RGB.
        crop: which way.
        ground: the colour beside a padded picture; the model's own mean colour says least.
    """
    side, longest = min(image.size), max(image.size)
    if crop == AS_TRAINED or (side == longest and crop == "pad"):
        return [image]
    if crop == "pad":
        square = Image.new("RGB", (longest, longest), ground)
        square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
        return [square]
    first, last = (0, 0, side, side), (image.width - side, image.height - side, image.width, image.height)
    return [image.crop(first), image.crop(last)]


def mean_colour(image_mean: tuple[float, ...] | list[float]) -> Colour:
    """The colour that a model's normalisation makes zero of, as near as 8 bit come."""
    red, green, blue = (round(255 * part) for part in image_mean)
    return red, green, blue


def vectors_of_views(encode: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """The unit vectors of pictures: float32 [n, dim], the normalised mean over the views of each.

    Args:
        encode: unit vectors [m, dim] of pixels [m, 3, height, width].
        pixels: [n, 3, height, width] where each picture has one view, which `encode` then gets as they are, or
            [n, views, 3, height, width].
    """
    if pixels.ndim == 4:
        return encode(pixels)
    count, parts = pixels.shape[:2]
    means = encode(pixels.reshape(count * parts, *pixels.shape[2:])).reshape(count, parts, -1).mean(axis=1)
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit
