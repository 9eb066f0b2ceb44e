"""A large load goes beside what is searched: no reader waits for it or sees half of it, and a kill costs nothing."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from book_search.index import swap
from book_search.index.build import IndexRecallError, IndexVerificationError, build_index, index_builds
from book_search.index.connection import Connection, connect
from book_search.index.load import load_books, load_range
from book_search.index.models import known_model
from book_search_tests.index.library import Library, draw_library, embedding_table, register

BOUNDS = (0, 100_000)
Found = tuple[tuple[int, float], ...]


@pytest.fixture(scope="module")
def rows() -> Library:
    return draw_library(600, dim=8)


@pytest.fixture
def model(connection: Connection, rows: Library) -> int:
    """A model whose index is searched."""
    load_books(connection, rows.books)
    model = register(connection, dim=8)
    _load(connection, model, rows)
    build_index(connection, model)
    return model


def test_a_small_change_goes_into_the_searched_table(connection: Connection, model: int, rows: Library) -> None:
    _load(connection, model, _with_other_pictures(rows, 20))

    assert not _next_is_there(connection)
    assert _stored(connection, 5) == pytest.approx(rows.vectors[599])


def test_a_large_change_is_searched_as_a_whole_once_it_is_found_good(
    connection: Connection, model: int, rows: Library
) -> None:
    changed = _with_other_pictures(rows, 200)
    first = index_builds(connection)[0]

    changes = _load(connection, model, changed)

    assert changes == (0, 200, 0)
    assert _next_is_there(connection)
    assert _stored(connection, 5) == pytest.approx(rows.vectors[5])
    built = build_index(connection, model)
    assert (built.rebuilt, built.rows) == (True, 600)
    assert built.index_name != first.index_name
    assert not _next_is_there(connection)
    assert _stored(connection, 5) == pytest.approx(rows.vectors[599])
    assert build_index(connection, model) == built


def test_the_new_table_has_all_that_the_old_one_had(connection: Connection, model: int, rows: Library) -> None:
    connection.execute("CREATE ROLE somebody")
    try:
        connection.execute("GRANT SELECT ON cover_embedding_1 TO somebody; GRANT SELECT ON cover_embedding_1 TO PUBLIC")
        before = _properties(connection)

        _load(connection, model, _with_other_pictures(rows, 200))
        build_index(connection, model)

        assert _properties(connection) == before
        assert connection.execute("SELECT count(*) FROM cover_embedding").fetchone() == (600,)
    finally:
        connection.execute("DROP OWNED BY somebody; DROP ROLE somebody")


def test_the_same_comes_out_of_every_starting_state(connection: Connection, model: int, rows: Library) -> None:
    wanted = _with_other_pictures(rows, 300).without_row(400)
    starts: dict[str, Callable[[], object]] = {
        "indexed": lambda: None,
        "a next table half loaded": lambda: _load(connection, model, _with_other_pictures(rows, 250)),
        "a next table opened": lambda: swap.open_next(connection, model),
        "no index": lambda: connection.execute(f"DROP INDEX {index_builds(connection)[-1].index_name}"),
        "nothing": lambda: _load(connection, model, draw_library(0, dim=8)),
    }
    for name, start in starts.items():
        _load(connection, model, rows)
        build_index(connection, model)
        start()

        _load(connection, model, wanted)
        build_index(connection, model)

        assert _content(connection) == _expected(wanted), name
        assert not _next_is_there(connection), name


def test_a_cover_that_is_taken_down_is_not_found_from_then_on(
    connection: Connection, model: int, rows: Library
) -> None:
    other = register(connection, dim=8, model_id="other")
    _load(connection, other, rows)
    build_index(connection, other)
    _load(connection, model, _with_other_pictures(rows, 200))

    _load(connection, model, _with_other_pictures(rows, 200).without_row(7))

    assert connection.execute("SELECT count(*) FROM cover_embedding WHERE cover_id = 7").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM cover_embedding_1_next WHERE cover_id = 7").fetchone() == (0,)
    swap.open_next(connection, other)
    _load(connection, model, _with_other_pictures(rows, 200).without_row(8).without_row(7))
    assert connection.execute("SELECT count(*) FROM cover_embedding WHERE cover_id = 8").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM cover_embedding_2_next WHERE cover_id = 8").fetchone() == (0,)


def test_a_next_table_that_is_not_good_changes_nothing(connection: Connection, model: int, rows: Library) -> None:
    before = _content(connection)
    _load(connection, model, _with_other_pictures(rows, 200))

    with pytest.raises(IndexRecallError):
        build_index(connection, model, recall_floor=1.5)
    assert _content(connection) == before
    connection.execute("UPDATE cover_embedding_1_next SET embedding = '[0,0,0,0,0,0,0,0]' WHERE cover_id = 3")
    with pytest.raises(IndexVerificationError, match="1 of 600 embeddings of drawn are not of unit length") as caught:
        build_index(connection, model)
    assert caught.value.figures == {"rows": 600, "not_of_unit_length": 1}
    connection.execute("DELETE FROM cover_embedding_1_next WHERE cover_id < 10")
    with pytest.raises(IndexVerificationError, match="10 covers that drawn has embedded are not embedded by drawn"):
        build_index(connection, model)
    assert _content(connection) == before


def test_readers_see_the_old_or_the_new_and_never_an_error(
    connection: Connection, database_dsn: str, model: int, rows: Library
) -> None:
    states, query = [rows, _turned(rows)], rows.literal(0)
    whole = set()
    with _searching(database_dsn, query) as found:
        for i in range(6):
            _load(connection, model, states[(i + 1) % 2])
            assert build_index(connection, model).rebuilt
            whole.add(_search(connection, query))

    assert len(whole) == 2
    assert set(found) == whole


def test_who_looks_at_an_old_state_is_waited_for_and_finds_all_of_it(
    connection: Connection, database_dsn: str, model: int, rows: Library
) -> None:
    with connect(database_dsn) as dump:
        dump.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT count(*) FROM book")  # its view of the database is fixed; the embeddings are not held yet
        _load(connection, model, _with_other_pictures(rows, 200))
        building = threading.Thread(target=build_index, args=(connection, model))
        building.start()
        building.join(1.0)

        assert building.is_alive()
        assert len(dump.execute("SELECT FROM search_covers(%s, 600)", [rows.literal(0)]).fetchall()) == 600
        dump.execute("COMMIT")
        building.join()

    assert index_builds(connection)[-1].rebuilt
    assert not _next_is_there(connection)


def test_a_reader_who_stays_in_the_table_ends_the_swap_not_the_search(
    connection: Connection, database_dsn: str, model: int, rows: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(swap, "ATTEMPTS", 5)
    _load(connection, model, _with_other_pictures(rows, 200))
    with connect(database_dsn) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM cover_embedding_1")
        with pytest.raises(swap.ReadersInTheWayError, match="materialize search_index again"):
            build_index(connection, model)
        assert _stored(connection, 5) == pytest.approx(rows.vectors[5])
        reader.execute("COMMIT")

    assert build_index(connection, model).rebuilt
    assert _stored(connection, 5) == pytest.approx(rows.vectors[599])


@pytest.mark.parametrize("step", ["open_next", "check_rows", "recall_of", "swap", "record", "activate_model"])
def test_a_kill_between_any_steps_leaves_what_was_searched_and_the_next_run_goes_on(
    connection: Connection, database_dsn: str, model: int, rows: Library, tmp_path: Path, step: str
) -> None:
    changed = _with_other_pictures(rows, 200)
    for name in ("covers", "embeddings", "tags"):
        pq.write_table(getattr(changed, name), tmp_path / name)
    before = _content(connection)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, database_dsn, str(tmp_path), step], capture_output=True, text=True, check=False
    )

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert _content(connection) == before
    _load(connection, model, changed)
    assert build_index(connection, model).rebuilt
    assert _content(connection) == _expected(changed)
    assert not _next_is_there(connection)


# A run that ends by a kill as soon as it has done this step.
KILLED = f"""
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from book_search.index import build, load
from book_search.index.connection import connect
dsn, folder, step = sys.argv[1:]
for module in (load, build):
    if (done := getattr(module, step, None)) is not None:
        setattr(module, step, lambda *given, **named: (done(*given, **named), os.kill(os.getpid(), signal.SIGKILL)))
