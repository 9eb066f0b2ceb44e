"""The deny list: how it is written, and that a book or a cover in it is not chosen."""

from pathlib import Path

import pytest

from book_search.lake import Lake
from book_search.openlibrary.catalogue import make_catalogue, wanted_covers, wanted_ranges
from book_search.openlibrary.deny_list import DEFAULT_PATH, DenyList, DenyListError, parse_deny_list, read_deny_list
from book_search.openlibrary.rules import CatalogueFilter
from book_search.openlibrary.why import why_in_lake
from book_search_tests.openlibrary.test_catalogue import EMMA, books, fetch, publish

SHARED, OWN, OTHER = 14_600_001, 14_600_002, 14_700_003
LIST = b"""# asked for by the publisher, 2026-11-20
14600001
/books/OL7M   # with its cover

OL5M
"""


@pytest.fixture
def dumps(lake: Lake, tmp_path: Path) -> None:
    """Four books: two with one cover, two with their own."""
    covers = {"OL1M": SHARED, "OL2M": SHARED, "OL3M": OWN, "OL4M": OTHER}
    publish(tmp_path, "2026-10-31", {key: {**EMMA, "covers": [cover_id]} for key, cover_id in covers.items()})
    fetch(lake, tmp_path)


def test_ids_keys_and_comments_are_told_apart() -> None:
    assert parse_deny_list(LIST, "deny.txt") == DenyList((14_600_001,), ("OL5M", "OL7M"))


@pytest.mark.parametrize("line", ["OL5W", "14,600,001", "https://openlibrary.org/books/OL5M", "-1", "OL5M OL6M"])
def test_a_line_that_is_neither_stops_the_choice_and_is_named(line: str) -> None:
    with pytest.raises(DenyListError, match=r"deny.txt, line 2: '.*' is neither a cover id such as"):
        parse_deny_list(f"14600001\n{line}\n".encode(), "deny.txt")


def test_without_a_list_nothing_is_denied_but_one_that_is_named_must_be_there(lake: Lake, tmp_path: Path) -> None:
    assert not read_deny_list(lake)
    with pytest.raises(DenyListError, match=r"BOOK_SEARCH_DENY_LIST=.*no-such.txt cannot be read"):
        read_deny_list(lake, str(tmp_path / "no-such.txt"))
    with pytest.raises(DenyListError, match="neither a path nor s3"):
        read_deny_list(lake, "https://example.org/deny.txt")


def test_a_list_elsewhere_takes_the_place_of_the_lakes(lake: Lake, tmp_path: Path) -> None:
    lake.write_bytes(DEFAULT_PATH, b"14600001\n")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfOL9M\r\n")

    assert read_deny_list(lake) == DenyList((14_600_001,))
    assert read_deny_list(lake, str(tmp_path / "list.txt")) == DenyList((), ("OL9M",))


def test_a_denied_cover_is_wanted_by_no_book_and_its_books_stay(lake: Lake, dumps: None) -> None:
    before = make_catalogue(lake, CatalogueFilter())
    assert [each.key for each in wanted_ranges(lake)] == ["0014_6", "0014_7"]
    was = books(lake)
    lake.write_bytes(DEFAULT_PATH, f"{SHARED}\n{OTHER}\n".encode())

    made = make_catalogue(lake, CatalogueFilter())

    assert {key: row["cover_id"] for key, row in books(lake).items()} == dict.fromkeys(was, None) | {"OL3M": OWN}
    assert wanted_covers(lake, wanted_ranges(lake)[0]) == [OWN]
    assert [each.key for each in wanted_ranges(lake)] == ["0014_6"]
    assert made.changes == {"new": 0, "changed": 3, "gone": 0}
    assert made.content_hash != before.content_hash
    assert not make_catalogue(lake, CatalogueFilter()).made


def test_a_denied_edition_leaves_with_its_cover_whichever_book_shows_it(lake: Lake, dumps: None) -> None:
    lake.write_bytes(DEFAULT_PATH, b"OL1M\n")

    make_catalogue(lake, CatalogueFilter())

    assert {key: row["cover_id"] for key, row in books(lake).items()} == {"OL2M": None, "OL3M": OWN, "OL4M": OTHER}
    verdict = why_in_lake(lake, "OL1M", CatalogueFilter())[-1]
    assert (verdict.passed, verdict.explanation) == (False, "it stands in the deny list")


def test_what_is_denied_no_more_comes_back(lake: Lake, dumps: None) -> None:
    make_catalogue(lake, CatalogueFilter())
    was = books(lake)
    lake.write_bytes(DEFAULT_PATH, b"OL1M\n14700003\n")
    make_catalogue(lake, CatalogueFilter())
    lake.delete(DEFAULT_PATH)

    make_catalogue(lake, CatalogueFilter())

    assert books(lake) == was
