"""The covers of the wanted books: had once, by the road that suits their batch, and kept with the ledger.

Knows when a cover is to be had and in which order the roads are tried; each road is a module of its own (`by_id`,
`bulk`, `metadata_dump`), the choice is `roads`', and what is kept how is `cover_batch`'s part.
"""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from book_search.cover_ranges import CoverRange, batch_key
from book_search.lake import Lake
from book_search.openlibrary.archive import archive_zip
from book_search.openlibrary.bulk import take_from_zip
from book_search.openlibrary.by_id import Clock, ask_all, cover_url
from book_search.openlibrary.cover_batch import SAVE_EVERY, CoverFile
from book_search.openlibrary.cover_files import (
    CoverImage,
    batches_of,
    covers_path,
    forget_range,
    iter_images,
    read_ledger,
)
from book_search.openlibrary.due import Due, sort_out
from book_search.openlibrary.fetch_report import FetchReport
from book_search.openlibrary.http import HostPausedError, NotNowError, PoliteClient
from book_search.openlibrary.ledger import LedgerRow, Status, summary
from book_search.openlibrary.limits import NO_LIMITS, Limits
from book_search.openlibrary.metadata_dump import KnownCovers
from book_search.openlibrary.roads import Choice, RoadRule, choose_road

__all__ = [
    "CoverImage",
    "FetchReport",
    "Fetching",
    "Limits",
    "cover_url",
    "covers_path",
    "fetch_batch",
    "fetch_range",
    "forget_range",
    "iter_images",
    "read_ledger",
]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
Source = Literal["dump", "zip", "id"]

NO_BULK = RoadRule(archive_url="", road="by_id")


@dataclass(frozen=True)
class Fetching:
    """How covers are had: the same for all batches of a run.

    Attributes:
        client: asks for them.
        covers_url, size: see `cover_url`.
        rule: by what a batch's road is chosen; without it by id.
        known: what the dump of covers' metadata says; covers that are to be retried by status are asked for anyway.
        limits: when asking for a batch leaves off. What is left then is in the report, and stays due.
        retry_statuses: covers of these statuses are asked for again, due or not.
        now: the time; a test gives its own.
    """

    client: PoliteClient
    covers_url: str
    size: str
    rule: RoadRule = NO_BULK
    known: KnownCovers | None = None
    limits: Limits = NO_LIMITS
    retry_statuses: Sequence[Status] = ()
    now: Clock = lambda: datetime.now(UTC)


def fetch_range(
    lake: Lake, cover_range: CoverRange, wanted: Sequence[int], how: Fetching, progress: Progress | None = None
) -> FetchReport:
    """Bring a range's covers up to what is wanted of it, batch by batch, as `fetch_batch` does.

    Files of batches of which nothing is wanted any more are removed. After a host is paused the other batches are
    still gone through: what the dump or another host's zips settle is had, and the paused host is asked nothing.

    Raises:
        ValueError: a wanted id lies outside the range.
        DiskFullError, BlockedHostError, MissingContactError: as `fetch_batch`. What was fetched before is kept.
    """
    for cover_id in wanted:
        if CoverRange.of(cover_id) != cover_range:
            raise ValueError(f"cover {cover_id} lies in {CoverRange.of(cover_id).key}, not in {cover_range.key}")
    batches = {key: list(ids) for key, ids in itertools.groupby(sorted(set(wanted)), batch_key)}
    report = FetchReport()
    for key in batches_of(lake, cover_range):
        if key not in batches:
            with CoverFile.open(lake, key) as unwanted:
                report += FetchReport(dropped=unwanted.keep_only(()))
    total = sum(len(ids) for ids in batches.values())
    for key, ids in batches.items():
        before = sum(report.statuses.values())
        report += fetch_batch(lake, key, ids, how, None if progress is None else _shifted(progress, before, total))
    return report


