"""Templates of made-up Open Library records: what a line of a dump holds, with places left for its keys.

Knows how often each field stands in real lines and how long it is; not how dumps are written (`generate_dumps`).
Shares are those of a 1% sample of the dump of 2022 where one is known (language, pages, subjects, covers, description),
else those of the 1,153 editions, 1,066 works and 1,169 authors of `shared/openlibrary`.
"""

import json
import random
from itertools import accumulate
from typing import Any

ACCENTED = 500  # one word in so many; written as an escape, as every letter beyond ASCII is in the dumps
EDITION, WORK, AUTHOR, OTHER_AUTHOR, STAMP = "<edition>", "<work>", "<author>", "<author2>", "<stamp>"
MARKS = (EDITION, WORK, AUTHOR, OTHER_AUTHOR, STAMP)
LANGUAGES = (("eng", 58), ("", 14), ("fre", 5), ("ger", 5), ("spa", 5), ("rus", 3), ("ita", 2), ("chi", 2), ("jpn", 2))
SUBJECTS = (
    "History", "Biography", "Politics and government", "Law and legislation", "Social conditions", "Fiction",
    "Fiction, general", "Nonfiction", "Juvenile fiction", "English fiction", "Fiction, romance, general", "Children's",
    "History and criticism", "Detective and mystery stories", "Science", "Study and teaching", "Poetry", "Religion",
)  # fmt: skip
FORMS = ("Paperback", "Hardcover", "Unknown Binding", "Library Binding", "Mass Market Paperback", "electronic resource")
DATES = (
    "{year}", "June {year}", "{month} {day}, {year}", "{year}-06-01", "{year}0601", "c{year}", "[{year}]", "{year}?",
)  # fmt: skip
ODD_DATES = ("19uu", "190u", "[n.d.]", "8858", "9999", "")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November")


