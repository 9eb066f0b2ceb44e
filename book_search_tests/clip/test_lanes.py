"""Batches worked on side by side come back in order, take no more memory for a longer stream, and leave no trace."""

import threading
from collections.abc import Iterator

import pytest
import torch

from book_search.clip.lanes import side_by_side


@pytest.mark.parametrize("count", [0, 1, 4, 5, 9, 50])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    assert list(side_by_side(range(count), list, 4, lanes=3)) == [
        list(range(start, min(start + 4, count))) for start in range(0, count, 4)
    ]


def test_each_lane_is_a_thread_of_its_own_with_its_share_of_the_cores() -> None:
    before, both = torch.get_num_threads(), threading.Barrier(2, timeout=20)

    def work(batch: list[int]) -> tuple[int, int]:
        both.wait()  # ends only if two batches are under way at once
        return threading.get_ident(), torch.get_num_threads()

    found = list(side_by_side(range(8), work, 1, lanes=2))

    assert len({thread for thread, _ in found}) == 2
    assert {share for _, share in found} == {max(1, before // 2)}
    assert torch.get_num_threads() == before


def test_a_stream_of_one_batch_is_worked_on_by_the_caller() -> None:
    assert list(side_by_side([1, 2], lambda batch: threading.get_ident(), 2)) == [threading.get_ident()]


def test_a_long_stream_is_read_no_further_ahead_than_two_batches_a_lane() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(1_000):
            read += 1
            yield item

    for done, _ in enumerate(side_by_side(items(), len, 5, lanes=2), 1):
        assert read <= (done + 3) * 5


def test_an_error_in_a_lane_is_the_callers_and_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()

    def work(batch: list[int]) -> int:
        return 1 // (5 - batch[0])

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(range(20), work, 1, lanes=2))
    assert torch.get_num_threads() == before
