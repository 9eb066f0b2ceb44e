"""Exact neighbours of some embeddings among all of a table's, in one reading of the table; knows nothing of indexes.

Postgres would compare a hundred embeddings with a million others in a hundred scans, 43 seconds of them. Here the rows
come once, by COPY BINARY, and a matrix product compares each block with all that were drawn: some 4 seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from psycopg import sql

from book_search.index.connection import Connection

HEADER_BYTES, TRAILER_BYTES = 19, 2  # PostgreSQL's documentation of COPY, "Binary Format"
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Drawn:
    """Embeddings of a table and how far their neighbours are.

    Attributes:
        cover_ids: int64 [samples].
        vectors: float16 [samples, dim].
        farthest: the exact cosine distance of the kth neighbour, or of the last where there are fewer; [samples].
        others: how many neighbours there are, k at most; [samples].
    """

    cover_ids: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float16]
    farthest: npt.NDArray[np.float32]
    others: npt.NDArray[np.int64]


def draw_neighbours(conn: Connection, table: sql.Identifier, samples: int, k: int) -> Drawn:
    """Random embeddings of the table, with the exact distances of their k nearest other ones.

    Args:
        conn: a connection; the rows read are those that it sees.
        table: of embeddings (cover_id, embedding), none of them null, all of one size.
        samples: how many are drawn; all, where there are fewer.
        k: neighbours.
    """
    statement = sql.SQL("SELECT cover_id, embedding FROM {} ORDER BY random() LIMIT {}")
    rows = conn.cursor(binary=True).execute(statement.format(table, sql.Literal(samples))).fetchall()
    if not rows:
        empty = np.zeros(0, np.int64)
        return Drawn(empty, np.zeros((0, 0), np.float16), np.zeros(0, np.float32), empty)
    cover_ids = np.array([row[0] for row in rows], np.int64)
    vectors = np.stack([row[1].to_numpy() for row in rows]).astype(np.float16)
    wanted = _unit(vectors)
    best = np.full((len(rows), k), np.inf, np.float32)
    for ids, block in _blocks(conn, table, vectors.shape[1]):
        distances = 1 - wanted @ _unit(block).T
        distances[cover_ids[:, None] == ids[None, :]] = np.inf
        nearer = np.flatnonzero((distances < best.max(axis=1, keepdims=True)).any(axis=1))
        both = np.concatenate([best[nearer], distances[nearer]], axis=1)
        best[nearer] = np.partition(both, k - 1, axis=1)[:, :k]
    others = np.isfinite(best).sum(axis=1)
    farthest = np.where(np.isfinite(best), best, -np.inf).max(axis=1)
    return Drawn(cover_ids, vectors, farthest.astype(np.float32), others)


def _unit(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    floats = vectors.astype(np.float32)
    floats /= np.linalg.norm(floats, axis=1, keepdims=True)
    return floats


def _blocks(
    conn: Connection, table: sql.Identifier, dim: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]:
    """The table's ids and vectors, some thousand rows at a time."""
    layout = np.dtype(
        [
            *[("fields", ">i2"), ("cover_id_bytes", ">i4"), ("cover_id", ">i8")],
            *[("embedding_bytes", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("embedding", ">f2", (dim,))],
        ]
    )
    statement = sql.SQL("COPY (SELECT cover_id, embedding FROM {}) TO STDOUT (FORMAT BINARY)").format(table)
    pending, skip = bytearray(), HEADER_BYTES
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for data in copy:
            pending += data
            if len(pending) - skip < BLOCK_ROWS * layout.itemsize + TRAILER_BYTES:
                continue
            yield _rows(pending, skip, BLOCK_ROWS, layout)
            del pending[: skip + BLOCK_ROWS * layout.itemsize]
            skip = 0
    left = (len(pending) - skip) // layout.itemsize
    if left:
        yield _rows(pending, skip, left, layout)


def _rows(
    pending: bytearray, skip: int, count: int, layout: np.dtype[np.void]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
    rows = np.frombuffer(bytes(pending[skip : skip + count * layout.itemsize]), layout)
    return rows["cover_id"].astype(np.int64), rows["embedding"].astype(np.float16)
