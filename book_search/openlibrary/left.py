"""What is left of the wanted covers: how many are to be asked for now, and when the next of the others will be.

Knows the ledger's files by their columns, since millions of rows are looked at in a sensor's seconds; opens no
connection. What is due is `ledger`'s rule, and the dump of covers' metadata may settle some of it without a request.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from book_search.cover_ranges import CoverRange
from book_search.lake import Lake


@dataclass(frozen=True)
class Left:
    """What is left of some covers.

    Attributes:
        now: covers that were never asked for, or that may be asked for again.
        later: covers that may be asked for again some time; next_try: the first of these.
        unasked: of `now`, the covers that were never asked for.
    """

    now: int = 0
    later: int = 0
    next_try: datetime | None = None
    unasked: int = 0

    @classmethod
    def of(cls, each: Iterable["Left"]) -> "Left":
        """All of these together."""
        parts = list(each)
        tries = [part.next_try for part in parts if part.next_try is not None]
        now, later, unasked = (sum(getattr(part, name) for part in parts) for name in ("now", "later", "unasked"))
        return cls(now, later, min(tries, default=None), unasked)


def left_of(lake: Lake, cover_range: CoverRange, wanted: Sequence[int], now: datetime) -> Left:
    """What is left of the wanted covers of a range, by its files; what a killed run left aside counts as not asked for.

    Args:
        wanted: different cover ids.
        now: with its time zone.
    """
    ids = pa.array(wanted, pa.int64())
    asked = waiting = 0
    due = 0
    tries: list[datetime] = []
    for path in lake.names(f"covers/{cover_range.key}"):
        rows = lake.read_table(path, ["cover_id", "next_try"])
        next_try = rows.filter(pc.is_in(rows["cover_id"], value_set=ids))["next_try"]
        ahead = next_try.filter(pc.greater(next_try, pa.scalar(now, next_try.type)))
        asked, waiting = asked + len(next_try), waiting + len(ahead)
        due += len(next_try) - next_try.null_count - len(ahead)
        if len(ahead):
            tries.append(pc.min(ahead).as_py())
    return Left(len(ids) - asked + due, waiting, min(tries, default=None), len(ids) - asked)
