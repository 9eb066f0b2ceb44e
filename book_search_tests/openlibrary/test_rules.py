"""The rules and the readings of messy fields, against the oracle and one by one."""

import gzip
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from book_search.openlibrary.catalogue import Catalogue, build_books
from book_search.openlibrary.lines import LINE_SCHEMA
from book_search.openlibrary.records import check_dump, sql
from book_search.openlibrary.rules import CatalogueFilter, rules_of
from book_search_tests.openlibrary import messy, oracle

DUMP_DATE = date(2021, 12, 31)
ANY = CatalogueFilter((), None, True, None, None, False)
FILTERS = st.one_of(
    st.sampled_from([CatalogueFilter(), ANY, CatalogueFilter(juvenile=True, years=None)]),
    st.builds(
        CatalogueFilter,
        languages=st.sampled_from([(), ("eng",), ("eng", "fre")]),
        subject=st.sampled_from([None, "fiction"]),
        juvenile=st.booleans(),
        pages_over=st.sampled_from([None, 0, 100, 242, 243]),
        years=st.sampled_from([None, 1, 10]),
        cover_required=st.booleans(),
        publishers=st.sampled_from([(), ("emma", "moon")]),
        exclude_subjects=st.sampled_from([(), ("history",), ("cooking", "children's")]),
    ),
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messy.EDITION_LINES, messy.WORK_LINES, messy.AUTHOR_LINES, messy.REDIRECT_LINES, FILTERS, st.booleans())
def test_messy_records_become_the_books_that_plain_python_chooses(
    tmp_path: Path,
    editions: list[bytes],
    works: list[bytes],
    authors: list[bytes],
    redirects: list[bytes],
    wanted: CatalogueFilter,
    ends: bool,
) -> None:
    dumps: dict[str, Path | None] = {}
    for kind, lines in {"editions": editions, "works": works, "authors": authors, "redirects": redirects}.items():
        dumps[kind] = tmp_path / f"{kind}.txt.gz"
        whole = b"".join(line + b"\n" for line in lines)
        if lines and lines[-1] and not ends:
            whole = whole[:-1]
        (tmp_path / f"{kind}.txt.gz").write_bytes(gzip.compress(whole, 1))

    assert_same(dumps, DUMP_DATE, wanted, tmp_path / "work")


def assert_same(dumps: dict[str, Path | None], dump_date: date, wanted: CatalogueFilter, work: Path) -> int:
    """Reading every record, or only those that matter of dumps that were checked before, gives the oracle's books.

    Funnel and rejects as well. Returns how many books.
    """
    expected = oracle.choose(dumps, dump_date, wanted)
    checked = {kind: check_dump(path, kind, work).rejects for kind, path in dumps.items() if path is not None}
    books = 0
    for known in (None, checked):
        made = build_books(dumps, dump_date, wanted, work, known=known)
        books = assert_equal(made, expected)
    return books


def assert_equal(made: Catalogue, expected: oracle.Answer) -> int:
    """The same books, funnel and rejects; how many books."""
    books = {row.pop("edition_key"): row for row in pq.read_table(made.books).drop("content_hash").to_pylist()}
    assert books == {key: {k: v for k, v in row.items() if k != "edition_key"} for key, row in expected.books.items()}
    steps = made.funnel.to_pylist()
    assert [(step["rule"], step["rows_in"], step["rows_out"]) for step in steps] == expected.funnel
    rejects = made.rejects.to_pylist()
    assert {(reject["dump"], reject["line"]) for reject in rejects} == expected.rejects
    return len(books)


@pytest.fixture(scope="module")
def read() -> Iterator[duckdb.DuckDBPyConnection]:
    """The macros that read fields."""
    with duckdb.connect() as connection:
        connection.register("incoming", LINE_SCHEMA.empty_table())
        connection.execute(sql("macros.sql"))
        yield connection


def value(read: duckdb.DuckDBPyConnection, macro: str, words: str | None) -> object:
    """What a macro reads out of a text."""
    row = read.execute(f"SELECT {macro}($words)", {"words": words}).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("words", "year"),
    [
        ("June 2014", 2014),
        ("2014-06-01", 2014),
        ("20140601", 2014),
        ("c2015", 2015),
        ("[2016]", 2016),
        ("2016?", 2016),
        ("1999, c1998", 1999),
        ("19uu", None),
        ("190u", None),
        ("[n.d.]", None),
        ("8858", None),
        ("9999", None),
        ("20149999", None),
        (None, None),
    ],
)
def test_a_year_is_read_from_every_form_of_date(
    read: duckdb.DuckDBPyConnection, words: str | None, year: int | None
) -> None:
    assert value(read, "year_of", words) == year


