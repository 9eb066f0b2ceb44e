"""Dump records as Open Library publishes them, with the mess of the real ones: the same fact in many shapes.

Every shape here keeps its fact: a year stays that year, a page count that count. What spoils a record is in `library`.
"""

import json
import random
from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
PUBLISHERS = ("Lanternhouse", "Three Rivers Crossing", "Tidewater & Daughters", "Independently published", "Nightjar")
FORMATS = ("Paperback", "Hardcover", "Ebook", "paperback", "Mass Market Paperback")


def line(kind: str, record: Record) -> str:
    """A dump's line: type, key, revision, last_modified and the JSON, with tabs between (without the newline)."""
    modified = record["last_modified"]["value"]
    return "\t".join((f"/type/{kind}", record["key"], str(record["revision"]), modified, json.dumps(record)))


def with_history(kind: str, record: Mapping[str, Any], rng: random.Random) -> Record:
    """The record with what every one has: type, revision, created and last_modified."""
    revision = rng.randint(2, 12)
    return {
        **record,
        "type": {"key": f"/type/{kind}"},
        "latest_revision": revision,
        "revision": revision,
        "created": {"type": "/type/datetime", "value": _moment(rng, 2008, 2019)},
        "last_modified": {"type": "/type/datetime", "value": _moment(rng, 2020, 2026)},
    }


def older_revision(record: Mapping[str, Any], changes: Mapping[str, Any], rng: random.Random) -> Record:
    """An earlier state of a record: under the same key, with `changes`, lower in revision."""
    past = {**record, **changes, "revision": 1, "latest_revision": 1}
    return past | {"last_modified": {"type": "/type/datetime", "value": _moment(rng, 2009, 2019)}}


def date_of(year: int, rng: random.Random) -> str:
    """A publish_date that says `year`."""
    month, day = rng.randint(1, 12), rng.randint(1, 28)
    name = MONTHS[month - 1]
    return rng.choice(
        (
            f"{year}",
            f"{year}",
            f"{name} {year}",
            f"{name} {day}, {year}",
            f"{name[:3]} {day:02d}, {year}",
            f"{day} {name} {year}",
            f"{year}-{month:02d}-{day:02d}",
            f"{year}-{month:02d}",
            f"{year}{month:02d}{day:02d}",
            f"{month}/{day}/{year}",
            f"c{year}",
            f"[{year}]",
            f"{year}?",
            f"{year}.",
        )
    )


def no_year(rng: random.Random) -> str:
    """A publish_date that names no year that can be."""
    return rng.choice(("[n.d.]", "201u", "20--", "8858", "9999", "Unknown", "n.d."))


def pages_of(pages: int, rng: random.Random) -> Record:
    """The fields that say how many pages there are."""
    shapes: tuple[Record, ...] = (
        {"number_of_pages": pages},
        {"number_of_pages": pages, "pagination": f"{pages} p. ;"},
        {"number_of_pages": str(pages)},
        {"number_of_pages": f"{pages} p."},
        {"number_of_pages": float(pages)},
        {"pagination": f"xii, {pages} p. :"},
        {"pagination": f"{pages} pages"},
    )
    return rng.choices(shapes, weights=(8, 3, 1, 1, 1, 2, 2))[0]


def no_pages(rng: random.Random) -> Record:
    """Fields that look as if they said how many pages there are."""
    return rng.choice(({}, {"pagination": "p. cm."}, {"pagination": "1 v. (unpaged) :"}, {"pagination": "23 cm."}))


def covers_of(cover_id: int, rng: random.Random) -> list[int | None]:
    """A covers array of which `cover_id` is the first that counts."""
    shapes: tuple[list[int | None], ...] = ([cover_id], [-1, cover_id], [None, cover_id], [cover_id, 240_727])
    return rng.choices(shapes, weights=(20, 1, 1, 1))[0]


def no_cover(rng: random.Random) -> Record:
    """Fields that name no cover."""
    return rng.choice(({}, {"covers": [-1]}, {"covers": [None]}, {"covers": None}, {"covers": []}))


