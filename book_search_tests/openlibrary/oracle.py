"""The catalogue once more, in plain Python and slowly: gzip, json and the rules, written without a look at the SQL.

It shares nothing with the package but the filter's type. What it says is what the tests hold the package to.
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from book_search.openlibrary.rules import CatalogueFilter

BLANKS = " \t\n\v\f\r"
Json = Any


@dataclass
class Answer:
    """What the catalogue should be: books by edition key, the funnel's steps, and broken lines by dump and number."""

    books: dict[str, dict[str, Any]]
    funnel: list[tuple[str, int, int]]
    rejects: set[tuple[str, int]] = field(default_factory=set)


def choose(dumps: Mapping[str, Path | None], dump_date: date, wanted: CatalogueFilter) -> Answer:
    """The books of the dumps, with funnel and rejects."""
    answer = Answer({}, [])
    redirects = {k: short(text(r.get("location"))) for k, r in _records(dumps, "redirects", answer).items()}
    works = _records(dumps, "works", answer)
    authors = _records(dumps, "authors", answer)
    total, readable, good = 0, 0, 0
    newest: dict[str, tuple[tuple[int, int], dict[str, Json]]] = {}
    for number, parts, record in _lines(dumps["editions"]):
        total += 1
        if len(parts) != 5 or (parts[0] == "/type/edition" and short(parts[1]) is None):
            answer.rejects.add(("editions", number))
            continue
        if parts[0] != "/type/edition":
            continue
        readable += 1
        if record is None:
            answer.rejects.add(("editions", number))
            continue
        good += 1
        _keep_newest(newest, number, parts, record)
    answer.funnel = [
        ("editions in dump", total, readable),
        ("readable JSON", readable, good),
        ("newest revision", good, len(newest)),
    ]
    rows = [_row(key, record, works, authors, redirects) for key, (_, record) in newest.items()]
    for name, meets in _rules(wanted, dump_date):
        kept = [row for row in rows if meets(row)]
        answer.funnel.append((name, len(rows), len(kept)))
        rows = kept
    for row in rows:
        del row["publishers"]
        answer.books[row["edition_key"]] = {**row, "dump_date": dump_date}
    return answer


def _lines(path: Path | None) -> Iterator[tuple[int, list[str], dict[str, Json] | None]]:
    if path is None:
        return
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            parts = line.decode().split("\t")
        except UnicodeDecodeError:
            yield number, [], None
            continue
        record = None
        if len(parts) == 5:
            try:
                record = json.loads(parts[4])
            except json.JSONDecodeError:
                record = None
        yield number, parts, record if isinstance(record, dict) else None


def _keep_newest(newest: dict[str, Any], number: int, parts: list[str], record: dict[str, Json]) -> None:
    revision = int(parts[2]) if re.fullmatch(r"-?[0-9]{1,9}", parts[2].strip(BLANKS)) else 0
    key, rank = short(parts[1]), (revision, number)
    if key is not None and (key not in newest or newest[key][0] < rank):
        newest[key] = (rank, record)


def _records(dumps: Mapping[str, Path | None], kind: str, answer: Answer) -> dict[str, dict[str, Json]]:
    newest: dict[str, Any] = {}
    for number, parts, record in _lines(dumps.get(kind)):
        of_kind = parts[:1] == [f"/type/{kind[:-1]}"]
        if len(parts) != 5 or (of_kind and (record is None or short(parts[1]) is None)):
            answer.rejects.add((kind, number))
        elif of_kind and record is not None:
            _keep_newest(newest, number, parts, record)
    return {key: record for key, (_, record) in newest.items()}


