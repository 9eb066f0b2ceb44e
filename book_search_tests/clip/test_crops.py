"""How tall pictures are shown: as the model was trained, whole on its mean colour, or as the mean of two squares."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from book_search.clip.crops import mean_colour, vectors_of_views, views
from book_search.clip.embeddings import embed_range, embeddings_folder
from book_search.clip.encoder import Clip
from book_search.clip.model import CROPS, Crop, describe_model, load_clip
from book_search.clip.preprocessing import pixels, pixels_of_views
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search_tests.clip.random_clip import cover, put_covers, save_random_siglip

GREY = (122, 116, 104)
RANGE = CoverRange.parse("0014_6")


def bands(size: tuple[int, int]) -> Image.Image:
    """Red in the first sixth of the longer side, blue in the last, white between."""
    image, length = Image.new("RGB", size, "white"), max(size) // 6
    across = (size[0], length) if size[1] > size[0] else (length, size[1])
    image.paste("red", (0, 0, *across))
    image.paste("blue", (size[0] - across[0], size[1] - across[1], *size))
    return image


def colours(image: Image.Image) -> set[str]:
    """Which of the colours of `bands` are seen, and grey."""
    names = {(255, 0, 0): "red", (0, 0, 255): "blue", (255, 255, 255): "white", GREY: "grey"}
    found = image.getcolors(maxcolors=image.width * image.height) or []
    return {names[colour] for _, colour in found if isinstance(colour, tuple) and len(colour) == 3}


@pytest.mark.parametrize("size", [(120, 180), (180, 120)], ids=["tall", "wide"])
def test_each_crop_shows_what_it_says(size: tuple[int, int]) -> None:
    image = bands(size)

    assert views(image, "as-trained", GREY) == [image]
    [padded] = views(image, "pad", GREY)
    assert padded.size == (180, 180)
    assert colours(padded) == {"red", "white", "blue", "grey"}
    first, last = views(image, "two-crops", GREY)
    assert first.size == last.size == (120, 120)
    assert (colours(first), colours(last)) == ({"red", "white"}, {"white", "blue"})


def test_a_square_needs_no_padding() -> None:
    square = Image.new("RGB", (50, 50), "teal")

    assert views(square, "pad", GREY) == [square]


def test_padding_is_what_the_model_sees_as_nothing() -> None:
    processor = CLIPImageProcessorPil()

    shown = pixels_of_views(processor, bands((120, 180)), "pad")

    assert mean_colour(processor.image_mean) == mean_colour((0.48145466, 0.4578275, 0.40821073)) == (123, 117, 104)
    assert np.abs(shown[:, 112, :30]).max() < 0.01


def test_as_trained_is_the_image_processors_own_to_the_last_bit() -> None:
    image = Image.effect_noise((120, 180), 80).convert("RGB")

    shown = pixels_of_views(CLIPImageProcessorPil(), image, "as-trained")

    np.testing.assert_array_equal(shown, pixels(CLIPImageProcessorPil(), image))


def test_pictures_of_one_view_reach_the_model_uncopied() -> None:
    batch = np.zeros((2, 3, 4, 4), np.float32)

    reached = vectors_of_views(lambda given: given, batch)

    assert reached is batch


def test_two_crops_are_the_unit_mean_of_the_vectors_of_both(clip_folder: Path, clip: Clip) -> None:
    pictures = [bands((60, 90)), bands((90, 60)), Image.effect_noise((40, 70), 90).convert("RGB")]
    two = load_clip(str(clip_folder), device="cpu", crop="two-crops")

    vectors, undecodable = two.encode_each_image([*pictures[:2], b"no picture", pictures[2]], batch_size=3)

    parts = [clip.encode_images(views(picture, "two-crops", GREY)).mean(axis=0) for picture in pictures]
    expected = np.stack(parts) / np.linalg.norm(parts, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors[[0, 1, 3]], expected, atol=1e-6)
    assert list(undecodable) == [2]
    assert np.isnan(vectors[2]).all()


def test_vectors_of_different_crops_never_mix(clip_folder: Path, lake: Lake) -> None:
    put_covers(lake, f"covers/{RANGE.key}/0014_62.parquet", [(14_620_001, "ok", cover((250, 10, 10), (100, 150)))])
    folders = set()

    for crop in CROPS:
        description = describe_model(str(clip_folder), crop=crop)
        report = embed_range(lake, RANGE, description, partial(load_clip, str(clip_folder), "main", "cpu", crop))
        assert report.embedded == 1
        folders.add(embeddings_folder(description.identity, RANGE))

    assert len(folders) == 3
    assert [describe_model(str(clip_folder), crop=crop).identity.preprocessing for crop in CROPS] == [
        "centre-crop-1", "pad-1", "two-crops-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("crop", "name"), [("as-trained", "stretch-1"), ("pad", "pad-1"), ("two-crops", "two-crops-1")]
)
def test_siglip_is_shown_the_same_crops_and_its_default_is_named_as_it_is(
    crop: Crop, name: str, tmp_path: Path
) -> None:
    siglip = load_clip(str(save_random_siglip(tmp_path / "siglip")), device="cpu", crop=crop)

    vectors = siglip.encode_images([bands((60, 90))])

    assert siglip.identity.preprocessing == name
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_crop_that_does_not_exist_is_refused(clip_folder: Path) -> None:
    with pytest.raises(ValueError, match="there is no crop 'middle'; there are as-trained, pad, two-crops"):
        describe_model(str(clip_folder), crop="middle")  # type: ignore[arg-type]
