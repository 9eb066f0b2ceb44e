"""A circuit breaker: a host that fails again and again is left alone for a while, then tried by one request.

Knows what follows from answers and failures for a host's state; it neither waits nor keeps the state.
"""

import random
from dataclasses import dataclass, replace

from book_search.openlibrary.host_states import LONGEST_PAUSE, HostState

FORGOTTEN = 3600.0  # seconds without a request after which a host's failures no longer count


@dataclass(frozen=True)
class Breaker:
    """When a host is paused, for how long, and when to say that it is enough.

    Attributes:
        streak: refusals and failures in a row, over all threads and processes, that pause the host.
        first_pause: seconds, doubled with each pause that follows without an answer in between, of which a random
            part from half to all is waited, so that not everybody comes back at once.
        longest_pause: seconds; pauses grow no further.
        openings: pauses in a row after which HostPausedError is raised instead of waiting for the end of the last.
        probe: seconds that the one request has which tries whether the host answers again; after them, as when its
            process was killed, another may try.
    """

    streak: int = 10
    first_pause: float = 15.0
    longest_pause: float = 900.0
    openings: int = 5
    probe: float = 180.0

    def __post_init__(self) -> None:
        if self.streak < 1 or self.openings < 1 or not 0 < self.first_pause <= self.longest_pause <= LONGEST_PAUSE:
            raise ValueError("a breaker needs a streak, openings, and pauses above 0 and of a day at most")

    def spent(self, state: HostState) -> bool:
        """Whether it was tried so often that nobody should wait for the host's coming back."""
        return state.openings >= self.openings

    def is_probed(self, state: HostState, now: float) -> bool:
        """Whether somebody is trying a paused host right now."""
        return state.openings > 0 and state.probe_until > now

    def remembered(self, state: HostState, now: float) -> HostState:
        """The state, without the failures of a time so long ago that they say nothing of now."""
        if not (state.failures or state.openings) or now < max(state.next_turn, state.open_until) + FORGOTTEN:
            return state
        return replace(state, failures=0, openings=0, probe_until=0.0)

    def turn(self, state: HostState, now: float) -> HostState:
        """The state after somebody took a turn: while the host is on trial, nobody else takes one."""
        return replace(state, probe_until=now + self.probe) if state.openings else state

    def answered(self, state: HostState, turn: float) -> HostState:
        """The state after an answer to the request whose turn was taken at `turn`."""
        if turn < state.open_until or not (state.failures or state.openings):
            return state
        return replace(state, failures=0, openings=0, probe_until=0.0)

    def failed(self, state: HostState, turn: float, now: float) -> HostState:
        """The state after a failure. One of a request from before the last pause says nothing new."""
        if turn < state.open_until:
            return state
        failures = state.failures + 1
        if failures < self.streak and not state.openings:
            return replace(state, failures=failures, next_turn=max(state.next_turn, now))
        pause = min(self.longest_pause, self.first_pause * 2.0**state.openings) * random.uniform(0.5, 1)
        return replace(state, failures=failures, openings=state.openings + 1, open_until=now + pause, probe_until=0.0)
