"""What can be told of the accelerators' way on a CPU: its vectors, its batch size, and its decoding in processes."""

import functools

import numpy as np
import pytest
import torch

from book_search.clip.accelerators import AcceleratedVision, decoded_in_processes, find_batch_size, seconds_of
from book_search.clip.encoder import Clip
from book_search.clip.preprocessing import open_image
from book_search.clip.quick_pixels import QuickPixels
from book_search_tests.clip.preparing import size_of
from book_search_tests.clip.random_clip import SIDE, cover

PICTURES = [cover((10 * n, 200, 90)) for n in range(9)]


def test_the_features_in_bfloat16_are_the_references(clip: Clip) -> None:
    quick = QuickPixels.like(clip.image_processor)
    assert quick
    stacked = np.stack([quick(open_image(picture)) for picture in PICTURES])

    found = AcceleratedVision(clip.model, quick.mean, quick.std, "cpu")(torch.from_numpy(stacked))

    expected = torch.from_numpy(clip.encode_images(PICTURES))
    assert found.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(found, expected).min()) > 0.999
    assert clip.encode_texts(["moon"]).shape == (1, clip.dim)  # the model itself is as it was


def test_the_batch_grows_while_that_pays_and_fits() -> None:
    def seconds(size: int) -> float:
        if size > 512:
            raise torch.OutOfMemoryError
        return 0.01 + size * 0.0001

    assert find_batch_size(seconds) == 512
    assert find_batch_size(lambda size: float(size)) == 64
    with pytest.raises(torch.OutOfMemoryError):
        find_batch_size(seconds, (1024, 2048))


def test_the_time_of_a_batch_is_taken_on_the_device(clip: Clip) -> None:
    quick = QuickPixels.like(clip.image_processor)
    assert quick

    assert seconds_of(AcceleratedVision(clip.model, quick.mean, quick.std, "cpu"), SIDE, SIDE)(3) > 0


def test_pictures_decoded_in_processes_come_in_order_and_a_bad_one_costs_only_itself() -> None:
    pictures = [cover((9, 9, 9), (40 + n, 60)) if n != 4 else cover((9, 9, 9), (20, 60)) for n in range(7)]

    parts = list(decoded_in_processes(pictures, functools.partial(size_of, 30), batch_size=3, processes=2))

    assert [part.pixels.ravel().tolist() for part in parts] == [[40, 41, 42], [43, 45], [46]]
    assert [part.rows for part in parts] == [[0, 1, 2], [0, 2], [0]]
    assert [part.undecodable for part in parts] == [{}, {1: "only 20 wide"}, {}]
