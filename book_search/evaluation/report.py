"""How measures are shown: as numbers by name, as a Markdown table, and as a picture of their intervals."""

import base64
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from book_search.evaluation.measure import Measure

ROW, NAMES, SCALE, EDGE = 26, 190, 400, 14  # pixels: height of a row, widths of the names and of 0 to 1, margin


@dataclass(frozen=True)
class RelevanceReport:
    """What was measured of the search.

    Attributes:
        model: the model whose vectors are searched.
        covers, books: how many there are.
        measures: in the order in which they were taken.
        seconds: that it took.
    """

    model: str
    covers: int
    books: int
    measures: tuple[Measure, ...]
    seconds: float

    def as_metadata(self) -> dict[str, Any]:
        """The figures by name, one number each, for a log or the Dagster UI's plots over time."""
        figures = {each.name: round(each.value, 4) for each in self.measures}
        return {
            "model": self.model,
            "covers": self.covers,
            "books": self.books,
            **figures,
            "seconds": round(self.seconds, 2),
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, in the types of JSON."""
        return vars(self) | {"measures": [vars(each) for each in self.measures]}

    def as_markdown(self) -> str:
        """A table, with each figure's interval."""
        lines = ["| measure | value | 95% interval | n | |", "|---|---|---|---|---|"]
        lines += [
            f"| {each.name} | {each.value:.3f} | {each.low:.3f} to {each.high:.3f} | {each.n:,} | {each.says} |"
            for each in self.measures
        ]
        return "\n".join(lines)

    def as_svg(self) -> str:
        """The figures as bars from 0 to 1, with a line for each interval."""
        width, height = NAMES + SCALE + 70, ROW * len(self.measures) + 2 * EDGE
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="12" fill="#444">'
        ]
        for row, each in enumerate(self.measures):
            top, middle = EDGE + row * ROW, EDGE + row * ROW + ROW / 2
            low, high, bar = NAMES + SCALE * each.low, NAMES + SCALE * each.high, SCALE * each.value
            parts += [
                f'<text x="{NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(each.name)}</text>',
                f'<rect x="{NAMES}" y="{top + 5}" width="{SCALE}" height="{ROW - 10}" fill="#eee"/>',
                f'<rect x="{NAMES}" y="{top + 5}" width="{bar:.1f}" height="{ROW - 10}" fill="#6a9fd4"/>',
                f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222" stroke-width="2"/>',
                f'<text x="{NAMES + SCALE + 8}" y="{middle + 4}">{each.value:.3f}</text>',
            ]
        return "".join([*parts, "</svg>"])

    def as_markdown_with_plot(self) -> str:
        """The table below its picture; the picture is a data URI, so that nothing has to be served beside it."""
        picture = base64.b64encode(self.as_svg().encode()).decode()
        return f"![figures](data:image/svg+xml;base64,{picture})\n\n{self.as_markdown()}"
