"""An attempt that failed in a way that may pass, and how long to wait before the next.

Knows statuses and headers of refusals; nothing of how it is asked.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PASSING = frozenset({408, 425, 429})  # with every 5xx: answers that another try may change
LONGEST = 366 * 24 * 3600.0  # seconds; more is a mistake, or meant to be more than a date can hold


@dataclass(frozen=True)
class Failure:
    """An attempt that another may better.

    Attributes:
        retry_after: seconds that the host asks us to wait; None where it says nothing of it.
    """

    host: str
    reason: str
    status: int | None = None
    retry_after: float | None = None

    @property
    def refuses_all(self) -> bool:
        """Whether it is meant for all of us, not for this address, and does not say for how long."""
        return self.status == 429 and self.retry_after is None


@dataclass(frozen=True)
class Retries:
    """How often one address is asked, and how long is waited in between.

    Attributes:
        attempts: the first included.
        backoff: seconds; the wait after attempt n is drawn from [0, backoff * 2**(n - 1)].
        longest_wait: seconds; backoff ends here.
    """

    attempts: int
    backoff: float
    longest_wait: float

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")

    def wait_after(self, attempt: int) -> float:
        """Seconds until the next: "full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/."""
        return random.uniform(0, min(self.longest_wait, self.backoff * 2 ** (attempt - 1)))


def may_pass(status: int) -> bool:
    """Whether an answer is one that another try may change."""
    return status in PASSING or status >= 500


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds: a number, or a date (RFC 9110, 10.2.3); None where it is absent or neither.

    A date is compared with the server's own clock, where it tells it. No more than LONGEST.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST)
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max(0.0, (until - now).total_seconds()), LONGEST)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for numbers that no date can hold
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
