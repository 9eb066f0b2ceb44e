"""Draws books, covers, embeddings and tags from a seed, as Arrow tables like the lake's."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from book_search.index.connection import Connection
from book_search.index.models import register_model
from book_search.schemas import BOOKS, LEDGER, TAGS, embeddings

COLOURS = ("blue", "red", "green", "black")


@dataclass(frozen=True)
class Library:
    """Row i is book OL{i}M with cover i; its vector is row i of `vectors`."""

    books: pa.Table
    covers: pa.Table
    embeddings: pa.Table
    tags: pa.Table
    vectors: npt.NDArray[np.float16]

    def without_row(self, row: int) -> "Library":
        keep = pa.array([i != row for i in range(len(self.vectors))])
        tables = {name: getattr(self, name).filter(keep) for name in ("books", "covers", "embeddings", "tags")}
        return replace(self, vectors=np.delete(self.vectors, row, axis=0), **tables)

    def literal(self, row: int) -> str:
        """The vector as a person would paste it."""
        return "[" + ",".join(str(float(number)) for number in self.vectors[row]) + "]"


def draw_library(size: int, dim: int, seed: int = 0, works_of: int = 1) -> Library:
    """`size` books in works of `works_of`; pages count from 0 to 1,999 and years from 1900 to 2019, again and again."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(size // 60, 1), dim))
    vectors = centres[rng.integers(len(centres), size=size)] + 0.7 * rng.normal(size=(size, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    rows = range(size)
    hashes = [digest(i) for i in rows]
    books = {
        "edition_key": [f"OL{i}M" for i in rows],
        "work_key": [f"OL{i // works_of}W" for i in rows],
        "title": [f"The Ship {i}" for i in rows],
        "authors": [["Ursula K. Le Guin", "Charlotte Brontë"] if i % 1000 == 7 else ["Some Body"] for i in rows],
        "publish_year": [1900 + i % 120 for i in rows],
        "pages": [i % 2000 for i in rows],
        "publisher": ["Ace Books" if i % 2 else "Faber & Faber" for i in rows],
        "subjects": [["Fiction", "Sea stories"] if i % 20 == 3 else ["Fiction"] for i in rows],
        "languages": [["eng"]] * size,
        "cover_id": list(rows),
        "content_hash": hashes,
    }
    covers = {"cover_id": list(rows), "status": ["ok"] * size, "sha256": hashes}
    tags = {
        "cover_id": list(rows),
        "facet": ["colour"] * size,
        "tag": [COLOURS[i % 4] for i in rows],
        "probability": [0.5] * size,
        "template": ["a {} cover"] * size,
    }
    return Library(
        _table(books, BOOKS),
        _table(covers, LEDGER),
        embedding_table(list(rows), hashes, vectors),
        _table(tags, TAGS),
        vectors,
    )


def embedding_table(cover_ids: list[int], hashes: list[str], vectors: npt.NDArray[np.float16]) -> pa.Table:
    """Vectors float16[rows, dim] as the lake holds them."""
    dim = vectors.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim)
    return pa.table({"cover_id": cover_ids, "sha256": hashes, "vector": column}, schema=embeddings(dim))


def register(conn: Connection, dim: int, model_id: str = "drawn") -> int:
    """The number of a model for drawn vectors."""
    return register_model(conn, model_id, "main", "1", dim, "{}")


def digest(content: object) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def with_values(table: pa.Table, row: int, **values: object) -> pa.Table:
    """The table with other values in one row."""
    for name, value in values.items():
        column = table.column(name).to_pylist()
        column[row] = value
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(column, table.schema.field(name).type))
    return table


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    size = len(columns["cover_id"])
    return pa.table(
        {field.name: columns.get(field.name, [None] * size) for field in schema},
        schema=schema,
    )
