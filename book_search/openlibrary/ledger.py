"""The ledger of covers: one row a wanted cover id, saying how asking for it went and when it may be asked again.

Knows rows and their Arrow form; nothing of how a cover is had.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
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


def to_table(rows: Iterable[LedgerRow], images: Mapping[str, bytes]) -> pa.Table:
    """The rows by cover id, as schemas.COVERS: each picture's bytes beside the first row of its sha256.

    Args:
        rows: of different cover ids.
        images: the bytes by sha256, of at least every row that is `ok`. Raises KeyError for one that is absent.
    """
    ordered = sorted(rows, key=lambda row: row.cover_id)
    seen: set[str] = set()
    pictures: list[bytes | None] = []
    for row in ordered:
        first = row.sha256 is not None and row.sha256 not in seen
        pictures.append(images[row.sha256] if first and row.sha256 is not None else None)
        seen |= {row.sha256} if row.sha256 is not None else set()
    ledger = pa.Table.from_pylist([asdict(row) for row in ordered], schema=schemas.LEDGER)
    return ledger.append_column(schemas.COVERS.field("image"), pa.array(pictures, pa.binary()))


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
