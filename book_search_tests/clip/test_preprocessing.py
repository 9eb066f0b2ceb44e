"""What the model is shown: RGB as a person sees it, and the pixels that OpenAI published."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from book_search.clip.preprocessing import UndecodableImageError, open_image, pixels


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The bytes of a picture in a format."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def middle(content: bytes) -> tuple[int, ...]:
    """The colour in the middle of the picture that these bytes open to."""
    image = open_image(content)
    assert image.mode == "RGB"
    value = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(value, tuple)
    return tuple(round(channel) for channel in value)


def test_the_pixels_are_those_that_openai_published(shared: Path) -> None:
    golden = np.load(shared / "clip_golden" / "expected_preprocessed_image.npy")[0]

    shown = pixels(CLIPImageProcessorPil(), open_image((shared / "clip_golden" / "franz-kafka.jpg").read_bytes()))

    assert shown.dtype == np.float32
    assert float(np.abs(shown - golden).max()) == 0.0


def test_transparency_is_seen_on_white() -> None:
    assert middle(encoded(Image.new("RGBA", (20, 30), (255, 0, 0, 0)), "PNG")) == (255, 255, 255)
    assert middle(encoded(Image.new("RGBA", (20, 30), (0, 0, 0, 128)), "PNG")) == (127, 127, 127)
    assert middle(encoded(Image.new("LA", (20, 30), (0, 0)), "PNG")) == (255, 255, 255)


def test_a_transparent_colour_of_a_palette_is_seen_on_white() -> None:
    image = Image.new("P", (20, 30), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])

    assert middle(encoded(image, "PNG")) == (255, 0, 0)
    assert middle(encoded(image, "PNG", transparency=1)) == (255, 255, 255)
    assert middle(encoded(image, "GIF", transparency=1)) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    for value, shade in ((0, 0), (32_768, 127), (65_535, 255)):
        image = Image.fromarray(np.full((30, 20), value, np.uint16))
        assert middle(encoded(image, "PNG")) == (shade, shade, shade)


def test_print_colours_and_black_and_white_become_rgb() -> None:
    assert middle(encoded(Image.new("CMYK", (20, 30), (0, 0, 0, 0)), "JPEG")) == (255, 255, 255)
    red, green, blue = middle(encoded(Image.new("CMYK", (20, 30), (0, 255, 255, 0)), "JPEG"))
    assert red > 240
    assert max(green, blue) < 15
    assert middle(encoded(Image.new("1", (20, 30), 1), "PNG")) == (255, 255, 255)
    assert middle(encoded(Image.new("L", (20, 30), 77), "PNG")) == (77, 77, 77)


def test_the_first_frame_of_an_animation_is_seen() -> None:
    frames = [Image.new("RGB", (20, 30), colour) for colour in ("lime", "red")]

    assert middle(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (0, 255, 0)


def test_a_picture_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the camera was held upright

    turned = open_image(encoded(Image.new("RGB", (60, 40)), "JPEG", exif=exif))

    assert turned.size == (40, 60)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no picture in any of the formats"),
        (b"<!DOCTYPE html><html></html>", "no picture in any of the formats"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no picture in any of the formats"),
        (encoded(Image.effect_noise((200, 300), 90), "JPEG")[:900], "truncated"),
        (encoded(Image.effect_noise((200, 300), 90), "PNG")[:900], "truncated"),
        (encoded(Image.new("L", (1, 31)), "PNG"), "a strip of 1 x 31 pixels is no cover"),
    ],
    ids=["empty", "html", "eps", "cut-jpeg", "cut-png", "strip"],
)
def test_what_is_no_picture_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        open_image(content)


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(UndecodableImageError, match="DecompressionBombError"):
        open_image(encoded(Image.new("L", (20, 30)), "PNG"))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 3), (2000, 100), (223, 225)])
def test_a_picture_of_any_shape_fills_the_models_square(size: tuple[int, int]) -> None:
    shown = pixels(CLIPImageProcessorPil(), open_image(encoded(Image.new("RGB", size, "teal"), "PNG")))

    assert shown.shape == (3, 224, 224)
    assert np.isfinite(shown).all()
