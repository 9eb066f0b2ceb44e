"""One process of this machine at a time: locks that the kernel gives back when whoever holds them is killed.

Knows files and waiting, and what killed writers leave in the lake; nothing of what is written.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

from book_search.lake import Lake

LOOK_EVERY = 0.1  # seconds, whether another process has ended
TELL_EVERY = 600.0  # seconds, that it has not

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def alone(folder: Path, name: str, what: str) -> Iterator[None]:
    """Wait until no other process, or thread, of this machine is in such a block, telling whom is waited for.

    The wait ends with whoever is waited for, killed or not.

    Args:
        folder: where the lock lies, a file of this `name`; both are gone from there after the block.
        what: is done in the block, for the log.
    """
    try:
        import fcntl
    except ImportError:  # Windows: a pool of one slot in Dagster's settings does the same
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    told_at = -math.inf
    while True:
        with path.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() - told_at >= TELL_EVERY:
                    told_at = time.monotonic()
                    lock.seek(0)
                    holder = f"process {pid}" if (pid := lock.read().strip()) else "another process"
                    log.info("%s is at %s; waiting for it to end", holder, what)
                time.sleep(LOOK_EVERY)  # rather than in the kernel, where an interruption would have to wait as well
                continue
            if not _is_at(lock, path):
                continue  # who held it removed it, and a third may hold a new one by now
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def alone_at(
    places: Callable[..., tuple[str, ...]],
) -> Callable[[Callable[Concatenate[Lake, P], R]], Callable[Concatenate[Lake, P], R]]:
    """Have a function that writes to the lake run alone on this machine, for the same part of the same lake.

    Two machines may run it at once on S3: a file is always one's or the other's, and both write the same.

    Args:
        places: given the function's arguments, the name of the part, and the paths in the lake that are written
            under: what killed writers left there half written is removed first.
    """

    def guarded(function: Callable[Concatenate[Lake, P], R]) -> Callable[Concatenate[Lake, P], R]:
        @wraps(function)
        def run_alone(lake: Lake, /, *args: P.args, **named: P.kwargs) -> R:
            part, *paths = places(lake, *args, **named)
            with alone(lake.work / "locks", part, part):
                for path in paths:
                    lake.sweep(path)
                    lake.sweep(f"{path}/")
                return function(lake, *args, **named)

        return run_alone

    return guarded


def is_free(lock: IO[Any]) -> bool | None:
    """Take the lock of an open file, if nobody holds it; None where the system does not tell."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
