"""The catalogue in the lake: made once, made again when something it rests on changed, and told what changed."""

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.openlibrary import room
from book_search.openlibrary.catalogue import (
    BOOKS_PATH,
    FUNNEL_PATH,
    REJECTS_PATH,
    build_books,
    catalogue_record,
    make_catalogue,
    wanted_covers,
    wanted_ranges,
)
from book_search.openlibrary.dumps import DamagedDumpError, DumpError, EmptyDumpError, fetch_dump, find_latest
from book_search.openlibrary.rules import CatalogueFilter, NoBookError
from book_search.schemas import BOOKS, FUNNEL, REJECTS

AGENT = "book_search tests"
EMMA: dict[str, Any] = {
    "title": "Emma",
    "languages": [{"key": "/languages/eng"}],
    "covers": [-1, 14_600_001],
    "number_of_pages": 474,
    "publish_date": "June 2020",
    "works": [{"key": "/works/OL1W"}],
}
WORK: dict[str, Any] = {
    "subjects": ["Fiction", "England"],
    "authors": [{"author": {"key": "/authors/OL1A"}}],
    "description": {"type": "/type/text", "value": "Of a match\0maker."},
}


def line(kind: str, key: str, record: dict[str, Any], revision: int = 1) -> str:
    """One line of a dump."""
    return f"/type/{kind}\t{key}\t{revision}\t2026-01-01T00:00:00\t{json.dumps(record)}\n"


