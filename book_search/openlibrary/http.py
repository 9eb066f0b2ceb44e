"""A polite HTTP client: paced by host, patient with refusals, bounded in everything it takes.

Knows requests and answers; nothing of covers and dumps. Whom it may ask is in `hosts`, when in `pace`.
"""

import copy
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from book_search.openlibrary.answers import (
    BrokenOffError,
    GaveUpError,
    HostPausedError,
    Meter,
    Metrics,
    NotNowError,
    Response,
    TooLargeError,
)
from book_search.openlibrary.attempts import Failure, Retries, may_pass, retry_after_seconds
from book_search.openlibrary.breaker import Breaker
from book_search.openlibrary.connections import checked_pool
from book_search.openlibrary.host_states import HostStates, OwnHostStates
from book_search.openlibrary.hosts import (
    AllowedHosts,
    BlockedHostError,
    MissingContactError,
    Origin,
    led_to,
    require_contact,
    user_agent,
)
from book_search.openlibrary.limits import Budget, Permit, Window
from book_search.openlibrary.pace import Pace, Turn
from book_search.openlibrary.stream import Stream, named

__all__ = [
    "BlockedHostError",
    "BrokenOffError",
    "GaveUpError",
    "HostPausedError",
    "Metrics",
    "MissingContactError",
    "NotNowError",
    "PoliteClient",
    "Response",
    "Stream",
    "TooLargeError",
    "require_contact",
    "user_agent",
]

T = TypeVar("T")

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_HOPS = 5
SMALL = 1 << 16  # bytes; a refusal's or redirect's body is read so far, to use its connection again


