"""When a host may be asked next: even turns, the pauses that it asks for, and those that its failures bring.

Knows time alone; where a host's state is kept is `host_states`', and what failures mean `breaker`'s.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from book_search.openlibrary.answers import HostPausedError
from book_search.openlibrary.breaker import Breaker
from book_search.openlibrary.host_states import LONGEST_PAUSE, HostState, HostStates

logger = logging.getLogger(__name__)

NO_PACE = 0.001  # seconds; turns that come closer than this are not written down: nobody would wait for them
SLOW = 60.0  # seconds; a turn further ahead than this, and than our own pace, was never taken by anybody
PROBED = 0.25  # seconds after which to look again whether another one's try was answered


@dataclass(frozen=True)
class Turn:
    """A request may be made now.

    Attributes:
        at: by the clock of the states.
        clear: whether the host had no failures to be forgotten when it answers.
        trial: whether it was taken to see if the host answers again, while all others wait.
    """

    host: str
    at: float
    clear: bool
    trial: bool


class Pace:
    """Turns to ask a host: a token bucket that holds one token, so that requests come evenly and never in bursts.

    Args:
        requests_per_minute: of one host at most.
        longest_wait: seconds; a pause that a host asks for beyond it is not waited for.
        states: what all who share the pace know of each host.
        breaker: pauses hosts that fail.

    Raises:
        ValueError: the rate is not above zero.
    """

    def __init__(
        self,
        requests_per_minute: float,
        longest_wait: float,
        states: HostStates,
        breaker: Breaker,
    ) -> None:
        if requests_per_minute <= 0:
            raise ValueError("requests_per_minute must be above 0")
        self._interval = 60 / requests_per_minute
        self._longest_wait, self._states, self._breaker = longest_wait, states, breaker
        self._lock = threading.Lock()
        self._opened = 0

    @property
    def opened(self) -> int:
        """How often a streak of failures that ended here paused a host."""
        with self._lock:
            return self._opened

    def take_turn(self, host: str, wait: Callable[[float], None]) -> Turn:
        """Wait until the host may be asked. Looked at again after each wait: it may have asked for a pause meanwhile.

        Args:
            wait: for seconds, 0 first; raises instead if that is too long, or if nothing is to be asked any more.

        Raises:
            HostPausedError: that would take longer than the longest wait, or the breaker has had enough.
        """
        wait(0.0)
        while True:
            taken = self._states.update(host, lambda state, now: self._take(host, state, now))
            if isinstance(taken, HostPausedError):
                raise taken
            if isinstance(taken, Turn):
                return taken
            wait(taken)

    def answered(self, turn: Turn) -> None:
        """A request was answered, well or not, in a way that another try would not change."""
        if not turn.clear:
            self._states.update(turn.host, lambda state, now: (self._breaker.answered(state, turn.at), None))

    def failed(self, turn: Turn, reason: str) -> None:
        """A request was refused or broke off."""

        def change(state: HostState, now: float) -> tuple[HostState, tuple[HostState, float] | None]:
            changed = self._breaker.failed(state, turn.at, now)
            return changed, (changed, now) if changed.openings > state.openings else None

        opened = self._states.update(turn.host, change)
        if opened is None:
            return
        state, now = opened
        with self._lock:
            self._opened += 1
        logger.warning(
            "%s failed %d times in a row (last: %s); it is left alone for %.0f s, pause %d of %d",
            turn.host,
            state.failures,
            reason,
            state.open_until - now,
            state.openings,
            self._breaker.openings,
        )

    def pause(self, host: str, seconds: float) -> None:
        """Let nobody ask this host for so long, a day at most."""
        seconds = min(seconds, LONGEST_PAUSE)

        def change(state: HostState, now: float) -> tuple[HostState, None]:
            return replace(state, paused_until=max(state.paused_until, now + seconds)), None

        self._states.update(host, change)

    def _take(self, host: str, state: HostState, now: float) -> tuple[HostState, Turn | float | HostPausedError]:
        """The state, and what comes of asking for a turn: the turn, seconds to wait for it, or an error to raise."""
        state = self._breaker.remembered(state, now)
        asked, opened = state.paused_until - now, state.open_until - now
        if opened > 0 and (opened > self._longest_wait or self._breaker.spent(state)):
            return state, HostPausedError(host, max(asked, opened), f"it failed {state.failures} times in a row")
        if asked > self._longest_wait:
            return state, HostPausedError(host, asked)
        if max(asked, opened) > 0:
            return state, max(asked, opened)
        if self._breaker.is_probed(state, now):
            return state, PROBED
        wait = state.next_turn - now
        if 0 < wait <= max(self._interval, SLOW):
            return state, wait
        taken = self._breaker.turn(state, now)
        if self._interval >= NO_PACE:
            taken = replace(taken, next_turn=now + self._interval)
        return taken, Turn(host, now, clear=not (state.failures or state.openings), trial=state.openings > 0)
