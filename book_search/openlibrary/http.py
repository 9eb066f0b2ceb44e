"""A polite HTTP client: paced by host, patient with refusals, bounded in everything it takes.

Knows requests and answers; nothing of covers and dumps. Whom it may ask is in `hosts`.
"""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from urllib.parse import urldefrag, urljoin

import urllib3
from urllib3.exceptions import HTTPError

from book_search.openlibrary.hosts import (
    AllowedHosts,
    BlockedHostError,
    MissingContactError,
    checked_pool,
    require_contact,
    user_agent,
)
from book_search.openlibrary.pace import HostPausedError, Pace

__all__ = [
    "BlockedHostError",
    "GaveUpError",
    "HostPausedError",
    "Metrics",
    "MissingContactError",
    "PoliteClient",
    "Response",
    "TooLargeError",
    "require_contact",
    "user_agent",
]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429})  # with every 5xx: answers that another try may change
MOST_HOPS = 5
CHUNK = 1 << 16
KEPT_HEADERS = ("Content-Type", "Content-Length", "ETag", "Last-Modified", "Content-Range", "Accept-Ranges")


class TooLargeError(RuntimeError):
    """A body is larger than what was to be taken; reading stopped there."""

    def __init__(self, url: str, most: int, attempts: int, http_status: int) -> None:
        super().__init__(f"{url} is larger than {most:,} bytes")
        self.url, self.attempts, self.http_status = url, attempts, http_status


class GaveUpError(RuntimeError):
    """Every attempt failed in a way that may pass.

    Attributes:
        http_status: the last answer's; None where there was no whole answer.
        retry_after: seconds that the host asked us to wait, if it did.
    """

    def __init__(
        self, url: str, reason: str, attempts: int, http_status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"gave up on {url} after {attempts} attempts: {reason}")
        self.url, self.reason, self.attempts = url, reason, attempts
        self.http_status, self.retry_after = http_status, retry_after


@dataclass(frozen=True)
class Response:
    """An answer that another try would not change: found, or known to be absent.

    Attributes:
        url: where the answer came from, after redirects.
        attempts: how often it was asked for, redirects not counted.
        headers: those of KEPT_HEADERS that it had.
    """

    status: int
    body: bytes
    url: str
    attempts: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Metrics:
    """What a client has done so far.

    Attributes:
        requests: sent, redirects and repetitions included.
        bytes: of bodies received.
        by_status: answers by HTTP status; 0 counts requests without a whole answer.
        waited: seconds spent waiting for politeness, summed over threads.
    """

    requests: int = 0
    bytes: int = 0
    by_status: Mapping[int, int] = field(default_factory=dict)
    waited: float = 0.0

    def since(self, earlier: "Metrics") -> "Metrics":
        """What was done after `earlier`, which the same client gave."""
        by_status = Counter(self.by_status)
        by_status.subtract(earlier.by_status)
        return Metrics(
            self.requests - earlier.requests,
            self.bytes - earlier.bytes,
            {status: count for status, count in sorted(by_status.items()) if count},
            self.waited - earlier.waited,
        )


