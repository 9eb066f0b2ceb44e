"""What a change of some of the covers costs: into the live index, or into a table beside it that is swapped in.

Knows the two ways and what is measured of each. The share at which they cost the same is where
`build.REBUILD_ABOVE` comes from.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psycopg
from psycopg.conninfo import make_conninfo

from book_search.index import build
from book_search.index.connection import Connection, connect
from book_search.index.models import known_model
from book_search.index.verification import recall_of
from book_search_tests.benchmarks.loaded_covers import Covers, load_ranges, write_ranges

SAMPLES = 300  # embeddings that the recall is measured on
LIVE, BESIDE = "into the live index", "beside, and swapped"
WAYS = {LIVE: 1e9, BESIDE: 0.0}  # what build.REBUILD_ABOVE must be for each


@dataclass(frozen=True)
class Change:
    """What one change took.

    Attributes:
        share: of the covers that changed.
        way: LIVE or BESIDE.
        load: seconds of all of cover_vectors, what did not change included.
        index: seconds of search_index: building or verifying, and the swap.
        written: rows of the three tables written or removed.
        recall: recall@10 of the index afterwards, exact search's being 1.
        vacuum: seconds to vacuum the embeddings' table afterwards, where that was measured.
    """

    share: float
    way: str
    load: float
    index: float
    written: int
    recall: float
    vacuum: float | None

    @property
    def total(self) -> float:
        return self.load + self.index


def measure_changes(
    dsn: str, covers: Covers, folder: Path, shares: list[float], vacuumed: list[float]
) -> Iterator[Change]:
    """Each share, each way, on a copy of the database `dsn`, where the covers are loaded and indexed as model 1."""
    for share in shares:
        folders = write_ranges(covers.changed(share), folder / f"changed-{share}")
        for way, threshold in WAYS.items():
            with _copy_of(dsn) as conn, _threshold(threshold):
                yield _change(conn, folders, share, way, share in vacuumed and way == LIVE)


def _change(conn: Connection, folders: list[Path], share: float, way: str, vacuum: bool) -> Change:
    conn.execute("CHECKPOINT")
    start = perf_counter()
    changes = load_ranges(conn, 1, folders)
    loaded = perf_counter()
    built = build.build_index(conn, 1)
    done = perf_counter()
    assert built.rebuilt is (way == BESIDE)
    with conn.transaction(force_rollback=True):
        recall = recall_of(conn, known_model(conn, 1).table, built.index_name, SAMPLES)
    took = None
    if vacuum:
        begun = perf_counter()
        conn.execute("VACUUM cover_embedding_1")
        took = perf_counter() - begun
    written = sum(table.changed for one in changes for table in one.values())
    return Change(share, way, loaded - start, done - loaded, written, recall, took)


@contextmanager
def _copy_of(dsn: str) -> Iterator[Connection]:
    """A connection to a copy of a database that nobody is connected to."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    name, copy = str(parts["dbname"]), f"{parts['dbname']}_copy"
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")
        try:
            with connect(make_conninfo(dsn, dbname=copy)) as conn:
                yield conn
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")


@contextmanager
def _threshold(share: float) -> Iterator[None]:
    """Have loads decide by another threshold for the length of the block."""
    was = build.REBUILD_ABOVE
    build.REBUILD_ABOVE = share
    try:
        yield
    finally:
        build.REBUILD_ABOVE = was
