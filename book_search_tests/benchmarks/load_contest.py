"""Ways of getting embeddings into Postgres, each on the same rows: the floor, ours, and what people write first.

Knows how each loads; nothing of how their times are told.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from psycopg import sql
from sqlalchemy import BigInteger, Column, MetaData, String, Table, create_engine, insert

from book_search.index.connection import Connection
from book_search.index.copying import BLOCK_ROWS, SHA256_DIGITS, copy_embeddings, vectors_of
from book_search.index.encoding import HEADER, TRAILER, encoded
from book_search.index.load import COVER, TAG
from book_search.index.side_by_side import AT_ONCE
from book_search_tests.benchmarks.loaded_covers import DIM, NAMES, Covers, load_ranges
from book_search_tests.index.library import embedding_table, register

TABLE = f"CREATE TABLE contest (cover_id bigint PRIMARY KEY, sha256 text NOT NULL, embedding halfvec({DIM}) NOT NULL)"
A_STATEMENT = 1_000  # rows of an INSERT


def floor(conn: Connection, covers: Covers) -> float:
    """Seconds for the same bytes, laid out beforehand, as bytea into an unlogged table without a key."""
    conn.execute("CREATE UNLOGGED TABLE contest (cover_id bigint, sha256 text, embedding bytea)")
    return _send(conn, _blocks(covers.ids, covers.hashes, covers.vectors))


def floor_of_our_table(conn: Connection, covers: Covers) -> float:
    """The same into a table like ours: logged, with its key."""
    conn.execute("CREATE TABLE contest (cover_id bigint PRIMARY KEY, sha256 text NOT NULL, embedding bytea NOT NULL)")
    return _send(conn, _blocks(covers.ids, covers.hashes, covers.vectors))


def our_copy(conn: Connection, covers: Covers) -> float:
    """Seconds for `copy_embeddings`, from an Arrow table into a table with its key."""
    conn.execute(TABLE)
    table = embedding_table(covers.ids.tolist(), list(covers.hashes), covers.vectors)
    start = perf_counter()
    with conn.transaction():
        copy_embeddings(conn, sql.Identifier("contest"), table)
    return perf_counter() - start


def our_asset(conn: Connection, folders: list[Path]) -> float:
    """Seconds for all that the asset cover_vectors does: Parquet, checks, ledger, embeddings and tags, a range each."""
    model = register(conn, DIM)
    start = perf_counter()
    load_ranges(conn, model, folders)
    return perf_counter() - start


def our_asset_by_one(conn: Connection, folders: list[Path]) -> float:
    """The same on one connection, a range after the other."""
    model = register(conn, DIM)
    start = perf_counter()
    load_ranges(conn, model, folders, at_once=1)
    return perf_counter() - start


def our_asset_again(conn: Connection, folders: list[Path]) -> float:
    """Seconds of `our_asset` where all is there already."""
    our_asset(conn, folders)
    start = perf_counter()
    changes = load_ranges(conn, 1, folders)
    took = perf_counter() - start
    assert not any(table.changed for one in changes for table in one.values())
    return took


def asset_floor(conn: Connection, folders: list[Path]) -> float:
    """Seconds for as many rows of as many bytes as all three tables get, one bytea a row: unlogged, no keys."""
    conn.execute("CREATE UNLOGGED TABLE contest (row bytea)")
    tables = [pq.read_table(path) for folder in folders for path in sorted(folder.glob("*.parquet"))]
    return sum(_send(conn, [_as_one_bytea(table)]) for table in tables)


def asset_floor_of_our_tables(conn: Connection, folders: list[Path]) -> float:
    """Seconds for the rows of all three tables, laid out beforehand, into tables with our columns, keys and indexes.

    Logged; the embeddings as bytea. One connection; no Parquet, no checks, no statistics.
    """
    embeddings = "CREATE TABLE contest_embedding (cover_id bigint PRIMARY KEY, sha256 text NOT NULL, embedding bytea)"
    conn.execute(embeddings)
    for name in ("cover", "cover_tag"):
        conn.execute(f"CREATE TABLE contest_{name} (LIKE {name} INCLUDING ALL)")
    took = 0.0
    for folder in folders:
        covers, vectors, tags = (pq.read_table(folder / f"{name}.parquet") for name in NAMES)
        tags = tags.append_column("model", pa.repeat(pa.scalar(1, pa.int32()), tags.num_rows))
        took += _send(conn, _laid_out(covers, COVER), f"contest_cover ({', '.join(COVER)})")
        took += _send(conn, _embeddings_laid_out(vectors), "contest_embedding")
        took += _send(conn, _laid_out(tags, TAG), f"contest_cover_tag ({', '.join(TAG)})")
    return took


def executemany(conn: Connection, covers: Covers) -> float:
    """Seconds for psycopg's executemany, binary and pipelined."""
    conn.execute(TABLE)
    rows = [(int(i), h, HalfVector(v)) for i, h, v in zip(covers.ids, covers.hashes, covers.vectors, strict=True)]
    start = perf_counter()
    with conn.transaction(), conn.cursor() as cursor:
        cursor.executemany("INSERT INTO contest VALUES (%b, %b, %b)", rows)
    return perf_counter() - start


