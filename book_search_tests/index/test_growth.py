"""The database remembers how the library grew."""

from datetime import date

import pyarrow as pa

from book_search.index.build import build_index
from book_search.index.connection import Connection
from book_search.index.growth import TableSize, books_by_dump, builds_of, size_of
from book_search.index.load import load_books, load_funnel, load_range
from book_search.index.models import register_model
from book_search.schemas import FUNNEL
from book_search_tests.index.library import draw_library


def test_each_dump_tells_the_books_that_its_last_rule_let_through(connection: Connection) -> None:
    for day, (first, last) in {date(2026, 10, 31): (9, 5), date(2026, 9, 30): (8, 4)}.items():
        rules = [(0, "editions in dump", 10, first), (1, "has a title", first, last)]
        rows = [dict(zip(FUNNEL.names, (day, *rule), strict=True)) for rule in rules]
        load_funnel(connection, pa.Table.from_pylist(rows, schema=FUNNEL))

    assert books_by_dump(connection) == [(date(2026, 9, 30), 4), (date(2026, 10, 31), 5)]


def test_builds_are_told_oldest_first_and_what_the_last_takes_on_disk(connection: Connection) -> None:
    rows = draw_library(60, 8)
    load_books(connection, rows.books)
    model = register_model(connection, "m", "r", "p", 8, "[]")
    load_range(connection, model, (0, 100_000), rows.covers, rows.embeddings, rows.tags)
    other = register_model(connection, "other", "r", "p", 8, "[]")

    build = build_index(connection, model)

    (point,) = builds_of(connection, model)
    assert (point.rows, point.recall) == (60, build.recall)
    assert builds_of(connection, other) == []
    size = size_of(connection, build)
    assert min(size.table, size.index) > 0
    connection.execute(f"DROP INDEX {build.index_name}")  # type: ignore[arg-type]
    assert size_of(connection, build) == TableSize(size.table, 0)
