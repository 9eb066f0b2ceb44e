"""The ledger of covers: one row a wanted cover id, saying how asking for it went and when it may be asked again.

Knows rows and their Arrow form; nothing of how a cover is had.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Literal, get_args

import pyarrow as pa

from book_search import schemas

Status = Literal["ok", "missing", "not_an_image", "placeholder", "too_large", "undecodable", "blocked_host", "gave_up"]
STATUSES: tuple[Status, ...] = get_args(Status)

# After how long a failure is asked for again without being told to; the others are settled. Covers do get added
# under ids that lacked one, and the archive sometimes answers with an error page in a picture's name.
ASKED_AGAIN: Mapping[Status, timedelta] = {
    "gave_up": timedelta(hours=1),
    "not_an_image": timedelta(days=7),
    "missing": timedelta(days=30),
}

# What says of the cover itself what it is now; the others say how a try went.
TELLING: frozenset[Status] = frozenset({"ok", "missing", "placeholder"})


@dataclass(frozen=True)
class LedgerRow:
    """What is known of one cover id.

    Attributes:
        http_status: of the last answer; None where there was none.
        attempts: how often it was asked for, over all runs.
        next_try: when it is asked for again of itself; None: never.
        bytes, width, height, sha256: of the picture as served; sha256 only where `status` is ok.
        source_url: where the last answer came from, after redirects.
        fetched_at: when that was.
    """

    cover_id: int
    status: Status
    http_status: int | None
    attempts: int
    next_try: datetime | None
    bytes: int | None
    width: int | None
    height: int | None
    sha256: str | None
    source_url: str
    fetched_at: datetime


def is_due(row: LedgerRow, now: datetime) -> bool:
    """Whether a cover is to be asked for again."""
    return row.next_try is not None and row.next_try <= now


def next_try(status: Status, now: datetime, retry_after: float | None = None) -> datetime | None:
    """When a cover of this status is asked for again: not before `retry_after` seconds, where the host said so."""
    wait = ASKED_AGAIN.get(status)
    return None if wait is None else now + max(wait, timedelta(seconds=retry_after or 0))


def replaces(row: LedgerRow, before: LedgerRow | None) -> bool:
    """Whether a row takes the place of the cover's earlier one: a picture is not given up for a failed try."""
    return before is None or before.status != "ok" or row.status in TELLING


def to_table(rows: Sequence[LedgerRow]) -> pa.Table:
    """The rows in their order, as schemas.LEDGER."""
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in schemas.LEDGER]
    return pa.Table.from_arrays(columns, schema=schemas.LEDGER)


def from_table(table: pa.Table) -> list[LedgerRow]:
    """The rows of a ledger, or of a covers file, in its order."""
    return [LedgerRow(**row) for row in table.select([field.name for field in fields(LedgerRow)]).to_pylist()]


def known_statuses(names: Iterable[str]) -> tuple[Status, ...]:
    """The statuses of these names. Raises ValueError for a name that is none."""
    asked = set(names)
    if unknown := asked - set(STATUSES):
        raise ValueError(f"{', '.join(sorted(unknown))} is no status of a cover; they are {', '.join(STATUSES)}")
    return tuple(status for status in STATUSES if status in asked)


def summary(rows: Iterable[LedgerRow]) -> dict[Status, int]:
    """How many covers have each status; those that occur, in the order of STATUSES."""
    counted = Counter(row.status for row in rows)
    return {status: counted[status] for status in STATUSES if counted[status]}
