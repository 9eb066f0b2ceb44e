"""A question as a browser asks it: the fields of a form or an address, and what they mean to the search.

Knows names of fields and their limits; nothing of HTTP, HTML or the database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from book_search.search.query import Filters, Query, parse_edition_key, parse_weighted

LIMIT, MOST = 24, 100  # hits: two, three, four and six columns of covers come out even; no page needs more
LONGEST = 1000  # characters of a field; CLIP reads some 300
MOST_VALUES = 10  # of a field that may be given again

REPEATED = ("q", "like", "avoid", "tag")
NUMBERS = ("year_from", "year_to", "pages_from", "pages_to")
WORDS = ("words", "author", "publisher", "subject")
FIELDS = (*REPEATED, *NUMBERS, *WORDS, "limit")


class TooLongError(ValueError):
    """A field holds more than anybody would ask."""


@dataclass(frozen=True)
class Question:
    """What was typed, field by field, without what was left empty. Its meaning is read by the methods.

    Attributes:
        fields: name and value, in the order given; a name may come again.
        images: pictures, as bytes of a file.
    """

    fields: tuple[tuple[str, str], ...] = ()
    images: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]], images: Iterable[bytes] = (), strict: bool = False) -> "Question":
        """The question in these fields and pictures; empty ones say nothing.

        Args:
            strict: whether a field that we do not know is an error: a program's misspelling, a page's past.

        Raises:
            ValueError: an unknown field, one with characters that no text has, or one given too often.
            TooLongError: a field above 1,000 characters.
        """
        kept: list[tuple[str, str]] = []
        for name, value in fields:
            if name not in FIELDS:
                if strict:
                    raise ValueError(f"there is no field {name!r}; there are {', '.join(FIELDS)}, and image")
                continue
            if len(value) > LONGEST:
                raise TooLongError(f"{name} is longer than {LONGEST} characters")
            if "\0" in value:
                raise ValueError(f"{name} holds a NUL character, which no text has")
            if value.strip():
                kept.append((name, value.strip()))
        for name in FIELDS:
            times = sum(name == each for each, _ in kept)
            if times > (MOST_VALUES if name in REPEATED else 1):
                raise ValueError(f"{name} is given {times} times")
        return cls(tuple(kept), tuple(image for image in images if image))

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for each, value in self.fields if each == name]

    def one(self, name: str) -> str | None:
        """The value of a field, if it has one."""
        return next(iter(self.all(name)), None)

    @property
    def asks(self) -> bool:
        """Whether anything is asked; filters alone ask nothing."""
        return bool(self.images or any(self.one(name) for name in ("q", "like", "avoid", "words")))

    @property
    def limit(self) -> int:
        """Hits wanted, 24 unless said. Raises ValueError beyond 1 to 100."""
        limit = self._number("limit")
        if limit is None:
            return LIMIT
        if not 1 <= limit <= MOST:
            raise ValueError(f"limit is 1 to {MOST}, not {limit}")
        return limit

    def query(self) -> Query:
        """What is asked for. Raises ValueError: see `Query`, `parse_weighted` and `parse_edition_key`."""
        return Query(
            texts=[parse_weighted(text) for text in self.all("q")],
            images=self.images,
            likes=[parse_weighted(key) for key in self.all("like")],
            avoids=[parse_weighted(text) for text in self.all("avoid")],
            words=self.one("words"),
        )

    def filters(self) -> Filters:
        """What each hit must fulfil. Raises ValueError: see `Filters`, or a number that is none."""
        return Filters(
            year_from=self._number("year_from"),
            year_to=self._number("year_to"),
            pages_from=self._number("pages_from"),
            pages_to=self._number("pages_to"),
            author=self.one("author"),
            publisher=self.one("publisher"),
            subject=self.one("subject"),
            tags=tuple(self.all("tag")),
        )

    def liked(self) -> list[str]:
        """The edition keys of the books to be like. Raises ValueError."""
        return [parse_edition_key(str(parse_weighted(key).value)) for key in self.all("like")]

    def address(self, without: Sequence[tuple[str, str]] = (), more: Sequence[tuple[str, str]] = ()) -> str:
        """The fields as the part of an address after `?`, without some and with others."""
        kept = [each for each in self.fields if each not in without]
        return urlencode([*kept, *(each for each in more if each not in kept)])

    def _number(self, name: str) -> int | None:
        value = self.one(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 6):
            raise ValueError(f"{name} is a whole number, not {value!r}")
        return int(value)