def fetch_batch(
    lake: Lake,
    batch: str,
    wanted: Sequence[int],
    how: Fetching,
    progress: Progress | None = None,
    save_every: int = SAVE_EVERY,
) -> FetchReport:
    """Have the wanted covers of one archive batch that the ledger does not settle, and keep them.

    First the dump's word for those that are tiny or absent, then the road that `how.rule` chooses, then by id for
    whatever a zip did not give.

    The batch's file is replaced whole at the end, however it ends. Killed, all but the covers since the last part
    are stored, and the next run asks for the others alone. Of two runs at one batch the second waits, and then finds
    it done. With nothing to do the file is left as it is. Where a host is paused, or the limits are reached, it
    leaves off: the report says what is left, and why.

    Args:
        wanted: cover ids of this batch. Rows of all others are dropped.
        progress: called with (covers settled, covers wanted).
        save_every: covers after which what came in is stored, if `cover_batch` does not find it enough before.

    Raises:
        ValueError: a wanted id lies outside the batch.
        DiskFullError: the covers would not fit, or did not.
        BlockedHostError: the covers server's own address is none that may be asked. No row says so.
        MissingContactError: from the client. What was fetched before is kept.
    """
    start, metrics = time.monotonic(), how.client.metrics
    ids = sorted(set(wanted))
    for cover_id in ids:
        if batch_key(cover_id) != batch:
            raise ValueError(f"cover {cover_id} lies in batch {batch_key(cover_id)}, not in {batch}")
    with CoverFile.open(lake, batch, save_every) as held:
        client = how.client.within(how.limits.budget(), how.limits.window)  # a wait for another run is not its time
        dropped = held.keep_only(ids)
        due = sort_out(ids, held.rows, how.now(), how.retry_statuses, how.known)
        held.require_room(len(due.asked))
        choice = choose_road(how.rule, batch, due.asked, how.size, due.here, client.time_left())
        settled: Counter[Source] = Counter()
        left: NotNowError | None = None
        # Closed by us: an interruption would else leave its threads asking until somebody forgot the error.
        with closing(_answers(how, client, choice, batch, due, held.rows, lake.work)) as answers:
            try:
                for source, row, image in answers:
                    held.put(row, image)
                    settled[source] += 1
                    if progress is not None:
                        progress(due.by_ledger + settled.total(), len(ids))
            except NotNowError as error:
                left = error
        rest = len(ids) - due.by_ledger - settled.total()
        if left is not None:
            logger.warning("covers %s: %d are left for the next run: %s", batch, rest, left)
    done_now = how.client.metrics.since(metrics)
    return FetchReport(
        statuses=summary(held.rows.values()),
        asked=len(ids) - due.by_ledger,
        settled=due.by_ledger,
        dropped=dropped,
        pictures=held.pictures,
        requests=done_now.requests,
        bytes=done_now.bytes,
        waited=done_now.waited,
        http_statuses=done_now.by_status,
        files_written=int(held.written),
        seconds=time.monotonic() - start,
        roads={choice.road: 1} if due.asked else {},
        from_zips=settled["zip"],
        from_dump=settled["dump"],
        retries=done_now.retries,
        opened=done_now.opened,
        left={left.why: rest} if left else {},
        paused=(str(left),) if isinstance(left, HostPausedError) else (),
    )


def _answers(
    how: Fetching,
    client: PoliteClient,
    choice: Choice,
    batch: str,
    due: Due,
    rows: Mapping[int, LedgerRow],
    work: Path,
) -> Generator[tuple[Source, LedgerRow, bytes | None]]:
    """The rows by the dump, by the chosen road, and what that does not settle by id."""
    for row in due.by_dump:
        yield "dump", row, None
    rest = dict.fromkeys(due.asked)
    if choice.road != "by_id" and rest:
        logger.info("covers %s: %s, %s", batch, choice.road, choice.why)
        zipped = archive_zip(how.rule.archive_url, batch, how.size)
        for row, image in take_from_zip(choice.road, zipped, due.asked, rows, client, how.rule.gap, work, how.now):
            del rest[row.cover_id]
            yield "zip", row, image
    for row, image in ask_all(list(rest), rows, client, how.covers_url, how.size, how.now):
        yield "id", row, image


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)
