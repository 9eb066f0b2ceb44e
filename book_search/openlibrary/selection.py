"""The passes over the dumps, in DuckDB: lines in, chosen books out, with what every rule did.

Knows the order of the passes and what a broken record is; what each pass computes is in `sql/`, what passes in
`rules`. Memory stays near the limit given, whatever the dumps' size: tables lie in a database on disk.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from book_search.openlibrary.lines import Reject
from book_search.openlibrary.records import MEMORY_LIMIT, DumpPass, Progress, open_scratch, read_dump, sql
from book_search.openlibrary.rules import Rule

MAX_HOPS = 32  # redirects followed from one key; real chains are of a few, a circle has no end
NO_TEXT = "CAST(NULL AS UTINYINT)"
Funnel = list[tuple[str, int, int]]


@dataclass
class Selection:
    """An open database in which one selection is made; see `open_selection`."""

    connection: duckdb.DuckDBPyConnection
    rules: Sequence[Rule]
    rejects: dict[str, list[Reject]] = field(default_factory=dict)
    edition_lines: int = 0
    _known: Mapping[str, Sequence[Reject]] = field(default_factory=dict)

    def run(
        self,
        dumps: Mapping[str, Path | None],
        dump_date: date,
        containing: tuple[bytes, ...] | None = None,
        progress: Progress | None = None,
        known: Mapping[str, Sequence[Reject]] | None = None,
    ) -> Funnel:
        """Read the dumps and fill the table `book`, all columns of `schemas.BOOKS`.

        Args:
            dumps: the files by kind; all but `editions` may be absent.
            dump_date: goes into every row.
            containing: where given, only edition lines that hold one of these are looked at.
            progress: called with the edition lines read so far.
            known: by kind, the lines of a dump that cannot be read, from `records.check_dump`. Of such a dump a
                line's JSON is read only where its text leaves open whether it matters; of any other, every line's.

        Returns:
            What every rule did: its name, rows in, rows out, in the order applied.

        Raises:
            EmptyDumpError, DamagedDumpError: of a dump that was read.
            ValueError: a `where` condition is not one that DuckDB understands.
        """
        self._known = known or {}
        editions = dumps.get("editions")
        if editions is None:
            raise ValueError("there is no dump of editions; materialize edition_dump first")
        self._set({"max_hops": MAX_HOPS, "dump_date": dump_date})
        for rule in self.rules:
            self._set(rule.variables)
        self.edition_lines = self._read("editions", editions, containing, progress).lines
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
    ) -> DumpPass:
        known = self._known.get(kind)
        if kind == "editions":
            statement = sql(
                "editions.sql",
                first_failed=self._first_failed("edition"),
                first_failed_by_text=NO_TEXT if known is None else self._first_failed_by_text(),
            )
        else:
            statement = sql(f"{kind}.sql", unreadable="NOT readable(record)" if known is None else "false")
        found = read_dump(self.connection, kind, path, statement, containing, progress)
        rejects = {reject.line_number: reject for reject in (*found.rejects, *(known or ()))}
        if known:
            self.connection.execute(
                f"DELETE FROM {kind.removesuffix('s')} WHERE line_number IN (SELECT unnest($lines))",  # noqa: S608
                {"lines": list(rejects)},
            )
        self.rejects[kind] = sorted(rejects.values())
        return found

    def _follow(self, asked: str) -> None:
        """Where the asked keys lead; these are the ones wanted of the next dump."""
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW asked (key) AS {asked}")
        self._sql("follow_redirects.sql")
        self.connection.execute("CREATE OR REPLACE TEMP VIEW wanted_key AS SELECT target AS key FROM followed")

    def _first_failed(self, stage: str) -> str:
        """SQL for the position of the first rule of a stage that a row does not meet; NULL where it meets all."""
        whens = " ".join(
            f"WHEN ({rule.condition}) IS NOT TRUE THEN {position}"
            for position, rule in enumerate(self.rules)
            if rule.stage == stage
        )
        return f"CASE {whens} END" if whens else NO_TEXT

    def _first_failed_by_text(self) -> str:
        """The same for the rules at the front, where a line's text alone tells it; NULL where it does not."""
        failed = NO_TEXT
        able = list(itertools.takewhile(lambda rule: rule.may_pass is not None, self.rules))
        for position, rule in reversed(list(enumerate(able))):
            then = f"WHEN {rule.passes} THEN {failed}" if rule.passes else ""
            failed = f"CASE {then} WHEN NOT ({rule.may_pass}) AND NOT hides_text(record) THEN {position} END"
        return failed

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
    with open_scratch(work_folder, memory_limit, threads) as connection:
        yield Selection(connection, rules)
