"""Passes over the records of a dump, in DuckDB: lines into a table, and what cannot be read set aside with its reason.

Knows what a broken record is, and how one that DuckDB refuses is mended; what a pass computes is in `sql/`.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa

from book_search.alone import alone, is_free
from book_search.openlibrary.lines import COLUMNS, LINE_SCHEMA, EmptyDumpError, LineReader, Reject, parts_of

MEMORY_LIMIT = "600MB"
SCRATCH, LOCK = "catalogue-", "in-use"  # a database's folder begins so; the file in it that its process holds locked
NO_OBJECT = "no JSON object"  # the fault that sql/*.sql gives to a record that DuckDB's reader refuses

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class DumpPass:
    """What one pass over a dump came to: the lines in it, and those that could not be read."""

    lines: int
    rejects: list[Reject]


@contextmanager
def open_scratch(
    work_folder: Path, memory_limit: str = MEMORY_LIMIT, threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new database with the macros and tables of `sql/`; it and what it spills lie in `work_folder` for the block.

    What killed ones left there, which is gigabytes of a real dump, is removed.
    """
    with ExitStack() as held:
        with alone(work_folder, "scratch", f"making room in {work_folder}"):
            _remove_dead(work_folder)
            folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=work_folder))
            is_free(held.enter_context((folder / LOCK).open("x")))  # held until the block ends, or this process
        held.callback(shutil.rmtree, folder)
        with duckdb.connect(str(folder / "selection.duckdb")) as connection:
            connection.execute("SET memory_limit = $limit", {"limit": memory_limit})
            connection.execute("SET temp_directory = $folder", {"folder": str(folder / "spill")})
            connection.execute("SET preserve_insertion_order = false")
            connection.execute("SET force_compression = 'uncompressed'")  # of tables that are gone in a minute
            if threads is not None:
                connection.execute("SET threads = $threads", {"threads": threads})
            connection.register("incoming", LINE_SCHEMA.empty_table())  # a macro names it, so it must be there
            connection.execute(sql("macros.sql"))
            connection.execute(sql("tables.sql"))
            yield connection


def _remove_dead(work_folder: Path) -> None:
    for folder in work_folder.glob(f"{SCRATCH}*"):
        lock = folder / LOCK
        if not lock.exists():  # killed before it had one, or by an older version
            shutil.rmtree(folder)
            continue
        with lock.open("r+") as file:
            dead = is_free(file)
        if dead:
            shutil.rmtree(folder)


def read_dump(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    path: Path,
    statement: str,
    containing: tuple[bytes, ...] | None = None,
    progress: Progress | None = None,
    on_read: Callable[[bytes], None] | None = None,
) -> DumpPass:
    """One pass over a dump, and a second over what DuckDB's JSON reader refuses and Python's can repair.

    Args:
        connection: from `open_scratch`.
        kind: names the table, such as `edition` for editions.
        statement: SQL that reads the view `incoming` and fills the table, with a `fault` where a line is broken.
        containing: where given, only lines that hold one of these are looked at.
        progress: called with (lines read so far, None).
        on_read: called with the file's bytes as they are read, in another thread.

    Raises:
        EmptyDumpError: no line is in it. (Of redirects alone, none is an answer.)
        DamagedDumpError: its gzip is broken.
    """
    reader = LineReader(path, containing=containing)

    def told(data: bytes) -> None:
        if on_read is not None:
            on_read(data)
        if progress is not None:
            progress(reader.lines, None)

    reader.on_read = told
    try:
        _pass(connection, reader.reader(), statement)
    except duckdb.Error:
        if reader.failure is not None:
            raise reader.failure from None
        raise
    if not reader.lines and kind != "redirects":
        raise EmptyDumpError(f"the dump of {kind} at {path} is empty; fetch it again, or wait for the next one")
    rejects, repaired = list(reader.rejects), []
    for number, fault, line in _take_broken(connection, kind):
        *columns, record = line.split("\t", COLUMNS - 1)
        written, reason = repair(record) if fault == NO_OBJECT else (None, fault)
        if written is None:
            rejects.append(Reject(number, reason, line))
        else:
            repaired.append({"line_number": number, "part": parts_of("\t".join([*columns, written]))})
    if repaired:
        _pass(connection, pa.Table.from_pylist(repaired, schema=LINE_SCHEMA), statement)
        rejects += [Reject(number, f"JSON: {fault}", line) for number, fault, line in _take_broken(connection, kind)]
    return DumpPass(reader.lines, sorted(rejects))


def check_dump(
    path: Path,
    kind: str,
    work_folder: Path,
    memory_limit: str = MEMORY_LIMIT,
    progress: Progress | None = None,
    on_read: Callable[[bytes], None] | None = None,
) -> DumpPass:
    """Read every record of a dump, wanted or not: the rejects that any selection from it would find.

    Gunzipping takes one core and the JSON another, so that it lasts little longer than gunzipping alone.

    Raises:
        EmptyDumpError, DamagedDumpError: of the dump.
    """
    with open_scratch(work_folder, memory_limit) as connection:
        record = kind.removesuffix("s")
        statement = sql("check.sql", table=record, type=f"/type/{record}")
        return read_dump(connection, kind, path, statement, progress=progress, on_read=on_read)


def sql(name: str, **conditions: str) -> str:
    """The text of a file of `sql/`, with `${...}` replaced by SQL of ours, such as the rules' conditions."""
    text = files("book_search.openlibrary").joinpath("sql", name).read_text("utf-8")
    for placeholder, condition in conditions.items():
        text = text.replace(f"${{{placeholder}}}", condition)
    return text


def repair(record: str) -> tuple[str | None, str]:
    """A record that DuckDB could not read, written as it can be; or None and the reason.

    Python's reader takes lone surrogates (halves of a character, as some imports left them), which become U+FFFD.
    """
    try:
        value = json.loads(record, parse_constant=lambda _: None)
    except (json.JSONDecodeError, RecursionError) as error:
        return None, f"JSON cannot be read: {error}"
    if not isinstance(value, dict):
        return None, f"JSON is no object but {type(value).__name__}"
    return re.sub(r"[\ud800-\udfff]", "\ufffd", json.dumps(value, ensure_ascii=False)), ""


def _pass(connection: duckdb.DuckDBPyConnection, incoming: pa.RecordBatchReader | pa.Table, statement: str) -> None:
    connection.register("incoming", incoming)
    connection.execute(statement)


def _take_broken(connection: duckdb.DuckDBPyConnection, kind: str) -> list[tuple[int, str, str]]:
    """Move the lines with a fault out of their table: number, fault, the line without its newline."""
    table = kind.removesuffix("s")
    broken = connection.execute(
        f"SELECT line_number, fault, rtrim(content, chr(10)) FROM {table} WHERE fault IS NOT NULL"  # noqa: S608
    ).fetchall()
    connection.execute(f"DELETE FROM {table} WHERE fault IS NOT NULL")  # noqa: S608 (our own names)
    return broken