def _row(
    key: str,
    edition: dict[str, Json],
    works: Mapping[str, Any],
    authors: Mapping[str, Any],
    redirects: Mapping[str, Any],
) -> dict[str, Any]:
    work_key = next(iter(references(edition.get("works"))), None)
    work_key = follow(work_key, redirects) if work_key else None
    work = works.get(work_key or "", {})

    def names(record: Mapping[str, Any]) -> list[str]:
        found = (authors.get(follow(ref, redirects), {}) for ref in references(record.get("authors")))
        return once(name for a in found if (name := text(a.get("name")) or text(a.get("personal_name"))))

    isbns = [isbn13(t) for t in texts(edition.get("isbn_13")) + texts(edition.get("isbn_10"))]
    subjects = [t for r in (edition, work) for f in ("subjects", "genres") for t in texts(r.get(f))]
    publishers = texts(edition.get("publishers"))
    return {
        "edition_key": key,
        "work_key": work_key,
        "title": titled(text(edition.get("title_prefix")), text(edition.get("title"))),
        "subtitle": text(edition.get("subtitle")),
        "authors": names(edition) or names(work) or once(texts(edition.get("author_names"))),
        "publish_year": year(text(edition.get("publish_date"))),
        "pages": pages(text(edition.get("number_of_pages"))) or pages(text(edition.get("pagination"))),
        "isbn13": next((i for i in isbns if i), None),
        "publisher": publishers[0] if publishers else None,
        "publishers": publishers,
        "subjects": once(subjects),
        "description": text(edition.get("description")) or text(work.get("description")),
        "languages": once(references(edition.get("languages"), with_slash=True)),
        "cover_id": cover(edition.get("covers")),
    }


def _rules(wanted: CatalogueFilter, dump_date: date) -> list[tuple[str, Any]]:
    first, last = dump_date.year - (wanted.years or 0), dump_date.year
    rules: list[tuple[str, Any]] = []
    if wanted.cover_required:
        rules.append(("has a cover", lambda row: row["cover_id"]))
    if wanted.languages:
        rules.append(("in a wanted language", lambda row: set(row["languages"]) & set(wanted.languages)))
    if wanted.years is not None:
        rules.append((f"published {first} to {last}", lambda row: row["publish_year"] in range(first, last + 1)))
    rules.append(("has a title", lambda row: row["title"]))
    if wanted.pages_over is not None:
        over = wanted.pages_over
        rules.append((f"more than {over} pages", lambda row: (row["pages"] or 0) > over))
    if wanted.publishers:
        rules.append(
            (
                "of a wanted publisher",
                lambda row: any(w.lower() in p.lower() for p in row["publishers"] for w in wanted.publishers),
            )
        )
    if wanted.subject == "fiction":
        rules.append(("is fiction", lambda row: any(is_fiction(s) for s in row["subjects"])))
    if not wanted.juvenile:
        rules.append(("not juvenile", lambda row: not any(is_juvenile(s) for s in row["subjects"])))
    if wanted.exclude_subjects:
        name = f"no subject of {', '.join(wanted.exclude_subjects)}"
        rules.append(
            (name, lambda row: not any(has_word(s, w) for s in row["subjects"] for w in wanted.exclude_subjects))
        )
    return rules


def text(value: Json) -> str | None:
    """Text as text, number or {"value": text}; cleaned, None where nothing is left."""
    if isinstance(value, dict):
        value = value.get("value") if isinstance(value.get("value"), str) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    words = re.sub("[\ud800-\udfff]", "\ufffd", str(value))
    return words.replace("\0", "").strip(BLANKS) or None


def titled(prefix: str | None, title: str | None) -> str | None:
    """The title with the article that older records keep apart."""
    if not prefix or not title or title.startswith(prefix):
        return title
    return prefix + ("" if prefix.endswith("'") else " ") + title


