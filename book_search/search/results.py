"""What an answer holds, and how it is shown: as JSON, or as a table in a terminal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from book_search.search.fit import FITS

if TYPE_CHECKING:
    from rich.table import Table


SHOWN_FACETS = ("colour", "object")  # in a table; all are in the JSON


@dataclass(frozen=True)
class Hit:
    """A book that was found: one a work, shown by its edition whose cover fits best.

    Attributes:
        cover_url: where the cover's picture came from.
        tags: what CLIP saw on the cover, by facet.
        cosine: of the cover's vector and the query's, -1 to 1; None for a book without either.
        vector_rank: the work's place among the covers, from 1; None beyond those looked at.
        words_rank: the work's place among those with the words, from 1; None without them.
        score: the sum of 1 / (60 + rank) over both ranks, by which hits are ordered.
        strength: how far the cosine lies above the collection's background for this query: see `Background`.
        fit: the probability, by CLIP's own temperature, that the cover goes with the query's texts and not just with
            any caption of a cover: see `Fit`. None for a query without texts.
        notable: whether the fit is `FITS` or more, or, without texts, whether the strength is above what the best of
            so many covers reaches by chance.
    """

    edition_key: str
    work_key: str | None
    title: str
    subtitle: str | None
    authors: tuple[str, ...]
    publish_year: int | None
    pages: int | None
    publisher: str | None
    isbn13: str | None
    cover_id: int | None
    cover_url: str | None
    tags: Mapping[str, str]
    cosine: float | None
    vector_rank: int | None
    words_rank: int | None
    score: float
    strength: float | None
    fit: float | None
    notable: bool


@dataclass(frozen=True)
class Results:
    """The answer to a query.

    Attributes:
        hits: best first.
        verdict: `good match` (a hit is notable, or has the words), `no good match`, `by words alone`, `too few covers
            to say how good`, or `nothing found`.
        model: the model whose vectors were compared.
        bar: the strength above which a hit is notable; None without a vector.
        background: covers that the strengths were measured against.
        seconds: by part: `encode`, `search`.
    """

    hits: tuple[Hit, ...]
    verdict: str
    model: str
    bar: float | None = None
    background: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The answer in the types of JSON."""
        answer = asdict(self)
        return answer | {"hits": [hit | {"authors": list(hit["authors"])} for hit in answer["hits"]]}

    def as_table(self, title: str | None = None) -> "Table":
        """The answer as a table of `rich`, for a terminal."""
        from rich.table import Table

        table = Table(title=title, caption=self._caption(), title_justify="left", caption_justify="left")
        table.add_column("", justify="right")
        table.add_column("title", ratio=3)
        table.add_column("authors", ratio=2)
        table.add_column("year", justify="right")
        table.add_column("edition", no_wrap=True)
        for name in ("cosine", "strength", "fit"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("cover shows", no_wrap=True)
        table.add_column("found by", no_wrap=True)
        for place, hit in enumerate(self.hits, 1):
            table.add_row(
                str(place),
                hit.title,
                ", ".join(hit.authors),
                str(hit.publish_year or ""),
                hit.edition_key,
                "" if hit.cosine is None else f"{hit.cosine:.3f}",
                "" if hit.strength is None else f"{hit.strength:+.1f}",
                ("" if hit.fit is None else f"{hit.fit:.2f}") + ("" if hit.notable or hit.cosine is None else " ·"),
                ", ".join(hit.tags[facet] for facet in SHOWN_FACETS if facet in hit.tags),
                _found_by(hit),
            )
        return table

    def _caption(self) -> str:
        if any(hit.fit is not None for hit in self.hits):
            return f"{self.verdict}; fit is CLIP's own choice between the text and just any cover (· under {FITS})"
        if self.bar is not None:
            return (
                f"{self.verdict}; strength is measured on {self.background:,} covers drawn at random, "
                f"and above {self.bar:.1f} it is more than chance (· is not)"
            )
        return self.verdict


def _found_by(hit: Hit) -> str:
    by = []
    if hit.vector_rank is not None:
        by.append(f"cover {hit.vector_rank}")
    if hit.words_rank is not None:
        by.append(f"words {hit.words_rank}")
    return ", ".join(by)
