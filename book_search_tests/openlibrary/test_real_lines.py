"""The real lines of Open Library's dumps, as published and broken, through the package and through the oracle."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from book_search.openlibrary.catalogue import build_books
from book_search.openlibrary.rules import CatalogueFilter
from book_search_tests.openlibrary.test_rules import assert_same

DUMP_DATE = date(2021, 12, 31)
KINDS = ("editions", "works", "authors", "redirects")
EVERYTHING = CatalogueFilter((), None, True, None, None, False)
FILTERS = {
    "default": (CatalogueFilter(), 0),
    "forty years": (CatalogueFilter(years=40), 8),
    "fiction": (CatalogueFilter((), "fiction", True, None, None, False), 51),
    "publishers": (
        CatalogueFilter((), None, False, 10, None, False, ("press", "penguin"), ("history", "law")),
        110,
    ),
    "everything": (EVERYTHING, 1_154),
}


@pytest.fixture(scope="module")
def mixed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every real line in one gzip, types mixed, as in the complete dump."""
    files = sorted((shared / "openlibrary").glob("*.txt"))
    lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
    path = tmp_path_factory.mktemp("mixed") / "ol_dump_2021-12-31.txt.gz"
    path.write_bytes(gzip.compress(b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)))
    return path


@pytest.mark.parametrize("name", FILTERS)
def test_all_real_lines_give_the_books_that_plain_python_chooses(mixed: Path, tmp_path: Path, name: str) -> None:
    wanted, expected = FILTERS[name]

    books = assert_same(dict.fromkeys(KINDS, mixed), DUMP_DATE, wanted, tmp_path)

    assert books == expected


def test_real_dumps_in_four_files_give_the_books_that_plain_python_chooses(shared: Path, tmp_path: Path) -> None:
    dumps: dict[str, Path | None] = {kind: shared / "openlibrary" / f"ol_dump_{kind}.txt" for kind in KINDS}

    assert assert_same(dumps, DUMP_DATE, EVERYTHING, tmp_path) == 1_153


def test_the_real_broken_lines_are_kept_with_their_reason(shared: Path, tmp_path: Path) -> None:
    altered = shared / "openlibrary" / "messy_altered_keys.txt"

    made = build_books({"editions": altered}, DUMP_DATE, EVERYTHING, tmp_path)

    rejects = made.rejects.to_pylist()
    assert sorted(reject["reason"] for reject in rejects) == ["1 columns, not 5", "4 columns, not 5"]
    assert rejects[0]["content"].startswith("/type/edition")


def test_without_a_dump_of_redirects_works_or_authors_the_road_goes_on(shared: Path, tmp_path: Path) -> None:
    dumps: dict[str, Path | None] = {"editions": shared / "openlibrary" / "ol_dump_editions.txt", "redirects": None}

    assert assert_same(dumps, DUMP_DATE, EVERYTHING, tmp_path) == 1_153
