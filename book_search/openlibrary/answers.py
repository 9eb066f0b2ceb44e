"""What a client hands back: an answer, the errors that stand for none, and the count of what was done.

Knows names and numbers; nothing of how an answer is had.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields


class NotNowError(RuntimeError):
    """Nothing is wrong with what was asked for; it is to be asked for later. What was fetched before is kept.

    Attributes:
        why: the same in words that do not change from one second to the next, for counting.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


class StoppedError(NotNowError):
    """Whoever asked was interrupted, and asks for nothing more."""

    def __init__(self) -> None:
        super().__init__("asking was stopped; the next run goes on")


class HostPausedError(NotNowError):
    """A host is to be left alone for longer than a request may wait; it is not asked before that.

    Attributes:
        seconds: until it may be asked again.
    """

    def __init__(self, host: str, seconds: float, because: str = "it asks to be left alone") -> None:
        super().__init__(
            f"{host} is not asked for {seconds:,.0f} s, because {because}; go on after that",
            f"{host} is not asked, because {because}",
        )
        self.host, self.seconds = host, seconds


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


class BrokenOffError(GaveUpError):
    """A body that was being streamed broke off; `received` bytes of it came. Ask for the rest by Range."""

    def __init__(self, url: str, reason: str, attempts: int, http_status: int, received: int) -> None:
        super().__init__(url, f"broke off after {received:,} bytes: {reason}", attempts, http_status)
        self.received = received


@dataclass(frozen=True)
class Response:
    """An answer that another try would not change: found, or known to be absent.

    Attributes:
        url: where the answer came from, after redirects.
        attempts: how often it was asked for, redirects not counted.
        headers: those of `stream.KEPT_HEADERS` that it had.
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
        bytes: of bodies received, whole or not.
        by_status: answers by HTTP status; 0 counts requests without a whole answer.
        waited: seconds spent waiting for politeness, summed over threads.
        retries: attempts after the first.
        opened: times that a streak of failures made this client pause a host.
    """

    requests: int = 0
    bytes: int = 0
    by_status: Mapping[int, int] = field(default_factory=dict)
    waited: float = 0.0
    retries: int = 0
    opened: int = 0

    def since(self, earlier: "Metrics") -> "Metrics":
        """What was done after `earlier`, which the same client gave."""
        by_status = Counter(self.by_status)
        by_status.subtract(earlier.by_status)
        counted = {status: count for status, count in sorted(by_status.items()) if count}
        others = [each.name for each in fields(self) if each.name != "by_status"]
        return Metrics(by_status=counted, **{name: getattr(self, name) - getattr(earlier, name) for name in others})


class Meter:
    """Counts what is done, for all threads of a client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._bytes = self._retries = 0
        self._waited = 0.0
        self._by_status: Counter[int] = Counter()

    def request(self, status: int, size: int) -> None:
        """A request ended: with this status, 0 for no whole answer, and so many bytes of a body."""
        with self._lock:
            self._requests += 1
            self._by_status[status] += 1
            self._bytes += size

    def retry(self) -> None:
        """Something is asked for once more."""
        with self._lock:
            self._retries += 1

    def wait(self, seconds: float) -> None:
        """So long was waited for politeness."""
        with self._lock:
            self._waited += seconds

    def metrics(self, opened: int) -> Metrics:
        """What was counted, with what the pace counted."""
        with self._lock:
            by_status = dict(sorted(self._by_status.items()))
            return Metrics(self._requests, self._bytes, by_status, self._waited, self._retries, opened)
