"""The catalogue: the books chosen from the dumps, written to the lake with what every rule did and what changed.

Knows when the catalogue is current; not which editions become books (`rules`), nor how they are found (`selection`).
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from book_search.alone import alone_at
from book_search.cover_ranges import CoverRange, ranges_of
from book_search.lake import Lake
from book_search.openlibrary.deny_list import DenyList, read_deny_list
from book_search.openlibrary.dumps import DUMP_KINDS, DumpRecord, current_dump, known_rejects
from book_search.openlibrary.lines import DumpError, Reject, rejects_table
from book_search.openlibrary.records import MEMORY_LIMIT, Progress, sql
from book_search.openlibrary.room import require_room
from book_search.openlibrary.rules import CatalogueFilter, NoBookError, rules_of
from book_search.openlibrary.selection import Selection, open_selection
from book_search.schemas import BOOKS, FUNNEL, REJECTS

BOOKS_PATH = "catalogue/books.parquet"
FUNNEL_PATH = "catalogue/funnel.parquet"
REJECTS_PATH = "catalogue/rejects.parquet"
RECORD_PATH = "catalogue/books.json"
ROW_GROUP_ROWS = 50_000
NOTHING_DENIED = DenyList()


@dataclass(frozen=True)
class Catalogue:
    """What one selection gave: the books in a local Parquet file, sorted by cover id, and how they came about."""

    books: Path
    rows: int
    content_hash: str  # of all books' content hashes, in order: equal exactly where the books are
    dump_date: date
    funnel: pa.Table
    rejects: pa.Table


@dataclass(frozen=True)
class CatalogueRecord:
    """The catalogue that lies in the lake.

    Args:
        identity: what it was made from: the filter, the dumps' sha256, the code's. Equal identity, equal books.
        changes: books `new`, `changed` and `gone` against the catalogue before; all 0 where it was found current.
        rejects: lines that could not be read, by kind of dump.
        made: whether this call made it, rather than finding it current.
    """

    path: str
    books: int
    content_hash: str
    dump_date: date
    identity: Mapping[str, Any]
    changes: Mapping[str, int]
    rejects: Mapping[str, int]
    funnel: pa.Table
    made: bool = False

    @property
    def filter(self) -> Mapping[str, Any]:
        """The filter's settings, as JSON has them."""
        chosen: Mapping[str, Any] = self.identity["filter"]
        return chosen

    def is_from(self, dump: DumpRecord) -> bool:
        """Whether its books were chosen from this very dump."""
        return bool(self.identity.get("dumps", {}).get(dump.kind, {}).get("sha256") == dump.sha256)


