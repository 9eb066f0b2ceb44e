"""Why an edition is among the books or not, answered from the dumps by the very rules that chose the books.

Knows the way from the dump to the books; what became of a chosen book's cover is for the stages after to tell.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from book_search.lake import Lake
from book_search.openlibrary.catalogue import current_dumps, local_dumps
from book_search.openlibrary.deny_list import read_deny_list
from book_search.openlibrary.rules import CatalogueFilter, rules_of
from book_search.openlibrary.selection import Selection, open_selection

SHOWN_LENGTH = 300  # characters of a value in an explanation


@dataclass(frozen=True)
class Verdict:
    """What one rule says of an edition."""

    rule: str
    passed: bool
    explanation: str


def why_dropped(
    edition_key: str,
    dumps: Mapping[str, Path | None],
    dump_date: date,
    wanted: CatalogueFilter,
    work_folder: Path | None = None,
) -> list[Verdict]:
    """Every rule's word on an edition, in the order applied; the first that did not pass is the one that dropped it.

    Reads the whole editions dump, but parses that edition's lines alone: as fast as the gzip is opened.

    Args:
        edition_key: OL123M, or /books/OL123M.
        dumps: the files by kind, as for `build_books`.
        dump_date: the years wanted count back from it.
        wanted: the filter.
        work_folder: for scratch files; default the system's temporary folder.

    Raises:
        EmptyDumpError, DamagedDumpError: of a dump.
    """
    key = edition_key.rpartition("/")[2]
    with (
        tempfile.TemporaryDirectory(dir=work_folder) as folder,
        open_selection((), Path(folder)) as selection,
    ):
        none_known = dict.fromkeys(dumps, ())  # records of other editions are not the question
        selection.run(dumps, dump_date, containing=(f"/{key}".encode(),), known=none_known)
        lines = selection.connection.execute(
            "SELECT line_number, revision FROM edition WHERE key = $key ORDER BY revision DESC, line_number DESC",
            {"key": key},
        ).fetchall()
        if not lines:
            broken = [reject for reject in selection.rejects["editions"] if f"/{key}" in reject.content]
            if broken:
                return [Verdict("readable", False, f"line {broken[0].line_number} of the dump: {broken[0].reason}")]
            return [Verdict("in the dump", False, _not_there(key, selection))]
        number, revision = lines[0]
        older = f", the newest of {len(lines)} lines" if len(lines) > 1 else ""
        verdicts = [Verdict("in the dump", True, f"line {number}, revision {revision}{older}")]
        for rule, passed, shown in selection.judge(key, rules_of(wanted, dump_date)):
            found = "nothing" if not shown else shown if len(shown) <= SHOWN_LENGTH else shown[:SHOWN_LENGTH] + "..."
            verdicts.append(Verdict(rule.name, passed, f"found {found}; wanted {rule.wants}"))
        return verdicts


def why_in_lake(lake: Lake, edition_key: str, wanted: CatalogueFilter) -> list[Verdict]:
    """`why_dropped` on the lake's current dumps, and the deny list's word. Raises DumpError where a dump is missing."""
    dumps, denied = current_dumps(lake), read_deny_list(lake, wanted.deny_list)
    with local_dumps(lake, dumps) as paths:
        verdicts = why_dropped(edition_key, paths, dumps["editions"].date, wanted, lake.work)
    if edition_key.rpartition("/")[2] in denied.edition_keys:
        verdicts.append(Verdict("not denied", False, "it stands in the deny list"))
    return verdicts


def _not_there(key: str, selection: Selection) -> str:
    merged = selection.connection.execute(
        "SELECT target FROM newest_redirect WHERE key = $key", {"key": key}
    ).fetchall()
    if merged:
        return f"{key} was merged into {merged[0][0]}; ask for that one"
    return f"no edition {key} in this dump; it may be newer than the dump, or deleted"
