"""Every way from pictures to vectors gives the reference's vectors, or is not taken."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from book_search.clip.encoder import Clip
from book_search.clip.engines import choose_engine, computes_in_bfloat16
from book_search.clip.model import load_clip
from book_search.clip.vision import PackedVision
from book_search_tests.clip.random_clip import SIDE, SMALL, cover, save_random_siglip

MEAN, STD = torch.tensor([0.5, 0.4, 0.6]), torch.tensor([0.2, 0.3, 0.25])
COVERS = [cover((7 * n % 256, 255 - 5 * n, 61 * n % 256), (40 + n, 60)) for n in range(45)]
LEAST = {"fp32": 0.999999, "bf16": 0.999}

needs_bfloat16 = pytest.mark.skipif(not computes_in_bfloat16(), reason="this processor does not compute in bfloat16")


def vision_of(kind: str, activation: str) -> Any:
    """A model of random weights, in which nothing that is folded away is a plain one or zero."""
    half = {**SMALL, "image_size": SIDE, "patch_size": 8, "hidden_act": activation}
    torch.manual_seed(0)
    if kind == "siglip":
        model: Any = SiglipModel(SiglipConfig(vision_config=half, text_config={**SMALL, "vocab_size": 99}))
    else:
        model = CLIPModel(CLIPConfig(vision_config=half, text_config={**SMALL, "vocab_size": 99}, projection_dim=24))
    with torch.no_grad():
        for name, weight in model.vision_model.named_parameters():
            weight.add_(torch.randn_like(weight) * (0.2 if "norm" in name or "bias" in name else 0.05))
    return model.eval()


def features(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What transformers makes of 8 bit pixels."""
    normalised = (pixels / 255 - MEAN) / STD
    with torch.inference_mode():
        found: torch.Tensor = model.get_image_features(pixel_values=normalised.permute(0, 3, 1, 2)).pooler_output
    return found


def least_cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Of unit vectors, row by row."""
    return float((left.astype(np.float64) * right).sum(axis=1).min())


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)], ids=str)
@pytest.mark.parametrize(
    ("kind", "activation"),
    [("clip", "quick_gelu"), ("clip", "gelu"), ("siglip", "gelu_pytorch_tanh")],
    ids=["openai", "openclip", "siglip"],
)
def test_packed_weights_give_the_features_of_transformers(kind: str, activation: str, dtype: torch.dtype) -> None:
    model = vision_of(kind, activation)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8))

    found = PackedVision(model, MEAN, STD, dtype)(pixels)

    expected = features(model, pixels)
    if dtype == torch.float32:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert float(torch.nn.functional.cosine_similarity(found, expected).min()) > 0.999


@pytest.mark.parametrize("engine", ["fp32", pytest.param("bf16", marks=needs_bfloat16)])
@pytest.mark.parametrize("crop", ["as-trained", "pad", "two-crops"])
def test_a_faster_engine_gives_the_references_vectors(clip_folder: Path, clip: Clip, crop: Any, engine: str) -> None:
    quick = load_clip(str(clip_folder), device="cpu", crop=crop, engine=engine)
    reference = load_clip(str(clip_folder), device="cpu", crop=crop)

    vectors = quick.encode_images(COVERS)

    assert quick.engine.name == f"{engine}, packed"
    assert reference.engine.name == "fp32, transformers"
    assert vectors.dtype == np.float32
    assert least_cosine(vectors, reference.encode_images(COVERS)) > (0.9999 if engine == "fp32" else 0.999)


@pytest.mark.parametrize("engine", ["fp32", pytest.param("bf16", marks=needs_bfloat16)])
def test_the_size_of_a_batch_changes_no_vector_beyond_the_engines_rounding(clip_folder: Path, engine: str) -> None:
    clip = load_clip(str(clip_folder), device="cpu", engine=engine)
    one_by_one = clip.encode_images(COVERS, batch_size=1)

    for size in (2, 7, 16, 64):
        assert least_cosine(clip.encode_images(iter(COVERS), batch_size=size), one_by_one) > LEAST[engine]


def test_siglip_takes_the_packed_way_too(tmp_path: Path) -> None:
    folder = str(save_random_siglip(tmp_path / "siglip"))
    siglip = load_clip(folder, device="cpu", engine="fp32")

    vectors = siglip.encode_images(COVERS)

    assert siglip.engine.name == "fp32, packed"
    assert least_cosine(vectors, load_clip(folder, device="cpu").encode_images(COVERS)) > 0.9999


def test_undecodable_pictures_cost_only_themselves_in_every_lane(clip_folder: Path) -> None:
    clip = load_clip(str(clip_folder), device="cpu", engine="fp32")
    pictures = [b"<html>" if n % 10 == 3 else picture for n, picture in enumerate(COVERS)]

    vectors, undecodable = clip.encode_each_image(pictures, batch_size=4)

    assert sorted(undecodable) == [3, 13, 23, 33, 43]
    good = [n for n in range(len(COVERS)) if n not in undecodable]
    assert np.isnan(vectors[sorted(undecodable)]).all()
    np.testing.assert_allclose(vectors[good], clip.encode_images(COVERS)[good], atol=1e-5)


def test_without_bfloat16_in_the_processor_float32_is_taken(
    clip: Clip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType({"avx2": True}))

    names = [
        choose_engine(clip.model, clip.image_processor, "as-trained", "cpu", asked).name for asked in ("auto", "bf16")
    ]

    assert names == ["fp32, packed", "fp32, packed"]
    assert "no instructions for bfloat16" in caplog.text


def another_activation(model: Any, processor: Any) -> None:
    """A model with an activation that the packed way does not know."""
    model.vision_model.encoder.layers[0].mlp.config.hidden_act = "relu"


def another_architecture(model: Any, processor: Any) -> None:
    """A model that does in a layer what its configuration does not tell."""
    layer = model.vision_model.encoder.layers[0]
    layer.register_forward_hook(lambda module, inputs, output: torch.flip(output, [-1]))


def other_pixels(model: Any, processor: Any) -> None:
    """An image processor that does not bring pixels to 0 to 1."""
    processor.do_rescale = False


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_activation, "UnknownArchitectureError: CLIPModel: 'relu'"),
        (another_architecture, "are only"),
        (other_pixels, "CLIPImageProcessorPil prepares pictures in a way of its own"),
    ],
    ids=["activation", "architecture", "processor"],
)
def test_a_model_that_the_packed_way_does_not_know_goes_through_transformers_and_says_so(
    clip_folder: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Any, Any], None], reason: str
) -> None:
    clip = load_clip(str(clip_folder), device="cpu", engine="auto")
    change(clip.model, clip.image_processor)
    with caplog.at_level(logging.WARNING, logger="book_search"):
        vectors = clip.encode_images(COVERS[:3])

    assert clip.engine.name == "fp32, transformers"
    assert reason in caplog.text
    assert np.isfinite(vectors).all()


def test_an_engine_that_does_not_exist_is_refused(clip: Clip) -> None:
    with pytest.raises(ValueError, match="there is no engine 'fp16'; there are auto, transformers, fp32, bf16"):
        choose_engine(clip.model, CLIPImageProcessorPil(), "as-trained", "cpu", "fp16")
