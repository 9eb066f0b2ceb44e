"""The road to OpenAI's CLIP: token ids as published, and, where its weights are at hand, vectors and probabilities."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from book_search.clip.encoder import Clip
from book_search.clip.model import ModelUnavailableError, load_clip
from book_search.clip.zero_shot import classify
from book_search.settings import OPENAI_CLIP, OPENAI_CLIP_REVISION
from book_search_tests.clip.clip_vocabulary import openai_merges, write_parts


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    """The published numbers."""
    numbers: dict[str, Any] = json.loads((shared / "clip_golden" / "golden.json").read_text())
    return numbers


@pytest.fixture(scope="module")
def tokenizer(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    """CLIP's tokenizer as transformers loads it, from OpenAI's own vocabulary."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_parts(folder, openai_merges(shared / "clip_golden" / "bpe_simple_vocab_16e6.txt.gz"))
    loaded: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return loaded


@pytest.fixture(scope="module")
def openai_clip() -> Clip:
    """OpenAI's ViT-B/32, from BOOK_SEARCH_GOLDEN_MODEL (a folder or a name) or the hub's cache."""
    configured = os.environ.get("BOOK_SEARCH_GOLDEN_MODEL")
    try:
        if configured:
            return load_clip(configured, device="cpu")
        with pytest.MonkeyPatch.context() as patch:  # a test waits for no network
            patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
            return load_clip(OPENAI_CLIP, OPENAI_CLIP_REVISION, device="cpu")
    except ModelUnavailableError as error:
        pytest.skip(f"the published vectors need OpenAI's weights (BOOK_SEARCH_GOLDEN_MODEL=folder): {error}")


def test_texts_become_the_published_tokens(golden: dict[str, Any], tokenizer: CLIPTokenizer) -> None:
    for text, ids in golden["tokens"].items():
        assert tokenizer(text)["input_ids"] == ids, text


def test_texts_are_tokenized_the_same_through_the_encoder(
    golden: dict[str, Any], tokenizer: CLIPTokenizer, clip: Clip
) -> None:
    texts = list(golden["tokens"])
    encoder = Clip(clip.description, clip.model, tokenizer, clip.image_processor)

    assert encoder.token_ids(texts) == list(golden["tokens"].values())


def test_vectors_are_the_published_ones(golden: dict[str, Any], openai_clip: Clip, shared: Path) -> None:
    kafka = golden["kafka"]
    picture = (shared / "clip_golden" / kafka["image"]).read_bytes()

    image = openai_clip.encode_images([picture])[0]
    texts = openai_clip.encode_texts(kafka["texts"])

    # Published unnormalised: directions are compared, by the ratios of the first numbers, and by the logits.
    first = np.asarray(kafka["image_embedding_first5"])
    np.testing.assert_allclose(image[:5] / image[0], first / first[0], rtol=1e-4)
    first = np.asarray(kafka["text_embedding0_first5"])
    np.testing.assert_allclose(texts[0, :5] / texts[0, 0], first / first[0], rtol=1e-4)
    np.testing.assert_allclose(openai_clip.logit_scale * texts @ image, kafka["logits_per_image"][0], atol=1e-3)


def test_probabilities_are_the_published_ones(golden: dict[str, Any], openai_clip: Clip, shared: Path) -> None:
    for name, tolerance in (("kafka", 1e-4), ("clip_png", 5e-3)):  # the second was published from fp16 on a GPU
        published = golden[name]
        picture = (shared / "clip_golden" / published["image"]).read_bytes()
        probabilities = classify(openai_clip, [picture], published["texts"], template="{}")
        np.testing.assert_allclose(probabilities, published["probs"], atol=tolerance)


@torch.inference_mode()
def test_the_published_sums_hold_before_normalising(golden: dict[str, Any], openai_clip: Clip) -> None:
    inputs = openai_clip.tokenizer(golden["kafka"]["texts"], padding=True, return_tensors="pt")

    sums = openai_clip.model.get_text_features(**inputs).pooler_output.sum(dim=1)

    np.testing.assert_allclose(sums.numpy(), golden["kafka"]["text_embedding_sums"], rtol=1e-3)
