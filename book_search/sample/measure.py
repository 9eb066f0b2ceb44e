"""What the tiny CLIP knows, measured on covers whose combination of thing and colours it never saw.

    python -m book_search.sample.measure [MODEL] [--seed 1]

Everything goes the road that real covers go: a JPEG file, the image processor, the encoder. A cover counts as found
when all that the caption says is true of it: two covers of a gallery may be alike but for their title.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from book_search.clip.zero_shot import classify
from book_search.sample.captions import (
    UNSEEN_TEMPLATES,
    Claim,
    caption,
    full_claim,
    paraphrase,
    random_claim,
)
from book_search.sample.demo import TINY_CLIP
from book_search.sample.drawing import CoverSpec, cover_jpeg, is_held_out, random_spec
from book_search.sample.vocabulary import COLOURS, OBJECTS

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

Array = NDArray[Any]

GALLERY, PARTIAL = 500, 200
PAIR_GALLERY, PAIRS = 100, 8


@dataclass(frozen=True)
class Figures:
    """Shares between 0 and 1.

    Attributes:
        object_precision: of the first 10 for a one-word query of a thing, those that show it; mean over all things.
        colour_precision: of the first 10 for a colour, those whose ground or thing has it; mean over all colours.
        caption_recall_1, caption_recall_10: how often a caption that says everything finds its cover, or one that
            it describes as truly, among the first 1 and 10 of 500.
        unseen_templates_recall_1, unseen_templates_recall_10: the same in templates that training never saw.
        paraphrase_recall_1, paraphrase_recall_10: the same in wordings that training never saw.
        pair_recall_10: as caption_recall_10 where all 100 covers share the colours of ground and thing; mean over 8
            such pairs.
        partial_precision, unseen_templates_precision: of the first 10 for captions that say less than everything,
            those that they are true of (of as many as there are), in seen and in unseen templates.
        another_drawing_recall_1, another_drawing_recall_10: how often a picture of other place, size, title and
            lettering finds, among the 500, a cover with the same things, colours and scene.
        object_top_1: zero-shot, how often the likeliest of all 16 things is one that the cover shows.
        colour_top_1: how often the likeliest of all 10 colours is that of the ground.
        object_colour_top_1: how often the likeliest of "a red ship", "a blue ship" and so on has the thing's colour.
    """

    object_precision: float
    colour_precision: float
    caption_recall_1: float
    caption_recall_10: float
    unseen_templates_recall_1: float
    unseen_templates_recall_10: float
    paraphrase_recall_1: float
    paraphrase_recall_10: float
    pair_recall_10: float
    partial_precision: float
    unseen_templates_precision: float
    another_drawing_recall_1: float
    another_drawing_recall_10: float
    object_top_1: float
    colour_top_1: float
    object_colour_top_1: float


def measure(clip: "Clip", seed: int = 1) -> Figures:
    """Draw the galleries from `seed` and ask the model about them; about half a minute on one core."""
    rng = random.Random(f"measure/{seed}")
    gallery = [random_spec(rng, held_out=True) for _ in range(GALLERY)]
    pictures = _pictures(clip, gallery)
    things, colours = [Claim(thing=name) for name in OBJECTS], [Claim(colour=name) for name in COLOURS]
    full = [full_claim(spec) for spec in gallery]
    true = truth(full, gallery)
    partial = [random_claim(spec, rng) for spec in gallery[:PARTIAL]]
    alike = [drawn_again(spec, rng) for spec in gallery]

    def precision(claims: list[Claim], texts: list[str]) -> float:
        return float(precisions(clip.encode_texts(texts) @ pictures.T, truth(claims, gallery)).mean())

    def recalls(texts: list[str]) -> tuple[float, float]:
        scores = clip.encode_texts(texts) @ pictures.T
        return _recall(scores, true, 1), _recall(scores, true, 10)

    top_1 = {name: float(right.mean()) for name, right in zero_shot(clip, gallery, pictures).items()}
    seen = recalls([caption(claim, rng) for claim in full])
    unseen = recalls([caption(claim, rng, UNSEEN_TEMPLATES) for claim in full])
    paraphrased = recalls([paraphrase(claim, rng) for claim in full])
    by_picture, same = _pictures(clip, alike) @ pictures.T, alike_in(gallery)
    return Figures(
        object_precision=precision(things, list(OBJECTS)),
        colour_precision=precision(colours, list(COLOURS)),
        caption_recall_1=seen[0],
        caption_recall_10=seen[1],
        unseen_templates_recall_1=unseen[0],
        unseen_templates_recall_10=unseen[1],
        paraphrase_recall_1=paraphrased[0],
        paraphrase_recall_10=paraphrased[1],
        pair_recall_10=float(np.mean([_pair_recall(clip, rng) for _ in range(PAIRS)])),
        partial_precision=precision(partial, [caption(claim, rng) for claim in partial]),
        unseen_templates_precision=precision(partial, [caption(claim, rng, UNSEEN_TEMPLATES) for claim in partial]),
        another_drawing_recall_1=_recall(by_picture, same, 1),
        another_drawing_recall_10=_recall(by_picture, same, 10),
        object_top_1=top_1["object"],
        colour_top_1=top_1["colour"],
        object_colour_top_1=top_1["object_colour"],
    )


def zero_shot(clip: "Clip", gallery: Sequence[CoverSpec], pictures: Array) -> dict[str, Array]:
    """Which covers are classified rightly from their vectors, by what is asked: bool [covers] each."""
    things, colours = list(OBJECTS), list(COLOURS)
    shown = classify(clip, pictures, things).argmax(axis=1)
    grounds = classify(clip, pictures, colours, "a {} book cover").argmax(axis=1)
    of_thing = np.empty(len(gallery), int)
    for thing in things:
        with_it = [index for index, spec in enumerate(gallery) if spec.object == thing]
        if with_it:
            labels = [f"{colour} {thing}" for colour in colours]
            of_thing[with_it] = classify(clip, pictures[with_it], labels, "a {}").argmax(axis=1)
    return {
        "object": np.array(
            [things[at] in (spec.object, spec.companion) for at, spec in zip(shown, gallery, strict=True)]
        ),
        "colour": np.array([colours[at] == spec.background for at, spec in zip(grounds, gallery, strict=True)]),
        "object_colour": np.array(
            [colours[at] == spec.object_colour for at, spec in zip(of_thing, gallery, strict=True)]
        ),
    }


def truth(claims: Sequence[Claim], gallery: Sequence[CoverSpec]) -> Array:
    """Which claim is true of which cover: bool [claims, covers]."""
    return np.array([[claim.is_true_of(spec) for spec in gallery] for claim in claims])


def alike_in(gallery: Sequence[CoverSpec]) -> Array:
    """Which covers show the same things, colours and scene: bool [covers, covers]."""
    shown = [replace(spec, seed=0, title="", author="", lettering=0) for spec in gallery]
    return np.array([[one == other for other in shown] for one in shown])


def drawn_again(spec: CoverSpec, rng: random.Random) -> CoverSpec:
    """Another drawing of what a cover shows, with other title, author and lettering."""
    other = random_spec(rng)
    return replace(spec, seed=other.seed, title=other.title, author=other.author, lettering=other.lettering)


def precisions(scores: Array, true: Array) -> Array:
    """Of the first 10, or of as many as are true where fewer are, the share of true ones: [texts with a true one]."""
    shares = []
    for row, right in zip(scores, true, strict=True):
        if first := min(10, int(right.sum())):
            shares.append(right[np.argsort(-row)[:first]].mean())
    return np.array(shares)


def found(scores: Array, true: Array, within: int) -> Array:
    """Whether one of the first `within` is a right one: bool [queries]."""
    right: Array = np.take_along_axis(true, np.argsort(-scores, axis=1)[:, :within], axis=1)
    return np.array(right.any(axis=1))


def _pictures(clip: "Clip", specs: list[CoverSpec]) -> Array:
    return clip.encode_images([cover_jpeg(spec) for spec in specs])


def _recall(scores: Array, true: Array, within: int) -> float:
    return float(found(scores, true, within).mean())


def _pair_recall(clip: "Clip", rng: random.Random) -> float:
    """Recall@10 from caption to cover where ground and thing have the same two colours on every cover."""
    like = random_spec(rng, held_out=True)
    gallery = [like]
    while len(gallery) < PAIR_GALLERY:
        other = random_spec(rng)
        spec = replace(other, background=like.background, object_colour=like.object_colour)
        if spec.companion_colour != spec.background and (spec.scene != "night" or other.background == like.background):
            gallery.append(spec)
    claims = [full_claim(spec) for spec in gallery if is_held_out(spec)]
    scores = clip.encode_texts([caption(claim, rng) for claim in claims]) @ _pictures(clip, gallery).T
    return _recall(scores, truth(claims, gallery), 10)


if __name__ == "__main__":
    from book_search.clip.model import load_clip

    parser = argparse.ArgumentParser(description="Measure what the tiny CLIP knows, on combinations it never saw.")
    parser.add_argument("model", nargs="?", type=Path, default=TINY_CLIP)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name, figure in asdict(measure(load_clip(str(given.model)), given.seed)).items():
        print(f"{name:<28} {figure:.3f}")
