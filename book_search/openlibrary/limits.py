"""When asking leaves off: after a span of time, outside of certain hours of the day, and when it is told to.

Knows clocks and time zones alone.
"""

import math
import re
import threading
import time as clocks
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from book_search.openlibrary.answers import NotNowError, StoppedError

HOURS = re.compile(r"\s*(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)\s*")


class BudgetSpentError(NotNowError):
    """The time that was given is over, or would be before the next request."""


class OutsideWindowError(NotNowError):
    """It is not the hour. Attributes: opens: when it is, in the window's zone."""

    def __init__(self, window: "Window", opens: datetime) -> None:
        super().__init__(f"covers are asked for between {window} alone; go on after {opens:%Y-%m-%d %H:%M %Z}")
        self.opens = opens


class Budget:
    """A span of time that begins now.

    Args:
        seconds: of it; `math.inf` for one without end.
        clock: of monotonic seconds.
    """

    def __init__(self, seconds: float = math.inf, clock: Callable[[], float] = clocks.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds left; 0 once it is over."""
        return max(0.0, self._end - self._clock())

    def require(self, seconds: float = 0.0) -> None:
        """Raise BudgetSpentError if it is over, or would be after so many seconds."""
        left = self.left()
        if left <= 0 or seconds > left:
            wait = f"{left:,.0f} s are left and the next request has to wait {seconds:,.0f} s" if left > 0 else ""
            raise BudgetSpentError(
                f"the {self.seconds:,.0f} s given are over" + (f": {wait}" if wait else "") + "; the next run goes on",
                f"the {self.seconds:,.0f} s given are over",
            )


@dataclass(frozen=True)
class Window:
    """From `start` until before `end`, each day, by the zone's own clock.

    Over midnight where `end` is not the later; the whole day where both are midnight.
    """

    start: time
    end: time
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, hours: str, zone: str = "UTC") -> "Window":
        """The window of such as "22:00-06:00"; "24:00" is the day's end.

        Raises:
            ValueError: it is none, or the zone is unknown.
        """
        found = HOURS.fullmatch(hours)
        if not found:
            raise ValueError(f"{hours!r} is no window of hours; write one such as 22:00-06:00")
        midnight = (found[3], found[4]) == ("24", "00")
        try:
            start, end = time(int(found[1]), int(found[2])), time() if midnight else time(int(found[3]), int(found[4]))
        except ValueError as error:
            raise ValueError(f"{hours!r} is no window of hours: {error}") from error
        if start == end and not midnight:
            raise ValueError(f"{hours!r} is no window: it begins when it ends")
        return cls(start, end, _zone(zone))

    def __str__(self) -> str:
        return f"{self.start:%H:%M} and {self.end:%H:%M} {self.zone}"

    def contains(self, at: datetime) -> bool:
        """Whether it is open at this time, which knows its zone."""
        now = at.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def opens(self, at: datetime) -> datetime:
        """When it is open next, in its own zone: `at` itself where it is open."""
        local = at.astimezone(self.zone)
        return local if self.contains(at) else self._next(self.start, local)

    def left(self, at: datetime) -> float:
        """Seconds until it closes; 0 where it is closed, `math.inf` where it never is."""
        if self.start == self.end:
            return math.inf
        if not self.contains(at):
            return 0.0
        # By UTC: two times of one zone are told apart by its clock's hands, whatever was done to them in between.
        return (self._next(self.end, at.astimezone(self.zone)).astimezone(UTC) - at).total_seconds()

    def require(self, at: datetime) -> None:
        """Raise OutsideWindowError if it is closed at this time."""
        if not self.contains(at):
            raise OutsideWindowError(self, self.opens(at))

    def _next(self, clock: time, local: datetime) -> datetime:
        """When the zone's clock shows this next."""
        today = datetime.combine(local.date(), clock, self.zone)
        return today if today > local else datetime.combine(local.date() + timedelta(days=1), clock, self.zone)


@dataclass(frozen=True)
class Limits:
    """When asking for a batch's covers leaves off by itself.

    Args:
        seconds: that a batch may take; None for as long as it takes.
        window: the hours in which alone is asked; None for any.
    """

    seconds: float | None = None
    window: Window | None = None

    def budget(self) -> Budget | None:
        """A batch's time, which begins now."""
        return None if self.seconds is None else Budget(self.seconds)


NO_LIMITS = Limits()


class Permit:
    """What lets threads ask, and wait before they do, until it is taken away.

    Args:
        budget: how long; None for ever.
        window: in which hours alone; None for all.
        sleep: for seconds; None to be woken by `stop`.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        window: Window | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.budget, self.window, self._sleep = budget, window, sleep
        self._stopped, self._left = threading.Event(), threading.Event()

    def again(self, budget: Budget | None, window: Window | None) -> "Permit":
        """Another of other limits, which nobody has taken away."""
        return Permit(budget, window, self._sleep)

    def stop(self, at_once: bool = False) -> None:
        """Take it away: waits end, nothing more is asked, and answers that have begun are taken, unless `at_once`."""
        self._stopped.set()
        if at_once:
            self._left.set()

    def left(self) -> float:
        """Seconds until the budget is spent or the window closes; `math.inf` without either."""
        budget = math.inf if self.budget is None else self.budget.left()
        return budget if self.window is None else min(budget, self.window.left(datetime.now(UTC)))

    def ask(self, seconds: float = 0.0) -> None:
        """Raise NotNowError if a request after so many seconds is not to be made any more."""
        if self._stopped.is_set():
            raise StoppedError
        if self.budget is not None:
            self.budget.require(seconds)
        if self.window is not None:
            self.window.require(datetime.now(UTC) + timedelta(seconds=seconds))

    def take(self) -> None:
        """Raise StoppedError if no answer is wanted any more, not even one that has begun."""
        if self._left.is_set():
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """Wait before a request. Raises NotNowError, before or meanwhile, if it is in vain."""
        self.ask(seconds)
        if seconds > 0:
            (self._stopped.wait if self._sleep is None else self._sleep)(seconds)
            if self._stopped.is_set():
                raise StoppedError


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC  # needs no time zone data, which not every machine has
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"{name!r} is no time zone that this machine knows; write one such as Europe/Berlin, "
            "and install the package tzdata where the system has none"
        ) from error
