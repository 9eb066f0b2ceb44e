"""What a body that should be a cover is: a picture that can be used, or exactly why not.

Knows bytes alone; nothing of where they came from.
"""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from PIL import Image

ImageStatus = Literal["ok", "not_an_image", "placeholder", "too_large", "undecodable"]

MAX_BYTES = 10 << 20
MAX_PIXELS = 25_000_000  # 100 MB once decoded as RGBA; Open Library's largest size has 250,000
SMALLEST_SIDE = 10  # pixels; Open Library's own S covers are some 40 wide, its blanks 1 x 1
BLANK_SPREAD = 8  # of 255: what JPEG's rounding makes of a single colour stays well within it

# The first bytes of the formats that Open Library stores, and the names by which Pillow knows them.
MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF"}

# What Pillow's readers raise on damaged files; which of them depends on the format and the damage.
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Inspected:
    """What `inspect` found.

    Attributes:
        width, height: in pixels, as the file's header says; None where there is no header to read.
        sha256: hexadecimal, of the bytes as they are.
    """

    status: ImageStatus
    width: int | None
    height: int | None
    sha256: str


def inspect(body: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Inspected:
    """What the bytes are, looked at in the order in which it is safe: magic, size, then every pixel.

    - `not_an_image`: no bytes, or none of JPEG, PNG, GIF, WEBP, whatever the name said;
    - `too_large`: more bytes or pixels than allowed, told before anything is decoded;
    - `undecodable`: of a known format, but broken or cut off;
    - `placeholder`: a side below 10 pixels, or one colour all over;
    - `ok`: every pixel of its (first) frame can be decoded. CMYK, 16 bits a channel and animations are.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    format_name = _format_of(body)
    if format_name is None:
        return Inspected("not_an_image", None, None, sha256)
    if len(body) > max_bytes:
        return Inspected("too_large", None, None, sha256)
    try:
        image = Image.open(io.BytesIO(body), formats=[format_name])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Inspected("too_large", None, None, sha256)
    except BROKEN:
        return Inspected("undecodable", None, None, sha256)
    with image:
        return Inspected(_status(image, max_pixels), *image.size, sha256)


def _format_of(body: bytes) -> str | None:
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in MAGIC.items() if body.startswith(magic)), None)


def _status(image: Image.Image, max_pixels: int) -> ImageStatus:
    if image.width * image.height > max_pixels:
        return "too_large"
    if min(image.size) < SMALLEST_SIDE:
        return "placeholder"
    try:
        image.load()
        blank = _is_blank(image)
    except BROKEN:
        return "undecodable"
    return "placeholder" if blank else "ok"


def _is_blank(image: Image.Image) -> bool:
    """Whether a picture shows one colour all over, once what is transparent is seen on white."""
    if image.mode.startswith(("I", "F")):  # 16 bits or more of grey, of which only the contrast matters
        ((low, high),) = _extrema(image.convert("F"))
        return high - low <= BLANK_SPREAD * 257
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return all(high - low <= BLANK_SPREAD for low, high in _extrema(image.convert("RGB")))


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    """The least and the greatest value of each band."""
    return [band.getextrema() for band in image.split()]  # type: ignore[misc]  # a single band gives one pair
