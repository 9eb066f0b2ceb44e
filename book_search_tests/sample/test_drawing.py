"""Drawn covers: the same each time, and showing in the middle square what captions speak of."""

import io
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from book_search.sample.drawing import LETTERINGS, CoverSpec, cover_jpeg, draw_cover, is_held_out, random_spec
from book_search.sample.vocabulary import COLOURS, OBJECTS

SHIP = CoverSpec("ship", "white", "blue", "moon", "yellow", "night", "The Silent Tide", "Ada Brandt", 0, 7)


def _rows(spec: CoverSpec) -> tuple[np.ndarray, np.ndarray]:
    """The cover's middle square, and what lies above and below it."""
    pixels = np.asarray(draw_cover(spec))
    sixth = len(pixels) // 6
    return pixels[sixth:-sixth], np.concatenate([pixels[:sixth], pixels[-sixth:]])


def test_a_cover_is_the_same_file_each_time_it_is_drawn() -> None:
    assert cover_jpeg(SHIP) == cover_jpeg(SHIP)


def test_a_cover_is_a_jpeg_of_the_size_that_was_asked_for() -> None:
    with Image.open(io.BytesIO(cover_jpeg(SHIP, (180, 270)))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (180, 270))


def test_another_seed_is_another_drawing() -> None:
    assert cover_jpeg(SHIP) != cover_jpeg(replace(SHIP, seed=8))


@pytest.mark.parametrize("lettering", range(len(LETTERINGS)))
def test_title_author_and_lettering_never_reach_the_middle_square(lettering: int) -> None:
    relettered = replace(SHIP, title="The Unfinished Kingdom", author="Keiko Nakagawa", lettering=lettering)

    assert (_rows(SHIP)[0] == _rows(relettered)[0]).all()
    assert (_rows(SHIP)[1] != _rows(relettered)[1]).any()


@pytest.mark.parametrize("name", list(OBJECTS))
def test_the_thing_lies_within_the_middle_square(name: str) -> None:
    for seed in range(6):
        white = replace(SHIP, object=name, scene="plain", companion=None, companion_colour=None, seed=seed)
        red = replace(white, object_colour="red")

        assert (_rows(white)[1] == _rows(red)[1]).all(), f"seed {seed} draws the {name} outside"
        assert (_rows(white)[0] != _rows(red)[0]).any(axis=2).mean() > 0.02, f"the {name} can hardly be seen"


def test_about_one_combination_in_seven_is_held_out_and_its_hash_never_changes() -> None:
    combinations = [
        replace(SHIP, object=name, object_colour=colour, background=ground)
        for name in OBJECTS
        for colour in COLOURS
        for ground in COLOURS
        if colour != ground
    ]

    assert 0.11 < np.mean([is_held_out(spec) for spec in combinations]) < 0.17
    held_out = [number for number in range(60) if is_held_out(combinations[number])]
    assert held_out == [3, 10, 26, 28, 36, 37, 42, 51, 54, 59]


def test_a_cover_drawn_for_training_is_never_of_a_held_out_combination() -> None:
    rng = random.Random(0)

    assert not any(is_held_out(random_spec(rng, held_out=False)) for _ in range(3000))
    assert all(is_held_out(random_spec(rng, held_out=True)) for _ in range(100))


def test_colours_differ_where_they_meet() -> None:
    rng = random.Random(1)

    for spec in (random_spec(rng) for _ in range(1000)):
        assert spec.background not in (spec.object_colour, spec.companion_colour)
        assert spec.companion != spec.object
