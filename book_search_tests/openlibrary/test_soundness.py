"""A look at dumps and books finds what is not as it should be."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from book_search.lake import Lake
from book_search.openlibrary.catalogue import BOOKS_PATH, CatalogueRecord, make_catalogue
from book_search.openlibrary.dumps import DumpRecord, current_dump
from book_search.openlibrary.rules import CatalogueFilter
from book_search.openlibrary.soundness import BooksLook, faults_of_dump, look_at_books
from book_search.schemas import BOOKS
from book_search_tests.openlibrary.test_catalogue import EMMA, fetch, publish, source

__all__ = ["source"]

EDITIONS = {f"OL{n}M": EMMA | {"covers": [14_600_000 + n]} for n in range(1, 4)}


@pytest.fixture
def made(lake: Lake, source: Path) -> CatalogueRecord:
    """The catalogue of three books, in the lake."""
    publish(source, "2026-10-31", EDITIONS)
    fetch(lake, source)
    return make_catalogue(lake, CatalogueFilter())


def dump_of(lake: Lake) -> DumpRecord:
    dump = current_dump(lake, "editions")
    assert dump is not None
    return dump


def test_a_dump_just_fetched_has_no_fault_and_tells_its_lines(lake: Lake, made: CatalogueRecord) -> None:
    assert faults_of_dump(lake, dump_of(lake), read=True) == []
    assert dump_of(lake).lines == 3


def test_a_dump_that_lost_bytes_is_found_by_its_size_alone(lake: Lake, made: CatalogueRecord) -> None:
    dump = dump_of(lake)
    lake.write_bytes(dump.path, lake.read_bytes(dump.path)[:-1])
    (fault,) = faults_of_dump(lake, dump, read=False)
    assert "its record says" in fault


def test_a_dump_whose_bytes_changed_is_found_when_it_is_read(lake: Lake, made: CatalogueRecord) -> None:
    dump = dump_of(lake)
    content = bytearray(lake.read_bytes(dump.path))
    content[20] ^= 1
    lake.write_bytes(dump.path, bytes(content))
    assert faults_of_dump(lake, dump, read=False) == []
    (fault,) = faults_of_dump(lake, dump, read=True)
    assert "sha256" in fault


def test_a_dump_that_is_gone_or_holds_no_line_is_found(lake: Lake, made: CatalogueRecord) -> None:
    dump = dump_of(lake)
    assert "no line" in faults_of_dump(lake, replace(dump, lines=0), read=False)[0]
    lake.delete(dump.path)
    assert "is not there" in faults_of_dump(lake, dump, read=True)[0]


def test_books_just_chosen_are_all_right(lake: Lake, made: CatalogueRecord) -> None:
    assert look_at_books(lake, made) == BooksLook(3, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"edition_key": "OL2M"}, "doubled"),
        ({"edition_key": ""}, "without_key"),
        ({"title": ""}, "without_key"),
        ({"publish_year": 2015}, "years_out"),
        ({"publish_year": 2027}, "years_out"),
        ({"publish_year": None}, "years_out"),
        ({"pages": 100}, "pages_out"),
        ({"pages": 100_000}, "pages_out"),
        ({"pages": None}, "pages_out"),
    ],
)
def test_a_book_that_should_not_be_there_is_counted(
    lake: Lake, made: CatalogueRecord, changes: dict[str, Any], fault: str
) -> None:
    _change_first(lake, changes)
    found = look_at_books(lake, made)
    assert {name for name, count in vars(found).items() if name != "books" and count and name != "such_as"} == {fault}
    assert found.such_as == ("OL1M" if fault.endswith("_out") else None)


def test_what_the_filter_leaves_open_may_be_unknown(lake: Lake, made: CatalogueRecord) -> None:
    open_filter = {**made.identity["filter"], "years": None, "pages_over": None}
    _change_first(lake, {"publish_year": None, "pages": None})
    found = look_at_books(lake, replace(made, identity={**made.identity, "filter": open_filter}))
    assert (found.years_out, found.pages_out) == (0, 0)


def _change_first(lake: Lake, changes: dict[str, Any]) -> None:
    table = lake.read_table(BOOKS_PATH)
    rows = table.to_pylist()
    rows[0] |= changes
    lake.write_table(BOOKS_PATH, table.from_pylist(rows, schema=BOOKS))