class PoliteClient:
    """Asks for whole bodies over HTTP; may be used by many threads, which share the pace.

    Args:
        user_agent: from `user_agent(contact)`; sent with every request.
        base_url: whom it is made to ask.
        allowed_urls: further addresses whose hosts a redirect may lead to.
        requests_per_minute: asked of one host at most, evenly spaced.
        timeout: seconds to connect, and to wait for the next bytes.
        deadline: seconds for one whole answer, so that a slow drip ends.
        max_bytes: of one body.
        attempts: how often one address is asked, the first time included.
        backoff: seconds; the wait before attempt n + 1 is drawn from [0, backoff * 2**(n - 1)] ("full jitter").
        longest_wait: seconds; backoff ends here, and a Retry-After beyond it raises HostPausedError.
        clock, sleep: of monotonic seconds; tests give their own.

    Raises:
        MissingContactError: `base_url` is a real host and `user_agent` has no contact.
        ValueError: an address is none, or a number is out of range.
    """

    def __init__(
        self,
        user_agent: str,
        base_url: str,
        allowed_urls: tuple[str, ...] = (),
        *,
        requests_per_minute: float = 100,
        timeout: float = 30,
        deadline: float = 120,
        max_bytes: int = 10 << 20,
        attempts: int = 5,
        backoff: float = 1.0,
        longest_wait: float = 120,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        require_contact(user_agent, base_url)
        self._user_agent = user_agent
        self._allowed = AllowedHosts.of(base_url, *allowed_urls)
        self._pace = Pace(requests_per_minute, longest_wait, clock, sleep)
        self._deadline, self._max_bytes = deadline, max_bytes
        self._attempts, self._backoff, self._longest_wait = attempts, backoff, longest_wait
        self._clock = clock
        self._pool = checked_pool(maxsize=16, timeout=urllib3.Timeout(connect=timeout, read=timeout), retries=False)
        self._lock = threading.Lock()
        self._requests = self._bytes = 0
        self._by_status: Counter[int] = Counter()

    @property
    def metrics(self) -> Metrics:
        """What was done so far, as it stands now."""
        with self._lock:
            return Metrics(self._requests, self._bytes, dict(sorted(self._by_status.items())), self._pace.waited)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """The answer to `url`, redirects followed, tried again where that may help.

        Raises:
            BlockedHostError: it is, or leads to, an address that may not be asked.
            TooLargeError: the body is larger than `max_bytes`.
            GaveUpError: all attempts failed: refusals, 5xx, timeouts, broken connections, short bodies.
            HostPausedError: the host asked for a longer pause than `longest_wait`.
            MissingContactError: a real host, and no contact.
        """
        attempt = 0
        while True:
            attempt += 1
            outcome = self._try(url, headers or {}, attempt)
            if isinstance(outcome, Response):
                return outcome
            if outcome.retry_after is not None:
                self._pace.pause(outcome.host, outcome.retry_after)
            if attempt == self._attempts:
                raise GaveUpError(url, outcome.reason, attempt, outcome.status, outcome.retry_after)
            # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
            wait = random.uniform(0, min(self._longest_wait, self._backoff * 2 ** (attempt - 1)))
            if outcome.status == 429 and outcome.retry_after is None:
                self._pace.pause(outcome.host, wait)  # the refusal is meant for all of us, not for this address
            else:
                self._pace.wait(wait)

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._pool.clear()

    def __enter__(self) -> "PoliteClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _try(self, url: str, headers: Mapping[str, str], attempt: int) -> "Response | _Failure":
        """One attempt, through all its redirects."""
        status: int | None = None
        for _ in range(MOST_HOPS + 1):
            try:
                host = self._allowed.check(url).host
                require_contact(self._user_agent, url)
                self._pace.take_turn(host)
                response = self._send(url, headers)
                with response:
                    status = response.status
                    if status in REDIRECTS and response.headers.get("Location"):
                        self._body(response, url, attempt)  # to the end, so that the connection can be used again
                        url = urldefrag(urljoin(url, response.headers["Location"])).url
                        continue
                    retry_after = _seconds(response.headers)
                    body = self._body(response, url, attempt)
            except BlockedHostError as error:
                raise BlockedHostError(error.url, error.reason, attempt, status) from error
            except HTTPError as error:
                self._count(0, 0)
                return _Failure(host, _named(error), None, None)
            if status in PASSING or status >= 500:
                return _Failure(host, f"HTTP {status}", status, retry_after)
            kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
            return Response(status, body, url, attempt, kept)
        raise GaveUpError(url, f"more than {MOST_HOPS} redirects", attempt, status)

    def _send(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """One request. Without compression: a body's length is then what Content-Length says."""
        sent = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **headers}
        return self._pool.request("GET", url, headers=sent, redirect=False, preload_content=False)

    def _body(self, response: urllib3.BaseHTTPResponse, url: str, attempt: int) -> bytes:
        """The whole body. Raises TooLargeError, and HTTPError where it drips, breaks off or falls short."""
        declared = response.headers.get("Content-Length", "")
        too_large = TooLargeError(url, self._max_bytes, attempt, response.status)
        if declared.isdigit() and int(declared) > self._max_bytes:
            response.close()
            self._count(response.status, 0)
            raise too_large
        end = self._clock() + self._deadline
        chunks, size = [], 0
        while chunk := response.read1(CHUNK, decode_content=False):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                response.close()
                self._count(response.status, size)
                raise too_large
            if self._clock() > end:
                response.close()
                raise HTTPError(f"not complete after {self._deadline:.0f} s")
        self._count(response.status, size)
        return b"".join(chunks)

    def _count(self, status: int, size: int) -> None:
        with self._lock:
            self._requests += 1
            self._by_status[status] += 1
            self._bytes += size


@dataclass(frozen=True)
class _Failure:
    """An attempt that another may better."""

    host: str
    reason: str
    status: int | None
    retry_after: float | None


def _named(error: HTTPError) -> str:
    """The error's kind and words, without the object addresses that urllib3 puts before them."""
    return f"{type(error).__name__}: {re.sub(r'<[^>]*>:? ?|^[^:]*object at 0x[0-9a-f]+>?: ', '', str(error))}"


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds: a number, or a date (RFC 9110, 10.2.3); None where it is absent or neither.

    A date is compared with the server's own clock, where it tells it.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
