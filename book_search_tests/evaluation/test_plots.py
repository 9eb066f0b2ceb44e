"""Plots are small SVG pictures that say what the numbers are."""

import base64
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from book_search.evaluation.plots import HEIGHT, MOST_POINTS, data_uri, histograms, lines

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg: str, what: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f"{SVG}{what}")


def words(svg: str) -> list[str]:
    return [each.text or "" for each in drawn(svg, "text")]


def bars(svg: str) -> list[ElementTree.Element]:
    """The bars of histograms, without the white ground."""
    return drawn(svg, "rect")[1:]


def test_a_histogram_has_a_bar_wherever_there_are_numbers() -> None:
    svg = histograms({"colour": [0.05, 0.051, 0.95]})
    assert [float(bar.get("height", "")) for bar in bars(svg)] == [HEIGHT, HEIGHT / 2]
    assert "colour: 3, median 0.05" in words(svg)


def test_numbers_beyond_the_axis_are_counted_at_its_ends() -> None:
    assert len(bars(histograms({"x": [-3.0, 0.5, 7.0]}))) == 3


def test_many_histograms_stand_one_below_the_other() -> None:
    svg = histograms({"one": np.full(5, 0.5), "two": np.full(5, 0.5)})
    assert len({bar.get("y") for bar in bars(svg)}) == 2


def test_a_histogram_of_nothing_says_so() -> None:
    assert "mood: none" in words(histograms({"mood": []}))


def test_an_axis_that_goes_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="lower number to a higher"):
        histograms({"x": [1.0]}, 1.0, 1.0)


def test_a_line_goes_up_where_numbers_do() -> None:
    svg = lines({"books": [("2026-09-30", 10.0), ("2026-10-31", 30.0), ("2026-11-30", 20.0)]})
    (line,) = drawn(svg, "polyline")
    heights = [float(point.split(",")[1]) for point in (line.get("points") or "").split()]
    assert heights[1] < heights[2] < heights[0]  # y counts downwards
    assert {"books: 20", "2026-09-30", "2026-11-30"} <= set(words(svg))


def test_shares_are_drawn_on_the_axis_of_all_shares() -> None:
    (line,) = drawn(lines({"recall": [("a", 1.0), ("b", 0.99)]}, bounds=(0.0, 1.0)), "polyline")
    first, second = (float(point.split(",")[1]) for point in (line.get("points") or "").split())
    assert second - first == pytest.approx(HEIGHT / 100)


def test_of_a_long_line_the_last_points_are_drawn() -> None:
    svg = lines({"x": [(str(place), float(place)) for place in range(1000)]})
    assert len(drawn(svg, "circle")) == MOST_POINTS
    assert "999" in words(svg)


@pytest.mark.parametrize("points", [[], [("now", 1.0)], [("a", 2.0), ("b", 2.0)]])
def test_a_line_of_few_or_equal_points_can_be_drawn(points: list[tuple[str, float]]) -> None:
    assert len(drawn(lines({"x": points}), "circle")) == len(points)


def test_a_name_cannot_break_the_picture() -> None:
    assert words(lines({"<b>&": []})) == ["<b>&: none"]


def test_a_picture_travels_in_its_address() -> None:
    svg = lines({"x": [("a", 1.0)]})
    head, body = data_uri(svg).split(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == svg
