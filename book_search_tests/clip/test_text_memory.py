"""A text asked for again is not encoded again; a memory forgets what was asked for longest ago."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from book_search.clip.text_memory import TextMemory


class Counting:
    """An encoder whose vector of a text is its length; notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return np.array([[len(text)] for text in texts], np.float32).reshape(-1, 1)


def test_only_what_is_new_is_encoded_and_the_order_is_kept() -> None:
    memory, encode = TextMemory(), Counting()

    first, second = memory.vectors(["a", "bb"], encode), memory.vectors(["ccc", "a", "ccc", "bb"], encode)

    assert encode.asked == [["a", "bb"], ["ccc"]]
    assert first.tolist() == [[1], [2]]
    assert second.tolist() == [[3], [1], [3], [2]]
    assert memory.vectors([], encode).shape == (0, 1)


def test_the_text_asked_for_longest_ago_is_forgotten_first() -> None:
    memory, encode = TextMemory(2), Counting()
    for text in ("a", "bb", "a", "ccc"):
        memory.vectors([text], encode)

    memory.vectors(["a"], encode)
    memory.vectors(["bb"], encode)

    assert encode.asked == [["a"], ["bb"], ["ccc"], ["bb"]]


def test_a_memory_without_room_encodes_each_time() -> None:
    memory, encode = TextMemory(0), Counting()

    assert [memory.vectors(["a", "a"], encode).tolist() for _ in range(2)] == [[[1], [1]]] * 2
    assert len(encode.asked) == 2


def test_changing_an_answer_changes_no_later_one() -> None:
    memory, encode = TextMemory(), Counting()

    memory.vectors(["a"], encode)[0] = 7

    assert memory.vectors(["a"], encode).tolist() == [[1]]


def test_threads_may_share_a_memory() -> None:
    memory, encode = TextMemory(5), Counting()
    asked = [[f"{'x' * (n % 9)}", f"{'x' * (n % 7)}"] for n in range(300)]

    with ThreadPoolExecutor(8) as threads:
        vectors = list(threads.map(lambda texts: memory.vectors(texts, encode), asked))

    assert [each.ravel().tolist() for each in vectors] == [[len(text) for text in texts] for texts in asked]
