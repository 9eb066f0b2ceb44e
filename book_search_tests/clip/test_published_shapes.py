"""Every published kind of CLIP and SigLIP is read from its own files, and gives the vectors that transformers gives."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from book_search.clip.encoder import Clip
from book_search.clip.model import ModelUnavailableError, describe_model, load_clip
from book_search.clip.preprocessing import open_image
from book_search.clip.zero_shot import classify
from book_search_tests.clip.published_shapes import SHAPES
from book_search_tests.clip.random_clip import cover

TALL, WIDE = cover((200, 30, 90), (100, 150)), cover((20, 130, 60), (150, 90))
TEXTS = ["A White SHIP", "moon", "the red heart on a book cover of green snow"]
PROCESSORS = {"siglip": SiglipImageProcessorPil, "chinese_clip": ChineseCLIPImageProcessorPil}
SENTENCEPIECE = pytest.mark.skipif(find_spec("sentencepiece") is None, reason="needs book_search[siglip]")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=SENTENCEPIECE if name.startswith("google/siglip-") else ()) for name in SHAPES],
)
def name(request: pytest.FixtureRequest) -> str:
    """One of the published models."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of its shape."""
    return SHAPES[name].save(tmp_path_factory.mktemp("published") / name.rpartition("/")[2])


@pytest.fixture(scope="module")
def clip(folder: Path) -> Iterator[Clip]:
    """That model, loaded as any other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_clip(str(folder), device="cpu")
    torch.set_num_threads(threads)


def unit(output: Any) -> np.ndarray:
    """The vectors of what transformers returns, of unit length."""
    vectors: np.ndarray = output.pooler_output.numpy()
    return np.array(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_its_shape_is_read_from_its_own_configuration(name: str, folder: Path) -> None:
    shape, description = SHAPES[name], describe_model(str(folder))

    assert (description.dim, description.image_size, description.text_length) == (
        shape.dim, shape.image_size, shape.text_length,
    )  # fmt: skip
    assert description.identity.preprocessing == shape.preprocessing
    assert description.is_siglip == ("siglip" in name)


@torch.inference_mode()
def test_pictures_get_the_vectors_that_transformers_gives(name: str, folder: Path, clip: Clip) -> None:
    model = AutoModel.from_pretrained(folder).eval()
    of_its_kind = PROCESSORS.get(clip.description.kind, CLIPImageProcessorPil)
    shown = of_its_kind.from_pretrained(folder)([open_image(TALL), open_image(WIDE)], return_tensors="pt")

    assert tuple(shown["pixel_values"].shape) == (2, 3, SHAPES[name].image_size, SHAPES[name].image_size)
    expected = unit(model.get_image_features(pixel_values=shown["pixel_values"]))
    np.testing.assert_allclose(clip.encode_images([TALL, WIDE]), expected, atol=1e-5)


@torch.inference_mode()
def test_texts_get_the_vectors_that_transformers_gives(name: str, folder: Path, clip: Clip) -> None:
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = getattr(transformers, SHAPES[name].tokenizer_class).from_pretrained(folder)

    expected = []
    for text in TEXTS:
        if clip.description.is_siglip:  # lowered, padded at the end to its full length, without a mask
            tokenizer.padding_side = "right"
            ids = tokenizer(text.lower(), padding="max_length", max_length=64, return_tensors="pt")["input_ids"]
            assert ids.shape == (1, 64)
            expected.append(unit(model.get_text_features(input_ids=ids)))
        else:
            expected.append(unit(model.get_text_features(**tokenizer(text, return_tensors="pt"))))

    np.testing.assert_allclose(clip.encode_texts(TEXTS), np.concatenate(expected), atol=1e-5)
    assert len(np.unique(clip.encode_texts(TEXTS).round(4), axis=0)) == len(TEXTS)


def test_capitals_change_nothing_where_training_had_none_and_an_endless_text_is_cut(clip: Clip) -> None:
    texts = ["A White SHIP", "a white ship", "the moon " * 300]

    vectors = clip.encode_texts(texts)

    assert np.allclose(vectors[0], vectors[1], atol=1e-6) == (clip.description.kind != "metaclip_2")
    assert len(clip.token_ids(texts)[2]) == clip.description.text_length
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_labels_get_the_models_own_probabilities(clip: Clip) -> None:
    labels = ["red heart", "green moon", "snow"]

    probabilities = classify(clip, [TALL, WIDE], labels, "a book cover of {}")

    cosines = clip.encode_images([TALL, WIDE]) @ clip.encode_texts([f"a book cover of {each}" for each in labels]).T
    logits = torch.from_numpy(cosines) * clip.model.logit_scale.detach().exp()
    if clip.description.is_siglip:
        expected = torch.sigmoid(logits + clip.model.logit_bias.detach())
    else:
        expected = torch.softmax(logits, dim=1)
    np.testing.assert_allclose(probabilities, expected.numpy(), rtol=1e-4)


def test_a_siglip_2_of_many_resolutions_is_refused_with_one_that_is_read(tmp_path: Path) -> None:
    config = {"model_type": "siglip2", "text_config": {}, "vision_config": {"num_patches": 256}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(ValueError, match=r"is a NaFlex SigLIP 2.* google/siglip2-base-patch16-224"):
        describe_model(str(tmp_path))


def test_a_model_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip", "text_config": {}, "vision_config": {}}))

    with pytest.raises(ValueError, match="is a blip model; those that are read here are clip"):
        describe_model(str(tmp_path))


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [("preprocessor_config.json", "has no image processor that can be loaded"), ("tokenizer", "has no tokenizer")],
)
def test_a_folder_that_lacks_a_part_of_the_model_says_which(gone: str, complaint: str, tmp_path: Path) -> None:
    folder = SHAPES["google/siglip2-base-patch32-256"].save(tmp_path / "siglip2")
    for path in folder.glob(f"{gone}*"):
        path.unlink()

    with pytest.raises(ModelUnavailableError, match=complaint):
        load_clip(str(folder), device="cpu")


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
def test_a_tokenizer_that_needs_sentencepiece_says_what_to_install(tmp_path: Path) -> None:
    shape = SHAPES["google/siglip2-base-patch32-256"]
    folder = shape.save(tmp_path / "siglip")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "SiglipTokenizer"}))

    with pytest.raises(ModelUnavailableError, match=r"SentencePiece library.*pip install 'book_search\[siglip\]'"):
        load_clip(str(folder), device="cpu")
