"""What of a server's settings makes building and searching an index fast, slow or impossible, and how to mend it.

Knows settings and sizes; nothing of tables. What no index can live with is refused by `schema.check_server`.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from book_search.index.connection import Connection

GRAPH_BYTES = 800  # of a row in the graph beside its vector, while it is built (measured: 1.8 kB for halfvec(512))
ROW_BYTES = 500  # of a row on disk beside twice its vector: table and index (measured: 2.5 kB for halfvec(512))
BUFFERS_SHARE = 2  # maintenance_work_mem at most, in shared_buffers: servers give those a quarter of their memory
LEAST_MEMORY = 32 * 2**20
SHARED_MEMORY = Path("/dev/shm")
PLANNED_ROWS, PLANNED_DIM = 100_000, 512  # what is looked ahead to where there are no embeddings yet
WORKERS = "max_parallel_maintenance_workers"


@dataclass(frozen=True)
class ServerFinding:
    """One thing about the server that was looked at; `good` says that nothing need be done."""

    what: str
    good: bool
    says: str


def look_at_server(conn: Connection) -> list[ServerFinding]:
    """Every finding, good ones too, for an index over the embeddings that there are."""
    rows, dim = _embeddings(conn)
    return [_buffers(conn, rows, dim), *_build_settings(conn, rows, dim), _letters(conn), _extensions(conn)]


def look_before_building(conn: Connection, rows: int, dim: int) -> list[ServerFinding]:
    """What will make this build slow: nothing, where all is well."""
    return [finding for finding in _build_settings(conn, rows, dim) if not finding.good]


def build_memory(conn: Connection, rows: int, dim: int) -> tuple[int, int]:
    """The memory to build an index in (bytes), and the parallel workers to build with.

    No more than the graph needs, as workers take all of it from /dev/shm at once; and no more than twice
    shared_buffers, unless the server's own maintenance_work_mem is more.
    """
    usual, buffers = _number(conn, "maintenance_work_mem"), _number(conn, "shared_buffers")
    return max(LEAST_MEMORY, min(_graph(rows, dim), max(usual, BUFFERS_SHARE * buffers))), _number(conn, WORKERS)


def _embeddings(conn: Connection) -> tuple[int, int]:
    """How many embeddings the largest table of them has, and how long they are; a plan where there are none yet."""
    row = conn.execute("SELECT to_regclass('book_search.embedding_model')").fetchone()
    if row is not None and row[0] is not None:
        row = conn.execute(
            """SELECT greatest(c.reltuples, 0)::bigint, m.dim FROM book_search.embedding_model m
               JOIN pg_class c ON c.oid = to_regclass('book_search.cover_embedding_' || m.model)
               WHERE c.reltuples > 0 ORDER BY 1 DESC LIMIT 1"""
        ).fetchone()
        if row is not None:
            return int(row[0]), int(row[1])
    return PLANNED_ROWS, PLANNED_DIM


def _graph(rows: int, dim: int) -> int:
    return rows * (2 * dim + GRAPH_BYTES) * 12 // 10


def _buffers(conn: Connection, rows: int, dim: int) -> ServerFinding:
    have, need = _number(conn, "shared_buffers"), rows * (4 * dim + ROW_BYTES)
    says = f"{_mb(have)}; {rows} embeddings and their index take {_mb(need)}"
    if have >= need:
        return ServerFinding("shared_buffers", True, says)
    mend = (
        f"searches are up to 60 % slower than from memory of its own: ALTER SYSTEM SET shared_buffers = '{_mb(need)}'"
    )
    return ServerFinding("shared_buffers", False, f"{says}; {mend}, restart")


def _build_settings(conn: Connection, rows: int, dim: int) -> Iterator[ServerFinding]:
    memory, workers = build_memory(conn, rows, dim)
    graph = _graph(rows, dim)
    says = f"{_mb(memory)} for a graph of {_mb(graph)} over {rows} embeddings"
    if memory >= graph:
        yield ServerFinding("build memory", True, says)
    else:
        mend = f"the build takes 2.5 times as long: ALTER ROLE CURRENT_USER SET maintenance_work_mem = '{_mb(graph)}'"
        yield ServerFinding("build memory", False, f"{says}; {mend}")
    processes = _number(conn, "max_worker_processes")
    if min(workers, processes, _number(conn, "max_parallel_workers")) > 0:
        yield ServerFinding("parallel build", True, f"{workers} workers beside the leader")
    else:
        mend = f"ALTER ROLE CURRENT_USER SET {WORKERS} = 1 (max_worker_processes is {processes})"
        yield ServerFinding("parallel build", False, f"no workers, so it takes 1.7 times as long; {mend}")
        return
    yield from _shared_memory(conn, memory)


def _shared_memory(conn: Connection, needed: int) -> Iterator[ServerFinding]:
    """Whether the workers' common memory has room; seen from here only where the server is on this machine."""
    kind = _text(conn, "dynamic_shared_memory_type")
    if kind != "posix":
        yield ServerFinding("shared memory", True, f"{kind}: not in {SHARED_MEMORY}")
        return
    if not _is_local(conn) or not SHARED_MEMORY.is_dir():
        says = f"posix, on another machine: a parallel build needs {_mb(needed)} in its {SHARED_MEMORY}"
        yield ServerFinding("shared memory", True, f"{says}, or is done with one process")
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    says = f"{_mb(free)} free in {SHARED_MEMORY}; a parallel build needs {_mb(needed)}"
    if free >= needed:
        yield ServerFinding("shared memory", True, says)
    else:
        mend = "give the container --shm-size, or set dynamic_shared_memory_type = mmap"
        yield ServerFinding("shared memory", False, f"{says}; it is done with one process instead: {mend}")