with connect(dsn) as conn:
    rows = (pq.read_table(Path(folder) / name) for name in ("covers", "embeddings", "tags"))
    load.load_range(conn, 1, {BOUNDS}, *rows)
    build.build_index(conn, 1)
"""


def _load(connection: Connection, model: int, rows: Library) -> tuple[int, int, int]:
    changes = load_range(connection, model, BOUNDS, rows.covers, rows.embeddings, rows.tags)["cover_embedding"]
    return changes.inserted, changes.updated, changes.deleted


def _with_other_pictures(rows: Library, count: int) -> Library:
    """The first covers' pictures are others now: all of them that of the last cover."""
    vectors = rows.vectors.copy()
    vectors[:count] = rows.vectors[-1]
    return _repainted(rows, vectors, count, "other")


def _turned(rows: Library) -> Library:
    return _repainted(rows, -rows.vectors, len(rows.vectors), "turned")


def _repainted(rows: Library, vectors: npt.NDArray[np.float16], count: int, mark: str) -> Library:
    hashes = rows.embeddings.column("sha256").to_pylist()
    hashes[:count] = [mark[:1].encode().hex() * 32] * count
    at = rows.covers.schema.get_field_index("sha256")
    covers = rows.covers.set_column(at, rows.covers.schema.field(at), [hashes])
    return Library(rows.books, covers, embedding_table(list(range(len(hashes))), hashes, vectors), rows.tags, vectors)


