"""A preparation of pictures that other processes can import without a model."""

import numpy as np

from book_search.clip.preprocessing import Picture, UndecodableImageError, open_image


def size_of(least: int, picture: Picture) -> np.ndarray:
    """Stands for a preparation: the picture's width, of those wide enough."""
    width = open_image(picture).width
    if width < least:
        raise UndecodableImageError(f"only {width} wide")
    return np.array([width])
