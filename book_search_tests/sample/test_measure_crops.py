"""Which crop is best is measured, and comes out as a look at the covers leads one to expect."""

import pytest
import torch

from book_search.clip.model import CROPS, load_clip
from book_search.sample.demo import TINY_CLIP
from book_search.sample.measure_crops import CropFigure, measure_crops


@pytest.fixture(scope="module")
def figures() -> dict[tuple[str, str, str], CropFigure]:
    """The figures over few covers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    measured = measure_crops(load_clip(str(TINY_CLIP), device="cpu"), covers=60)
    torch.set_num_threads(threads)
    return {(figure.shape, figure.crop, figure.name): figure for figure in measured}


def test_every_crop_is_measured_on_every_shape_with_an_interval_round_its_difference(
    figures: dict[tuple[str, str, str], CropFigure],
) -> None:
    assert {crop for _, crop, _ in figures} == set(CROPS)
    assert {shape for shape, _, _ in figures} == {"squarish", "tall", "tall, moved"}
    for figure in figures.values():
        assert 0 <= figure.value <= 1
        assert figure.low <= figure.difference <= figure.high
        assert figure.crop != "as-trained" or figure.difference == 0


def test_the_centre_crop_is_best_where_all_lies_in_the_middle_and_two_crops_where_it_does_not(
    figures: dict[tuple[str, str, str], CropFigure],
) -> None:
    for name in ("object_precision", "another_drawing_recall_1", "object_top_1"):
        assert figures["tall", "two-crops", name].high < 0
        assert figures["tall, moved", "two-crops", name].low > 0


def test_padding_costs_this_model_the_things_more_than_the_colours(
    figures: dict[tuple[str, str, str], CropFigure],
) -> None:
    for shape in ("squarish", "tall", "tall, moved"):
        things, colours = (figures[shape, "pad", name] for name in ("object_top_1", "colour_top_1"))
        assert things.high < colours.low
