"""Small pictures of numbers as SVG: histograms and lines over time. Knows pixels, nothing of what the numbers mean.

They are shown as data URIs in Dagster's Markdown, which takes no scripts and no styles from outside; a white ground
keeps them readable in its dark theme.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar
from xml.sax.saxutils import escape

import numpy as np

T = TypeVar("T")

BINS = 25
MOST_POINTS = 60  # of a line: a picture lies in a row of Dagster's event log, and older ones are there already
INK, PALE, BLUE = "#444", "#ccc", "#6a9fd4"
LEFT, WIDTH, HEIGHT, GAP = 60, 560, 70, 34  # pixels: margin, a plot's width and height, room for its title and axis


def histograms(values: Mapping[str, Sequence[float] | np.ndarray], low: float = 0.0, high: float = 1.0) -> str:
    """A histogram a name, one below the other, all on the same axis from `low` to `high`; SVG.

    Args:
        values: numbers by what they are; each plot's highest bar fills its height. Numbers outside the axis are
            counted in its first or last bar.

    Raises:
        ValueError: `low` is not below `high`.
    """
    if not low < high:
        raise ValueError(f"an axis goes from a lower number to a higher one, not from {low} to {high}")
    rows = [_histogram(top, name, np.asarray(numbers, float), low, high) for top, name, numbers in _placed(values)]
    return _svg(rows, len(values))


def lines(series: Mapping[str, Sequence[tuple[str, float]]], bounds: tuple[float, float] | None = None) -> str:
    """A line a name, one below the other: (what stands under the point, such as a date; the number); SVG.

    Of long ones the last MOST_POINTS points are shown.

    Args:
        bounds: the lower and the upper end of every line's axis, such as 0 and 1 for shares, so that small changes
            look small; default each line's own smallest and greatest number.
    """
    rows = [_line(top, name, points[-MOST_POINTS:], bounds) for top, name, points in _placed(series)]
    return _svg(rows, len(series))


def data_uri(svg: str) -> str:
    """The picture as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _placed(rows: Mapping[str, T]) -> Iterable[tuple[int, str, T]]:
    return ((GAP + place * (HEIGHT + GAP), name, row) for place, (name, row) in enumerate(rows.items()))


def _histogram(top: int, name: str, numbers: np.ndarray, low: float, high: float) -> str:
    counted, _ = np.histogram(np.clip(numbers, low, high), bins=BINS, range=(low, high))
    bar = WIDTH / BINS
    tallest = max(int(counted.max()), 1)
    bars = [
        f'<rect x="{LEFT + place * bar + 0.5:.1f}" y="{top + HEIGHT - tall:.1f}" width="{bar - 1:.1f}" '
        f'height="{tall:.1f}" fill="{BLUE}"/>'
        for place, count in enumerate(counted)
        if (tall := HEIGHT * int(count) / tallest)
    ]
    told = f"{name}: {numbers.size:,}, median {np.median(numbers):.2f}" if numbers.size else f"{name}: none"
    parts = [
        _text(LEFT, top - 6, told),
        *bars,
        _axis(top),
        _text(LEFT - 6, top + 10, f"{tallest:,}", "end"),
        _text(LEFT, top + HEIGHT + 13, f"{low:g}"),
        _text(LEFT + WIDTH, top + HEIGHT + 13, f"{high:g}", "end"),
    ]
    return "".join(parts)


def _line(top: int, name: str, points: Sequence[tuple[str, float]], bounds: tuple[float, float] | None) -> str:
    if not points:
        return _text(LEFT, top - 6, f"{name}: none")
    numbers = [number for _, number in points]
    low, high = bounds or (min(numbers), max(numbers))
    span = high - low or 1.0
    step = WIDTH / max(len(points) - 1, 1)
    places = [
        (LEFT + place * step, top + HEIGHT * (1 - (number - low) / span if high > low else 0.5))
        for place, number in enumerate(numbers)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{BLUE}"/>' for x, y in places]
    extent = [_text(LEFT - 6, top + 10, _short(high), "end")]
    if high > low:
        extent.append(_text(LEFT - 6, top + HEIGHT, _short(low), "end"))
    return "".join(
        [
            _text(LEFT, top - 6, f"{name}: {_short(numbers[-1])}"),
            _axis(top),
            f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>',
            *dots,
            *extent,
            _text(LEFT, top + HEIGHT + 13, points[0][0]),
            *([_text(LEFT + WIDTH, top + HEIGHT + 13, points[-1][0], "end")] if len(points) > 1 else []),
        ]
    )


def _axis(top: int) -> str:
    return f'<path d="M{LEFT} {top + HEIGHT}h{WIDTH}" stroke="{PALE}"/>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def _short(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.4g}"


def _svg(rows: Sequence[str], count: int) -> str:
    width, height = LEFT + WIDTH + 14, GAP + count * (HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(rows)}</svg>'
    )
