"""The picture half of a model on CUDA or Apple's MPS: bfloat16, channels last, decoding in processes beside it.

The batch size is found by trying. Knows devices; nothing of CPUs' ways (`vision`), files or the lake. Written without
an accelerator at hand: its parts are tested on a CPU, its speed was never measured.
"""

import copy
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from book_search.clip.preprocessing import Picture, UndecodableImageError

BATCH_SIZES = (64, 128, 256, 512, 1024, 2048)
WORTH = 1.05  # times the pictures a second that a larger batch must give to be worth its memory
AHEAD = 2  # batches for each process that are decoded or wait to be

Prepare = Callable[[Picture], np.ndarray]


@dataclass(frozen=True)
class Decoded:
    """A batch from a decoding process.

    Attributes:
        rows: of the decodable pictures in the batch.
        pixels: uint8 [len(rows), ...].
        undecodable: row and reason of the others.
    """

    rows: list[int]
    pixels: np.ndarray
    undecodable: dict[int, str]


class AcceleratedVision:
    """The picture half on a device: uint8 pixels in, image features out.

    Args:
        model: transformers' own; a copy of its picture half is kept in bfloat16.
        mean, std: of pixels of 0 to 1.
        device: `cuda`, `mps`, or `cpu` for a test.
    """

    def __init__(self, model: Any, mean: torch.Tensor, std: torch.Tensor, device: str) -> None:
        self.device = device
        half: Any = copy.deepcopy(model).to(device=device, dtype=torch.bfloat16)
        half.text_model = None  # its memory is better spent on larger batches
        self._half = half.to(memory_format=torch.channels_last)
        self._shift = (255 * mean).view(1, 3, 1, 1).to(device)
        self._scale = (255 * std).view(1, 3, 1, 1).to(device)

    @torch.inference_mode()
    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features, not yet of unit length: float32 [n, dim], of uint8 [n, height, width, 3]."""
        if self.device == "cuda":
            pixels = pixels.pin_memory()
        moved = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # channels last without a copy
        normalised = ((moved.float() - self._shift) / self._scale).to(torch.bfloat16)
        features: torch.Tensor = self._half.get_image_features(pixel_values=normalised).pooler_output
        return features.float()


def find_batch_size(seconds: Callable[[int], float], sizes: Iterable[int] = BATCH_SIZES) -> int:
    """The smallest batch size beyond which pictures a second hardly rise, or the memory ends.

    Args:
        seconds: what a batch of so many takes; may raise torch.OutOfMemoryError.
        sizes: rising; the first must fit.
    """
    best, rate = 0, 0.0
    for size in sizes:
        try:
            found = size / seconds(size)
        except torch.OutOfMemoryError:
            if not best:
                raise
            break
        if best and found < rate * WORTH:
            break
        best, rate = size, found
    return best


def seconds_of(vision: AcceleratedVision, height: int, width: int) -> Callable[[int], float]:
    """What a batch of so many pictures takes on the device, the second time."""

    def seconds(size: int) -> float:
        pixels = torch.zeros(size, height, width, 3, dtype=torch.uint8)
        vision(pixels).cpu()
        start = time.perf_counter()
        vision(pixels).cpu()
        return time.perf_counter() - start

    return seconds


def decoded_in_processes(
    pictures: Iterable[Picture], prepare: Prepare, batch_size: int, processes: int | None = None
) -> Iterator[Decoded]:
    """Batches in their order, decoded by processes of their own while the device works on those before.

    A stream of no more than one batch is decoded here. At most two batches a process are held.

    Args:
        prepare: a picture to its pixels; is sent to the processes, and so must be picklable.
    """
    source = iter(pictures)
    work, count = partial(decode, prepare), processes or os.cpu_count() or 1
    first, second = list(islice(source, batch_size)), list(islice(source, batch_size))
    if not second:
        yield from ([work(first)] if first else [])
        return
    # Spawned: a fork would copy a process whose CUDA and threads it cannot use.
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        waiting: deque[Future[Decoded]] = deque(pool.submit(work, batch) for batch in (first, second))
        while waiting:
            while len(waiting) < AHEAD * count and (batch := list(islice(source, batch_size))):
                waiting.append(pool.submit(work, batch))
            yield waiting.popleft().result()


def decode(prepare: Prepare, pictures: Sequence[Picture]) -> Decoded:
    """A batch of pictures prepared one after the other; one that cannot be decoded costs only itself."""
    ready: dict[int, np.ndarray] = {}
    undecodable: dict[int, str] = {}
    for row, picture in enumerate(pictures):
        try:
            ready[row] = prepare(picture)
        except UndecodableImageError as error:
            undecodable[row] = str(error)
    return Decoded(list(ready), np.asarray(list(ready.values())), undecodable)
