"""Loads, builds and searches at the same time: nobody waits for ever, nobody is thrown out, a crash costs nothing."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from book_search.index import build, swap
from book_search.index.build import build_index, index_builds
from book_search.index.connection import Connection, DatabaseUnreachableError, connect
from book_search.index.load import load_books, load_range
from book_search.index.models import known_model
from book_search.index.schema import apply_sql
from book_search.index.server import embedded_server
from book_search_tests.index.library import Library, digest, draw_library, embedding_table, register

SIZE = 600
HALVES = ((0, SIZE // 2), (SIZE // 2, SIZE))
TURNS = 3


@pytest.fixture(scope="module")
def rows() -> Library:
    return draw_library(SIZE, dim=8)


@pytest.fixture
def model(connection: Connection, rows: Library) -> int:
    return _built(connection, rows)


def test_loads_builds_searches_and_new_functions_do_not_stop_each_other(
    connection: Connection, database_dsn: str, model: int, rows: Library
) -> None:
    over = threading.Event()
    failed: list[Exception] = []
    threads: list[threading.Thread] = []

    def at_once(work: Callable[[Connection], object]) -> threading.Thread:
        def run() -> None:
            try:
                with connect(database_dsn) as conn:
                    while not over.is_set():
                        work(conn)
            except Exception as error:  # noqa: BLE001 - told by the test
                failed.append(error)

        threads.append(threading.Thread(target=run))
        return threads[-1]

    def apply_again(conn: Connection) -> None:
        conn.execute("DELETE FROM applied_sql")
        apply_sql(conn)
        over.wait(0.5)

    def search(conn: Connection) -> None:
        assert len(conn.execute("SELECT FROM search_books(%s, 'ship')", [rows.literal(5)]).fetchall()) == 10
        assert conn.execute("SELECT count(*) FROM cover_embedding").fetchone() == (SIZE,)

    def build_now_and_then(conn: Connection) -> None:
        build_index(conn, model)
        over.wait(0.1)

    for work in (search, search, build_now_and_then, build_now_and_then, apply_again):
        at_once(work).start()
    loads = [threading.Thread(target=_load_in_turns, args=(database_dsn, model, rows, half)) for half in HALVES]
    for thread in loads:
        thread.start()
    for thread in loads:
        thread.join()
    over.set()
    for thread in threads:
        thread.join()

    assert failed == []
    build_index(connection, model)
    assert not swap.has_next(connection, known_model(connection, model))
    stored = connection.execute("SELECT DISTINCT sha256 FROM cover_embedding_1").fetchall()
    assert stored == [(digest(TURNS),)]


def test_a_swap_takes_its_locks_in_the_order_of_those_who_read(
    connection: Connection, database_dsn: str, model: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a reader of the view, who has it and wants the table, and the swap would wait for each other."""
    monkeypatch.setattr(swap, "LOCK_SECONDS", 60)
    swap.open_next(connection, model)
    with connect(database_dsn) as reader, connect(database_dsn) as builder:
        reader.execute("BEGIN")
        reader.execute("SELECT FROM cover_embedding_1")
        building = threading.Thread(target=build_index, args=(builder, model))
        building.start()
        locks = _locks_when_waiting(connection, builder.info.backend_pid)
        reader.execute("COMMIT")
        building.join()

    assert ("cover_embedding", True) in locks
    assert ("cover_embedding_1", False) in locks


def test_a_swap_gives_way_before_postgres_ends_a_readers_statement(connection: Connection) -> None:
    row = connection.execute("SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)").fetchone()

    assert row is not None
    assert row[0] > swap.LOCK_SECONDS


def test_of_several_builds_at_once_one_builds(
    connection: Connection, database_dsn: str, model: int, rows: Library
) -> None:
    _load(connection, model, rows, (0, SIZE), "other")
    before = len(index_builds(connection))

    def build_it() -> None:
        with connect(database_dsn) as conn:
            build_index(conn, model)

    threads = [threading.Thread(target=build_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    built = index_builds(connection)[before:]
    assert len(built) == 1
    assert built[0].rebuilt


@pytest.fixture(scope="module")
def own_server(open_folder: Path) -> Iterator[str]:
    """A server that may crash."""
    with embedded_server(open_folder / "crashing") as dsn:
        yield dsn


@pytest.mark.parametrize("step", ["check_indexed", "activate_model", "swap"])
def test_a_server_that_crashes_between_any_steps_has_what_was_searched(
    own_server: str, rows: Library, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with connect(own_server) as conn:
        conn.execute("DROP SCHEMA IF EXISTS book_search CASCADE")
        apply_sql(conn)
        model = _built(conn, rows)
        _load(conn, model, rows, (0, SIZE), "other")
        before = conn.execute("SELECT * FROM search_covers(%s)", [rows.literal(5)]).fetchall()
        done = getattr(build, step)

        def then_crash(*given: object) -> object:
            result = done(*given)
            os.kill(conn.info.backend_pid, signal.SIGKILL)  # Postgres ends all others then, and recovers
            return result

        with monkeypatch.context() as patch:
            patch.setattr(build, step, then_crash)
            with pytest.raises(psycopg.OperationalError):
                build_index(conn, model)

    with _reconnected(own_server) as conn:
        assert conn.execute("SELECT * FROM search_covers(%s)", [rows.literal(5)]).fetchall() == before
        assert len(index_builds(conn)) == 1
        assert build_index(conn, model).rebuilt
        left = conn.execute("SELECT relname FROM pg_class WHERE relname ~ '^cover_embedding_1_(next|old)'").fetchall()
        assert left == []
        assert conn.execute("SELECT DISTINCT sha256 FROM cover_embedding_1").fetchall() == [(digest("other"),)]


def _built(conn: Connection, rows: Library) -> int:
    load_books(conn, rows.books)
    model = register(conn, dim=8)
    _load(conn, model, rows, (0, SIZE), "first")
    build_index(conn, model)
    return model


def _load_in_turns(dsn: str, model: int, rows: Library, half: tuple[int, int]) -> None:
    with connect(dsn) as conn:
        for turn in range(TURNS + 1):
            _load(conn, model, rows, half, turn)


def _load(conn: Connection, model: int, rows: Library, bounds: tuple[int, int], mark: object) -> None:
    """Load these covers with pictures that are all known by one digest."""
    part, count = slice(*bounds), bounds[1] - bounds[0]
    covers = rows.covers.slice(bounds[0], count)
    at = covers.schema.get_field_index("sha256")
    covers = covers.set_column(at, covers.schema.field(at), [[digest(mark)] * count])
    embedded = embedding_table(list(range(*bounds)), [digest(mark)] * count, rows.vectors[part])
    load_range(conn, model, bounds, covers, embedded, rows.tags.slice(bounds[0], count))


def _locks_when_waiting(conn: Connection, pid: int) -> list[tuple[str, bool]]:
    """The strongest locks of a session, and whether it has them, as soon as it waits for one."""
    while True:
        locks = conn.execute(
            """SELECT c.relname::text, l.granted FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
               WHERE l.pid = %s AND l.mode = 'AccessExclusiveLock' AND c.relname LIKE 'cover\\_embedding%%'""",
            [pid],
        ).fetchall()
        if any(not granted for _, granted in locks):
            return locks
        time.sleep(0.01)


def _reconnected(dsn: str) -> Connection:
    while True:
        try:
            return connect(dsn)
        except (DatabaseUnreachableError, psycopg.OperationalError):
            time.sleep(0.05)
