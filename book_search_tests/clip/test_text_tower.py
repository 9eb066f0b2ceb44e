"""The text tower in numpy gives transformers' vectors, whatever the checkpoint's form, and padding changes none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from book_search.clip.text_tower import TextTower, gelu, open_text_tower
from book_search_tests.clip.random_clip import SMALL

START, END = 254, 255  # of a vocabulary of 256
SAID: dict[str, Any] = {**SMALL, "vocab_size": 256, "bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
TEXTS = [[START, *range(1, length), END] for length in (1, 2, 9, 9, 30, 70, 4, 9)]
# The text tower of OpenAI's ViT-B/32 in its true size, but for its table of words.
VIT_B_32: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
}
EXACT = 1e-6  # 1 - cosine


def save_model(folder: Path, dtype: torch.dtype = torch.float32, shard: str = "5GB", **text: Any) -> CLIPModel:
    """A CLIP of random weights and small pictures in a folder; larger weights than transformers begins with, so that
    the activation and the attention matter."""
    torch.manual_seed(3)
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config={**SAID, **text}, vision_config=vision, projection_dim=24)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("text_") and weight.dim() == 2:
                weight *= 3
            elif name.endswith("bias"):
                weight.normal_(std=0.1)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return model.float()


@torch.inference_mode()
def by_transformers(model: CLIPModel, texts: list[list[int]], length: int | None = None) -> np.ndarray:
    """Unit vectors in float64; each text padded to `length` tokens, or read alone without padding."""
    rows = []
    for ids in texts:
        pad = (length or len(ids)) - len(ids)
        inputs = torch.tensor([[*ids, *[END] * pad]])
        mask = torch.tensor([[1] * len(ids) + [0] * pad])
        rows.append(model.get_text_features(input_ids=inputs, attention_mask=mask).pooler_output[0].double())
    vectors = torch.nn.functional.normalize(torch.stack(rows), dim=-1)
    return vectors.numpy()


def tower_of(folder: Path) -> TextTower:
    tower = open_text_tower(folder)
    assert tower is not None
    return tower


def furthest(tower: TextTower, expected: np.ndarray, texts: list[list[int]]) -> float:
    """The largest 1 - cosine."""
    return float((1 - (tower.encode(texts).astype(np.float64) * expected).sum(axis=1)).max())


@pytest.mark.parametrize(
    ("size", "activation"),
    [(SMALL, "quick_gelu"), (SMALL, "gelu"), (VIT_B_32, "quick_gelu")],
    ids=["small", "small gelu", "ViT-B/32"],
)
def test_vectors_are_those_of_transformers(size: dict[str, Any], activation: str, tmp_path: Path) -> None:
    model = save_model(tmp_path, hidden_act=activation, **size)

    vectors = tower_of(tmp_path).encode(TEXTS)

    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 24)
    assert furthest(tower_of(tmp_path), by_transformers(model, TEXTS), TEXTS) < EXACT
    assert float((vectors @ vectors.T).min()) < 0.9  # they differ, so that a constant would not pass


def test_padding_changes_no_vector(tmp_path: Path) -> None:
    model = save_model(tmp_path)
    alone, padded = by_transformers(model, TEXTS), by_transformers(model, TEXTS, length=77)

    np.testing.assert_allclose(padded, alone, atol=1e-6)
    assert furthest(tower_of(tmp_path), padded, TEXTS) < EXACT


def test_a_texts_neighbours_change_nothing(tmp_path: Path) -> None:
    save_model(tmp_path)
    tower, many = tower_of(tmp_path), TEXTS * 30  # more than are read at once

    together = tower.encode(many)

    np.testing.assert_allclose(together, np.concatenate([tower.encode([ids]) for ids in many]), atol=1e-6)
    assert tower.encode([]).shape == (0, 24)


@pytest.mark.parametrize(("end", "taken"), [(END, "first end token"), (2, "largest id")])
def test_the_vector_is_taken_where_the_configuration_says(end: int, taken: str, tmp_path: Path) -> None:
    model = save_model(tmp_path, eos_token_id=end)
    odd = [[START, 5, END, 7, 8, END], [START, 9, 2, 11, END], [START, 1, 2, 3, 200]]
    # A text without its end token has no vector of its own in transformers' newer rule; it is the start token's.

    assert furthest(tower_of(tmp_path), by_transformers(model, odd), odd) < EXACT, taken


def test_a_configuration_that_says_it_twice_means_the_second(tmp_path: Path) -> None:
    save_model(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["text_config_dict"] = {name: value for name, value in config["text_config"].items() if name in SMALL}
    config["text_config_dict"] |= {"vocab_size": 256, "eos_token_id": 2, "hidden_act": "gelu"}
    path.write_text(json.dumps(config))
    odd = [[START, 5, END, 7, 8, 3], [START, 9, 2, 11]]

    expected = by_transformers(CLIPModel.from_pretrained(tmp_path), odd)

    assert furthest(tower_of(tmp_path), expected, odd) < EXACT


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    model = save_model(tmp_path, dtype)

    assert furthest(tower_of(tmp_path), by_transformers(model, TEXTS), TEXTS) < EXACT
    assert tower_of(tmp_path).logit_scale == pytest.approx(float(model.logit_scale.detach().exp()), rel=1e-6)


def test_a_checkpoint_in_several_files_is_read_whole(tmp_path: Path) -> None:
    model = save_model(tmp_path, shard="20KB")

    assert (tmp_path / "model.safetensors.index.json").exists()
    assert furthest(tower_of(tmp_path), by_transformers(model, TEXTS), TEXTS) < EXACT


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "siglip"},
        {"quantization_config": {"bits": 4}},
        {"text_config": {"hidden_act": "relu"}},
        {"text_config": {"eos_token_id": [254, 255]}},
        {"text_config": {"num_hidden_layers": 3}},
        {"text_config_dict": {"hidden_act": "relu"}},
    ],
    ids=str,
)
def test_what_is_no_plain_clip_is_left_to_transformers(change: dict[str, Any], tmp_path: Path) -> None:
    save_model(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    text = config["text_config"] | change.get("text_config", {})
    path.write_text(json.dumps(config | change | {"text_config": text}))

    assert open_text_tower(tmp_path) is None


def test_weights_that_are_cut_off_or_missing_are_left_to_transformers(tmp_path: Path) -> None:
    save_model(tmp_path / "whole")
    lacking, cut, none = (
        Path(shutil.copytree(tmp_path / "whole", tmp_path / name)) for name in ("lacking", "cut", "none")
    )
    weights = load_file(lacking / "model.safetensors")
    save_file(
        {name: weights[name] for name in weights if "layers.1.mlp.fc2.bias" not in name}, lacking / "model.safetensors"
    )
    content = (cut / "model.safetensors").read_bytes()
    (none / "model.safetensors").unlink()

    assert open_text_tower(lacking) is None
    for length in (len(content) - 8, 100, 4, 0):
        (cut / "model.safetensors").write_bytes(content[:length])
        assert open_text_tower(cut) is None
    assert open_text_tower(none) is None


def test_gelu_is_the_exact_one() -> None:
    x = np.linspace(-12, 12, 100_001, dtype=np.float32)

    expected = torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()

    np.testing.assert_allclose(gelu(x), expected, atol=1e-6)


def test_what_is_kept_of_a_beginning_changes_no_vector(tmp_path: Path) -> None:
    model = save_model(tmp_path)
    plain = tower_of(tmp_path)
    keeping = replace(plain, beginnings=((START, 1), (START, 1, 2, 3), (START, 99)))
    odd = [[START, 1, END], [START, 1, 2, END], [START, END], [START, 1], [START, 99, 1, END], [START, 99, 1, END]]

    for texts in (TEXTS, odd, [*odd, *TEXTS], TEXTS):
        assert furthest(keeping, by_transformers(model, texts), texts) < EXACT

    assert len(keeping._trunk[0].children) == 5
    assert not plain._trunk[0].children
