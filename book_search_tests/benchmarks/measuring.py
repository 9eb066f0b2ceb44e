"""A command measured from outside: what it and its children took of time, processor and memory (Linux's proc(5)).

Knows processes; nothing of what they do.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

LOOK_EVERY = 0.05  # seconds between looks at a group's processes
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        wall: seconds.
        cpu: seconds of processor, of it and of all of its group, user and system.
        peak_mb: the most memory that all of its group held at once, in MB of 10**6 bytes.
        said: the last line of its standard output.
    """

    wall: float
    cpu: float
    peak_mb: float
    said: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None, listen: bool = True) -> Measured:
    """Run a command to its end; its output goes to nowhere unless we `listen`.

    Raises:
        RuntimeError: it failed; with the end of its errors.
    """
    start = perf_counter()
    output = subprocess.PIPE if listen else subprocess.DEVNULL
    with subprocess.Popen(
        command, stdout=output, stderr=subprocess.PIPE, start_new_session=True, env=environment
    ) as process:
        said: list[bytes] = []
        errors: list[bytes] = []
        # A contender that fills a pipe nobody reads would wait for ever.
        readers = [
            threading.Thread(target=lambda: said.extend(process.stdout or ())),
            threading.Thread(target=lambda: errors.extend(process.stderr or ())),
        ]
        for reader in readers:
            reader.start()
        peak = 0
        seen: dict[int, float] = {}
        while True:
            # Not Popen's own wait, which forgets what the process used.
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            peak = max(peak, _memory_of_group(process.pid))
            seen |= _cpu_of_group(process.pid)
            sleep(LOOK_EVERY)
        wall = perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        for pid in _group(process.pid):  # what a contender left behind, such as a helper process
            os.kill(pid, signal.SIGKILL)
        for reader in readers:
            reader.join()
    if process.returncode:
        told = b"".join(errors[-20:]).decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{told}")
    last = said[-1].decode(errors="replace").strip() if said else ""
    # The kernel's own sum leaves out those that nobody waited for, such as Spark's JVM; ours what came between looks.
    return Measured(wall, max(used.ru_utime + used.ru_stime, sum(seen.values())), peak / 1e6, last)


def _memory_of_group(leader: int) -> int:
    """Bytes that a group's processes hold together; pages that they share count once, divided among them."""
    total = 0
    for pid in _group(leader):
        try:
            rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(line.split()[1]) for line in rolled.splitlines() if line.startswith("Pss:")) * 1024
    return total


def _cpu_of_group(leader: int) -> dict[int, float]:
    """Seconds of processor that each living process of a group has taken."""
    taken = {}
    for pid in _group(leader):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        taken[pid] = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
    return taken


def _group(leader: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found
