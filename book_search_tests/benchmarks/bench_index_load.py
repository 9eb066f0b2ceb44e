"""`make bench-index`, the half about loading: rows a second against the floor, building, and what a change costs.

Vectors are clustered as a picture model's are (see `clustered`): uniform random ones prove nothing of an index.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

from book_search.index.build import build_index
from book_search.index.connection import Connection, connect
from book_search_tests.benchmarks import load_contest
from book_search_tests.benchmarks.load_changes import LIVE, measure_changes
from book_search_tests.benchmarks.loaded_covers import (
    DIM,
    Covers,
    a_database,
    a_server,
    draw_covers,
    load_ranges,
    write_ranges,
)
from book_search_tests.database import new_database
from book_search_tests.index.library import register

T = TypeVar("T")
ROUNDS = 3  # of the contest; the median is told


def run(sizes: list[int], folder: Path, shares: list[float], vacuumed: list[float]) -> None:
    """Print the tables: the contest and the growth for each size, the changes for the largest."""
    print(f"\n## Loading: halfvec({DIM}), clustered vectors, {os.cpu_count()} cores\n")
    with a_server(folder) as server, tempfile.TemporaryDirectory(dir=folder) as place:
        for size in sizes:
            covers = draw_covers(size)
            folders = write_ranges(covers, Path(place) / str(size))
            _contest(server, covers, folders)
            with _indexed(server, covers, folders) as dsn:
                if size == max(sizes) and shares:
                    _changes(dsn, covers, Path(place), shares, vacuumed)


def _contest(server: str, covers: Covers, folders: list[Path]) -> None:
    size = len(covers.hashes)
    print(f"| {size:,} covers | rows a second | of its floor |\n|---|---|---|", flush=True)
    floors: dict[str, float] = {}
    for name, (load, divisor, floor) in load_contest.CONTENDERS.items():
        rows = size // divisor
        some = Covers(covers.vectors[:rows], covers.hashes[:rows])
        floors[name] = rows / _median(server, load, some, 1 if divisor > 1 else ROUNDS)
        _row(name, floors[name], [floors[floor]] if floor else [])
    for name, (load_all, of) in load_contest.WHOLE.items():
        floors[name] = size / _median(server, load_all, folders, ROUNDS)
        _row(name, floors[name], [floors[floor] for floor in of])
    print()


def _row(name: str, speed: float, floors: list[float]) -> None:
    times = ", ".join(f"{floor / speed:.2f}" for floor in floors)
    print(f"| {name} | {speed:,.0f} | {f'{times} times its time' if times else ''} |", flush=True)


def _median(server: str, load: Callable[[Connection, T], float], given: T, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        with a_database(server) as conn:
            times.append(load(conn, given))
    return median(times)


@contextmanager
def _indexed(server: str, covers: Covers, folders: list[Path]) -> Iterator[str]:
    """A database with the covers loaded and indexed as model 1, whose making is told; nobody is connected to it."""
    with new_database(server) as dsn:
        with connect(dsn) as conn:
            model = register(conn, DIM)
            start = perf_counter()
            load_ranges(conn, model, folders)
            loaded = perf_counter()
            built = build_index(conn, model)
            done = perf_counter()
            sizes = conn.execute(
                "SELECT pg_table_size('cover_embedding_1'), pg_relation_size(%s), "
                "(SELECT sum(pg_total_relation_size(t)) FROM unnest(array['cover', 'cover_tag']::regclass[]) t)",
                [built.index_name],
            ).fetchone()
            assert sizes is not None
        table, index, rest = (int(size) / 1e6 for size in sizes)
        print("| covers | load s | build and verify s | recall@10 | embeddings MB | index MB | cover and tags MB |")
        print("|---|---|---|---|---|---|---|")
        print(
            f"| {len(covers.hashes):,} | {loaded - start:.2f} | {done - loaded:.1f} | {built.recall:.4f} "
            f"| {table:.0f} | {index:.0f} | {rest:.0f} |\n",
            flush=True,
        )
        yield dsn


def _changes(dsn: str, covers: Covers, folder: Path, shares: list[float], vacuumed: list[float]) -> None:
    print(
        "| pictures changed | way | load s | index s | together s | rows written | recall@10 after | VACUUM after s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for change in measure_changes(dsn, covers, folder, shares, vacuumed):
        vacuum = "not measured" if change.vacuum is None else f"{change.vacuum:.1f}"
        print(
            f"| {change.share:.1%} | {change.way} | {change.load:.2f} | {change.index:.2f} | {change.total:.2f} "
            f"| {change.written:,} | {change.recall:.4f} | {vacuum if change.way == LIVE else 'none needed'} |",
            flush=True,
        )
    print()
