"""What is remembered of a host between two requests: kept in memory for one process, or in a file for all of a machine.

Knows how it is kept; what follows from it is `pace`'s and `breaker`'s.
"""

import os
import re
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")

LONGEST_PAUSE = 24 * 3600.0  # seconds; nobody is left alone for longer than that without being asked again
LEAP = 1.0  # seconds that clocks read by several processes may differ without one having been set back


@dataclass(frozen=True, slots=True)
class HostState:
    """Times are seconds of the clock of the `HostStates` that keep it; 0 for never.

    Attributes:
        next_turn: when it may be asked next.
        paused_until: the host, or a refusal of it, asked to be left alone until then.
        failures: in a row, since the last answer that was none.
        openings: how often in a row a streak of failures made us pause it; 0 as long as it answers.
        open_until: the end of the last such pause.
        probe_until: somebody is trying whether it answers again, and has until then to find out.
    """

    next_turn: float = 0.0
    paused_until: float = 0.0
    failures: int = 0
    openings: int = 0
    open_until: float = 0.0
    probe_until: float = 0.0


Change = Callable[[HostState, float], tuple[HostState, T]]


class HostStates(Protocol):
    """Where the states of hosts are kept."""

    def update(self, host: str, change: Change[T]) -> T:
        """Replace a host's state by what `change` makes of it and of the time now, with nobody else in between.

        `change` may neither wait nor fail.
        """
        ...


class OwnHostStates:
    """States that live in this process and are shared by its threads.

    Args:
        clock: of monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, HostState] = {}

    def update(self, host: str, change: Change[T]) -> T:
        with self._lock:
            self._states[host], outcome = change(self._states.get(host, HostState()), self._clock())
            return outcome


class SharedHostStates:
    """States that all processes of a machine share: a small file a host, changed in place under the kernel's lock.

    A process may be killed at any moment: the kernel gives its lock back, and a record that is torn or absurd is
    repaired instead of waited for. The time is the machine's clock, since a monotonic one begins anew at a restart;
    where it was set back, what was to be waited for then is still waited for, and no more.

    Args:
        folder: of a local disk; the same for all who shall share. Made where it is missing.
        clock: of seconds that go on over restarts.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()  # the kernel's lock is the open file's, so it does not part our threads
        self._files: dict[str, FileIO] = {}
        self._pid = os.getpid()

    def update(self, host: str, change: Change[T]) -> T:
        with self._lock:
            file = self._open(host)
            _lock(file)
            try:
                now, found = self._clock(), _unpacked(_read(file))
                state = HostState() if found is None else _repaired(*found, now)
                changed, outcome = change(state, now)
                if found is None or changed != found[0]:
                    _write(file, _packed(changed, now))
            finally:
                _unlock(file)
        return outcome

    def _open(self, host: str) -> FileIO:
        if self._pid != os.getpid():  # after a fork: a lock on the parent's open file would be the parent's as well
            self._files, self._pid = {}, os.getpid()
        if host not in self._files:
            name = re.sub(r"[^a-z0-9.-]", "_", host.lower())
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._files[host] = FileIO(os.open(self._folder / f"{name}.host", flags, 0o600), "r+")
        return self._files[host]


VERSION = 1  # of the record; another one's is taken for torn
# When it was written, the fields of HostState, and the checksum of all that.
RECORD = struct.Struct("<dddiidd")
CHECKSUM = struct.Struct("<I")


def _packed(state: HostState, written: float) -> bytes:
    record = RECORD.pack(written, *astuple(state))
    return record + CHECKSUM.pack(zlib.crc32(record, VERSION))


def _unpacked(record: bytes) -> tuple[HostState, float] | None:
    """What was written, and when; None for a record that is not whole."""
    values, checksum = record[: RECORD.size], record[RECORD.size :]
    if len(values) != RECORD.size or checksum != CHECKSUM.pack(zlib.crc32(values, VERSION)):
        return None
    written, *fields = RECORD.unpack(values)
    return HostState(*fields), written


def _repaired(state: HostState, written: float, now: float) -> HostState:
    """The state, in which no time lies further ahead than it did when it was written."""
    behind = written - now
    furthest = max(state.next_turn, state.paused_until, state.open_until, state.probe_until)
    if behind <= LEAP and furthest <= now + LONGEST_PAUSE:
        return state
    shift = max(behind, 0.0)  # the clock was set back, by at least so much

    def near(at: float) -> float:
        return min(at - shift, now + LONGEST_PAUSE)

    return replace(
        state,
        next_turn=near(state.next_turn),
        paused_until=near(state.paused_until),
        open_until=near(state.open_until),
        probe_until=near(state.probe_until),
    )


def _read(file: FileIO) -> bytes:
    file.seek(0)
    return file.read(RECORD.size + CHECKSUM.size)


def _write(file: FileIO, record: bytes) -> None:
    file.seek(0)
    file.write(record)


if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 20  # a byte that nobody reads: Windows keeps others even from reading what is locked

    def _lock(file: FileIO) -> None:
        while True:
            file.seek(FAR)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # tries for ten seconds
            except OSError:
                continue
            return

    def _unlock(file: FileIO) -> None:
        file.seek(FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
