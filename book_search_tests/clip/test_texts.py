"""Texts are encoded without torch where that can be, and by the whole model where it cannot, to the same vectors."""

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from book_search.clip.encoder import Clip
from book_search.clip.model import ModelUnavailableError, describe_model, load_clip
from book_search.clip.templates import text_vector
from book_search.clip.texts import ClipTexts, LazyTexts, load_texts, open_clip_texts
from book_search.sample.demo import TINY_CLIP
from book_search_tests.clip.random_clip import save_random_siglip

TEXTS = ["", "moon", "A white SHIP\tunder a moon", "Café crème — 日本語 ✓", "a <|endoftext|> b", "snow " * 60]
COMMIT = "c237dc49a33fc61debc9276459120b7eac67e7ef"


def never() -> NoReturn:
    """Stands where the whole model may not be loaded."""
    raise AssertionError("the whole model was loaded")


@pytest.mark.parametrize("model", ["random", "tiny"])
def test_texts_alone_have_the_vectors_of_transformers(model: str, clip_folder: Path) -> None:
    folder = str(clip_folder if model == "random" else TINY_CLIP)
    alone, whole = load_texts(folder, load_whole=never), load_clip(folder, device="cpu")

    expected = replace(whole, texts=None).encode_texts(TEXTS).astype(np.float64)  # by torch

    vectors = alone.encode_texts(TEXTS)
    assert vectors.dtype == np.float32
    assert float((vectors * expected).sum(axis=1).min()) >= 1 - 1e-6
    np.testing.assert_array_equal(whole.encode_texts(TEXTS), vectors)
    assert (alone.identity, alone.dim) == (whole.identity, whole.dim)
    assert alone.logit_scale == pytest.approx(whole.logit_scale, rel=1e-6)


def test_a_text_beyond_the_models_length_is_cut_with_a_warning(
    clip_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = "a b c d e f g h i j " * 20
    with caplog.at_level(logging.WARNING, logger="book_search"):
        vectors = load_texts(str(clip_folder)).encode_texts([long, long[:43]])

    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)  # 24 tokens: start, 22 letters, end
    assert "1 of 2 texts are longer than the 24 tokens" in caplog.records[0].getMessage()


def _other_tokenizer(folder: Path) -> None:
    (folder / "added_tokens.json").write_text("{}")


def _other_weights(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_act": "quick_gelu"', '"hidden_act": "gelu_new"'))


@pytest.mark.parametrize("change", [_other_tokenizer, _other_weights])
def test_a_clip_that_is_not_plain_is_loaded_whole(
    change: Callable[[Path], None], clip_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(clip_folder, tmp_path / "odd"))
    change(folder)
    loaded: list[Clip] = []

    def whole() -> Clip:
        loaded.append(load_clip(str(folder), device="cpu"))
        return loaded[0]

    vectors = load_texts(str(folder), load_whole=whole).encode_texts(["moon", "a ship"])

    assert open_clip_texts(folder, describe_model(str(folder))) is None
    np.testing.assert_array_equal(vectors, loaded[0].encode_texts(["moon", "a ship"]))


def test_a_siglip_is_loaded_whole_once_and_not_before_a_text_comes(tmp_path: Path) -> None:
    folder = str(save_random_siglip(tmp_path / "siglip"))
    loads: list[int] = []

    def whole() -> Clip:
        loads.append(1)
        return load_clip(folder, device="cpu")

    texts = load_texts(folder, load_whole=whole)
    assert texts.identity == describe_model(folder).identity
    assert not loads
    vector = text_vector(texts, "moon", ["{}", "a {}"])

    np.testing.assert_allclose(vector, text_vector(load_clip(folder, device="cpu"), "moon", ["{}", "a {}"]), atol=1e-6)
    assert texts.logit_scale > 0
    assert len(loads) == 1


def test_a_model_without_a_network_is_found_in_the_hubs_cache(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(clip_folder, tmp_path / "models--openai--clip-vit-base-patch32" / "snapshots" / COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    texts = load_texts("openai/clip-vit-base-patch32", COMMIT, load_whole=never)

    assert texts.identity.revision == COMMIT
    np.testing.assert_array_equal(texts.encode_texts(["moon"]), load_texts(str(clip_folder)).encode_texts(["moon"]))


def test_pickled_weights_are_never_loaded_for_texts_either(clip_folder: Path, tmp_path: Path) -> None:
    pickled = Path(shutil.copytree(clip_folder, tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")

    with pytest.raises(ModelUnavailableError, match=r"no model\.safetensors"):
        load_texts(str(pickled)).encode_texts(["moon"])


def test_texts_are_encoded_without_torch_and_transformers(clip_folder: Path) -> None:
    program = (
        "import sys\n"
        "from book_search.clip.texts import load_texts\n"
        f"load_texts({str(clip_folder)!r}).encode_texts(['moon'])\n"
        "print(sorted({'torch', 'transformers', 'PIL', 'pyarrow'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_loaded_clip_reads_texts_by_its_own_half_on_the_processor(clip: Clip) -> None:
    assert isinstance(clip.texts, ClipTexts)


def test_the_tiny_clip_is_a_plain_one() -> None:
    assert isinstance(load_texts(str(TINY_CLIP), load_whole=never).loaded, ClipTexts)


def test_a_text_asked_for_again_is_remembered_and_each_encoder_has_its_own_memory(clip: Clip) -> None:
    asked: list[list[str]] = []

    class Noting(ClipTexts):
        def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
            asked.append(list(texts))
            return super().encode_texts(texts)

    assert clip.texts is not None
    noting = Noting(clip.texts.tokenizer, clip.texts.tower)
    texts, other = LazyTexts(clip.description, lambda: noting), LazyTexts(clip.description, lambda: noting)

    first, again, elsewhere = (each.encode_texts(["a moon", "snow"]) for each in (texts, texts, other))

    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, elsewhere, atol=1e-6)
    assert asked == [["a moon", "snow"]] * 2


def test_threads_load_a_model_once(clip: Clip) -> None:
    loads: list[int] = []

    def slowly() -> Clip:
        loads.append(1)
        time.sleep(0.05)
        return clip

    texts = LazyTexts(clip.description, slowly)
    with ThreadPoolExecutor(4) as threads:
        vectors = list(threads.map(lambda n: texts.encode_texts([f"a ship {n % 2}"]), range(8)))

    assert len(loads) == 1
    np.testing.assert_allclose(vectors[:6], vectors[2:], atol=1e-6)
