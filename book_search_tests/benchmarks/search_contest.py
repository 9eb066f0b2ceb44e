"""One contender of the search benchmark, measured in a process of its own: recall, times, queries a second.

Knows numpy alone, so that it runs beside any library; what a contender is inside is its own affair. Every contender
has the same vectors, the same queries and the same truth, from files in one folder.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

K = 10
TIES = 2e-3  # half-precision cosines are compared with those of float32
TARGETS = (0.95, 0.98, 0.99)  # recall@10 at which contenders are compared
CLIENTS = (1, 2, 16)
SECONDS = 1.0  # of each measurement with several clients
AT_MOST = 6.0  # seconds of queries for one setting; slow contenders are asked fewer
FEWEST = 30  # queries for one setting
KINDS = ("images", "texts")

Search = Callable[[np.ndarray], Sequence[int]]


class Contender(Protocol):
    """What searches for the K nearest of the vectors that it was built from.

    Attributes:
        settings: the widths of search to try, growing; (0,) for one that has none.
        processes: whether its clients are processes of their own, as a server's are, or threads.
    """

    settings: tuple[int, ...]
    processes: bool

    def build(self, vectors: np.ndarray) -> bool | None:
        """Make it ready; called once, before any client. False where it stood ready from an earlier run."""

    def client(self, setting: int) -> Search:
        """What one client calls to search at a width: a unit vector float32 [dim] in, row numbers out, best first."""


@dataclass(frozen=True)
class Setting:
    """One kind of query at one width of search, one client. Times in milliseconds."""

    kind: str
    setting: int
    recall: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Rate:
    """Queries a second of so many clients, at the least width that reaches a recall."""

    kind: str
    target: float
    setting: int
    clients: int
    rate: float


def run_contender(contender: Contender, folder: Path) -> dict[str, Any]:
    """Everything measured of a contender, ready for JSON: `build` seconds (None: built before), `settings`, `rates`."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    started = time.perf_counter()
    kept = contender.build(vectors) is False
    build = None if kept else time.perf_counter() - started
    settings: list[Setting] = []
    rates: list[Rate] = []
    for kind in KINDS:
        queries, truth = np.load(folder / f"{kind}.npy"), np.load(folder / f"{kind}_cosines.npy")
        found: list[Setting] = []
        for setting in contender.settings:
            found.append(_one_client(contender.client(setting), setting, kind, vectors, queries, truth))
            if found[-1].recall >= 0.998:
                break
        settings += found
        for target in TARGETS:
            reached = next((one for one in found if one.recall >= target), None)
            if reached is not None:
                rates += _rates(contender, reached, target, queries, rates)
    return {"build": build, "settings": [asdict(one) for one in settings], "rates": [asdict(one) for one in rates]}


def run_and_print(contender: Contender, folder: Path) -> None:
    """The same as one line of JSON, and the end of the process, whatever threads a library left running."""
    print(json.dumps(run_contender(contender, folder)), flush=True)
    os._exit(0)


def _one_client(
    search: Search, setting: int, kind: str, vectors: np.ndarray, queries: np.ndarray, truth: np.ndarray
) -> Setting:
    for query in queries[-10:]:
        search(query)
    seconds: list[float] = []
    right = 0
    for query, cosines in zip(queries, truth, strict=True):
        started = time.perf_counter()
        ids = search(query)
        seconds.append(time.perf_counter() - started)
        tenth = cosines[K - 1]
        right += int((vectors[np.asarray(ids[:K], np.int64)] @ query >= tenth - TIES * (1 - tenth)).sum())
        if len(seconds) >= FEWEST and sum(seconds) > AT_MOST:
            break
    p50, p95, p99 = (float(np.percentile(seconds, which)) * 1e3 for which in (50, 95, 99))
    return Setting(kind, setting, right / (K * len(seconds)), p50, p95, p99)


def _rates(
    contender: Contender, reached: Setting, target: float, queries: np.ndarray, known: Sequence[Rate]
) -> list[Rate]:
    """Measured once for a setting, though it may serve several recalls."""
    same = {one.clients: one for one in known if (one.kind, one.setting) == (reached.kind, reached.setting)}
    return [
        Rate(
            reached.kind,
            target,
            reached.setting,
            clients,
            same[clients].rate if clients in same else _rate(contender, reached.setting, queries, clients),
        )
        for clients in CLIENTS
    ]


def _rate(contender: Contender, setting: int, queries: np.ndarray, clients: int) -> float:
    """Queries a second of clients that ask without a pause, from the moment when all are ready."""
    context: Any = multiprocessing.get_context("fork") if contender.processes else threading
    ready = context.Barrier(clients + 1)
    counts: Any = multiprocessing.Array("q", clients)

    def ask(client: int) -> None:
        search = contender.client(setting)
        search(queries[client])
        ready.wait()
        done, end = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            search(queries[(client * 61 + done) % len(queries)])
            done += 1
        counts[client] = done

    make = context.Process if contender.processes else threading.Thread
    asking = [make(target=ask, args=(client,)) for client in range(clients)]
    for one in asking:
        one.start()
    ready.wait()
    started = time.perf_counter()
    for one in asking:
        one.join()
    return float(sum(counts)) / (time.perf_counter() - started)
