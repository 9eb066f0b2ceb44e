"""Batches worked on side by side, each by a thread of its own with its share of the processor's cores.

Decoding, resizing and the model then take turns in one thread, and no core waits for another: measured on two cores,
one model on both waits at every layer, and threads that decode beside it take its cores away. Knows torch's
threads; nothing of pictures.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

MOST_LANES = 8  # each holds a batch; on more cores than that a lane has several

Item = TypeVar("Item")
Result = TypeVar("Result")

_one_stream = threading.Lock()  # torch's number of threads is the whole process's


def side_by_side(
    items: Iterable[Item], work: Callable[[list[Item]], Result], batch_size: int, lanes: int | None = None
) -> Iterator[Result]:
    """`work` of each batch of items, in their order. At most two batches a lane are held at any time.

    A stream of no more than one batch is worked on in the caller's thread, with all of torch's.

    Args:
        items: read in the caller's thread, as far ahead as is needed.
        work: takes up to `batch_size` items; its errors are raised here.
        lanes: how many at once; by default one for each of torch's threads, and eight at most.
    """
    source = iter(items)
    first, second = list(islice(source, batch_size)), list(islice(source, batch_size))
    if not second:
        yield from ([work(first)] if first else [])
        return
    with _one_stream:
        threads = torch.get_num_threads()
        lanes = min(threads, MOST_LANES) if lanes is None else lanes
        torch.set_num_threads(max(1, threads // lanes))
        try:
            yield from _in_order(first, second, source, work, batch_size, lanes)
        finally:
            torch.set_num_threads(threads)


def _in_order(
    first: list[Item],
    second: list[Item],
    source: Iterator[Item],
    work: Callable[[list[Item]], Result],
    batch_size: int,
    lanes: int,
) -> Iterator[Result]:
    share = torch.get_num_threads()

    def begin() -> None:
        torch.set_num_threads(share)  # OpenMP counts them for each thread that asks

    with ThreadPoolExecutor(lanes, "lane", begin) as pool:
        waiting: deque[Future[Result]] = deque(pool.submit(work, batch) for batch in (first, second))
        try:
            while waiting:
                while len(waiting) < 2 * lanes and (batch := list(islice(source, batch_size))):
                    waiting.append(pool.submit(work, batch))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
