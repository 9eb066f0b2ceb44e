"""What a body is, told from its bytes alone."""

import hashlib
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from book_search.openlibrary.images import inspect

NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (90, 60, 3), dtype=np.uint8))
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int = 8, pixels: bytes = b"") -> bytes:
    """A PNG of RGB pixels with whatever header; without pixels, one that claims more than it has."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_picture_is_ok_with_its_size_and_digest(format_name: str) -> None:
    body = encoded(NOISE, format_name)

    found = inspect(body)

    assert (found.status, found.width, found.height) == ("ok", 60, 90)
    assert found.sha256 == hashlib.sha256(body).hexdigest()


def test_pictures_that_are_not_plain_rgb_are_ok() -> None:
    noise = np.random.default_rng(3)
    frames = [Image.fromarray(noise.integers(0, 256, (90, 60, 3), dtype=np.uint8)) for _ in range(3)]
    rows = noise.integers(0, 256, (20, 1 + 20 * 6), dtype=np.uint8)
    rows[:, 0] = 0  # no filter
    pictures = {
        "CMYK": encoded(NOISE.convert("CMYK"), "JPEG"),
        "grey": encoded(NOISE.convert("L"), "JPEG"),
        "one bit": encoded(NOISE.convert("1"), "PNG"),
        "palette with transparency": encoded(NOISE.convert("P"), "GIF", transparency=0),
        "16 bits of grey": encoded(Image.fromarray(noise.integers(0, 65536, (90, 60), dtype=np.uint16)), "PNG"),
        "16 bits a channel": png(20, 20, 16, rows.tobytes()),
        "animated GIF": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated WEBP": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "animated PNG": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
    }

    assert {name: inspect(body).status for name, body in pictures.items()} == dict.fromkeys(pictures, "ok")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>503</body></html>",
        b"\n<!DOCTYPE html>",
        b'{"error": "not found"}',
        b"%PDF-1.7",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        encoded(NOISE, "BMP"),
        encoded(NOISE, "TIFF"),
    ],
)
def test_what_is_none_of_the_four_formats_is_no_image(body: bytes) -> None:
    assert inspect(body).status == "not_an_image"


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_a_picture_that_was_cut_off_is_undecodable(format_name: str, share: float) -> None:
    body = encoded(NOISE, format_name)

    assert inspect(body[: int(len(body) * share)]).status == "undecodable"


def test_the_smallest_pictures_and_single_colours_are_placeholders() -> None:
    bodies = [encoded(Image.new("RGB", (1, 1)), name) for name in FORMATS]
    bodies += [encoded(NOISE.resize((9, 90)), "PNG")]
    bodies += [
        encoded(Image.new("RGB", (180, 270), colour), name) for name in FORMATS for colour in ("white", "#c81e2a")
    ]
    bodies += [encoded(Image.new("RGBA", (180, 270), (9, 9, 9, 0)), "PNG")]
    bodies += [encoded(Image.fromarray(np.full((90, 60), 40_000, dtype=np.uint16)), "PNG")]

    assert [inspect(body).status for body in bodies] == ["placeholder"] * len(bodies)


def test_a_plain_cover_with_a_line_of_text_is_no_placeholder() -> None:
    cover = Image.new("RGB", (180, 270), "white")
    cover.paste("black", (40, 100, 140, 104))

    assert inspect(encoded(cover, "JPEG")).status == "ok"


def test_a_hair_line_that_a_smaller_picture_would_lose_is_seen() -> None:
    """A JPEG is first decoded at an eighth of its size, where this line is a shade of 6 in 255."""
    cover = Image.new("L", (180, 270), 200)
    cover.paste(150, (40, 100, 60, 101))

    assert inspect(encoded(cover, "JPEG", quality=95)).status == "ok"
    assert inspect(encoded(Image.new("L", (180, 270), 200), "JPEG", quality=95)).status == "placeholder"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_last_rows_alone_is_undecodable(mode: str, progressive: bool) -> None:
    picture = Image.fromarray(np.random.default_rng(7).integers(0, 256, (541, 363, 3), dtype=np.uint8)).convert(mode)
    body = encoded(picture, "JPEG", progressive=progressive)

    assert (inspect(body).status, inspect(body).width, inspect(body).height) == ("ok", 363, 541)
    assert {inspect(body[:-cut]).status for cut in (8, 20, 100)} == {"undecodable"}


def test_a_jpeg_of_thousands_of_scans_is_too_large_before_it_is_decoded() -> None:
    body = encoded(NOISE, "JPEG", progressive=True)
    scan = body[body.rindex(b"\xff\xda") : -2]

    assert inspect(body[:-2] + 5 * scan + body[-2:]).status == "ok"
    assert inspect(body[:-2] + 5000 * scan + body[-2:]).status == "too_large"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(6000, 6000), (10_000, 10_000), (30_000, 30_000)])
def test_a_decompression_bomb_is_too_large_before_it_is_decoded(width: int, height: int) -> None:
    assert inspect(png(width, height)).status == "too_large"


def test_a_body_beyond_the_cap_is_too_large() -> None:
    assert inspect(encoded(NOISE, "PNG"), max_bytes=1000).status == "too_large"


def test_damaged_pictures_are_judged_without_an_error() -> None:
    rng = random.Random(1)
    whole = [encoded(NOISE, name) for name in FORMATS] + [encoded(NOISE.convert("P"), "PNG", transparency=1)]

    for number in range(600):
        body = bytearray(whole[number % len(whole)])
        for _ in range(rng.randint(1, 8)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        found = inspect(bytes(body[: rng.randint(0, len(body))] if number % 3 == 0 else body))
        assert found.status in ("ok", "undecodable", "not_an_image", "too_large", "placeholder")


def test_all_real_covers_are_ok(shared: Path) -> None:
    files = sorted((shared / "covers").glob("*.jpg"))

    assert len(files) == 66
    assert {inspect(file.read_bytes()).status for file in files} == {"ok"}
