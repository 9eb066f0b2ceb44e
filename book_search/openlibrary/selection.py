"""The passes over the dumps, in DuckDB: lines in, chosen books out, with what every rule did.

Knows the order of the passes and what a broken record is; what each pass computes is in `sql/`, what passes in
`rules`. Memory stays near the limit given, whatever the dumps' size: tables lie in a database on disk.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa

from book_search.openlibrary.lines import COLUMNS, LINE_SCHEMA, EmptyDumpError, LineReader, Reject, parts_of
from book_search.openlibrary.rules import Rule

MAX_HOPS = 32  # redirects followed from one key; real chains are of a few, a circle has no end
REJECT_LENGTH = 2_000  # characters of a broken line that are kept
MEMORY_LIMIT = "600MB"
NO_OBJECT = "no JSON object"  # the fault that sql/*.sql gives to a record that DuckDB's reader refuses

Progress = Callable[[int, int | None], None]
Funnel = list[tuple[str, int, int]]


@dataclass
class Selection:
    """An open database in which one selection is made; see `open_selection`."""

    connection: duckdb.DuckDBPyConnection
    rules: Sequence[Rule]
    rejects: dict[str, list[Reject]] = field(default_factory=dict)
    edition_lines: int = 0

    def run(
        self,
        dumps: Mapping[str, Path | None],
        dump_date: date,
        containing: tuple[bytes, ...] | None = None,
        progress: Progress | None = None,
    ) -> Funnel:
        """Read the dumps and fill the table `book`, all columns of `schemas.BOOKS`.

        Args:
            dumps: the files by kind; all but `editions` may be absent.
            dump_date: goes into every row.
            containing: where given, only edition lines that hold one of these are looked at.
            progress: called with the edition lines read so far.

        Returns:
            What every rule did: its name, rows in, rows out, in the order applied.

        Raises:
            EmptyDumpError, DamagedDumpError: of a dump that was read.
            ValueError: a `where` condition is not one that DuckDB understands.
        """
        editions = dumps.get("editions")
        if editions is None:
            raise ValueError("there is no dump of editions; materialize edition_dump first")
        self._set({"max_hops": MAX_HOPS, "dump_date": dump_date})
        for rule in self.rules:
            self._set(rule.variables)
        reader = self._read("editions", editions, containing, progress)
        self.edition_lines = reader.lines
        self._sql("candidates.sql")
        if path := dumps.get("redirects"):
            self._read("redirects", path)
        self._sql("newest_redirects.sql")
        self._follow("SELECT work_key FROM candidate")
        if path := dumps.get("works"):
            self._read("works", path)
        self._sql("with_works.sql", first_failed=self._first_failed("subjects"))
        self._sql("author_mentions.sql")
        self._follow("SELECT key FROM mention")
        if path := dumps.get("authors"):
            self._read("authors", path)
        self._sql("books.sql")
        return [*self._edition_funnel(), *self._subject_funnel(), *self._where_funnel()]

    def judge(self, key: str, rules: Sequence[Rule]) -> list[tuple[Rule, bool, str | None]]:
        """After a run without rules: which of `rules` an edition meets, each with the value it looked at."""
        verdicts = []
        for rule in rules:
            self._set(rule.variables)
            table, column = ("book", "edition_key") if rule.stage == "book" else ("chosen", "key")
            rows = self.connection.execute(
                f"SELECT ({rule.condition}) IS TRUE, CAST(({rule.shows}) AS VARCHAR) FROM {table} "  # noqa: S608
                f"WHERE {column} = $key",
                {"key": key},
            ).fetchall()
            verdicts += [(rule, passed, shown) for passed, shown in rows]
        return verdicts

    def _read(
        self, kind: str, path: Path, containing: tuple[bytes, ...] | None = None, progress: Progress | None = None
    ) -> LineReader:
        """One pass over a dump, and a second over what DuckDB's JSON reader refuses and Python's can repair."""
        reader = LineReader(path, containing=containing)
        if progress is not None:
            reader.on_read = lambda _: progress(reader.lines, None)
        try:
            self._pass(kind, reader.reader())
        except duckdb.Error:
            if reader.failure is not None:
                raise reader.failure from None
            raise
        if not reader.lines and kind != "redirects":  # of redirects alone, none is an answer
            raise EmptyDumpError(f"the dump of {kind} at {path} is empty; fetch it again, or wait for the next one")
        rejects, repaired = list(reader.rejects), []
        for number, fault, line in self._take_broken(kind):
            *columns, record = line.split("\t", COLUMNS - 1)
            written, reason = repair(record) if fault == NO_OBJECT else (None, fault)
            if written is None:
                rejects.append(Reject(number, reason, line))
            else:
                repaired.append({"line_number": number, "part": parts_of("\t".join([*columns, written]))})
        if repaired:
            self._pass(kind, pa.Table.from_pylist(repaired, schema=LINE_SCHEMA))
            rejects += [Reject(number, f"JSON: {fault}", line) for number, fault, line in self._take_broken(kind)]
        self.rejects[kind] = sorted(rejects)
        return reader

    def _take_broken(self, kind: str) -> list[tuple[int, str, str]]:
        """Move the lines with a fault out of their table: number, fault, the line without its newline."""
        table = kind.removesuffix("s")
        broken = self.connection.execute(
            f"SELECT line_number, fault, rtrim(content, chr(10)) FROM {table} WHERE fault IS NOT NULL"  # noqa: S608
        ).fetchall()
        self.connection.execute(f"DELETE FROM {table} WHERE fault IS NOT NULL")  # noqa: S608 (our own names)
        return broken

    def _pass(self, kind: str, incoming: pa.RecordBatchReader | pa.Table) -> None:
        self.connection.register("incoming", incoming)
        if kind == "editions":
            self._sql(
                "editions.sql",
                first_failed_early=self._first_failed("edition", early=True),
                first_failed_late=self._first_failed("edition", early=False),
            )
        else:
            self._sql(f"{kind}.sql")

    def _follow(self, asked: str) -> None:
        """Where the asked keys lead; these are the ones wanted of the next dump."""
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW asked (key) AS {asked}")
        self._sql("follow_redirects.sql")
        self.connection.execute("CREATE OR REPLACE TEMP VIEW wanted_key AS SELECT target AS key FROM followed")

    def _first_failed(self, stage: str, early: bool | None = None) -> str:
        """SQL for the position of the first rule of a stage that a row does not meet; NULL where it meets all."""
        whens = " ".join(
            f"WHEN ({rule.condition}) IS NOT TRUE THEN {position}"
            for position, rule in enumerate(self.rules)
            if rule.stage == stage and early in (None, rule.early)
        )
        return f"CASE {whens} END" if whens else "CAST(NULL AS UTINYINT)"

    def _edition_funnel(self) -> Funnel:
        rejects = self.rejects["editions"]
        records = self._count("SELECT count(*) FROM edition")
        unread = sum(reject.reason.startswith("JSON") for reject in rejects)
        newest = records - self._count("SELECT count(*) FROM superseded")
        funnel = [
            ("editions in dump", self.edition_lines, records + unread),
            ("readable JSON", records + unread, records),
            ("newest revision", records, newest),
        ]
        return funnel + self._stage_funnel(
            "edition",
            newest,
            "SELECT failed, count(*) FROM edition "
            "WHERE line_number NOT IN (SELECT line_number FROM superseded) GROUP BY failed",
        )

    def _subject_funnel(self) -> Funnel:
        rows = self._count("SELECT count(*) FROM considered")
        return self._stage_funnel("subjects", rows, "SELECT failed, count(*) FROM considered GROUP BY failed")

    def _stage_funnel(self, stage: str, rows: int, failures: str) -> Funnel:
        failed = dict(self.connection.execute(failures).fetchall())
        funnel = []
        for position, rule in enumerate(self.rules):
            if rule.stage == stage:
                left = rows - failed.get(position, 0)
                funnel.append((rule.name, rows, left))
                rows = left
        return funnel

    def _where_funnel(self) -> Funnel:
        funnel = []
        for rule in self.rules:
            if rule.stage == "book":
                rows = self._count("SELECT count(*) FROM book")
                try:
                    # A relation's filter takes one expression, never a further statement.
                    kept = self.connection.table("book").filter(rule.condition)
                    kept.to_table("kept_book")
                except duckdb.Error as error:
                    raise ValueError(
                        f"the condition {rule.condition!r} is not one over a book's columns: {error}"
                    ) from error
                self.connection.execute("DROP TABLE book; ALTER TABLE kept_book RENAME TO book")
                funnel.append((rule.name, rows, self._count("SELECT count(*) FROM book")))
        return funnel

    def _count(self, query: str) -> int:
        ((count,),) = self.connection.execute(query).fetchall()
        return int(count)

    def _set(self, variables: Mapping[str, object]) -> None:
        for name, value in variables.items():
            self.connection.execute(f"SET VARIABLE {name} = $value", {"value": value})

    def _sql(self, name: str, **conditions: str) -> None:
        self.connection.execute(sql(name, **conditions))


@contextmanager
def open_selection(
    rules: Sequence[Rule], work_folder: Path, memory_limit: str = MEMORY_LIMIT, threads: int | None = None
) -> Iterator[Selection]:
    """A new selection; its database and what it spills lie in `work_folder` and go with the block."""
    work_folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="catalogue-", dir=work_folder))
    try:
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
            yield Selection(connection, rules)
    finally:
        shutil.rmtree(folder)


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