@alone_at(lambda *_, **__: ("the catalogue", "catalogue"))
def make_catalogue(
    lake: Lake,
    wanted: CatalogueFilter,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CatalogueRecord:
    """Choose the books from the lake's current dumps, unless the catalogue already is of these dumps and this filter.

    Raises:
        DumpError: a dump is missing, empty or damaged.
        NoBookError: none is chosen; the catalogue before stays.
        ValueError: a `where` condition of the filter cannot be understood.
        DenyListError: the deny list cannot.
    """
    dumps, denied = current_dumps(lake), read_deny_list(lake, wanted.deny_list)
    identity = catalogue_identity(wanted, dumps, denied)
    record = catalogue_record(lake)
    if record is not None and catalogue_is_current(lake, identity):
        return replace(record, changes=dict.fromkeys(record.changes, 0))
    with local_dumps(lake, dumps) as paths:
        known = {kind: rejects for kind, dump in dumps.items() if (rejects := known_rejects(lake, dump)) is not None}
        catalogue = build_books(
            paths,
            dumps["editions"].date,
            wanted,
            lake.work / "catalogue-work",
            memory_limit,
            threads,
            progress,
            known,
            denied,
        )
    if not catalogue.rows:
        raise NoBookError(catalogue.funnel)
    return write_catalogue(lake, catalogue, identity)


def build_books(
    dumps: Mapping[str, Path | None],
    dump_date: date,
    wanted: CatalogueFilter,
    work_folder: Path,
    memory_limit: str = MEMORY_LIMIT,
    threads: int | None = None,
    progress: Progress | None = None,
    known: Mapping[str, Sequence[Reject]] | None = None,
    denied: DenyList = NOTHING_DENIED,
) -> Catalogue:
    """Choose the books from dump files, gzipped or plain, each of one type or with all types mixed.

    Args:
        dumps: the files by kind (`DUMP_KINDS`); all but `editions` may be None.
        dump_date: the years wanted count back from it.
        wanted: which editions become books.
        work_folder: a local folder for the database, for what it spills, and for the books' file.
        memory_limit: of DuckDB, as it writes sizes; the blocks of lines under way come on top, some 50 MB.
        threads: of DuckDB; default one a core.
        progress: called with (edition lines read, None).
        known: by kind, what `records.check_dump` said of a dump; of any other kind every record is read.
        denied: editions that are left out, and covers, of which the books stay without one.

    Raises:
        EmptyDumpError, DamagedDumpError: of a dump.
        DiskFullError: too little room for what the selection keeps on disk.
        ValueError: no editions, or a `where` condition that DuckDB cannot understand.
    """
    rules = rules_of(wanted, dump_date)
    require_room(dumps, rules, work_folder)
    with open_selection(rules, work_folder, memory_limit, threads) as selection:
        steps = selection.run(dumps, dump_date, progress=progress, known=known)
        path = work_folder / "books.parquet"
        rows, content_hash = _write_books(selection, path, denied)
        funnel = pa.Table.from_pylist(
            [
                {"dump_date": dump_date, "position": position, "rule": rule, "rows_in": rows_in, "rows_out": rows_out}
                for position, (rule, rows_in, rows_out) in enumerate(steps)
            ],
            schema=FUNNEL,
        )
        return Catalogue(path, rows, content_hash, dump_date, funnel, _rejects(selection))


def write_catalogue(lake: Lake, catalogue: Catalogue, identity: Mapping[str, Any]) -> CatalogueRecord:
    """Put a catalogue into the lake; its record comes last, so a killed run is simply made again."""
    changes = _changes(lake, catalogue.books)
    lake.write_table(FUNNEL_PATH, catalogue.funnel)
    lake.write_table(REJECTS_PATH, catalogue.rejects)
    lake.publish(catalogue.books, BOOKS_PATH)
    record = CatalogueRecord(
        path=BOOKS_PATH,
        books=catalogue.rows,
        content_hash=catalogue.content_hash,
        dump_date=catalogue.dump_date,
        identity=identity,
        changes=changes,
        rejects=Counter(catalogue.rejects["dump"].to_pylist()),
        funnel=catalogue.funnel,
        made=True,
    )
    content = {
        "path": record.path,
        "books": record.books,
        "content_hash": record.content_hash,
        "dump_date": record.dump_date.isoformat(),
        "identity": identity,
        "changes": dict(changes),
        "rejects": dict(record.rejects),
    }
    lake.write_bytes(RECORD_PATH, json.dumps(content, indent=2).encode())
    return record


def catalogue_record(lake: Lake) -> CatalogueRecord | None:
    """The catalogue in the lake, or None before the first."""
    if not lake.exists(RECORD_PATH):
        return None
    content = json.loads(lake.read_bytes(RECORD_PATH))
    content["dump_date"] = date.fromisoformat(content["dump_date"])
    return CatalogueRecord(**content, funnel=lake.read_table(FUNNEL_PATH))


def catalogue_is_current(lake: Lake, identity: Mapping[str, Any]) -> bool:
    """Whether the catalogue in the lake is the one that `identity` would give."""
    record = catalogue_record(lake)
    return record is not None and record.identity == identity and lake.exists(BOOKS_PATH) and lake.exists(REJECTS_PATH)


def catalogue_identity(
    wanted: CatalogueFilter, dumps: Mapping[str, DumpRecord], denied: DenyList = NOTHING_DENIED
) -> dict[str, Any]:
    """All that decides what the books are: the filter, the deny list, the dumps, and the code that reads them."""
    identity = {
        "filter": asdict(wanted),
        "denied": hashlib.sha256(repr(denied).encode()).hexdigest() if denied else None,
        "dumps": {kind: {"date": dump.date.isoformat(), "sha256": dump.sha256} for kind, dump in dumps.items()},
        "code": _code_version(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))  # as it will be read back: tuples become lists
    return plain


def current_dumps(lake: Lake) -> dict[str, DumpRecord]:
    """The lake's dump of every kind. Raises DumpError where one is missing."""
    dumps = {kind: current_dump(lake, kind) for kind in DUMP_KINDS}
    if missing := [kind for kind, dump in dumps.items() if dump is None]:
        raise DumpError(f"no dump of {', '.join(missing)} in {lake.uri('dumps')}; materialize the dump assets first")
    return {kind: dump for kind, dump in dumps.items() if dump is not None}


@contextmanager
def local_dumps(lake: Lake, dumps: Mapping[str, DumpRecord]) -> Iterator[dict[str, Path | None]]:
    """The dumps as local files, for the length of the block; None for one that is not published."""
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(lake.local(dump.path)) if dump.published else None for kind, dump in dumps.items()
        }