class Writer:
    """Draws records from a seed; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        starts = ("b", "br", "c", "d", "f", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w")
        middles = ("a", "e", "i", "o", "u", "ea", "ou")
        ends = ("n", "r", "s", "nd", "ng", "l", "t", "ck", "m", "")
        syllables = [a + b + c for a in starts for b in middles for c in ends]
        self._words = [
            "".join(self._random.choices(syllables, k=self._random.choice((1, 2, 2, 3)))) for _ in range(30_000)
        ]
        for place in range(0, len(self._words), ACCENTED):
            self._words[place] = self._words[place].replace("e", "\xe9")
        self._shares = list(accumulate(1 / (rank + 10) for rank in range(len(self._words))))

    def edition(self) -> str:
        """A line of the editions dump, with marks for its keys and the time of its last change."""
        record: dict[str, Any] = {
            "type": {"key": "/type/edition"},
            "title": self._title(),
            "key": f"/books/{EDITION}",
            "revision": self._random.randint(1, 12),
            "last_modified": {"type": "/type/datetime", "value": STAMP},
        }
        language = self._random.choices([name for name, _ in LANGUAGES], [share for _, share in LANGUAGES])[0]
        if language:
            record["languages"] = [{"key": f"/languages/{language}"}]
        self._maybe(record, 0.98, "publishers", lambda: [self._name("Press")])
        self._maybe(record, 0.98, "publish_date", self._date)
        self._maybe(record, 0.60, "isbn_10", lambda: [self._digits(10)])
        self._maybe(record, 0.65, "isbn_13", lambda: ["978" + self._digits(10)])
        self._maybe(record, 0.88, "latest_revision", lambda: record["revision"])
        self._maybe(record, 0.50, "physical_format", lambda: self._random.choice(FORMS))
        self._maybe(record, 0.97, "works", lambda: [{"key": f"/works/{WORK}"}])
        self._maybe(record, 0.74, "authors", self._edition_authors)
        self._maybe(record, 0.69, "created", lambda: {"type": "/type/datetime", "value": STAMP})
        self._maybe(record, 0.60, "subjects", self._subjects)
        self._maybe(record, 0.72, "number_of_pages", lambda: self._random.choice((64, 180, 243, 320, 512)))
        self._maybe(record, 0.38, "identifiers", lambda: {"goodreads": [self._digits(7)]})
        self._maybe(record, 0.34, "oclc_numbers", lambda: [self._digits(8)])
        self._maybe(record, 0.30, "subtitle", lambda: self._text(7))
        self._maybe(record, 0.33, "covers", self._covers)
        self._maybe(record, 0.60, "source_records", self._sources)
        self._maybe(record, 0.20, "edition_name", lambda: f"{self._random.randint(1, 9)}th ed.")
        self._maybe(record, 0.16, "publish_country", lambda: self._random.choice(("nyu", "enk", "fr ", "gw ")))
        self._maybe(record, 0.30, "pagination", lambda: f"xii, {self._random.randint(40, 900)} p.")
        self._maybe(record, 0.30, "publish_places", lambda: [self._word().title()])
        self._maybe(record, 0.25, "lc_classifications", lambda: [f"PS{self._digits(4)} {self._year()}"])
        self._maybe(record, 0.20, "lccn", lambda: [self._digits(8)])
        self._maybe(record, 0.20, "by_statement", lambda: self._text(6))
        self._maybe(record, 0.20, "notes", lambda: {"type": "/type/text", "value": self._text(14)})
        self._maybe(record, 0.15, "dewey_decimal_class", lambda: [f"{self._digits(3)}/.{self._digits(2)}"])
        self._maybe(record, 0.10, "contributions", lambda: [self._name("editor")])
        self._maybe(record, 0.15, "local_id", lambda: [f"urn:bwbsku:{self._digits(3)}-ABC-{self._digits(3)}"])
        self._maybe(record, 0.04, "description", lambda: {"type": "/type/text", "value": self._text(60)})
        self._maybe(record, 0.02, "table_of_contents", self._contents)
        return self._line("edition", f"/books/{EDITION}", record)

    def work(self) -> str:
        """A line of the works dump."""
        record: dict[str, Any] = {
            "type": {"key": "/type/work"},
            "title": self._title(),
            "key": f"/works/{WORK}",
            "authors": [{"type": {"key": "/type/author_role"}, "author": {"key": f"/authors/{AUTHOR}"}}],
            "created": {"type": "/type/datetime", "value": STAMP},
            "latest_revision": 3,
            "revision": 3,
            "last_modified": {"type": "/type/datetime", "value": STAMP},
        }
        self._maybe(record, 0.28, "covers", self._covers)
        self._maybe(record, 0.45, "subjects", self._subjects)
        self._maybe(record, 0.11, "subject_places", lambda: [self._word().title()])
        self._maybe(record, 0.04, "subject_people", lambda: [self._name(self._word())])
        self._maybe(record, 0.04, "description", lambda: self._text(100))
        return self._line("work", f"/works/{WORK}", record)

    def author(self) -> str:
        """A line of the authors dump."""
        record: dict[str, Any] = {
            "type": {"key": "/type/author"},
            "name": self._name(self._word().title()),
            "key": f"/authors/{AUTHOR}",
            "revision": 1,
            "last_modified": {"type": "/type/datetime", "value": STAMP},
        }
        self._maybe(record, 0.83, "personal_name", lambda: record["name"])
        self._maybe(record, 0.28, "birth_date", lambda: str(self._random.randint(1800, 1990)))
        self._maybe(record, 0.20, "created", lambda: {"type": "/type/datetime", "value": STAMP})
        self._maybe(record, 0.02, "bio", lambda: {"type": "/type/text", "value": self._text(130)})
        return self._line("author", f"/authors/{AUTHOR}", record)

    def _line(self, kind: str, key: str, record: dict[str, Any]) -> str:
        fields = list(record.items())
        self._random.shuffle(fields)
        revision = record["revision"]
        return f"/type/{kind}\t{key}\t{revision}\t{STAMP}\t{json.dumps(dict(fields))}\n"

    def _maybe(self, record: dict[str, Any], share: float, field: str, value: Any) -> None:
        if self._random.random() < share:
            record[field] = value()

    def _word(self) -> str:
        return self._random.choices(self._words, cum_weights=self._shares)[0]

    def _text(self, words: int) -> str:
        return " ".join(
            self._random.choices(self._words, cum_weights=self._shares, k=self._random.randint(1, 2 * words))
        )

    def _title(self) -> str:
        return '"Quoted" ' + self._text(4) if self._random.random() < 0.02 else self._text(4).capitalize()

    def _name(self, last: str) -> str:
        return f"{self._word().title()} {last}"

    def _digits(self, count: int) -> str:
        return "".join(self._random.choices("0123456789", k=count))

    def _year(self) -> int:
        recent = self._random.random() < 0.3
        return self._random.randint(2012, 2026) if recent else self._random.randint(1890, 2011)

    def _date(self) -> str:
        if self._random.random() < 0.02:
            return self._random.choice(ODD_DATES)
        form = self._random.choices(DATES, (50, 15, 20, 5, 3, 3, 2, 2))[0]
        return form.format(year=self._year(), month=self._random.choice(MONTHS), day=self._random.randint(1, 28))

    def _covers(self) -> list[int | None]:
        odd: list[list[int | None]] = [[-1], [None], [None, 7]]
        if self._random.random() < 0.02:
            return self._random.choice(odd)
        return [self._random.randint(10_000, 15_500_000)]

    def _subjects(self) -> list[str]:
        count = self._random.choice((1, 1, 2, 3, 5))
        return [
            self._random.choice(SUBJECTS) if self._random.random() < 0.5 else self._text(2).capitalize()
            for _ in range(count)
        ]

    def _edition_authors(self) -> list[dict[str, str]]:
        names = (AUTHOR, OTHER_AUTHOR) if self._random.random() < 0.1 else (AUTHOR,)
        return [{"key": f"/authors/{name}"} for name in names]

    def _sources(self) -> list[str]:
        count = self._random.choice((1, 1, 2, 3))
        return [
            f"marc:marc_{self._word()}/part{self._digits(2)}.dat:{self._digits(8)}:{self._digits(3)}"
            for _ in range(count)
        ]

    def _contents(self) -> list[dict[str, object]]:
        return [
            {"title": self._text(4), "type": {"key": "/type/toc_item"}, "level": 0, "pagenum": str(page)}
            for page in range(10)
        ]