def sqlalchemy_inserts(conn: Connection, covers: Covers) -> float:
    """Seconds for SQLAlchemy's insert of many rows, with pgvector's type."""
    conn.execute(TABLE)
    table = Table(
        "contest",
        MetaData(),
        Column("cover_id", BigInteger),
        Column("sha256", String),
        Column("embedding", HALFVEC(DIM)),
    )
    rows = [
        {"cover_id": int(i), "sha256": h, "embedding": v}
        for i, h, v in zip(covers.ids, covers.hashes, covers.vectors.astype(np.float32), strict=True)
    ]
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conn.info.dsn))
    path = conn.execute("SHOW search_path").fetchone()
    assert path is not None
    start = perf_counter()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET search_path = {path[0]}")
        for first in range(0, len(rows), A_STATEMENT):
            connection.execute(insert(table), rows[first : first + A_STATEMENT])
    took = perf_counter() - start
    engine.dispose()
    return took


FLOOR = "floor: COPY BINARY of the same bytes as bytea, unlogged, no key"
TABLE_FLOOR = "floor of our table: the same, logged, with the key"
ASSET_FLOOR = "floor of the asset: rows and bytes of its three tables as bytea, unlogged, no key"
ASSET_TABLES_FLOOR = "floor of its tables: the same, logged, in their columns, with the four indexes"

# What is said of each; its function, the part of the rows it is given (the slow ones would take minutes), its floor.
CONTENDERS: dict[str, tuple[Callable[[Connection, Covers], float], int, str]] = {
    FLOOR: (floor, 1, ""),
    TABLE_FLOOR: (floor_of_our_table, 1, FLOOR),
    "ours: copy_embeddings, from Arrow, logged, with the key": (our_copy, 1, TABLE_FLOOR),
    "psycopg executemany, binary, pipelined": (executemany, 2, TABLE_FLOOR),
    "SQLAlchemy insert() of 1,000 rows, pgvector's HALFVEC": (sqlalchemy_inserts, 10, TABLE_FLOOR),
}

# The same of the asset, by covers: each is a row of the ledger, one of the embeddings and two tags.
WHOLE: dict[str, tuple[Callable[[Connection, list[Path]], float], tuple[str, ...]]] = {
    ASSET_FLOOR: (asset_floor, ()),
    ASSET_TABLES_FLOOR: (asset_floor_of_our_tables, (ASSET_FLOOR,)),
    "ours: the asset cover_vectors, on one connection": (our_asset_by_one, (ASSET_FLOOR, ASSET_TABLES_FLOOR)),
    f"ours: the asset cover_vectors, {AT_ONCE} ranges at a time": (our_asset, (ASSET_FLOOR, ASSET_TABLES_FLOOR)),
    "ours: the asset cover_vectors again, nothing changed": (our_asset_again, (ASSET_FLOOR, ASSET_TABLES_FLOOR)),
}


def _send(conn: Connection, blocks: list[bytes], target: str = "contest") -> float:
    start = perf_counter()
    with conn.transaction(), conn.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
        for block in blocks:
            copy.write(block)
    return perf_counter() - start


def _laid_out(table: pa.Table, types: dict[str, str]) -> list[bytes]:
    blocks = [bytes(block) for batch in table.to_batches() for block in encoded(batch, types)]
    return [HEADER, *blocks, TRAILER]


def _embeddings_laid_out(table: pa.Table) -> list[bytes]:
    return _blocks(table["cover_id"].to_numpy(), table["sha256"].to_pylist(), vectors_of(table))


def _blocks(ids: npt.NDArray[np.int64], hashes: Sequence[str], vectors: npt.NDArray[np.float16]) -> list[bytes]:
    layout = np.dtype(
        [
            *[("fields", ">i2"), ("a", ">i4"), ("id", ">i8"), ("b", ">i4"), ("sha", f"S{SHA256_DIGITS}")],
            *[("c", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("embedding", ">f2", (DIM,))],
        ]
    )
    rows = np.zeros(len(hashes), layout)
    rows["fields"], rows["a"], rows["b"], rows["c"], rows["dim"] = 3, 8, SHA256_DIGITS, 4 + 2 * DIM, DIM
    rows["id"], rows["sha"], rows["embedding"] = ids, hashes, vectors
    blocks = [rows[first : first + BLOCK_ROWS].tobytes() for first in range(0, len(rows), BLOCK_ROWS)]
    return [HEADER, *blocks, TRAILER]


def _as_one_bytea(table: pa.Table) -> bytes:
    """A COPY stream whose rows have about the bytes that the table's rows have in Postgres' binary format."""
    size = table.nbytes // max(table.num_rows, 1) + 4 * table.num_columns
    row = np.zeros(table.num_rows, np.dtype([("fields", ">i2"), ("bytes", ">i4"), ("row", f"V{size}")]))
    row["fields"], row["bytes"] = 1, size
    return HEADER + row.tobytes() + TRAILER
