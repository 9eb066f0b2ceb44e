"""Good match or not, on the tiny CLIP and drawn covers: the one model here whose words and pictures mean something."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from book_search.clip.encoder import Clip
from book_search.clip.model import load_clip
from book_search.clip.templates import text_vectors
from book_search.sample.demo import TINY_CLIP
from book_search.sample.drawing import cover_jpeg, random_spec
from book_search.sample.vocabulary import COLOURS, OBJECTS
from book_search.search.fit import FITS, fit_to_texts
from book_search.search.query import Kind, Part

NEVER_SEEN = (
    "a bicycle", "two elephants dancing", "quarterly earnings spreadsheet", "mathematics", "the periodic table",
    "a bowl of soup", "airport", "guitar", "a man with a hat", "dinosaur", "asdf qwerty", "a steam locomotive",
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Clip:
    return load_clip(str(TINY_CLIP))


@pytest.fixture(scope="module")
def pictures(tiny: Clip) -> np.ndarray:
    """The vectors of 300 covers at random, so that everything that is drawn is on some of them."""
    rng = random.Random("verdict")
    return tiny.encode_images([cover_jpeg(random_spec(rng), size=(120, 180)) for _ in range(300)])


def _share_of_good_matches(tiny: Clip, pictures: np.ndarray, texts: Sequence[str]) -> float:
    good = []
    for text in texts:
        fit = fit_to_texts(tiny, [Part(Kind.TEXT, text, 1.0)], text_vectors(tiny, [text]))
        assert fit is not None
        nearest = pictures[np.argsort(-(pictures @ fit.text))[:10]]
        good.append(bool((fit.of(nearest) >= FITS).any()))
    return float(np.mean(good))


def test_what_is_on_the_covers_is_a_good_match(tiny: Clip, pictures: np.ndarray) -> None:
    assert _share_of_good_matches(tiny, pictures, [*OBJECTS, *COLOURS]) >= 0.9


def test_words_that_the_model_never_saw_are_mostly_no_good_match(tiny: Clip, pictures: np.ndarray) -> None:
    assert _share_of_good_matches(tiny, pictures, NEVER_SEEN) <= 0.25
