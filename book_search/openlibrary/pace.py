"""When a host may be asked next: one pace for all threads of a client, and the pauses that the host asks for.

Knows time alone.
"""

import threading
from collections.abc import Callable


class HostPausedError(RuntimeError):
    """A host asked to be left alone for longer than a request may wait; it is not asked before that."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(f"{host} asks to be left alone for {seconds:,.0f} s; go on after that")
        self.host, self.seconds = host, seconds


class Pace:
    """Turns to ask a host: a token bucket that holds one token, so that requests come evenly and never in bursts.

    Args:
        requests_per_minute: of one host at most.
        longest_wait: seconds; a pause beyond it is not waited for.
        clock, sleep: of monotonic seconds.

    Raises:
        ValueError: the rate is not above zero.
    """

    def __init__(
        self,
        requests_per_minute: float,
        longest_wait: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        if requests_per_minute <= 0:
            raise ValueError("requests_per_minute must be above 0")
        self._interval = 60 / requests_per_minute
        self._longest_wait, self._clock, self._sleep = longest_wait, clock, sleep
        self._lock = threading.Lock()
        self._next_turn: dict[str, float] = {}
        self._paused_until: dict[str, float] = {}
        self._waited = 0.0

    @property
    def waited(self) -> float:
        """Seconds spent waiting so far, summed over threads."""
        with self._lock:
            return self._waited

    def take_turn(self, host: str) -> None:
        """Wait until the host may be asked. Looked at again after each wait: it may have asked for a pause meanwhile.

        Raises:
            HostPausedError: that would take longer than the longest wait.
        """
        while True:
            with self._lock:
                now = self._clock()
                pause = self._paused_until.get(host, now) - now
                if pause > self._longest_wait:
                    raise HostPausedError(host, pause)
                seconds = max(pause, self._next_turn.get(host, now) - now)
                if seconds <= 0:
                    self._next_turn[host] = now + self._interval
                    return
            self.wait(seconds)

    def pause(self, host: str, seconds: float) -> None:
        """Let nobody ask this host for so long."""
        with self._lock:
            self._paused_until[host] = max(self._paused_until.get(host, 0.0), self._clock() + seconds)

    def wait(self, seconds: float) -> None:
        """Wait, whatever for, and count it."""
        if seconds > 0:
            self._sleep(seconds)
            with self._lock:
                self._waited += seconds
