"""What the road's kill loop starts and kills: `book-search run` in a process of its own, and the Postgres beneath it.

Apart from the test, so that a fork server can have imported Dagster, torch and the road before the first is started.
"""

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch  # noqa: F401 - imported by the fork server, once
import transformers  # noqa: F401

import book_search.definitions  # noqa: F401
from book_search.cli.main import main
from book_search.clip import encoder  # noqa: F401
from book_search.index.binaries import MAJOR

POLL = 0.005  # seconds
# What the road says when each of its three jobs begins, and within how many seconds of it something is killed.
SIGNS = (("loading Dagster", 2.0), ("done book_rows", 5.0), ("done cover_vectors", 2.0))


def road_in_this_process(environment: Mapping[str, str], output: Path) -> None:
    """`book-search run` with this environment alone, all that it says appended to a file."""
    for name in [name for name in os.environ if name.startswith(("BOOK_SEARCH", "DAGSTER"))]:
        del os.environ[name]
    os.environ.update(environment)
    with output.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["book-search", "run"]
    main()


@dataclass
class Killer:
    """Starts the road on one home again and again, and kills what works there.

    Attributes:
        killed: how often, by victim: `worker`, `postmaster`, or `backend` for any other process of Postgres.
        complaints: what the runs said that failed because Postgres was killed.
        output: where all that the runs say is kept.
    """

    context: multiprocessing.context.ForkServerContext
    environment: Mapping[str, str]
    home: Path
    rng: random.Random

    def __post_init__(self) -> None:
        self.killed = {"worker": 0, "postmaster": 0, "backend": 0}
        self.output = self.home.with_suffix(".log")
        self.complaints: list[str] = []

    def run(self) -> int:
        """Run undisturbed; returns the exit code."""
        child = self._start()
        child.join()
        assert child.exitcode is not None
        return child.exitcode

    def run_and_kill(self) -> int | None:
        """Run, and kill a victim during one of the three jobs; the exit code, None where the worker was killed."""
        victim = self.rng.choice(("worker", "worker", "worker", "postmaster", "backend"))
        sign, longest = self.rng.choice(SIGNS)
        said = self.output.stat().st_size if self.output.exists() else 0
        child = self._start()
        while child.exitcode is None and sign not in self._said(since=said):
            child.join(POLL)
        child.join(self.rng.uniform(0, longest))
        if victim != "worker":
            while child.exitcode is None and not self._kill_postgres(victim):
                child.join(POLL)
            # The worker is let live to see it, or not for long.
            child.join(None if self.rng.random() < 0.5 else self.rng.uniform(0, 1))
        if child.exitcode is None:
            child.kill()
            child.join()
            self.killed["worker"] += 1
            return None
        if child.exitcode:
            self.complaints.append(self._said(since=said).strip().rpartition("Error")[2])
        return child.exitcode

    def _said(self, since: int) -> str:
        if not self.output.exists():
            return ""
        with self.output.open() as file:
            file.seek(since)
            return file.read()

    def _start(self) -> multiprocessing.process.BaseProcess:
        child = self.context.Process(target=road_in_this_process, args=(dict(self.environment), self.output))
        child.start()
        return child

    def _kill_postgres(self, victim: str) -> bool:
        with suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            pid_file = self.home / "postgres" / f"data-{MAJOR}" / "postmaster.pid"
            postmaster = int(pid_file.read_text().split("\n", 1)[0])
            pid = postmaster if victim == "postmaster" else self.rng.choice(_children(postmaster))
            os.kill(pid, signal.SIGKILL)
            self.killed[victim] += 1
            return True
        return False


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
