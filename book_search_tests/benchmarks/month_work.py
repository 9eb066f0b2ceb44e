"""What one run of the road did, counted where it was done: by the server, in the lake's files and in Postgres' rows.

The pictures embedded and the tags computed are taken from the stages' own reports. Knows how to count, and what the
least work is for a month whose changes are known; not how the month came about.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from book_search.index.connection import connect
from book_search_tests.benchmarks.months import Month
from book_search_tests.road.conftest import Road

TABLES = ("book", "cover", "cover_embedding_1", "cover_tag")
FOLDERS = ("covers", "embeddings", "tags")
DUMP = re.compile(r"/download/ol_dump_.*")
COVER = re.compile(r"/b/id/.*|/download/[sml]_covers_.*")
Rows = dict[str, set[tuple[str, str]]]  # of each table the places and the transactions of its rows


@dataclass(frozen=True)
class Work:
    """What a run did.

    Attributes:
        dump_bytes, cover_requests, other_requests: as the server counted.
        embedded, tagged: pictures embedded, tags computed.
        written, removed: rows by table; a changed row is one of each.
        file_bytes: of files of the lake written anew, by folder.
        rebuilt: indexes built, rather than kept.
        seconds: by asset.
    """

    dump_bytes: int = 0
    cover_requests: int = 0
    other_requests: int = 0
    embedded: int = 0
    tagged: int = 0
    written: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    file_bytes: Mapping[str, int] = field(default_factory=dict)
    rebuilt: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


def run_counted(road: Road) -> Work:
    """Run the whole road once and count what it did."""
    rows, files, builds = _rows(road), _files(road.home), _builds(road)
    since = road.instance.event_log_storage.get_maximum_record_id() or 0
    road.server.forget()
    seconds: dict[str, float] = {}
    for asset in road.run_timed():
        seconds[asset.name] = seconds.get(asset.name, 0) + asset.seconds
    now, asked = _rows(road), road.server.asked
    changed = {path: state for path, state in _files(road.home).items() if files.get(path) != state}
    dumps = [each for each in asked if DUMP.fullmatch(each.path)]
    covers = [each for each in asked if COVER.fullmatch(each.path) and each not in dumps]
    return Work(
        dump_bytes=sum(each.sent for each in dumps if each.status == 200),
        cover_requests=len(covers),
        other_requests=len(asked) - len(covers),
        embedded=_reported(road, "cover_embeddings", "embedded", since),
        tagged=_reported(road, "cover_tags", "tagged", since),
        written={table: len(now[table] - rows.get(table, set())) for table in TABLES},
        removed={table: len(rows.get(table, set()) - now[table]) for table in TABLES},
        file_bytes={
            name: sum(state[1] for path, state in changed.items() if path.startswith(name)) for name in FOLDERS
        },
        rebuilt=sum(rebuilt for rebuilt in _builds(road)[len(builds) :]),
        seconds=seconds,
    )


def least_work(month: Month, home: Path, facets: int) -> Work:
    """The least that this month costs: whole dumps, and of all else what is new or gone.

    Args:
        home: where the road of this month ended: what the bytes of its new rows are is read there.
    """
    covers, lost = len(month.found), len(month.lost)
    new = {path: _new_rows(home / path, month) for path in FOLDERS}
    return Work(
        dump_bytes=0,
        cover_requests=len(month.asked),
        embedded=month.pictures,
        tagged=covers * facets,
        written={
            "book": len(month.new) + len(month.changed),
            "cover": len(month.asked),
            "cover_embedding_1": covers,
            "cover_tag": covers * facets,
        },
        removed={
            "book": len(month.gone) + len(month.changed),
            "cover": len(month.dropped),
            "cover_embedding_1": lost,
            "cover_tag": lost * facets,
        },
        file_bytes=new,
    )


def as_rows(done: Work, least: Work) -> list[tuple[str, int, int]]:
    """(what, done, least) in the order of the road; of what nothing must be done the least is 0."""
    rows = [
        ("covers: HTTP requests", done.cover_requests, least.cover_requests),
        ("pictures embedded", done.embedded, least.embedded),
        ("tags computed", done.tagged, least.tagged),
    ]
    for table in TABLES:
        rows.append((f"rows written, {table}", done.written[table], least.written.get(table, 0)))
        rows.append((f"rows removed, {table}", done.removed[table], least.removed.get(table, 0)))
    rows.append(("index builds", done.rebuilt, least.rebuilt))
    rows += [(f"bytes of files, {name}", done.file_bytes[name], least.file_bytes.get(name, 0)) for name in FOLDERS]
    return rows


def _rows(road: Road) -> Rows:
    with connect(road.dsn) as connection:
        there = {name for (name,) in connection.execute("SELECT relname::text FROM pg_class WHERE relkind = 'r'")}
        return {
            table: set(connection.execute(f"SELECT ctid::text, xmin::text FROM {table}").fetchall())  # noqa: S608
            for table in TABLES
            if table in there
        }


def _builds(road: Road) -> list[bool]:
    with connect(road.dsn) as connection:
        if connection.execute("SELECT to_regclass('index_build')").fetchone() == (None,):
            return []
        return [rebuilt for (rebuilt,) in connection.execute("SELECT rebuilt FROM index_build ORDER BY build")]


def _files(home: Path) -> dict[str, tuple[int, int]]:
    """The time and the size of every file, by path: a file is only ever replaced."""
    found = {}
    for name in FOLDERS:
        for path in (home / name).rglob("*.parquet"):
            status = os.stat(path)
            found[str(path.relative_to(home))] = (status.st_mtime_ns, status.st_size)
    return found


def _reported(road: Road, asset: str, figure: str, since: int) -> int:
    """The sum of a figure over the partitions that a run made of an asset."""
    page = road.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_storage_id=since), limit=1000
    )
    made = [record.asset_materialization for record in page.records]
    values = [each.metadata[figure].value for each in made if each is not None and figure in each.metadata]
    return sum(value for value in values if isinstance(value, int))


def _new_rows(folder: Path, month: Month) -> int:
    """The bytes that the month's new covers take in a folder's files, at the share of the rows that they are."""
    total = 0.0
    for path in folder.rglob("*.parquet"):
        ids = pq.read_table(path, columns=["cover_id"], partitioning=None)["cover_id"].to_pylist()
        total += path.stat().st_size * sum(each in month.asked for each in ids) / max(len(ids), 1)
    return round(total)
