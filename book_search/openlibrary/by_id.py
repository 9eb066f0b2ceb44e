"""Covers asked for one by one from the covers server: an answer judged, and made a row of the ledger.

Knows the address of a cover and what an answer means; how to ask politely is `http`'s part, what a body is `images`'.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from queue import SimpleQueue

from book_search.openlibrary.http import BlockedHostError, GaveUpError, PoliteClient, TooLargeError
from book_search.openlibrary.images import inspect
from book_search.openlibrary.ledger import LedgerRow, Status, next_try

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]

THREADS = 4  # enough to keep the pace while answers take their time
AT_ONCE = 0.05  # seconds
ABSENT = frozenset({404, 410})


def cover_url(covers_url: str, cover_id: int, size: str) -> str:
    """Where a cover is had by its id: 404 where there is none, instead of a blank picture.

    Args:
        covers_url: such as https://covers.openlibrary.org.
        size: S, M (up to 180 x 360 pixels) or L (up to 500 x 500).
    """
    return f"{covers_url.rstrip('/')}/b/id/{cover_id}-{size}.jpg?default=false"


def ask_all(
    cover_ids: Sequence[int],
    rows: Mapping[int, LedgerRow],
    client: PoliteClient,
    covers_url: str,
    size: str,
    now: Clock,
) -> Iterator[tuple[LedgerRow, bytes | None]]:
    """The rows, with the bytes of what is a picture, as answers come.

    One after the other as long as answers, and the turns to ask for them, come at once; from the first that does not,
    by a few threads that share the client's pace. Threads hide waiting, and where there is none they cost a fifth more.

    Closed before its end, as by Ctrl-C, it waits for nothing any more, not even for a host that is paused.

    Args:
        rows: what the ledger says of these covers from earlier runs.

    Raises:
        BlockedHostError: the covers server itself has an address that is not asked, as behind a network's log-in page.
        NotNowError, MissingContactError: from the client. What came in before has been handed out.
    """
    left, own = iter(cover_ids), client.apart()

    def ask(cover_id: int) -> tuple[LedgerRow, bytes | None]:
        row = rows.get(cover_id)
        return _ask(own, cover_id, cover_url(covers_url, cover_id, size), row.attempts if row else 0, now)

    for cover_id in left:
        asked_at = time.monotonic()
        answer = ask(cover_id)
        at_once = time.monotonic() - asked_at < AT_ONCE
        yield answer
        if not at_once:
            break
    yield from _side_by_side(ask, left, own.stop)


def _side_by_side(
    ask: Callable[[int], tuple[LedgerRow, bytes | None]], left: Iterator[int], stop: Callable[[bool], None]
) -> Iterator[tuple[LedgerRow, bytes | None]]:
    """The answers of a few threads, as they come."""
    answered: SimpleQueue[Future[tuple[LedgerRow, bytes | None]]] = SimpleQueue()
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="covers")

    def submit(most: int) -> int:
        """Let the next few be asked for; gives how many there were."""
        few = list(itertools.islice(left, most))
        for cover_id in few:
            threads.submit(ask, cover_id).add_done_callback(answered.put)
        return len(few)

    failure: BaseException | None = None
    try:
        running = submit(2 * THREADS)
        while running:
            future = answered.get()
            running -= 1
            # After a failure nothing new is asked, but what is already under way is not thrown away.
            if failure is None and (failure := future.exception()) is not None:
                stop(False)
            if failure is None:
                running += submit(1)
            if future.exception() is None:
                yield future.result()
    finally:
        stop(True)
        threads.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure


def _ask(
    client: PoliteClient, cover_id: int, url: str, attempts_before: int, now: Clock
) -> tuple[LedgerRow, bytes | None]:
    """Ask for one cover: its row, and its bytes where they are a picture."""
    http_status: int | None
    retry_after: float | None = None
    length = width = height = sha256 = image = None
    status: Status
    try:
        response = client.get(url)
    except BlockedHostError as error:
        if error.http_status is None:
            raise  # no redirect led there: it says nothing of the cover, and the next would meet the same
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
