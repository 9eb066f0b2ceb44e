"""How the contenders of `bench_embed` are timed and where they leave their vectors. Knows none of them."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32

Figures = dict[str, float]
Encode = Callable[[Sequence[bytes]], np.ndarray]


def pictures_of(folder: Path, count: int) -> list[bytes]:
    """The first pictures, by name."""
    return [path.read_bytes() for path in sorted((folder / "pictures").glob("*.jpg"))[:count]]


def measured(folder: Path, count: int, name: str, encode: Encode, batch_size: int = BATCH) -> Figures:
    pictures = pictures_of(folder, count)
    encode(pictures[:batch_size])
    took, rows = timed_result(
        lambda: [encode(pictures[start : start + batch_size]) for start in range(0, len(pictures), batch_size)]
    )
    keep(folder, name, np.concatenate(rows))
    return {**took, "pictures": len(pictures)}


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def timed(work: Callable[[], Any]) -> Figures:
    return timed_result(work)[0]


def timed_result(work: Callable[[], Any]) -> tuple[Figures, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, result


def keep(folder: Path, name: str, vectors: np.ndarray) -> None:
    (folder / "vectors").mkdir(exist_ok=True)
    np.save(folder / "vectors" / f"{name}.npy", vectors.astype(np.float32))


def prepared_batches(
    pictures: list[bytes], prepare: Callable[[bytes], Any], size: int, threads: ThreadPoolExecutor
) -> Iterator[list[Any]]:
    """Batches of prepared pictures; the next is prepared in threads while the caller works."""
    starts = range(0, len(pictures), size)
    ahead = [threads.submit(prepare, picture) for picture in pictures[:size]]
    for start in starts:
        current, ahead = ahead, [threads.submit(prepare, each) for each in pictures[start + size : start + 2 * size]]
        yield [future.result() for future in current]


def beside(
    folder: Path, count: int, name: str | None, prepare: Callable[[bytes], Any], forward: Callable[[list[Any]], Any]
) -> Figures:
    """Batches of 32, prepared in threads while `forward` works on those before; without a name nothing is kept."""
    pictures = pictures_of(folder, count)
    with ThreadPoolExecutor(os.cpu_count()) as threads:

        def embed(some: list[bytes]) -> np.ndarray:
            return np.concatenate([forward(batch) for batch in prepared_batches(some, prepare, BATCH, threads)])

        embed(pictures[:BATCH])
        took, vectors = timed_result(lambda: embed(pictures))
    if name:
        keep(folder, name, vectors)
    return took