def publish(folder: Path, day: str, editions: dict[str, dict[str, Any]], work: dict[str, Any] = WORK) -> None:
    """A month's dumps."""
    dumps = {
        "editions": "".join(line("edition", f"/books/{key}", record) for key, record in editions.items()),
        "works": line("work", "/works/OL2W", work),
        "authors": line("author", "/authors/OL1A", {"name": "Jane Austen"}),
        "redirects": line("redirect", "/works/OL1W", {"location": "/works/OL2W"}),
    }
    for kind, text in dumps.items():
        (folder / f"ol_dump_{kind}_{day}.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def fetch(lake: Lake, folder: Path) -> None:
    """The folder's newest dumps, into the lake."""
    for kind in ("editions", "works", "authors", "redirects"):
        fetch_dump(lake, find_latest(kind, folder.as_uri(), AGENT), AGENT)


def books(lake: Lake) -> dict[str, dict[str, Any]]:
    """The books in the lake by their key."""
    return {row["edition_key"]: row for row in lake.read_table(BOOKS_PATH).to_pylist()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder that publishes dumps."""
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


def test_a_book_has_its_works_subjects_authors_and_description_over_a_redirect(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA})
    fetch(lake, source)

    record = make_catalogue(lake, CatalogueFilter())

    (book,) = books(lake).values()
    assert len(book.pop("content_hash")) == 32
    assert book == {
        "edition_key": "OL1M",
        "work_key": "OL2W",
        "title": "Emma",
        "subtitle": None,
        "authors": ["Jane Austen"],
        "publish_year": 2020,
        "pages": 474,
        "isbn13": None,
        "publisher": None,
        "subjects": ["Fiction", "England"],
        "description": "Of a matchmaker.",
        "languages": ["eng"],
        "cover_id": 14_600_001,
        "dump_date": date(2026, 9, 30),
    }
    assert (record.books, record.made, record.dump_date) == (1, True, date(2026, 9, 30))
    assert record.filter["languages"] == ["eng"]


def test_the_files_have_exactly_the_columns_of_the_schemas(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA})
    fetch(lake, source)
    make_catalogue(lake, CatalogueFilter())

    for path, schema in {BOOKS_PATH: BOOKS, FUNNEL_PATH: FUNNEL, REJECTS_PATH: REJECTS}.items():
        assert lake.read_table(path).schema.equals(schema), path


def test_a_second_run_does_nothing(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA})
    fetch(lake, source)
    first = make_catalogue(lake, CatalogueFilter())
    written = Path(lake.uri(BOOKS_PATH)).stat().st_mtime_ns

    second = make_catalogue(lake, CatalogueFilter())

    assert (first.made, second.made) == (True, False)
    assert Path(lake.uri(BOOKS_PATH)).stat().st_mtime_ns == written
    assert second.content_hash == first.content_hash
    assert second.changes == {"new": 0, "changed": 0, "gone": 0}
    assert list((lake.work / "catalogue-work").iterdir()) == []


def test_another_filter_makes_the_catalogue_again(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA, "OL2M": {**EMMA, "number_of_pages": 90}})
    fetch(lake, source)
    make_catalogue(lake, CatalogueFilter())

    record = make_catalogue(lake, CatalogueFilter(pages_over=50))

    assert (record.made, record.changes) == (True, {"new": 1, "changed": 0, "gone": 0})


def test_a_new_dump_tells_which_books_are_new_changed_and_gone(lake: Lake, source: Path) -> None:
    publish(source, "2026-08-31", {key: {**EMMA, "title": key} for key in ("OL1M", "OL2M", "OL3M")})
    fetch(lake, source)
    first = make_catalogue(lake, CatalogueFilter())
    before = books(lake)
    moved = {**EMMA, "title": "OL2M", "pagination": "of no matter", "last_modified": "later"}
    publish(source, "2026-09-30", {"OL2M": moved, "OL3M": {**EMMA, "title": "New title"}, "OL4M": EMMA})
    fetch(lake, source)

    second = make_catalogue(lake, CatalogueFilter())

    assert first.changes == {"new": 3, "changed": 0, "gone": 0}
    assert second.changes == {"new": 1, "changed": 1, "gone": 1}
    assert books(lake)["OL2M"]["content_hash"] == before["OL2M"]["content_hash"]
    assert books(lake)["OL2M"]["dump_date"] == date(2026, 9, 30)


def test_a_changed_work_changes_its_books(lake: Lake, source: Path) -> None:
    publish(source, "2026-08-31", {"OL1M": EMMA})
    fetch(lake, source)
    first = make_catalogue(lake, CatalogueFilter())
    publish(source, "2026-09-30", {"OL1M": EMMA}, work={**WORK, "subjects": ["Fiction", "Highbury"]})
    fetch(lake, source)

    second = make_catalogue(lake, CatalogueFilter())

    assert second.changes == {"new": 0, "changed": 1, "gone": 0}
    assert second.content_hash != first.content_hash


def test_content_hashes_do_not_depend_on_order_threads_or_run(tmp_path: Path) -> None:
    texts = [
        line("edition", f"/books/OL{n}M", {**EMMA, "title": f"Book {n}", "covers": [n % 7 + 1]}) for n in range(300)
    ]
    hashes = []
    for number, (lines, threads) in enumerate(((texts, 1), (texts[::-1], 2))):
        path = tmp_path / f"{number}.txt"
        path.write_text("".join(lines))
        made = build_books(
            {"editions": path}, date(2026, 9, 30), CatalogueFilter(subject=None), tmp_path / "work", threads=threads
        )
        table = pq.read_table(made.books)
        assert table["cover_id"].to_pylist() == sorted(table["cover_id"].to_pylist())
        hashes.append((made.content_hash, made.rows))

    assert hashes[0] == hashes[1]
    assert hashes[0][1] == 300


def test_the_funnel_says_what_every_rule_took(lake: Lake, source: Path) -> None:
    editions = {
        "OL1M": EMMA,
        "OL2M": {**EMMA, "languages": []},
        "OL3M": {**EMMA, "covers": [None]},
        "OL4M": {**EMMA, "number_of_pages": 100},
        "OL5M": {**EMMA, "publish_date": "2015"},
        "OL6M": {**EMMA, "works": []},
        "OL7M": {**EMMA, "subjects": ["Juvenile fiction"]},
    }
    publish(source, "2026-09-30", editions)
    fetch(lake, source)

    with pytest.raises(NoBookError, match="leaves none") as none:
        make_catalogue(lake, CatalogueFilter(where=("title <> 'Emma'",)))

    assert [(row["rule"], row["rows_in"], row["rows_out"]) for row in none.value.funnel.to_pylist()] == [
        ("editions in dump", 7, 7),
        ("readable JSON", 7, 7),
        ("newest revision", 7, 7),
        ("has a cover", 7, 6),
        ("in a wanted language", 6, 5),
        ("published 2016 to 2026", 5, 4),
        ("has a title", 4, 4),
        ("more than 100 pages", 4, 3),
        ("is fiction", 3, 2),
        ("not juvenile", 2, 1),
        ("where title <> 'Emma'", 1, 0),
    ]


def test_free_conditions_see_the_whole_book(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA, "OL2M": {**EMMA, "title": "Persuasion"}})
    fetch(lake, source)

    make_catalogue(lake, CatalogueFilter(where=("'Jane Austen' IN authors", "title LIKE 'P%'")))

    assert list(books(lake)) == ["OL2M"]


@pytest.mark.parametrize("condition", ["no_such_column = 1", "true; DROP TABLE book", "title ="])
def test_a_condition_that_cannot_be_understood_is_named(lake: Lake, source: Path, condition: str) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA})
    fetch(lake, source)

    with pytest.raises(ValueError, match="is not one over a book's columns"):
        make_catalogue(lake, CatalogueFilter(where=(condition,)))


def test_broken_lines_are_kept_with_their_reason_and_stop_nothing(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA})
    path = source / "ol_dump_editions_2026-09-30.txt.gz"
    broken = (
        "/type/edition /books/OL2M 1 2026 {}\n" + '/type/edition\t/books/OL3M\t1\t2026\t{"title": "cut' + "x" * 5_000
    )
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + broken.encode()))
    fetch(lake, source)

    record = make_catalogue(lake, CatalogueFilter())

    assert (record.books, record.rejects) == (1, {"editions": 2})
    rejects = lake.read_table(REJECTS_PATH).to_pylist()
    assert [reject["line"] for reject in rejects] == [2, 3]
    assert rejects[0]["reason"] == "1 columns, not 5"
    assert rejects[1]["reason"].startswith("JSON cannot be read: Unterminated string")
    assert len(rejects[1]["content"]) == 2_000


def test_halves_of_characters_and_nul_do_not_lose_a_book(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": {**EMMA, "title": "Em\0ma \ud83d", "subtitle": "\U0001f600"}})
    fetch(lake, source)

    make_catalogue(lake, CatalogueFilter())

    (book,) = books(lake).values()
    assert (book["title"], book["subtitle"]) == ("Emma \ufffd", "\U0001f600")


def test_covers_are_asked_for_by_range_each_once(lake: Lake, source: Path) -> None:
    ids = {"OL1M": 14_600_001, "OL2M": 14_600_001, "OL3M": 14_699_999, "OL4M": 14_700_000}
    publish(source, "2026-09-30", {key: {**EMMA, "covers": [cover_id]} for key, cover_id in ids.items()})
    fetch(lake, source)
    make_catalogue(lake, CatalogueFilter())

    assert [cover_range.key for cover_range in wanted_ranges(lake)] == ["0014_6", "0014_7"]
    assert wanted_covers(lake, CoverRange.parse("0014_6")) == [14_600_001, 14_699_999]


def test_a_damaged_dump_leaves_the_catalogue_as_it_was(lake: Lake, source: Path) -> None:
    publish(source, "2026-09-30", {"OL1M": EMMA})
    fetch(lake, source)
    before = make_catalogue(lake, CatalogueFilter())
    path = Path(lake.uri("dumps/editions/ol_dump_editions_2026-09-30.txt.gz"))
    path.write_bytes(path.read_bytes()[:-6])

    with pytest.raises(DamagedDumpError, match="fetch it again"):
        make_catalogue(lake, CatalogueFilter(years=None))

    after = catalogue_record(lake)
    assert after is not None
    assert after.identity == before.identity
    assert list((lake.work / "catalogue-work").iterdir()) == []


def test_an_empty_dump_is_an_error_and_not_an_empty_catalogue(tmp_path: Path) -> None:
    (tmp_path / "editions.txt.gz").write_bytes(gzip.compress(b""))

    with pytest.raises(EmptyDumpError, match="the dump of editions"):
        build_books({"editions": tmp_path / "editions.txt.gz"}, date(2026, 9, 30), CatalogueFilter(), tmp_path / "work")


def test_a_catalogue_without_dumps_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(DumpError, match="materialize the dump assets first"):
        make_catalogue(lake, CatalogueFilter())


def test_a_disk_without_room_is_said_before_the_work_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "editions.txt"
    path.write_text(line("edition", "/books/OL1M", EMMA))
    monkeypatch.setattr(room, "KEPT_OF_FEW", 1e15)

    with pytest.raises(room.DiskFullError, match="GB are free; free some, or set BOOK_SEARCH_WORK"):
        build_books({"editions": path}, date(2026, 9, 30), CatalogueFilter(), tmp_path / "work")

    assert list((tmp_path / "work").iterdir()) == []
