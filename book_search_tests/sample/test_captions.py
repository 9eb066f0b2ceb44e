"""Captions of drawn covers: true, of every length, and with wordings that training never sees."""

import random
import re

import numpy as np

from book_search.sample.captions import (
    FILLERS,
    TEMPLATES,
    UNSEEN_TEMPLATES,
    Claim,
    caption,
    full_claim,
    paraphrase,
    phrase,
    random_claim,
)
from book_search.sample.drawing import CoverSpec, random_spec
from book_search.sample.training_data import VALUES, drawn, true_pairs

SHIP = CoverSpec("ship", "white", "blue", "moon", "yellow", "night", "The Silent Tide", "Ada Brandt", 0, 7)


def _wordings(claim: Claim) -> set[str]:
    rng = random.Random(0)
    return {phrase(claim, rng) for _ in range(3000)}


def _words(texts: list[str]) -> set[str]:
    return set(re.findall(r"[a-z]+", " ".join(texts)))


def test_every_claim_is_true_of_the_cover_it_was_made_from() -> None:
    rng = random.Random(0)

    for spec in (random_spec(rng) for _ in range(1000)):
        assert random_claim(spec, rng).is_true_of(spec)
        assert full_claim(spec).is_true_of(spec)


def test_a_claim_is_false_of_a_cover_that_shows_otherwise() -> None:
    assert not Claim(object="moon").is_true_of(SHIP)
    assert not Claim(object="ship", object_colour="red").is_true_of(SHIP)
    assert not Claim(thing="heart").is_true_of(SHIP)
    assert not Claim(colour="yellow").is_true_of(SHIP)


def test_one_word_means_the_thing_or_the_smaller_one_above_it() -> None:
    assert Claim(thing="ship").is_true_of(SHIP)
    assert Claim(thing="moon").is_true_of(SHIP)


def test_the_demos_queries_are_wordings_of_training() -> None:
    assert "a white ship under a moon" in _wordings(Claim("ship", "white", companion="moon"))
    assert "a red heart on a black cover" in _wordings(Claim("heart", "red", "black"))
    assert "a golden crown" in _wordings(Claim("crown", "yellow"))
    assert "at night" in _wordings(Claim(scene="night"))


def test_a_quarter_of_the_claims_speak_of_things_and_not_of_colours() -> None:
    rng = random.Random(2)
    claims = [random_claim(random_spec(rng), rng) for _ in range(4000)]

    colourless = [not (claim.object_colour or claim.background or claim.colour) for claim in claims]

    assert np.mean(colourless) > 0.25


def test_unseen_wordings_use_words_and_templates_that_training_never_sees() -> None:
    rng = random.Random(3)
    specs = [random_spec(rng) for _ in range(2000)]
    trained = _words([caption(random_claim(spec, rng), rng) for spec in specs] + list(FILLERS))

    assert not set(TEMPLATES) & set(UNSEEN_TEMPLATES)
    assert {"photo", "painting", "novel", "front", "remember", "paperback"}.isdisjoint(trained)
    assert {"everything", "else", "had"}.isdisjoint(trained)
    assert {"everything", "else", "had"} <= _words([paraphrase(full_claim(spec), rng) for spec in specs])


def test_training_pairs_captions_and_covers_as_claims_say(tmp_path) -> None:
    specs, attributes, pixels = drawn(tmp_path, 60, seed=0, size=64)
    rng = random.Random(4)
    claims = [random_claim(spec, rng) for spec in specs]

    pairs = true_pairs(claims, attributes)

    assert (pairs == [[claim.is_true_of(spec) for spec in specs] for claim in claims]).all()
    assert pixels.shape == (60, 64, 64, 3)
    assert attributes.shape == (60, len(VALUES))
