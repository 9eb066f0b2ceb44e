"""A lake whose books want one cover of each of many ranges, of which the server knows none: quick to be done."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.defs.partitions import register_ranges
from book_search.lake import Lake, open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search.openlibrary.cover_files import covers_path
from book_search_tests.openlibrary.scripted_server import ScriptedServer, scripted_server

DAGSTER_YAML = "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1, granularity: op}}\n"


@dataclass(frozen=True)
class World:
    """What serves the covers, where they end, and where Dagster keeps its runs; the environment is set to it."""

    server: ScriptedServer
    lake: Lake
    dagster_home: Path
    keys: Sequence[str]

    def asked(self) -> list[str]:
        """The ranges whose cover was asked for, in order."""
        return [CoverRange.of(int(path.split("/")[3].split("-")[0])).key for _, path, _ in self.server.asked]

    def path(self, key: str) -> str:
        """Where the server is asked for the range's one cover."""
        return f"/b/id/{CoverRange.parse(key).first}-L.jpg?default=false"

    def spoil(self, key: str) -> str:
        """Put what is no Parquet where the range's covers are kept; returns its path in the lake."""
        path = covers_path(f"{key}0")
        self.lake.write_bytes(path, b"no Parquet")
        return path


@contextmanager
def many_ranges(folder: Path, count: int) -> Iterator[World]:
    """A world of `count` ranges, 0001_0 and on."""
    keys = [CoverRange(10 + number).key for number in range(count)]
    with scripted_server() as server, pytest.MonkeyPatch.context() as environment:
        settings = {
            "BOOK_SEARCH_HOME": str(folder / "lake"),
            "BOOK_SEARCH_PACE_FOLDER": str(folder / "pace"),
            "BOOK_SEARCH_REQUESTS_PER_MINUTE": "100000",
            "DAGSTER_HOME": str(folder / "dagster"),
            # Nothing here embeds or loads; who looks whether it could is told no at once.
            "BOOK_SEARCH_MODEL": str(folder / "no-model"),
            "BOOK_SEARCH_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
            **{f"BOOK_SEARCH_{name}_URL": server.url for name in ("OPEN_LIBRARY", "COVERS", "ARCHIVE")},
        }
        for name, value in settings.items():
            environment.setenv(name, value)
        (folder / "dagster").mkdir()
        (folder / "dagster" / "dagster.yaml").write_text(DAGSTER_YAML)
        lake = open_lake(str(folder / "lake"))
        ids = [CoverRange.parse(key).first for key in keys]
        books = [{"edition_key": f"OL{i}M", "title": "t", "content_hash": "h", "cover_id": i} for i in ids]
        lake.write_table(BOOKS_PATH, pa.Table.from_pylist(books, schema=schemas.BOOKS))
        with dg.DagsterInstance.get() as instance:
            register_ranges(instance, [CoverRange.parse(key) for key in keys])
        yield World(server, lake, folder / "dagster", keys)
