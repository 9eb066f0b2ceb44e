"""The quick resize shows the model what the reference shows it, to within 2 of 255."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from book_search.clip.preprocessing import open_image, pixels
from book_search.clip.quick_pixels import QuickPixels
from book_search_tests.benchmarks.cover_pictures import drawn_picture


def largest_difference(processor: Any, image: Image.Image) -> float:
    """In steps of 255, to what the model's own image processor shows."""
    quick = QuickPixels.like(processor)
    assert quick
    expected = pixels(processor, image).transpose(1, 2, 0) * quick.std.numpy() + quick.mean.numpy()
    return float(np.abs(expected * 255 - quick(image)).max())


@pytest.mark.parametrize("size", [(333, 500), (500, 333), (180, 270), (224, 224), (223, 225), (90, 700), (1, 1)])
@pytest.mark.parametrize("processor", [CLIPImageProcessorPil(), SiglipImageProcessorPil()], ids=["clip", "siglip"])
def test_pictures_of_any_shape_are_shown_as_the_reference_shows_them(processor: Any, size: tuple[int, int]) -> None:
    image = open_image(drawn_picture(7)).resize(size)

    assert largest_difference(processor, image) < (2.01 if processor.size.get("shortest_edge") else 0.01)


def test_real_covers_are_shown_as_the_reference_shows_them(shared: Path) -> None:
    for path in sorted((shared / "covers").glob("*.jpg")):
        assert largest_difference(CLIPImageProcessorPil(), open_image(path.read_bytes())) < 2.01


@pytest.mark.parametrize(
    "settings",
    [
        {"do_center_crop": False},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"resample": Image.Resampling.LANCZOS},
        {"crop_size": {"height": 256, "width": 256}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_another_processor_does_is_left_to_it(settings: dict[str, Any]) -> None:
    assert QuickPixels.like(CLIPImageProcessorPil(**settings)) is None