class PoliteClient:
    """Asks for bodies over HTTP; may be used by many threads, which share the pace.

    Args:
        user_agent: from `user_agent(contact)`; sent with every request.
        base_url: whom it is made to ask.
        allowed_urls: further addresses whose hosts a redirect may lead to.
        requests_per_minute: asked of one host at most, evenly spaced.
        timeout: seconds to connect, and to wait for the next bytes.
        deadline: seconds for one whole answer of `get`, so that a slow drip ends; one of `open` must bring
            `stream.SLOWEST` bytes a second in each such span.
        max_bytes: of one body.
        attempts, backoff: see `Retries`.
        longest_wait: seconds; backoff ends here, and a Retry-After beyond it raises HostPausedError.
        clock, sleep: of monotonic seconds; tests give their own. Without a `sleep`, `stop` ends every wait.
        states: with whom the pace and the pauses of each host are shared: a `SharedHostStates` for all processes of
            a machine. None: the threads of this client.
        breaker: when a host that fails again and again is left alone.

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
        sleep: Callable[[float], None] | None = None,
        states: HostStates | None = None,
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
    ) -> None:
        require_contact(user_agent, base_url)
        self._user_agent = user_agent
        self._allowed = AllowedHosts.of(base_url, *allowed_urls)
        self._pace = Pace(requests_per_minute, longest_wait, states or OwnHostStates(clock), breaker)
        self._deadline, self._max_bytes = deadline, max_bytes
        self._retries = Retries(attempts, backoff, longest_wait)
        self._clock = clock
        self._pool = checked_pool(
            deadline, maxsize=16, timeout=urllib3.Timeout(connect=timeout, read=timeout), retries=False
        )
        self._meter = Meter()
        self._permit = Permit(sleep=sleep)

    @property
    def metrics(self) -> Metrics:
        """What was done so far, as it stands now."""
        return self._meter.metrics(self._pace.opened)

    def within(self, budget: Budget | None = None, window: Window | None = None) -> "PoliteClient":
        """This client, with its connections, pace and metrics, that asks no more once the budget is spent or the
        window closed: it raises BudgetSpentError or OutsideWindowError, both NotNowError, where it would have to wait
        longer than that.
        """
        bounded = copy.copy(self)
        bounded._permit = self._permit.again(budget, window)
        return bounded

    def apart(self) -> "PoliteClient":
        """This client under the same limits, but with a `stop` of its own."""
        return self.within(self._permit.budget, self._permit.window)

    def stop(self, at_once: bool = False) -> None:
        """In all threads, end every wait now with a NotNowError and ask nothing more.

        Answers that have begun are taken even so; with `at_once` they are left between two pieces.
        """
        self._permit.stop(at_once)

    def time_left(self) -> float:
        """Seconds until the budget is spent or the window closes; `math.inf` without either."""
        return self._permit.left()

    def get(self, url: str, headers: Mapping[str, str] | None = None, max_bytes: int | None = None) -> Response:
        """The answer to `url`, redirects followed, tried again where that may help.

        With a Range header a 206 or 416 comes back as any other answer, with its Content-Range; a server that knows
        no ranges answers 200 with the whole.

        Args:
            headers: sent beside our own.
            max_bytes: of the body, instead of the client's.

        Raises:
            BlockedHostError: it is, or leads to, an address that may not be asked.
            TooLargeError: the body is larger than `max_bytes`.
            GaveUpError: all attempts failed: refusals, 5xx, timeouts, broken connections, short bodies.
            HostPausedError: the host is paused for longer than `longest_wait`.
            NotNowError: of another kind, see `within`.
            MissingContactError: a real host, and no contact.
        """

        def whole(stream: Stream) -> Response:
            return Response(stream.status, stream.whole(), stream.url, stream.attempts, stream.headers)

        return self._persist(url, headers or {}, max_bytes, self._deadline, whole)

    def open(self, url: str, headers: Mapping[str, str] | None = None, max_bytes: int | None = None) -> Stream:
        """The answer to `url` as a stream, for bodies too large to hold; use it in a `with` block.

        Tried again as `get` does until the first bytes of the body are here. After that the stream itself raises:
        BrokenOffError where the body breaks off, falls short or drips.

        Args: as for `get`; `max_bytes` counts while streaming.

        Raises: as `get`.
        """

        def begun(stream: Stream) -> Stream:
            stream.begin()
            return stream

        return self._persist(url, headers or {}, max_bytes, None, begun)

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._pool.clear()

    def __enter__(self) -> "PoliteClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _persist(
        self,
        url: str,
        headers: Mapping[str, str],
        max_bytes: int | None,
        deadline: float | None,
        take: Callable[[Stream], T],
    ) -> T:
        """What `take` makes of the answer, after as many attempts as it needs."""
        most = self._max_bytes if max_bytes is None else max_bytes
        attempt = 0
        while True:
            attempt += 1
            answer = self._ask(url, headers, most, deadline, attempt)
            if isinstance(answer, Stream):
                try:
                    return take(answer)
                except HTTPError as error:
                    failure = Failure(urlsplit(answer.url).netloc, named(error))
            else:
                failure = answer
            if failure.retry_after is not None:
                self._pace.pause(failure.host, failure.retry_after)
            if attempt == self._retries.attempts:
                raise GaveUpError(url, failure.reason, attempt, failure.status, failure.retry_after)
            self._meter.retry()
            wait = self._retries.wait_after(attempt)
            if failure.refuses_all:
                self._pace.pause(failure.host, wait)
            else:
                self._wait(wait)

    def _ask(
        self, url: str, headers: Mapping[str, str], max_bytes: int, deadline: float | None, attempt: int
    ) -> Stream | Failure:
        """One attempt, through all its redirects."""
        status: int | None = None
        for _ in range(MOST_HOPS + 1):
            try:
                origin = self._allowed.check(url)
                host = origin.name
                require_contact(self._user_agent, url)
                turn = self._pace.take_turn(host, self._wait)
                response = self._send(origin, turn, url, headers)
            except BlockedHostError as error:
                raise BlockedHostError(error.url, error.reason, attempt, status) from error
            except HTTPError as error:
                self._ended(turn, 0, 0, error)
                return Failure(host, named(error))
            status = response.status
            stream = partial(
                Stream,
                response,
                url,
                attempt,
                patience=self._deadline,
                clock=self._clock,
                ended=partial(self._ended, turn),
            )
            if status in REDIRECTS and response.headers.get("Location"):
                stream(SMALL, self._deadline).drain()
                url = led_to(url, response.headers["Location"], attempt, status)
            elif may_pass(status):
                stream(SMALL, self._deadline).drain()
                return Failure(host, f"HTTP {status}", status, retry_after_seconds(response.headers))
            elif deadline is not None:
                # Begun in time and soon over: a budget throws no picture away.
                return stream(max_bytes, deadline, allow=self._permit.take)
            else:
                if turn.trial:
                    self._pace.answered(turn)  # a long body need not be whole before others may ask again
                return stream(max_bytes, None, allow=self._permit.ask)
        raise GaveUpError(url, f"more than {MOST_HOPS} redirects", attempt, status)

    def _send(self, origin: Origin, turn: Turn, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """One request. Without compression: a body's length is then what Content-Length says."""
        sent = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **headers}
        # Not by `PoolManager.request`: it takes the address apart twice more, when whom to ask is settled already.
        pool = self._pool.connection_from_host(origin.host, origin.port, origin.scheme)
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            return pool.urlopen("GET", target, headers=sent, redirect=False, preload_content=False)
        except BlockedHostError as error:
            self._pace.failed(turn, error.reason)  # or nobody else would get a turn of a host on trial
            raise

    def _ended(self, turn: Turn, status: int, size: int, error: HTTPError | None) -> None:
        """A request is over: count it, and tell the pace how the host took it."""
        self._meter.request(0 if error else status, size)
        if error is not None:
            self._pace.failed(turn, named(error))
        elif may_pass(status):
            self._pace.failed(turn, f"HTTP {status}")
        else:
            self._pace.answered(turn)

    def _wait(self, seconds: float) -> None:
        """Wait for politeness' sake, and count it."""
        self._permit.wait(seconds)
        if seconds > 0:
            self._meter.wait(seconds)
