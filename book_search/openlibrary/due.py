"""Which covers of a batch are to be asked for now, and which are settled: by the ledger, or by the metadata dump.

The plan and the fetching both ask here, so that the one says what the other does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from book_search.openlibrary.ledger import LedgerRow, Status, is_due
from book_search.openlibrary.metadata_dump import KnownCovers


@dataclass(frozen=True)
class Due:
    """The wanted covers of a batch, sorted out.

    Attributes:
        by_ledger: how many the ledger settles.
        by_dump: new rows of those that need no request.
        asked: the others, in order.
        here: ids of covers that are not asked for and whose pictures are kept.
    """

    by_ledger: int
    by_dump: tuple[LedgerRow, ...]
    asked: tuple[int, ...]
    here: frozenset[int]


def sort_out(
    wanted: Sequence[int],
    rows: Mapping[int, LedgerRow],
    now: datetime,
    retry_statuses: Sequence[Status] = (),
    known: KnownCovers | None = None,
) -> Due:
    """Sort out the wanted covers of a batch.

    Args:
        wanted: different cover ids, in order.
        rows: the ledger.
        retry_statuses: covers of these are asked for again, due or not, whatever the dump says.
        known: what the dump of covers' metadata says.
    """
    retried = {each for each in wanted if each in rows and rows[each].status in retry_statuses}
    due = [each for each in wanted if each not in rows or each in retried or is_due(rows[each], now)]
    trusted = [each for each in due if each not in retried]
    by_dump = tuple(known.settle(trusted, rows, now)) if known is not None else ()
    asked = sorted(set(due).difference(row.cover_id for row in by_dump))
    here = frozenset(each for each in wanted if each in rows and rows[each].status == "ok").difference(asked)
    return Due(len(wanted) - len(due), by_dump, tuple(asked), here)
