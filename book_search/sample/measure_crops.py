"""Which crop finds covers best, measured with the tiny CLIP on covers whose combination it never saw.

    python -m book_search.sample.measure_crops [MODEL] [--seed 1] [--covers 500]

The same covers are drawn in several shapes. In the tall ones all that a caption speaks of lies in the middle square,
as in training; in `tall, moved` it stands a sixth of the height too high or too low, so that the centre crop cuts into
it. Each figure stands beside its difference from what the model was trained with, and the interval in which that lies
19 times of 20 (a paired bootstrap over the queries).
"""

import argparse
import io
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from book_search.clip.model import AS_TRAINED, CROPS, Crop
from book_search.sample.captions import Claim, caption, full_claim
from book_search.sample.demo import TINY_CLIP
from book_search.sample.drawing import CoverSpec, cover_jpeg, draw_cover, random_spec
from book_search.sample.measure import Array, alike_in, drawn_again, found, precisions, truth, zero_shot
from book_search.sample.vocabulary import COLOURS, OBJECTS

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

COVERS = 500
TALL, SQUARISH = (360, 540), (480, 540)  # pixels: 2 to 3, the most common shape, and 8 to 9
RESAMPLES = 2000


@dataclass(frozen=True)
class CropFigure:
    """A share between 0 and 1, and what separates it from the same share with the pictures shown as in training.

    Attributes:
        shape: of the covers: `squarish`, `tall`, or `tall, moved`.
        crop: how they were shown.
        name: what was measured.
        value: the mean over the queries.
        difference, low, high: to `as-trained`, and the 95% interval of that.
    """

    shape: str
    crop: Crop
    name: str
    value: float
    difference: float
    low: float
    high: float


def measure_crops(clip: "Clip", seed: int = 1, covers: int = COVERS) -> list[CropFigure]:
    """Draw the covers of `seed` in every shape and ask about them with every crop; about a minute on one core."""
    figures = []
    for shape, draw in SHAPES.items():
        rng = random.Random(f"crops/{seed}")
        gallery = [random_spec(rng, held_out=True) for _ in range(covers)]
        claims = [full_claim(spec) for spec in gallery]
        texts = [caption(claim, rng) for claim in claims]
        pictures, again = [draw(spec) for spec in gallery], [draw(drawn_again(spec, rng)) for spec in gallery]
        asked = {crop: _asked(_with_crop(clip, crop), gallery, claims, texts, pictures, again) for crop in CROPS}
        for crop, trials in asked.items():
            for name, values in trials.items():
                before = asked[AS_TRAINED][name]
                low, high = _interval(values - before, random.Random(seed))
                value, difference = float(values.mean()), float((values - before).mean())
                figures.append(CropFigure(shape, crop, name, value, difference, low, high))
    return figures


def _with_crop(clip: "Clip", crop: Crop) -> "Clip":
    return replace(clip, description=replace(clip.description, crop=crop))


def _asked(
    clip: "Clip",
    gallery: Sequence[CoverSpec],
    claims: Sequence[Claim],
    texts: Sequence[str],
    pictures: Sequence[bytes],
    again: Sequence[bytes],
) -> dict[str, Array]:
    """What each query came to, between 0 and 1, by the name of the measure."""
    vectors = clip.encode_images(pictures)
    by_caption, described = clip.encode_texts(texts) @ vectors.T, truth(claims, gallery)
    by_picture, alike = clip.encode_images(again) @ vectors.T, alike_in(gallery)
    things, colours = [Claim(thing=name) for name in OBJECTS], [Claim(colour=name) for name in COLOURS]
    asked = {
        "caption_recall_1": found(by_caption, described, 1),
        "caption_recall_10": found(by_caption, described, 10),
        "object_precision": precisions(clip.encode_texts(list(OBJECTS)) @ vectors.T, truth(things, gallery)),
        "colour_precision": precisions(clip.encode_texts(list(COLOURS)) @ vectors.T, truth(colours, gallery)),
        "another_drawing_recall_1": found(by_picture, alike, 1),
        "another_drawing_recall_10": found(by_picture, alike, 10),
        **{f"{name}_top_1": right for name, right in zero_shot(clip, gallery, vectors).items()},
    }
    return {name: trials.astype(float) for name, trials in asked.items()}


def _interval(differences: Array, rng: random.Random) -> tuple[float, float]:
    """The 95% interval of a mean, by drawing the trials again with replacement (B. Efron, 1979)."""
    generator = np.random.default_rng(rng.getrandbits(32))
    drawn = generator.integers(len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _moved(spec: CoverSpec) -> bytes:
    """A tall cover with all of it a sixth of the height higher, or lower, and its ground where nothing is left."""
    picture = draw_cover(spec, TALL)
    by = picture.height // 6 * (1 if spec.seed % 2 else -1)
    moved = Image.new("RGB", picture.size, COLOURS[spec.background])
    moved.paste(picture, (0, by))
    file = io.BytesIO()
    moved.save(file, "JPEG", quality=87)
    return file.getvalue()


SHAPES: dict[str, Callable[[CoverSpec], bytes]] = {
    "squarish": lambda spec: cover_jpeg(spec, SQUARISH),
    "tall": lambda spec: cover_jpeg(spec, TALL),
    "tall, moved": _moved,
}


def _milliseconds(clip: "Clip", crop: Crop, pictures: Sequence[bytes]) -> float:
    """Of one core for a picture, from JPEG to vector."""
    start = time.process_time()
    _with_crop(clip, crop).encode_images(pictures)
    return (time.process_time() - start) * 1000 / len(pictures)


if __name__ == "__main__":
    from book_search.clip.model import load_clip

    parser = argparse.ArgumentParser(description="Measure which crop finds covers best, on combinations never seen.")
    parser.add_argument("model", nargs="?", type=Path, default=TINY_CLIP)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--covers", type=int, default=COVERS)
    given = parser.parse_args()
    loaded = load_clip(str(given.model))
    for figure in measure_crops(loaded, given.seed, given.covers):
        against = f"{figure.difference:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"
        print(
            f"{figure.shape:<12} {figure.name:<26} {figure.crop:<11} {figure.value:.3f}  "
            f"{against if figure.crop != AS_TRAINED else ''}".rstrip()
        )
    rng = random.Random(given.seed)
    drawn = [cover_jpeg(random_spec(rng), TALL) for _ in range(128)]
    for crop in CROPS:
        print(f"{crop}: {_milliseconds(loaded, crop, drawn):.2f} ms of one core a picture")