def items(value: Json) -> list[Json]:
    """A list; or one value as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def texts(value: Json) -> list[str]:
    """The texts among the items."""
    return [words for item in items(value) if (words := text(item))]


def short(key: str | None) -> str | None:
    """The last part of a key."""
    return (text(key) or "").rpartition("/")[2] or None


def references(value: Json, with_slash: bool = False) -> list[str]:
    """The keys among the items, in each of the forms of a reference; bare words too, unless a slash must be in it."""
    found = []
    for item in items(value):
        if isinstance(item, dict):
            author = item.get("author")
            if isinstance(author, dict) and isinstance(author.get("key"), str):
                item = author["key"]
            else:
                item = author if isinstance(author, str) else item.get("key")
        if isinstance(item, str) and (key := short(item)) and ("/" in item or not with_slash):
            found.append(key)
    return found


def follow(key: str, redirects: Mapping[str, str | None]) -> str:
    """Where a key leads at last; itself where that has no end."""
    seen, at = {key}, key
    while (target := redirects.get(at)) is not None:
        if target in seen:
            return key
        seen.add(target)
        at = target
    return at


def once(values: Any) -> list[str]:
    """Each value once."""
    return list(dict.fromkeys(values))


def cover(value: Json) -> int | None:
    """The first positive id."""
    for item in items(value):
        if isinstance(item, str) and re.fullmatch(" *[0-9]{1,12} *", item, re.ASCII):
            item = int(item)
        if isinstance(item, int) and not isinstance(item, bool) and item > 0:
            return item
    return None


def year(words: str | None) -> int | None:
    """The year in a date; an eight-digit date goes before a bare year."""
    numbers = re.findall("[0-9]+", words or "")
    for number in numbers:
        year_part, month, day = int(number[:4]), number[4:6], number[6:]
        if len(number) == 8 and 1400 <= year_part <= 2099 and "01" <= month <= "12" and "01" <= day <= "31":
            return year_part
    return next((int(n) for n in numbers if len(n) == 4 and 1400 <= int(n) <= 2099), None)


def pages(words: str | None) -> int | None:
    """The number of pages; the largest number before a p."""
    if words is None:
        return None
    if bare := re.fullmatch(r"0*([1-9][0-9]{0,4})(\.0+)?", words):
        return int(bare[1])
    pattern = r"(?<![0-9a-z.])([0-9]{1,5})\]?(?:, ?\[[0-9]+\])? ?p(?:p|g|gs|age|ages)?(?![a-z])"
    return max((int(n) for n in re.findall(pattern, words.lower())), default=0) or None


def isbn13(words: str) -> str | None:
    """The ISBN-13 of an ISBN of either length whose check digit is right."""
    digits = re.sub("[^0-9X]", "", words.partition("(")[0].replace("x", "X"))
    if re.fullmatch("97[89][0-9]{10}", digits):
        return digits if _check13(digits[:12]) == digits[12] else None
    if re.fullmatch("[0-9]{9}[0-9X]", digits):
        values = [10 if digit == "X" else int(digit) for digit in digits]
        if sum(weight * value for weight, value in zip(range(10, 0, -1), values, strict=True)) % 11 == 0:
            return "978" + digits[:9] + _check13("978" + digits[:9])
    return None


def _check13(digits: str) -> str:
    return str(-sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10)


def has_word(subject: str, word: str) -> bool:
    """Whether a word, or words, begin anywhere in a subject."""
    return any(
        not (subject.lower()[: found.start()][-1:].isascii() and subject.lower()[: found.start()][-1:].isalpha())
        for found in re.finditer(re.escape(word.lower()), subject.lower())
    )


def is_fiction(subject: str) -> bool:
    """Fiction, not nonfiction, and not about fiction."""
    words = subject.lower()
    about = (
        "history and criticism", "history & criticism", "technique", "authorship", "study and teaching",
        "study & teaching", "bibliography", "book reviews", "appreciation", "themes, motives", "themes motives",
        "stories, plots", "stories plots", "dictionaries", "indexes", "periodicals", "publishing", "fiction writing",
        "writing fiction", "theory",
    )  # fmt: skip
    if any(phrase in words for phrase in about) or has_word(words, "in fiction"):
        return False
    if re.search("influences?(?![a-z])", words):
        return False
    if any(has_word(words, "non" + between + "fiction") for between in ("", "-", "_", " ")):
        return False
    return has_word(words, "fiction")


def is_juvenile(subject: str) -> bool:
    """For children or the young; children as a theme do not count."""
    words = subject.lower()
    themes = ("delinquen", "justice", "court", "homicide", "detention", "correction", "prostitut")
    if any("juvenile " + theme in words for theme in themes):
        return False
    if has_word(words, "juvenile") or words in ("children",):
        return True
    if words.startswith(("children:", "children,", "children --", "children /")):
        return True
    if has_word(words, "for children") or has_word(words, "young children"):
        return True
    return bool(re.search(r"(?<![a-z])(children['’]?s|(picture|board) books?)(?![a-z])", words))
