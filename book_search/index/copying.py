"""Arrow tables into Postgres by COPY BINARY, the fastest way in; knows types and bytes, nothing of meaning.

The bytes of rows are `encoding`'s; halfvec's, which it does not know, are pgvector's halfvec_recv.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg import sql

from book_search.index.connection import Connection
from book_search.index.encoding import HEADER, TRAILER, content_of, encoded

BLOCK_ROWS = 4096
SHA256_DIGITS = 64


def copy_rows(
    conn: Connection, target: sql.Composable, types: dict[str, str], batches: Iterable[pa.RecordBatch]
) -> int:
    """Append rows to a table; returns how many.

    Args:
        conn: a connection inside a transaction.
        target: the table.
        types: the columns to write, with their types as `encoding` names them; `batches` hold columns of these names.
        batches: the rows. Null characters, which Postgres cannot store, are left out of texts.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, types))
    rows = 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, columns)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for batch in batches:
            for block in encoded(batch, types):
                copy.write(block)
            rows += batch.num_rows
        copy.write(TRAILER)
    return rows


def copy_embeddings(conn: Connection, target: sql.Composable, embeddings: pa.Table) -> int:
    """Append rows of `schemas.embeddings(dim)` to a table (cover_id, sha256, embedding); returns how many.

    All fields have one width, so whole blocks of rows are laid out by NumPy.

    Raises:
        ValueError: a sha256 is not of SHA256_DIGITS bytes.
    """
    dim = embeddings.schema.field("vector").type.list_size
    layout = np.dtype(
        [
            *[("fields", ">i2"), ("cover_id_bytes", ">i4"), ("cover_id", ">i8")],
            *[("sha256_bytes", ">i4"), ("sha256", f"V{SHA256_DIGITS}")],
            *[("embedding_bytes", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("embedding", ">f2", (dim,))],
        ]
    )
    statement = sql.SQL("COPY {} (cover_id, sha256, embedding) FROM STDIN (FORMAT BINARY)").format(target)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for batch in embeddings.to_batches(BLOCK_ROWS):
            block = np.empty(batch.num_rows, layout)
            block["fields"] = 3
            block["cover_id_bytes"], block["cover_id"] = 8, batch.column("cover_id").to_numpy()
            block["sha256_bytes"], block["sha256"] = SHA256_DIGITS, _digests(batch.column("sha256"))
            block["embedding_bytes"], block["dim"], block["unused"] = 4 + 2 * dim, dim, 0
            block["embedding"] = _numbers(batch.column("vector"), dim)
            copy.write(block.view(np.uint8).data)
        copy.write(TRAILER)
    return int(embeddings.num_rows)


def vectors_of(embeddings: pa.Table) -> npt.NDArray[np.float16]:
    """The vectors of a table of `schemas.embeddings(dim)`, as float16[rows, dim]."""
    column = embeddings.column("vector")
    dim = column.type.list_size
    if not column.num_chunks:
        return np.zeros((0, dim), np.float16)
    return np.concatenate([_numbers(chunk, dim) for chunk in column.chunks])


def _numbers(vectors: pa.Array, dim: int) -> npt.NDArray[np.float16]:
    numbers: npt.NDArray[np.float16] = vectors.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(-1, dim)


def _digests(column: pa.Array) -> npt.NDArray[np.void]:
    content = content_of(column)
    if content.size != SHA256_DIGITS * len(column):
        raise ValueError(f"a sha256 is not of {SHA256_DIGITS} digits")
    return np.frombuffer(content, f"V{SHA256_DIGITS}")
