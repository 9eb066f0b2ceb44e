"""Why a book is there or not: the answer names the rule, and is the catalogue's own."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from book_search.lake import Lake
from book_search.openlibrary.catalogue import make_catalogue
from book_search.openlibrary.rules import CatalogueFilter
from book_search.openlibrary.why import why_dropped, why_in_lake
from book_search_tests.openlibrary.test_catalogue import EMMA, WORK, books, fetch, line, publish

DUMP_DATE = date(2026, 9, 30)
EDITIONS: dict[str, dict[str, Any]] = {
    "OL1M": EMMA,
    "OL12M": {**EMMA, "number_of_pages": "xii, 64 p.", "publish_date": "1998"},
    "OL3M": {**EMMA, "subjects": ["Juvenile fiction"]},
    "OL4M": {**EMMA, "works": [], "subjects": ["Nonfiction"]},
}


@pytest.fixture
def filled(lake: Lake, tmp_path: Path) -> Lake:
    """A lake with dumps."""
    publish(tmp_path, "2026-09-30", EDITIONS)
    fetch(lake, tmp_path)
    return lake


def test_a_dropped_book_is_explained_by_every_rule_that_it_does_not_meet(filled: Lake) -> None:
    verdicts = why_in_lake(filled, "OL12M", CatalogueFilter())

    assert [verdict.rule for verdict in verdicts if not verdict.passed] == [
        "published 2016 to 2026",
        "more than 100 pages",
    ]
    explained = {verdict.rule: verdict.explanation for verdict in verdicts}
    assert explained["in the dump"] == "line 2, revision 1"
    assert explained["more than 100 pages"] == "found 64; wanted more than 100"
    assert explained["is fiction"] == "found Fiction; England; wanted a subject of fiction"


def test_why_and_the_catalogue_never_disagree(filled: Lake) -> None:
    for wanted in (
        CatalogueFilter(),
        CatalogueFilter(juvenile=True, where=("pages > 100",)),
        CatalogueFilter((), None),
    ):
        make_catalogue(filled, wanted)
        chosen = {key for key in EDITIONS if all(verdict.passed for verdict in why_in_lake(filled, key, wanted))}
        assert chosen == set(books(filled))


def test_a_key_may_be_given_as_open_librarys_address_has_it(filled: Lake) -> None:
    assert all(verdict.passed for verdict in why_in_lake(filled, "/books/OL1M", CatalogueFilter()))


def test_an_edition_that_is_not_in_the_dump_is_said_to_be_so(filled: Lake) -> None:
    (verdict,) = why_in_lake(filled, "OL2M", CatalogueFilter())

    assert (verdict.rule, verdict.passed) == ("in the dump", False)
    assert "no edition OL2M in this dump" in verdict.explanation


def test_a_merged_edition_names_the_one_it_became(tmp_path: Path) -> None:
    (tmp_path / "editions").write_text(line("edition", "/books/OL1M", EMMA))
    (tmp_path / "redirects").write_text(line("redirect", "/books/OL9M", {"location": "/books/OL1M"}))
    dumps: dict[str, Path | None] = {"editions": tmp_path / "editions", "redirects": tmp_path / "redirects"}

    (verdict,) = why_dropped("OL9M", dumps, DUMP_DATE, CatalogueFilter(), tmp_path)

    assert verdict.explanation == "OL9M was merged into OL1M; ask for that one"


def test_a_broken_line_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "editions").write_text(
        line("edition", "/books/OL1M", EMMA) + '/type/edition\t/books/OL5M\t1\t2026\t{"title": "cut'
    )

    (verdict,) = why_dropped("OL5M", {"editions": tmp_path / "editions"}, DUMP_DATE, CatalogueFilter(), tmp_path)

    assert (verdict.rule, verdict.passed) == ("readable", False)
    assert verdict.explanation.startswith("line 2 of the dump: JSON cannot be read")


def test_of_several_revisions_the_newest_is_judged(tmp_path: Path) -> None:
    (tmp_path / "editions").write_text(
        line("edition", "/books/OL1M", EMMA | WORK, 9)
        + line("edition", "/books/OL1M", EMMA | WORK | {"number_of_pages": 9}, 10)
        + line("edition", "/books/OL1M", EMMA | WORK, 2)
    )

    verdicts = why_dropped("OL1M", {"editions": tmp_path / "editions"}, DUMP_DATE, CatalogueFilter(), tmp_path)

    assert verdicts[0].explanation == "line 2, revision 10, the newest of 3 lines"
    assert [verdict.rule for verdict in verdicts if not verdict.passed] == ["more than 100 pages"]
