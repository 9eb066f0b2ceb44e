"""Fit: CLIP's own choice between the query's text and a caption of any cover."""

import numpy as np
import pytest

from book_search.clip.encoder import Clip
from book_search.search.fit import FITS, Fit, fit_to_texts
from book_search.search.query import Kind, Part

SHIP, ANY = np.eye(2, dtype=np.float32)


def test_a_picture_goes_with_the_text_that_it_is_nearer_to() -> None:
    pictures = np.array([SHIP, ANY, (SHIP + ANY) / np.sqrt(2)])

    fits = Fit(SHIP, ANY, scale=20).of(pictures)

    assert fits[0] > FITS
    assert fits[1] < 1 - FITS
    assert fits[2] == pytest.approx(0.5)


def test_the_temperature_decides_how_much_a_difference_says() -> None:
    picture = np.array([[0.8, 0.6]], np.float32)
    warm, cold = (Fit(SHIP, ANY, scale).of(picture)[0] for scale in (1.0, 100.0))
    assert 0.5 < warm < 0.6 < 0.99 < cold


def test_only_texts_that_say_what_is_wanted_are_a_choice(clip: Clip) -> None:
    vectors = clip.encode_texts(["a ship", "snow"])
    assert fit_to_texts(clip, [Part(Kind.LIKE, "OL1M", 1.0), Part(Kind.AVOID, "snow", -0.5)], vectors) is None

    fit = fit_to_texts(clip, [Part(Kind.TEXT, "a ship", 1.0), Part(Kind.AVOID, "snow", -0.5)], vectors)

    assert fit is not None
    np.testing.assert_allclose(fit.text, vectors[0], atol=1e-6)
    assert fit.scale == clip.logit_scale
