"""Covers with clustered vectors as the lake holds them, in Parquet files a range, and a server to load them into.

Knows files, ranges and databases; nothing of what is measured.
"""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from book_search.cover_ranges import COVERS_PER_RANGE
from book_search.index.connection import Connection, connect
from book_search.index.load import load_range
from book_search.index.merging import RowChanges
from book_search.index.schema import apply_sql
from book_search.index.server import embedded_server
from book_search.index.side_by_side import AT_ONCE, side_by_side
from book_search.lake import open_lake
from book_search.schemas import LEDGER, TAGS
from book_search_tests.benchmarks.clustered import draw_field
from book_search_tests.database import new_database
from book_search_tests.index.library import digest, embedding_table

DIM = 512
A_RANGE = 10_000  # of a range's hundred thousand cover ids are wanted, as with the default filter
FACETS = ("colour", "style")
NAMES = ("cover", "embedding", "tag")


@dataclass(frozen=True)
class Covers:
    """Cover i of the range r has the id 100,000 r + 10 i; `vectors` float16 [rows, DIM], `hashes` one a row."""

    vectors: npt.NDArray[np.float16]
    hashes: tuple[str, ...]

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        rows = np.arange(len(self.hashes))
        return rows // A_RANGE * COVERS_PER_RANGE + rows % A_RANGE * (COVERS_PER_RANGE // A_RANGE)

    def changed(self, share: float, seed: int = 1) -> "Covers":
        """The same with other pictures for a share of the covers."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.hashes), size=round(share * len(self.hashes)), replace=False)
        vectors, hashes = self.vectors.copy(), list(self.hashes)
        vectors[which] = draw_field(len(which), DIM, queries=1, seed=0).vectors if len(which) else 0
        for row in which:
            hashes[row] = digest(f"{seed} {row}")
        return Covers(vectors, tuple(hashes))


def draw_covers(rows: int) -> Covers:
    """The same covers for the same number."""
    return Covers(draw_field(rows, DIM, queries=1).vectors.astype(np.float16), tuple(digest(i) for i in range(rows)))


def write_ranges(covers: Covers, folder: Path) -> list[Path]:
    """A folder a range, each with its ledger, its embeddings and two tags a cover; returns the folders."""
    folders = []
    for first in range(0, len(covers.hashes), A_RANGE):
        ids = covers.ids[first : first + A_RANGE].tolist()
        hashes = list(covers.hashes[first : first + A_RANGE])
        size = len(ids)
        address = [f"https://covers.openlibrary.org/b/id/{i}-L.jpg" for i in ids]
        ledger = {"cover_id": ids, "sha256": hashes, "width": [325] * size, "height": [500] * size}
        tags = {
            "cover_id": np.repeat(ids, len(FACETS)).tolist(),
            "facet": list(FACETS) * size,
            "tag": ["blue", "photograph"] * size,
            "probability": [0.75, 0.5] * size,
            "template": ["a {} book cover"] * (len(FACETS) * size),
        }
        tables = {
            "cover": _table(ledger | {"status": ["ok"] * size, "source_url": address}, LEDGER),
            "embedding": embedding_table(ids, hashes, covers.vectors[first : first + A_RANGE]),
            "tag": _table(tags, TAGS),
        }
        place = folder / f"{ids[0] // COVERS_PER_RANGE:05d}"
        lake = open_lake(str(place))
        for name, table in tables.items():
            lake.write_table(f"{name}.parquet", table)
        folders.append(place)
    return folders


def load_ranges(
    conn: Connection, model: int, folders: list[Path], at_once: int = AT_ONCE
) -> list[dict[str, RowChanges]]:
    """What the asset cover_vectors does, the reading of the files included: a transaction a range."""

    def load(own: Connection, folder: Path) -> dict[str, RowChanges]:
        lake = open_lake(str(folder))
        with ThreadPoolExecutor() as pool:
            covers, embeddings, tags = pool.map(lake.read_table, [f"{name}.parquet" for name in NAMES])
        first = int(folder.name) * COVERS_PER_RANGE
        return load_range(own, model, (first, first + COVERS_PER_RANGE), covers, embeddings, tags)

    with ExitStack() as others:
        more = range(min(at_once, len(folders)) - 1)
        connections = [conn, *(others.enter_context(closing(connect(conn.info.dsn))) for _ in more)]
        loaded = others.enter_context(side_by_side(connections, folders, load))
        return [loaded(folder) for folder in folders]


@contextmanager
def a_server(folder: Path) -> Iterator[str]:
    """An embedded server of its own under a folder, with the schema."""
    home = Path(tempfile.mkdtemp(prefix="book_search-bench-", dir=folder))
    home.chmod(0o755)
    try:
        with embedded_server(home) as dsn:
            with connect(dsn) as conn:
                apply_sql(conn)
            yield dsn
    finally:
        shutil.rmtree(home)


@contextmanager
def a_database(server: str) -> Iterator[Connection]:
    """A connection to an empty database of its own."""
    with new_database(server) as dsn, connect(dsn) as conn:
        yield conn


def _table(columns: dict[str, list[object]], schema: pa.Schema) -> pa.Table:
    size = len(columns["cover_id"])
    return pa.table({field.name: columns.get(field.name, [None] * size) for field in schema}, schema=schema)
