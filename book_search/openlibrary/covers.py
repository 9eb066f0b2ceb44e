"""The covers of the wanted books: asked for once, judged, and kept with the ledger in one file an archive batch.

Knows the lake's covers files and Open Library's address of a cover; how to ask politely is `http`'s part, what a
body is `images`', what a row says `ledger`'s.
"""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from book_search.cover_ranges import CoverRange, batch_key
from book_search.lake import Lake
from book_search.openlibrary.cover_files import (
    CoverFile,
    CoverImage,
    covers_path,
    forget_range,
    iter_images,
    read_ledger,
)
from book_search.openlibrary.http import BlockedHostError, GaveUpError, PoliteClient, TooLargeError
from book_search.openlibrary.images import inspect
from book_search.openlibrary.ledger import LedgerRow, Status, is_due, next_try, summary

__all__ = [
    "CoverImage",
    "FetchReport",
    "UnreachableError",
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
Clock = Callable[[], datetime]

THREADS = 4  # enough to keep the pace while answers take their time
SAVE_EVERY = 500  # covers; what a killed run loses at most
ABSENT = frozenset({404, 410})
UNANSWERED = 20  # covers in a row without any answer, after which the rest is not tried


class UnreachableError(RuntimeError):
    """The covers' host does not answer at all."""


@dataclass(frozen=True)
class FetchReport:
    """What fetching a batch or a range came to.

    Attributes:
        statuses: the wanted covers by status, as the ledger says now.
        asked: covers that were asked for.
        settled: wanted covers that the ledger knew already.
        dropped: rows of covers that nobody wants any more, removed with their pictures.
        pictures: distinct pictures now kept.
        requests, bytes, waited: of the client, see `http.Metrics`; http_statuses: its answers by status.
        files_written: covers files changed.
        seconds: of the whole.
    """

    statuses: Mapping[Status, int] = field(default_factory=dict)
    asked: int = 0
    settled: int = 0
    dropped: int = 0
    pictures: int = 0
    requests: int = 0
    bytes: int = 0
    waited: float = 0.0
    http_statuses: Mapping[int, int] = field(default_factory=dict)
    files_written: int = 0
    seconds: float = 0.0

    def __add__(self, other: "FetchReport") -> "FetchReport":
        """Both together."""
        return FetchReport(
            statuses=Counter(self.statuses) + Counter(other.statuses),
            asked=self.asked + other.asked,
            settled=self.settled + other.settled,
            dropped=self.dropped + other.dropped,
            pictures=self.pictures + other.pictures,
            requests=self.requests + other.requests,
            bytes=self.bytes + other.bytes,
            waited=self.waited + other.waited,
            http_statuses=Counter(self.http_statuses) + Counter(other.http_statuses),
            files_written=self.files_written + other.files_written,
            seconds=self.seconds + other.seconds,
        )

    def as_metadata(self) -> dict[str, Any]:
        """The report as numbers that a log or the Dagster UI shows."""
        return {
            "covers": sum(self.statuses.values()),
            **{f"status_{status}": count for status, count in self.statuses.items()},
            "asked": self.asked,
            "settled_before": self.settled,
            "dropped": self.dropped,
            "pictures": self.pictures,
            "requests": self.requests,
            **{f"http_{status or 'none'}": count for status, count in sorted(self.http_statuses.items())},
            "bytes": self.bytes,
            "seconds_waited": round(self.waited, 3),
            "files_written": self.files_written,
            "seconds": round(self.seconds, 3),
        }


def cover_url(covers_url: str, cover_id: int, size: str) -> str:
    """Where a cover is had by its id: 404 where there is none, instead of a blank picture.

    Args:
        covers_url: such as https://covers.openlibrary.org.
        size: S, M (up to 180 x 360 pixels) or L (up to 500 x 500).
    """
    return f"{covers_url.rstrip('/')}/b/id/{cover_id}-{size}.jpg?default=false"


def fetch_range(
    lake: Lake,
    cover_range: CoverRange,
    wanted: Sequence[int],
    client: PoliteClient,
    covers_url: str,
    size: str,
    now: Clock = lambda: datetime.now(UTC),
    retry_statuses: Sequence[Status] = (),
    progress: Progress | None = None,
) -> FetchReport:
    """Bring a range's covers up to what is wanted of it, batch by batch; the arguments are `fetch_batch`'s.

    Files of batches of which nothing is wanted any more are removed.

    Raises:
        ValueError: a wanted id lies outside the range.
        HostPausedError, MissingContactError: from the client; UnreachableError. What was fetched before is kept.
    """
    for cover_id in wanted:
        if CoverRange.of(cover_id) != cover_range:
            raise ValueError(f"cover {cover_id} lies in {CoverRange.of(cover_id).key}, not in {cover_range.key}")
    batches = {key: list(ids) for key, ids in itertools.groupby(sorted(set(wanted)), batch_key)}
    report = FetchReport()
    for path in lake.names(f"covers/{cover_range.key}"):
        if path not in {covers_path(key) for key in batches}:
            report += FetchReport(dropped=lake.read_table(path, ["cover_id"]).num_rows)
            lake.delete(path)
    total = sum(len(ids) for ids in batches.values())
    for key, ids in batches.items():
        before = sum(report.statuses.values())
        told = None if progress is None else _shifted(progress, before, total)
        report += fetch_batch(lake, key, ids, client, covers_url, size, now, retry_statuses, told)
    return report


def fetch_batch(
    lake: Lake,
    batch: str,
    wanted: Sequence[int],
    client: PoliteClient,
    covers_url: str,
    size: str,
    now: Clock = lambda: datetime.now(UTC),
    retry_statuses: Sequence[Status] = (),
    progress: Progress | None = None,
    save_every: int = SAVE_EVERY,
) -> FetchReport:
    """Ask for the wanted covers of one archive batch that the ledger does not settle, and keep them.

    The batch's file is replaced whole, every `save_every` covers and at the end, however it ends: killed, it holds
    all but the covers since the last time, and the next run asks for the others alone. With nothing to do it is
    left as it is.

    Args:
        wanted: cover ids of this batch. Rows of all others are dropped.
        covers_url, size: see `cover_url`.
        now: the time; a test gives its own.
        retry_statuses: covers of these statuses are asked for again, due or not.
        progress: called with (covers settled, covers wanted).

    Raises:
        ValueError: a wanted id lies outside the batch.
        HostPausedError, MissingContactError: from the client; UnreachableError. What was fetched before is kept.
    """
    start, metrics = time.monotonic(), client.metrics
    held = CoverFile.read(lake, batch)
    ids = sorted(set(wanted))
    for cover_id in ids:
        if batch_key(cover_id) != batch:
            raise ValueError(f"cover {cover_id} lies in batch {batch_key(cover_id)}, not in {batch}")
    dropped = held.keep_only(set(ids))
    asked = [
        cover_id
        for cover_id in ids
        if (row := held.rows.get(cover_id)) is None or is_due(row, now()) or row.status in retry_statuses
    ]
    unanswered = 0
    try:
        for done, (row, image) in enumerate(_ask_all(asked, held, client, covers_url, size, now), 1):
            held.put(row, image)
            if progress is not None:
                progress(len(ids) - len(asked) + done, len(ids))
            if done % save_every == 0:
                held.save(lake)
            unanswered = 0 if row.http_status else unanswered + 1
            if unanswered == UNANSWERED:
                raise UnreachableError(f"{covers_url} gave no answer for {UNANSWERED} covers in a row; try again later")
    finally:
        held.save(lake)
    done_now = client.metrics.since(metrics)
    return FetchReport(
        statuses=summary(held.rows.values()),
        asked=len(asked),
        settled=len(ids) - len(asked),
        dropped=dropped,
        pictures=len(held.images),
        requests=done_now.requests,
        bytes=done_now.bytes,
        waited=done_now.waited,
        http_statuses=done_now.by_status,
        files_written=int(held.saved),
        seconds=time.monotonic() - start,
    )


def _ask_all(
    cover_ids: Sequence[int], held: CoverFile, client: PoliteClient, covers_url: str, size: str, now: Clock
) -> Iterator[tuple[LedgerRow, bytes | None]]:
    """The answers as they come, from a few threads that share the client's pace."""
    left = iter(cover_ids)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="covers") as threads:

        def ask(cover_id: int) -> Future[tuple[LedgerRow, bytes | None]]:
            row = held.rows.get(cover_id)
            url = cover_url(covers_url, cover_id, size)
            return threads.submit(_ask, client, cover_id, url, row.attempts if row else 0, now)

        running = {ask(cover_id) for cover_id in itertools.islice(left, 2 * THREADS)}
        failure: BaseException | None = None
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    # After a failure nothing new is asked, but what is already under way is not thrown away.
                    failure = failure or future.exception()
                    if future.exception() is None:
                        yield future.result()
                if failure is None:
                    running |= {ask(cover_id) for cover_id in itertools.islice(left, len(finished))}
        finally:
            for future in running:
                future.cancel()
        if failure is not None:
            raise failure


