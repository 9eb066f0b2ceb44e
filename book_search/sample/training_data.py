"""What the tiny CLIP is trained on: covers and their pixels, attributes as numbers, which caption is true of which.

It knows no model.
"""

import io
import logging
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from book_search.sample.captions import Claim
from book_search.sample.drawing import SIZE, CoverSpec, cover_jpeg, random_spec
from book_search.sample.vocabulary import COLOURS, COMPANIONS, OBJECTS, SCENES

logger = logging.getLogger(__name__)

Array = NDArray[Any]

# Attributes as numbers, in this order; "none" is a companion that is not there.
VALUES: dict[str, list[str]] = {
    "object": list(OBJECTS),
    "object_colour": list(COLOURS),
    "background": list(COLOURS),
    "companion": ["none", *COMPANIONS],
    "companion_colour": ["none", *COLOURS],
    "scene": list(SCENES),
}
SMALL = (120, 180)  # pixels; drawn six times as fast as covers of full size, and alike once CLIP has resized them
FULL_SIZE = 0.2  # share of pictures that are drawn full size all the same
SHIFT = 3  # pixels
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's own: Radford et al., openai/CLIP clip.py
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def drawn(folder: Path, count: int, seed: int, size: int) -> tuple[list[CoverSpec], Array, Array]:
    """Covers for training, none of them of a held-out combination; kept in `folder` for the next time.

    Returns:
        The covers, their attributes as int64 [n, len(VALUES)], and their pixels as uint8 [n, size, size, 3].
    """
    specs = [random_spec(random.Random(f"{seed}/cover/{number}"), held_out=False) for number in range(count)]
    attributes = np.array([_numbers(spec) for spec in specs])
    kept = folder / f"pictures-{seed}-{count}-{size}.npy"
    if not kept.exists():
        pixels = np.empty((count, size, size, 3), np.uint8)
        started = time.monotonic()
        for number, spec in enumerate(specs):
            pixels[number] = _pixels(spec, size)
            if number % 5000 == 0:
                logger.info("%d of %d covers drawn in %.0f s", number, count, time.monotonic() - started)
        np.save(kept, pixels)
    return specs, attributes, np.load(kept)


def same_colours(attributes: Array, count: int, rng: random.Random, pairs: int = 4) -> Array:
    """The numbers of `count` covers that share a few pairs of colours, so that colours do not tell them apart."""
    colours = [list(VALUES).index("object_colour"), list(VALUES).index("background")]
    chosen: list[int] = []
    while len(chosen) < count:
        like = attributes[rng.randrange(len(attributes)), colours]
        same = np.flatnonzero((attributes[:, colours] == like).all(axis=1)).tolist()
        chosen += rng.sample(same, min(len(same), count // pairs, count - len(chosen)))
    return np.array(chosen)


def true_pairs(claims: list[Claim], attributes: Array) -> Array:
    """Which claim is true of which cover: bool [claims, covers], as `Claim.is_true_of` says it."""
    true = np.ones((len(claims), len(attributes)), bool)
    column = {name: attributes[:, position] for position, name in enumerate(VALUES)}
    for row, claim in enumerate(claims):
        for name, values in VALUES.items():
            value = getattr(claim, name)
            if value is not None:
                true[row] &= column[name] == values.index(value)
        if claim.thing is not None:
            companion = VALUES["companion"].index(claim.thing) if claim.thing in COMPANIONS else -1
            true[row] &= (column["object"] == VALUES["object"].index(claim.thing)) | (column["companion"] == companion)
        if claim.colour is not None:
            colour = VALUES["background"].index(claim.colour)
            true[row] &= (column["object_colour"] == colour) | (column["background"] == colour)
    return true


def augmented(pixels: Array, rng: np.random.Generator) -> Array:
    """Pictures moved by up to `SHIFT` pixels, mirrored, lighter or darker; normalised, float32 [n, 3, size, size]."""
    size = pixels.shape[1]
    padded = np.pad(pixels, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    moved = np.empty_like(pixels)
    for index, (down, across) in enumerate(rng.integers(0, 2 * SHIFT + 1, (len(pixels), 2))):
        moved[index] = padded[index, down : down + size, across : across + size]
    mirrored = rng.random(len(pixels)) < 0.5
    moved[mirrored] = moved[mirrored, :, ::-1]
    light = rng.uniform(0.93, 1.07, (len(pixels), 1, 1, 1)).astype(np.float32)
    scaled = np.clip(moved.astype(np.float32) / 255 * light, 0, 1)
    normalised = (scaled - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def _numbers(spec: CoverSpec) -> list[int]:
    return [values.index(getattr(spec, name) or "none") for name, values in VALUES.items()]


def _pixels(spec: CoverSpec, size: int) -> Array:
    """One cover through JPEG, CLIP's resize of the shorter side and its centre crop."""
    full = random.Random(spec.seed + 1).random() < FULL_SIZE
    with Image.open(io.BytesIO(cover_jpeg(spec, SIZE if full else SMALL))) as picture:
        width, height = picture.size
        resized = picture.convert("RGB").resize((size, size * height // width), Image.Resampling.BICUBIC)
    top = (resized.height - size) // 2
    return np.asarray(resized)[top : top + size]
