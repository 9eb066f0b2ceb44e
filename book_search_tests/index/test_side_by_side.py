"""Ranges are loaded two at a time, and it makes no difference to what is loaded."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from threading import Barrier, Event

import psycopg
import pytest
from psycopg import sql

from book_search.index.connection import Connection, connect
from book_search.index.load import load_range
from book_search.index.merging import RowChanges
from book_search.index.side_by_side import side_by_side
from book_search_tests.index.library import Library, draw_library, register

SECONDS = 60  # after which what should have happened did not


@pytest.fixture
def two(database_dsn: str) -> Iterator[list[Connection]]:
    with ExitStack() as open_ones:
        yield [open_ones.enter_context(closing(connect(database_dsn))) for _ in range(2)]


def test_two_parts_are_under_way_at_once_each_on_its_own_connection(two: list[Connection]) -> None:
    both = Barrier(2, timeout=SECONDS)

    def load(conn: Connection, part: str) -> tuple[str, int]:
        both.wait()  # the first would wait in vain if the second came after it
        return part, conn.info.backend_pid

    with side_by_side(two, ["a", "b", "c", "d"], load) as loaded:
        done = [loaded(part) for part in ("a", "b", "c", "d")]

    assert [part for part, _ in done] == ["a", "b", "c", "d"]
    assert {pid for _, pid in done} == {conn.info.backend_pid for conn in two}


def test_a_part_that_fails_raises_its_own_error_and_the_others_are_loaded(two: list[Connection]) -> None:
    def load(conn: Connection, divisor: int) -> int:
        with conn.transaction():
            row = conn.execute("SELECT 12 / %s::int", [divisor]).fetchone()
        assert row is not None
        return int(row[0])

    with side_by_side(two, [3, 0, 4, 6], load) as loaded:
        with pytest.raises(psycopg.errors.DivisionByZero):
            loaded(0)
        assert [loaded(3), loaded(4), loaded(6)] == [4, 3, 2]


def test_a_block_that_is_left_stops_what_is_under_way_and_begins_no_more(two: list[Connection]) -> None:
    asleep, begun, cancelled = Barrier(3, timeout=SECONDS), list[str](), Event()

    def load(conn: Connection, part: str) -> None:
        begun.append(part)
        asleep.wait()
        try:
            conn.execute("SELECT pg_sleep(%s)", [10 * SECONDS])
        except psycopg.errors.QueryCanceled:
            cancelled.set()
            raise

    def interrupted() -> None:
        with side_by_side(two, ["a", "b", "c"], load):
            asleep.wait()
            _wait_until_both_sleep(two[0].info.dsn)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert sorted(begun) == ["a", "b"]
    assert cancelled.is_set()


def test_ranges_loaded_side_by_side_are_as_if_loaded_one_by_one(two: list[Connection]) -> None:
    model = register(two[0], dim=8)
    ranges = {number: _moved(draw_library(120, dim=8, seed=number), number * 100_000) for number in range(5)}

    def load(conn: Connection, number: int) -> dict[str, RowChanges]:
        rows = ranges[number]
        bounds = (number * 100_000, (number + 1) * 100_000)
        return load_range(conn, model, bounds, rows.covers, rows.embeddings, rows.tags)

    with side_by_side(two, list(ranges), load) as loaded:
        changes = [change for number in ranges for change in loaded(number).values()]

    assert changes == [RowChanges(120, 0, 0, 0)] * 15
    for table in ("cover", "cover_embedding", "cover_tag"):
        counted = sql.SQL("SELECT count(DISTINCT cover_id) FROM {}").format(sql.Identifier(table))
        assert two[0].execute(counted).fetchone() == (600,)
    assert two[0].execute("SELECT rows_changed FROM embedding_model").fetchone() == (600,)


def _moved(library: Library, by: int) -> Library:
    """The same with cover ids that begin at `by`."""
    moved = {}
    for name in ("covers", "embeddings", "tags"):
        table = getattr(library, name)
        ids = table.column("cover_id").to_numpy() + by
        moved[name] = table.set_column(0, table.schema.field(0), [ids])
    return Library(library.books, moved["covers"], moved["embeddings"], moved["tags"], library.vectors)


def _wait_until_both_sleep(dsn: str) -> None:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    with closing(connect(dsn)) as conn:
        for _ in range(SECONDS * 100):
            if conn.execute(asked).fetchone() == (2,):
                return
            conn.execute("SELECT pg_sleep(0.01)")
