"""How long work tells how far it is: log lines with rates, seen in the terminal and in Dagster alike."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class ProgressLog:
    """Called with (done, total), logs a line with the rate and the time left, every few seconds at most.

    Args:
        what: what is being worked on, such as `covers 0014_6`.
        unit: what is counted, in the plural: `covers`; for `bytes`, the line speaks of MB.
        every: seconds between two lines.
        clock: seconds from any zero; a test gives its own.
    """

    def __init__(self, what: str, unit: str, every: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._unit, self._every, self._clock = what, unit, every, clock
        self._start = self._last = clock()
        self._first: int | None = None

    def __call__(self, done: int, total: int | None = None) -> None:
        now = self._clock()
        if self._first is None:
            self._first = done  # what an earlier run had done already says nothing about this one's rate
        if now - self._last < self._every:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        scale, unit = (1e6, "MB") if self._unit == "bytes" else (1, self._unit)
        of = f" of {total / scale:,.0f}" if total else ""
        left = f", {_duration((total - done) / rate)} left" if total and rate > 0 else ""
        so_far = f"{done / scale:,.0f}"
        logger.info("%s: %s%s %s, %s a second%s", self._what, so_far, of, unit, _rate(rate / scale), left)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