def wanted_covers(lake: Lake, cover_range: CoverRange) -> list[int]:
    """The cover ids of a range that any book has, each once, in order. Raises FileNotFoundError before the books."""
    return [cover_id for cover_id in _cover_ids(lake) if cover_range.first <= cover_id < cover_range.end]


def wanted_ranges(lake: Lake) -> list[CoverRange]:
    """The ranges that hold any book's cover, lowest first."""
    return ranges_of(_cover_ids(lake))


def wanted_by_range(lake: Lake) -> dict[CoverRange, list[int]]:
    """Both at once, in order."""
    return {each: list(ids) for each, ids in itertools.groupby(_cover_ids(lake), CoverRange.of)}


def _cover_ids(lake: Lake) -> list[int]:
    ids: pa.Array = lake.read_table(BOOKS_PATH, ["cover_id"])["cover_id"].drop_null().unique()
    return sorted(ids.to_pylist())


def _write_books(selection: Selection, path: Path, denied: DenyList) -> tuple[int, str]:
    """The table `book` less what is denied, as Parquet of exactly schemas.BOOKS; its rows, the hash of their hashes."""
    columns, source = ", ".join(BOOKS.names), "book"
    if denied:
        for name, table in denied.tables.items():
            selection.connection.register(name, table)
        selection.connection.execute(sql("denied.sql"))
        source = "allowed_book"
    rows, digest = 0, hashlib.sha256()
    relation = selection.connection.sql(
        f"SELECT {columns} FROM {source} ORDER BY cover_id NULLS LAST, edition_key"  # noqa: S608 (our own names)
    )
    batches = relation.to_arrow_reader(ROW_GROUP_ROWS)
    assert batches is not None  # a SELECT has a result
    with pq.ParquetWriter(path, BOOKS, compression="zstd") as writer:
        for batch in batches:
            table = pa.Table.from_batches([batch]).cast(BOOKS)
            writer.write_table(table)
            rows += table.num_rows
            for edition_key, content_hash in zip(table["edition_key"], table["content_hash"], strict=True):
                digest.update(f"{edition_key} {content_hash}\n".encode())
    return rows, digest.hexdigest()


def _rejects(selection: Selection) -> pa.Table:
    return pa.concat_tables(
        [REJECTS.empty_table(), *(rejects_table(kind, rejects) for kind, rejects in selection.rejects.items())]
    )


def _changes(lake: Lake, books: Path) -> dict[str, int]:
    """How many books are new, changed and gone against the catalogue in the lake; before the first, all are new."""
    columns = ["edition_key", "content_hash"]
    after = pq.read_table(books, columns=columns)
    before = lake.read_table(BOOKS_PATH, columns) if lake.exists(BOOKS_PATH) else after.schema.empty_table()
    with duckdb.connect() as connection:
        connection.register("before", before)
        connection.register("after", after)
        (row,) = connection.execute(sql("changes.sql")).fetchall()
    return dict(zip(("new", "changed", "gone"), row, strict=True))


def _code_version() -> str:
    """Of the files that decide what a book is: changed code makes the catalogue again."""
    package = files("book_search.openlibrary")
    sources = [package / name for name in ("lines.py", "records.py", "rules.py", "selection.py")]
    sources += sorted((package / "sql").iterdir(), key=lambda source: source.name)
    digest = hashlib.sha256()
    for source in sources:
        if source.name.endswith((".py", ".sql")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:16]
