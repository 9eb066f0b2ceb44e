"""Which ranges of covers have work to do: told from the lake's listings and ledgers in a sensor's seconds.

Knows the names, sizes and times of files, and the ledger's columns; opens no picture, no vector and no connection.
What is made from covers (embeddings, tags, rows of a database) it knows by the folders and names that it is given.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.openlibrary.left import left_of

READERS = 8  # ranges looked at together: on S3 every look waits for answers

T = TypeVar("T")


@dataclass(frozen=True)
class Need:
    """A range with work to do.

    Attributes:
        state: of its files, see `state_of`: work that is started for a state once needs no second start.
        asks: whether some of its covers were never asked for.
    """

    cover_range: CoverRange
    state: str
    asks: bool


@dataclass(frozen=True)
class Looked(Generic[T]):
    """What was found in the time that there was.

    Attributes:
        found: in the order in which it was looked at.
        seen: the ranges that were looked at, in order.
    """

    found: tuple[T, ...]
    seen: tuple[CoverRange, ...]


def state_of(lake: Lake, cover_range: CoverRange, wanted: Sequence[int], made: Iterable[str], by: str) -> str:
    """All that a range's rows in the database come from, as 16 hexadecimal digits: equal where nothing changed.

    Files are replaced whole, so that one which changed has another size or time. A lake that was copied without its
    files' times looks changed; the work that follows finds everything current, and costs little.

    Args:
        wanted: the range's cover ids.
        made: the folders of what is made of its covers.
        by: what makes it, and where it ends: the model, the facets, the database.
    """
    files = [stamp for folder in (f"covers/{cover_range.key}", *made) for stamp in lake.stamps(folder)]
    return hashlib.sha256(repr((by, list(wanted), files)).encode()).hexdigest()[:16]


def need_of(
    lake: Lake,
    cover_range: CoverRange,
    wanted: Sequence[int],
    made: Iterable[str],
    by: str,
    loaded: str | None,
    now: datetime,
) -> Need | None:
    """What a range needs; None where all its covers were asked for, and what was loaded last was made of them as is.

    Covers that failed and may be asked for again are no need: that is the nights' work.

    Args:
        wanted, made, by: as `state_of` takes them.
        loaded: the state that the database was loaded from; None where it never was.
        now: with its time zone.
    """
    state = state_of(lake, cover_range, wanted, made, by)
    asks = left_of(lake, cover_range, wanted, now).unasked > 0
    return Need(cover_range, state, asks) if asks or state != loaded else None


def is_due(lake: Lake, cover_range: CoverRange, wanted: Sequence[int], now: datetime) -> bool:
    """Whether covers of a range failed, and may be asked for again by now."""
    left = left_of(lake, cover_range, wanted, now)
    return left.now > left.unasked


def look_at(ranges: Sequence[CoverRange], look: Callable[[CoverRange], T | None], seconds: float) -> Looked[T]:
    """Look at one range after the other, some at a time, until the time is over; at the first ones in any case."""
    began, found, seen = time.monotonic(), list[T](), 0
    with ThreadPoolExecutor(READERS, thread_name_prefix="needs") as readers:
        while seen < len(ranges) and (not seen or time.monotonic() - began < seconds):
            some = ranges[seen : seen + READERS]
            found += [each for each in readers.map(look, some) if each is not None]
            seen += len(some)
    return Looked(tuple(found), tuple(ranges[:seen]))