@pytest.mark.parametrize(
    ("words", "pages"),
    [
        ("243", 243),
        ("243.0", 243),
        ("xii, 243 p.", 243),
        ("9 p. l., 3-320 p.", 320),
        ("2 v. (640 pages)", 640),
        ("[4], 320, [3] p. :", 320),
        ("23 cm.", None),
        ("p. cm.", None),
        ("300 plates", None),
        ("0", None),
    ],
)
def test_pages_are_read_from_numbers_and_from_collations_but_not_off_a_height(
    read: duckdb.DuckDBPyConnection, words: str, pages: int | None
) -> None:
    assert value(read, "pages_of", words) == pages


@pytest.mark.parametrize(
    ("words", "isbn"),
    [
        ("978-0-10-780540-1", "9780107805401"),
        ("9780107805402", None),
        ("0107805405", "9780107805401"),
        ("0-8044-2957-x (pbk. 2)", "9780804429573"),
        ("0804429571", None),
        ("nonsense", None),
    ],
)
def test_an_isbn_is_checked_and_made_thirteen_digits_long(
    read: duckdb.DuckDBPyConnection, words: str, isbn: str | None
) -> None:
    assert value(read, "isbn13_of", words) == isbn


@pytest.mark.parametrize(
    ("covers", "cover_id"),
    [
        ("[-1]", None),
        ("[null]", None),
        ("[null, 7]", 7),
        ('["12"]', 12),
        ("null", None),
        ("[0, 5, 9]", 5),
        ("13", 13),
        ("[]", None),
    ],
)
def test_the_first_positive_cover_id_counts(read: duckdb.DuckDBPyConnection, covers: str, cover_id: int | None) -> None:
    row = read.execute("SELECT first_cover(CAST($covers AS JSON))", {"covers": covers}).fetchone()
    assert row == (cover_id,)


@pytest.mark.parametrize(
    ("subject", "fiction", "juvenile"),
    [
        ("Fiction, general", True, False),
        ("FICTION / Romance", True, False),
        ("Brothers -- Fiction", True, False),
        ("Nonfiction", False, False),
        ("non-fiction", False, False),
        ("nyt:paperback_nonfiction=2007-01-28", False, False),
        ("English fiction -- History and criticism", False, False),
        ("Fiction -- Technique", False, False),
        ("Fiction, authorship", False, False),
        ("Travelers in fiction", False, False),
        ("Fictitious characters", False, False),
        ("Juvenile fiction", True, True),
        ("Children's stories", False, True),
        ("Children: Grades 4-6", False, True),
        ("Violence in children", False, False),
        ("Juvenile delinquents -- Fiction", True, False),
    ],
)
def test_a_subject_counts_as_fiction_or_as_juvenile_by_what_it_says(
    read: duckdb.DuckDBPyConnection, subject: str, fiction: bool, juvenile: bool
) -> None:
    verdicts = {}
    for rule in rules_of(CatalogueFilter(), DUMP_DATE):
        for name, wanted in rule.variables.items():
            read.execute(f"SET VARIABLE {name} = $value", {"value": wanted})
        if rule.stage == "subjects":
            row = read.execute(
                f"SELECT {rule.condition} FROM (SELECT [$subject] AS subjects)",  # noqa: S608
                {"subject": subject},
            ).fetchone()
            verdicts[rule.name] = row

    assert verdicts == {"is fiction": (fiction,), "not juvenile": (not juvenile,)}


def test_another_subject_than_fiction_is_a_word_that_begins_in_a_subject(read: duckdb.DuckDBPyConnection) -> None:
    (rule,) = (
        rule for rule in rules_of(CatalogueFilter(subject="C++", juvenile=True), DUMP_DATE) if rule.stage == "subjects"
    )
    for name, wanted in rule.variables.items():
        read.execute(f"SET VARIABLE {name} = $value", {"value": wanted})

    found = [
        read.execute(f"SELECT {rule.condition} FROM (SELECT [$s] AS subjects)", {"s": subject}).fetchone()  # noqa: S608
        for subject in ("Programming in C++", "c++ (language)", "Objective-C", "Cooking")
    ]

    assert rule.name == "about C++"
    assert found == [(True,), (True,), (False,), (False,)]


def test_rules_that_are_switched_off_are_not_in_the_funnel() -> None:
    assert [rule.name for rule in rules_of(ANY, DUMP_DATE)] == ["has a title"]
    assert [rule.name for rule in rules_of(CatalogueFilter(), DUMP_DATE)] == [
        "has a cover",
        "in a wanted language",
        "published 2011 to 2021",
        "has a title",
        "more than 100 pages",
        "is fiction",
        "not juvenile",
    ]
