"""Which processes that run the road in themselves are still at work, as far as this machine can tell.

Each holds the lock of a file of its own beside Dagster's records, which the kernel gives back however it ends. Its
number would not do: in a container every process may have the same, and after a restart another program has it.
Knows processes; nothing of runs.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import dagster as dg

from book_search.alone import is_free

FOLDER = "processes"  # under DAGSTER_HOME
_held: dict[tuple[int, Path], IO[str]] = {}  # by process and folder: closed, and so unlocked, when the process ends


def mark_of_this_process(instance: dg.DagsterInstance) -> str:
    """A name that no other process ever had, whose lock this one holds until it ends."""
    folder = Path(instance.root_directory) / FOLDER
    place = (os.getpid(), folder)
    if place not in _held:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            lock = (folder / f"{uuid.uuid4().hex}.lock").open("x")
            taken = is_free(lock)
            # Whoever looks for dead processes may have found the file before it was locked, and removed it.
            if taken is None or (taken and os.fstat(lock.fileno()).st_nlink):
                break
        _held[place] = lock
    return Path(_held[place].name).stem


def dead_processes(instance: dg.DagsterInstance) -> Iterator[str]:
    """The marks of processes that ended. Each is forgotten once the caller asks for the next.

    A mark that was made on another machine is not among them, whatever became of its process.
    """
    for path in sorted((Path(instance.root_directory) / FOLDER).glob("*.lock")):
        try:
            with path.open("r+") as lock:
                if not is_free(lock):
                    continue
                yield path.stem
                path.unlink()
        except (FileNotFoundError, PermissionError):  # another has just done the same; Windows keeps what is open
            continue


def has_ended(instance: dg.DagsterInstance, mark: str) -> bool:
    """Whether the process of that mark is known to be gone. Nothing is forgotten by asking."""
    try:
        with (Path(instance.root_directory) / FOLDER / f"{mark}.lock").open("r+") as lock:
            return bool(is_free(lock))
    except OSError:
        return False