@contextmanager
def _searching(dsn: str, query: str) -> Iterator[list[Found]]:
    """A reader who searches all the while; yields what it found."""
    over = threading.Event()
    found: list[Found] = []

    def search() -> None:
        with connect(dsn) as reader:
            while not over.is_set():
                found.append(_search(reader, query))

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _search(connection: Connection, query: str) -> Found:
    hits = connection.execute("SELECT cover_id, cosine FROM search_covers(%s, 10)", [query]).fetchall()
    return tuple((int(cover_id), float(cosine)) for cover_id, cosine in hits)


def _next_is_there(connection: Connection) -> bool:
    return swap.has_next(connection, known_model(connection, 1))


def _stored(connection: Connection, cover_id: int) -> list[float]:
    row = connection.execute("SELECT embedding FROM cover_embedding WHERE cover_id = %s", [cover_id]).fetchone()
    assert row is not None
    return list(row[0].to_list())


def _content(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT cover_id, sha256, embedding::text FROM cover_embedding_1 ORDER BY 1").fetchall()


def _expected(rows: Library) -> list[tuple[object, ...]]:
    ids, hashes = (rows.embeddings.column(name).to_pylist() for name in ("cover_id", "sha256"))
    return [(i, sha256, ANY) for i, sha256 in zip(ids, hashes, strict=True)]


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


ANY = _Any()


def _properties(connection: Connection) -> list[tuple[object, ...]]:
    """What a table has beside its rows and its indexes' names."""
    return connection.execute(
        """SELECT c.reloptions::text, c.relacl::text, obj_description(c.oid, 'pg_class'), 0 FROM pg_class c
           WHERE c.oid = 'cover_embedding_1'::regclass
           UNION ALL
           SELECT attname::text, col_description(attrelid, attnum), concat(attnotnull, attstattarget), atttypmod
           FROM pg_attribute WHERE attrelid = 'cover_embedding_1'::regclass AND attnum > 0
           UNION ALL
           SELECT conname::text, pg_get_constraintdef(oid), contype::text, 0
           FROM pg_constraint WHERE conrelid = 'cover_embedding_1'::regclass
           ORDER BY 1, 2"""
    ).fetchall()