def languages_of(code: str, rng: random.Random) -> list[Record]:
    """A languages array with the MARC code among it."""
    language = {"key": f"/languages/{code}"}
    return [language, {"key": "/languages/gle"}] if rng.random() < 0.05 else [language]


def text_of(words: str, rng: random.Random) -> str | Record:
    """A text in either of its two forms."""
    return words if rng.random() < 0.3 else {"type": "/type/text", "value": words}


def work_author(key: str, rng: random.Random) -> Record:
    """An author as works name them: the role's type in either of its two forms."""
    role = "/type/author_role" if rng.random() < 0.3 else {"key": "/type/author_role"}
    return {"type": role, "author": {"key": f"/authors/{key}"}}


def isbns(rng: random.Random) -> Record:
    """The fields of one ISBN: both forms, one, one with hyphens, one with a wrong check digit, or none."""
    digits = "".join(str(rng.randint(0, 9)) for _ in range(9))
    ten = digits + _check_digit_10(digits)
    thirteen = "978" + digits + _check_digit_13("978" + digits)
    wrong = thirteen[:-1] + str((int(thirteen[-1]) + 1) % 10)
    shapes: tuple[Record, ...] = (
        {"isbn_10": [ten], "isbn_13": [thirteen]},
        {"isbn_13": [thirteen]},
        {"isbn_10": [ten]},
        {"isbn_13": [f"{thirteen[:3]}-{thirteen[3]}-{thirteen[4:8]}-{thirteen[8:12]}-{thirteen[12]}"]},
        {"isbn_13": [wrong]},
        {},
    )
    return rng.choices(shapes, weights=(6, 3, 2, 1, 1, 2))[0]


def publishing(rng: random.Random) -> Record:
    """Fields that no rule looks at, and that most records have some of."""
    fields: Record = {
        "publishers": [rng.choice(PUBLISHERS)],
        "physical_format": rng.choice(FORMATS),
        "publish_places": ["Harbour City"],
        "identifiers": {"goodreads": [str(rng.randint(10**6, 10**7))]},
        "source_records": [f"bwb:978{rng.randint(10**9, 10**10 - 1)}"],
        "physical_dimensions": "23 x 15 x 2 centimeters",
        "notes": {"type": "/type/text", "value": 'Says "first edition"\ton the back,\nwith 320 p. announced.'},
    }
    return {name: fields[name] for name in sorted(fields) if name == "publishers" or rng.random() < 0.4}


def broken_lines(rng: random.Random) -> list[str]:
    """Lines that are no records: cut off, with other columns, blanks for tabs, or no object at the end."""
    moment = _moment(rng, 2012, 2026)
    whole = json.dumps({"key": "/books/OL1M", "title": "Cut off in the middle", "type": {"key": "/type/edition"}})
    return [
        f"/type/edition\t/books/OL900000001M\t2\t{moment}\t{whole[:-20]}",
        f"/type/edition\t/books/OL900000002M\t2\t{moment}",
        f"/type/edition /books/OL900000003M 2 {moment} {whole}",
        f'/type/edition\t/books/OL900000004M\t2\t{moment}\t["no", "object"]',
        f"/type/edition\t/books/OL900000005M\t2\t{moment}\t{whole}\tone more",
        f"/type/edition\t/books/OL900000006M\t1\t{moment}\t",
        "",
    ]


def foreign_lines(rng: random.Random) -> list[str]:
    """Lines of other types, as they stand among the editions of the complete dump."""
    page = {"key": "/about/sample", "body": {"type": "/type/text", "value": "fiction, /languages/eng"}}
    return [line("page", with_history("page", page, rng)), '/type/junk\t/junk/1\t1\tno date\t{"key": "value"}']


def _moment(rng: random.Random, first: int, last: int) -> str:
    year, month, day = rng.randint(first, last), rng.randint(1, 9), rng.randint(1, 28)
    return f"{year}-{month:02d}-{day:02d}T{rng.randint(0, 23):02d}:14:15.{rng.randint(0, 999_999):06d}"


def _check_digit_10(digits: str) -> str:
    return "0123456789X"[-sum(int(digit) * (10 - place) for place, digit in enumerate(digits)) % 11]


def _check_digit_13(digits: str) -> str:
    return str(-sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(digits)) % 10)
