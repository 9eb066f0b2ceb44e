"""The packed text half has the vectors of the one in numpy, and is not used where it has not."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from book_search.clip import packed_texts as packing
from book_search.clip import vision
from book_search.clip.packed_texts import PackedTexts, packed_texts
from book_search.clip.texts import ClipTexts, LazyTexts, load_texts, quickened
from book_search_tests.clip.test_text_tower import EXACT, START, TEXTS, VIT_B_32, by_transformers, save_model, tower_of

BEGINNINGS = ((START, 1), (START, 1, 2, 3))


def furthest(vectors: np.ndarray, expected: np.ndarray) -> float:
    """The largest 1 - cosine."""
    return float((1 - (vectors.astype(np.float64) * expected).sum(axis=1)).max())


@pytest.mark.parametrize(("size", "activation"), [({}, "quick_gelu"), ({}, "gelu"), (VIT_B_32, "quick_gelu")], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_vectors_are_those_of_transformers(
    size: dict[str, Any], activation: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = save_model(tmp_path, hidden_act=activation, **size)
    packed = PackedTexts(replace(tower_of(tmp_path), beginnings=BEGINNINGS), dtype)
    expected = by_transformers(model, TEXTS)

    first, again = packed.encode(TEXTS), packed.encode(TEXTS)  # the second time over the trunk that was kept

    assert first.dtype == np.float32
    for vectors in (first, again):
        assert furthest(vectors, expected) < (EXACT if dtype is torch.float32 else 2e-3)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert packed.encode([]).shape == (0, 24)


def test_threads_share_it_and_torch_keeps_its_own_threads(tmp_path: Path) -> None:
    save_model(tmp_path)
    before = torch.get_num_threads()
    packed = PackedTexts(replace(tower_of(tmp_path), beginnings=BEGINNINGS), torch.float32)
    expected = packed.encode(TEXTS)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: packed.encode(TEXTS), range(20)))

    np.testing.assert_allclose(found, [expected] * 20, atol=1e-6)
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == before


def test_a_way_that_does_not_agree_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_model(tmp_path)
    tower = tower_of(tmp_path)
    assert packed_texts(tower, torch.float32) is not None

    monkeypatch.setitem(vision.ACTIVATIONS, "quick_gelu", ("swish", "", 1.0))

    assert packed_texts(tower, torch.float32) is None
    assert "encoded by numpy" in caplog.text


def test_a_torch_that_cannot_pack_is_not_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_model(tmp_path)
    monkeypatch.setattr(packing.PackedLinear, "of", classmethod(lambda *_: torch.ops.mkldnn.is_not_there()))

    with caplog.at_level(logging.WARNING):
        assert packed_texts(tower_of(tmp_path), torch.float32) is None
    assert "encoded by numpy" in caplog.text


@pytest.mark.parametrize("engine", ["auto", "bf16", "fp32"])
def test_texts_that_take_their_time_are_quickened_to_the_same_vectors(
    engine: str, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("book_search.clip.texts.WORTH_TORCH", 0.0)
    texts = load_texts(str(clip_folder))

    quicker = quickened(texts, engine)

    assert isinstance(quicker.loaded, ClipTexts)
    assert isinstance(quicker.loaded.tower, PackedTexts)
    asked = ["moon", "a ship", "snow " * 60]
    close = 1e-6 if engine == "fp32" else 1e-3
    assert furthest(quicker.encode_texts(asked), texts.encode_texts(asked).astype(np.float64)) < close
    assert (quicker.identity, quicker.dim) == (texts.identity, texts.dim)
    assert quicker.logit_scale == texts.logit_scale
    assert quickened(quicker, engine) is quicker


def test_texts_stay_as_they_are_where_that_is_asked_or_quick_or_the_only_way(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = load_texts(str(clip_folder))
    whole = LazyTexts(texts.description, lambda: texts)
    monkeypatch.setattr("book_search.clip.texts.WORTH_TORCH", 60.0)
    assert quickened(texts, "auto") is texts

    monkeypatch.setattr("book_search.clip.texts.WORTH_TORCH", 0.0)

    assert quickened(texts, "transformers") is texts
    assert quickened(whole, "auto") is whole
