"""Whatever a filter lets through, its best ten come back: for every filter, at shares from a half to one in 2,000.

24,000 covers of 64 numbers; BOOK_SEARCH_TEST_FILTERS=70000x512 says otherwise, and takes a minute.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from book_search.index.connection import Connection, connect
from book_search_tests.benchmarks.clustered import Field, draw_field
from book_search_tests.benchmarks.filter_recall import filter_recall
from book_search_tests.benchmarks.filtered_books import SHARES, STEPS, FilteredBooks, draw_books, load_filtered
from book_search_tests.database import new_database

ROWS, DIM = (int(number) for number in os.environ.get("BOOK_SEARCH_TEST_FILTERS", "24000x64").split("x"))
QUERIES = 40
MODEL = 1


@pytest.fixture(scope="module")
def field() -> Field:
    return draw_field(ROWS, DIM, QUERIES)


@pytest.fixture(scope="module")
def drawn(field: Field) -> FilteredBooks:
    return draw_books(field.vectors)


@pytest.fixture(scope="module")
def filtered_dsn(server_dsn: str, drawn: FilteredBooks) -> Iterator[str]:
    """A database with these books in it, indexed."""
    with new_database(server_dsn) as dsn:
        with connect(dsn) as conn:
            assert load_filtered(conn, drawn) == MODEL
        yield dsn


@pytest.fixture
def conn(filtered_dsn: str) -> Iterator[Connection]:
    with connect(filtered_dsn) as opened, opened.transaction(force_rollback=True):
        yield opened


@pytest.mark.parametrize("name", ["year_to", "pages_to", "publisher", "author", "subject", "{share", "{side", "NULL"])
def test_at_every_share_ten_come_back_and_they_are_the_nearest(
    conn: Connection, field: Field, drawn: FilteredBooks, name: str
) -> None:
    filters = [wanted for wanted in drawn.passes if name in wanted]

    found = filter_recall(conn, MODEL, drawn, {"image": field.images, "text": field.texts}, filters)

    assert len(found) == 2 * (len(SHARES) if name != "NULL" else 1)
    for one in found:
        assert one.rows == one.wanted, one
        assert one.recall >= 0.98, one


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.9, 0.9), {}),  # 81 %: the graph is walked through
        ((0.95, 1.0), {"tag": "{side:near half}"}),
        ((0.5, 0.5), {"publisher": "half publisher"}),
        ((0.5, 0.5), {"publisher": "half publisher", "author": "half author", "subject": "half subject"}),
        ((1.0, 0.05), {"subject": "half subject", "tag": "{share:half,side:far half}"}),
        ((1.0, 1.0), {"author": "twentieth author", "tag": "{share:twentieth}"}),
        ((1.0, 0.5), {"author": "rare author"}),
        ((1.0, 1.0), {"author": "hardly author", "publisher": "half publisher"}),
        ((0.05, 0.5), {"author": "rare author"}),  # three of them
    ],
)
def test_filters_together_find_the_nearest_of_those_that_pass_them_all(
    conn: Connection, field: Field, drawn: FilteredBooks, shares: tuple[float, float], words: dict[str, str]
) -> None:
    year, pages = (round(share * STEPS) for share in shares)
    books = drawn.tables["books"]
    passes = (books["publish_year"].to_numpy() < year) & (books["pages"].to_numpy() < pages)
    wanted = f"year_to => {year - 1}, pages_to => {pages - 1}"
    for name, value in words.items():
        wanted += f", {name} => '{value}'"
        for each in value.strip("{}").split(","):
            passes &= drawn.passes[f"{name} => '{{{each}}}'" if name == "tag" else f"{name} => '{each}'"]
    together = replace(drawn, passes={wanted: passes})

    found = filter_recall(conn, MODEL, together, {"image": field.images, "text": field.texts}, [wanted])

    assert len(found) == 2
    for one in found:
        assert one.rows == one.wanted == min(10, passes.sum()), one
        assert one.recall >= 0.98, one


def test_what_a_walk_meets_out_of_order_comes_in_order(conn: Connection, field: Field) -> None:
    conn.execute("ALTER FUNCTION nearest_covers SET hnsw.ef_search = 2")
    out_of_order = 0
    for query in field.texts:
        literal = "[" + ",".join(map(str, query)) + "]"
        cosines = [row[1] for row in _nearest(conn, literal)]
        out_of_order += cosines != sorted(cosines, reverse=True)

    assert out_of_order == 0


def test_a_walk_looks_further_the_more_covers_there_are(conn: Connection, field: Field) -> None:
    """The table says that it holds two million covers; the width of a walk is read from the buffers that it touches."""
    query = "[" + ",".join(map(str, field.texts[0])) + "]"
    usual = _index_blocks(conn, query)
    try:
        conn.execute("UPDATE pg_class SET reltuples = 2e6 WHERE oid = 'cover_embedding_1'::regclass")
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("catalogs cannot be written here")

    assert _index_blocks(conn, query) > 2 * usual
    assert conn.execute("SHOW hnsw.ef_search").fetchone() == ("40",)  # ours ends with the function


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("words_of(b.publisher, 'A', 1000) @@ phrase('rare publisher')", "book_publisher_words"),
        ("b.words @@ phrase('rare author', 'B')", "book_words_in"),
        ("b.publish_year <= 9", "book_publish_year"),
        ("b.pages <= 9", "book_pages"),
    ],
)
def test_a_narrow_filter_is_answered_from_its_index(conn: Connection, condition: str, index: str) -> None:
    plan = conn.execute(f"EXPLAIN SELECT b.cover_id FROM book b WHERE {condition} LIMIT 10001".encode()).fetchall()  # noqa: S608

    assert any(index in line for (line,) in plan), plan


def _nearest(conn: Connection, literal: str) -> list[tuple[int, float]]:
    return conn.execute("SELECT * FROM nearest_covers(1, %s::halfvec, 100)", [literal]).fetchall()


def _index_blocks(conn: Connection, literal: str) -> int:
    def touched() -> int:
        row = conn.execute(
            "SELECT sum(pg_stat_get_xact_blocks_fetched(indexrelid)) FROM pg_stat_user_indexes "
            "WHERE indexrelname LIKE '%hnsw%'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    before = touched()
    _nearest(conn, literal)
    return touched() - before
