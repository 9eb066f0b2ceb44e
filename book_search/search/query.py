"""What can be asked: a weighted mix of texts, pictures, known books and things to avoid, and filters.

Knows the form of a question; nothing of vectors or the database.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Value = TypeVar("Value", str, bytes)

AVOID_WEIGHT = 0.5  # what is avoided pulls half as hard as what is wanted: it steers, it does not decide
EDITION_KEY = re.compile(r"(?:/?books/)?(OL\d+M)", re.IGNORECASE)
WEIGHT = re.compile(r"(?P<value>.*\S)\s*\^(?P<weight>\d+(?:\.\d+)?|\.\d+)")


class Kind(Enum):
    """What a part of a query is."""

    TEXT = "text"
    IMAGE = "image"
    LIKE = "like"
    AVOID = "avoid"


@dataclass(frozen=True)
class Weighted(Generic[Value]):
    """A part of a query that counts more or less than the others; plain values count 1."""

    value: Value
    weight: float = 1.0


@dataclass(frozen=True)
class Part:
    """One part of a query, ready to become a vector. What is avoided has a negative weight."""

    kind: Kind
    value: str | bytes
    weight: float


@dataclass(frozen=True)
class Query:
    """What is asked for: any mix of these, each a plain value or a `Weighted` one.

    Attributes:
        texts: what the cover shows, in a few words: "a white ship under a moon".
        images: pictures, as bytes of a file: covers that look like these.
        likes: edition keys: covers that look like these books' covers.
        avoids: what the cover should not show, in a few words.
        words: words to be found in title, authors, subjects and description, as a web search takes them
            ("..." for a phrase, `or`, `-` for words that must not be there).

    Raises:
        ValueError: nothing is asked, a part is empty, a weight is not above 0, or a key is no edition key.
    """

    texts: Sequence[str | Weighted[str]] = ()
    images: Sequence[bytes | Weighted[bytes]] = ()
    likes: Sequence[str | Weighted[str]] = ()
    avoids: Sequence[str | Weighted[str]] = ()
    words: str | None = None

    def __post_init__(self) -> None:
        for name in ("texts", "images", "likes", "avoids"):
            if isinstance(getattr(self, name), str | bytes):
                raise ValueError(f"{name} is a list of values, not one value")  # noqa: TRY004 - a wrong question
        parts = self.parts()
        if not self.has_words and not any(part.kind is not Kind.AVOID for part in parts):
            raise ValueError("nothing is asked for: give a text, a picture, a book to be like, or words")

    @property
    def has_words(self) -> bool:
        """Whether words are to be found."""
        return bool(self.words and self.words.strip())

    def parts(self) -> list[Part]:
        """What is to become the query's vector, with weights; those of things to avoid are negative."""
        found: list[Part] = []
        for kind, values in (
            (Kind.TEXT, self.texts),
            (Kind.IMAGE, self.images),
            (Kind.LIKE, self.likes),
            (Kind.AVOID, self.avoids),
        ):
            for each in values:
                value, weight = (each.value, each.weight) if isinstance(each, Weighted) else (each, 1.0)
                found.append(_part(kind, value, weight))
        return found


@dataclass(frozen=True)
class Filters:
    """What a book must fulfil to be found; None and an empty tuple ask nothing.

    Attributes:
        year_from, year_to: of publication, both included.
        pages_from, pages_to: both included.
        author, publisher, subject: words in this order, case and accents aside.
        tags: what CLIP saw on the cover, each `facet:tag` such as `colour:blue`; all must hold.

    Raises:
        ValueError: a span ends before it begins, or a tag is not written `facet:tag`.
    """

    year_from: int | None = None
    year_to: int | None = None
    pages_from: int | None = None
    pages_to: int | None = None
    author: str | None = None
    publisher: str | None = None
    subject: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, first, last in (
            ("years", self.year_from, self.year_to),
            ("pages", self.pages_from, self.pages_to),
        ):
            if first is not None and last is not None and first > last:
                raise ValueError(f"no book has {what} from {first} to {last}")
        for tag in self.tags:
            facet, colon, name = tag.partition(":")
            if not (facet and colon and name):
                raise ValueError(f"a tag is written facet:tag, such as colour:blue, not {tag!r}")


def parse_weighted(text: str) -> Weighted[str]:
    """A text that may end in its weight: `a moon^0.5` counts half. Raises ValueError for an empty one."""
    found = WEIGHT.fullmatch(text.strip())
    value, weight = (found["value"], float(found["weight"])) if found else (text.strip(), 1.0)
    _part(Kind.TEXT, value, weight)
    return Weighted(value, weight)


def parse_edition_key(text: str) -> str:
    """`OL123M`, from that or `/books/OL123M` or `ol123m`. Raises ValueError for anything else."""
    found = EDITION_KEY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no edition key of Open Library; one looks like OL123M")
    return found[1].upper()


def _part(kind: Kind, value: str | bytes, weight: float) -> Part:
    if not 0 < weight < float("inf"):
        raise ValueError(f"a weight is a number above 0, not {weight}")
    if not value or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"an empty {kind.value} says nothing")
    if kind is Kind.AVOID:
        return Part(kind, value, -weight * AVOID_WEIGHT)
    if kind is Kind.LIKE and isinstance(value, str):
        return Part(kind, parse_edition_key(value), weight)
    return Part(kind, value, weight)