def _extensions(conn: Connection) -> ServerFinding:
    """None but pgvector is needed: accents are folded by a function of sql/, so that words are the same everywhere."""
    row = conn.execute(
        """SELECT (SELECT string_agg(extname, ', ' ORDER BY extname) FROM pg_extension),
                  (SELECT installed_version IS NOT NULL FROM pg_available_extensions WHERE name = 'pg_trgm'),
                  to_regclass('book_search.book_spelling') IS NOT NULL"""
    ).fetchone()
    assert row is not None
    installed, trigrams, indexed = row
    if indexed:
        says = "pg_trgm finds words that were misspelt"
    elif trigrams:
        says = "pg_trgm will find words that were misspelt when sql/ is applied again: the next run does"
    elif trigrams is not None:
        says = "none but vector is needed; CREATE EXTENSION pg_trgm, and misspelt words are found from the next run on"
    else:
        says = "none but vector is needed"
    return ServerFinding("extensions", True, f"{installed or ''}; {says}")


def _letters(conn: Connection) -> ServerFinding:
    """Whether full text knows capitals from small letters beyond ASCII, which a database's locale decides for good."""
    row = conn.execute(
        "SELECT lower('ЖΩ') = 'жω', datctype FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    if row[0]:
        return ServerFinding("letters", True, f"capitals are small ones, in every alphabet ({row[1]})")
    says = f"in {row[1]} Greek and Cyrillic words are found only as they are written, capitals and all"
    mend = "CREATE DATABASE ... TEMPLATE template0 LOCALE 'C.UTF-8', and load into that"
    return ServerFinding("letters", False, f"{says}; {mend}")


def _is_local(conn: Connection) -> bool:
    """Whether the server is reached by a socket of this machine, so that its /dev/shm is ours."""
    return conn.info.host.startswith(("/", "@")) and os.name == "posix"


def _number(conn: Connection, name: str) -> int:
    """A setting as a number: bytes where it is a size."""
    value = _text(conn, name)
    if value.lstrip("-").isdigit():
        return int(value)
    row = conn.execute("SELECT pg_size_bytes(%s)", [value]).fetchone()
    assert row is not None
    return int(row[0])


def _text(conn: Connection, name: str) -> str:
    row = conn.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def _mb(size: int) -> str:
    return f"{max(size // 2**20, 1)}MB"