def _ask(
    client: PoliteClient, cover_id: int, url: str, attempts_before: int, now: Clock
) -> tuple[LedgerRow, bytes | None]:
    """Ask for one cover: its row, and its bytes where they are a picture."""
    retry_after: float | None = None
    length = width = height = sha256 = image = None
    status: Status
    try:
        response = client.get(url)
    except BlockedHostError as error:
        status, http_status, attempts, url = "blocked_host", error.http_status, error.attempts, error.url
    except TooLargeError as error:
        status, http_status, attempts, url = "too_large", error.http_status, error.attempts, error.url
    except GaveUpError as error:
        status, http_status, attempts, retry_after = "gave_up", error.http_status, error.attempts, error.retry_after
    else:
        http_status, attempts, url, length = response.status, response.attempts, response.url, len(response.body)
        if response.status == 200:
            found = inspect(response.body)
            status, width, height = found.status, found.width, found.height
            if status == "ok":
                sha256, image = found.sha256, response.body
        else:
            status = "missing" if response.status in ABSENT else "gave_up"
    if status not in ("ok", "missing"):
        logger.debug("cover %d: %s, HTTP %s, %s", cover_id, status, http_status, url)
    at = now()
    row = LedgerRow(
        cover_id=cover_id,
        status=status,
        http_status=http_status,
        attempts=attempts_before + attempts,
        next_try=next_try(status, at, retry_after),
        bytes=length,
        width=width,
        height=height,
        sha256=sha256,
        source_url=url,
        fetched_at=at,
    )
    return row, image


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)
