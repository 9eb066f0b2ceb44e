"""What a body that should be a cover is: a picture that can be used, or exactly why not.

Knows bytes alone; nothing of where they came from.
"""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

ImageStatus = Literal["ok", "not_an_image", "placeholder", "too_large", "undecodable"]

MAX_BYTES = 10 << 20
MAX_PIXELS = 10_000_000  # 40 MB once decoded as RGBA; Open Library's largest size has 250,000
MAX_SCANS = 100  # of a progressive JPEG, each of which costs a pass over all pixels; encoders make 10
SMALLEST_SIDE = 10  # pixels; Open Library's own S covers are some 40 wide, its blanks 1 x 1
BLANK_SPREAD = 8  # of 255: what JPEG's rounding makes of a single colour stays well within it

# A JPEG is decoded at an eighth of its size: libjpeg then reads every coefficient, so that a file that is cut off is
# found out as at full size, and saves the rest, four fifths of the time. What is seen are means of 8 x 8 pixels.
DRAFT = 8

JPEG_MAGIC, JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xda"  # the latter is no part of compressed data
# The first bytes of the formats that Open Library stores, and the names by which Pillow knows them.
MAGIC = {JPEG_MAGIC: "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF"}

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
    """What the bytes are, looked at in the order in which it is safe: magic, size, then all of the picture.

    - `not_an_image`: no bytes, or none of JPEG, PNG, GIF, WEBP, whatever the name said;
    - `too_large`: more bytes, pixels or scans than allowed, told before anything is decoded;
    - `undecodable`: of a known format, but broken or cut off;
    - `placeholder`: a side below 10 pixels, or one colour all over, of any size;
    - `ok`: every pixel of its (first) frame can be decoded. CMYK, 16 bits a channel and animations are.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    format_name = _format_of(body)
    if format_name is None:
        return Inspected("not_an_image", None, None, sha256)
    if len(body) > max_bytes:
        return Inspected("too_large", None, None, sha256)
    try:
        image = _opened(body, format_name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Inspected("too_large", None, None, sha256)
    except BROKEN:
        return Inspected("undecodable", None, None, sha256)
    with image:
        width, height = image.size
        return Inspected(_status(image, body, max_pixels), width, height, sha256)


def _format_of(body: bytes) -> str | None:
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in MAGIC.items() if body.startswith(magic)), None)


def _opened(body: bytes, format_name: str) -> Image.Image:
    return Image.open(io.BytesIO(body), formats=[format_name])


def _status(image: Image.Image, body: bytes, max_pixels: int) -> ImageStatus:
    if image.width * image.height > max_pixels:
        return "too_large"
    if min(image.size) < SMALLEST_SIDE:
        return "placeholder"
    try:
        if not body.startswith(JPEG_MAGIC):
            image.load()
            return "placeholder" if _spread(image) <= BLANK_SPREAD else "ok"
        if body.count(JPEG_SCAN) > MAX_SCANS:
            return "too_large"
        image.draft(image.mode, (image.width // DRAFT, image.height // DRAFT))
        image.load()
        if _spread(image) > 2 * BLANK_SPREAD:  # means differ by so much, hence pixels do
            return "ok"
        with _opened(body, "JPEG") as whole:  # a thin line of text is lost in the means
            return "placeholder" if _spread(whole) <= BLANK_SPREAD else "ok"
    except BROKEN:
        return "undecodable"


def _spread(image: Image.Image) -> float:
    """How far apart the values of any channel are, of 255, once what is transparent is seen on white."""
    if image.mode.startswith(("I", "F")):  # 16 bits or more of grey, of which only the contrast matters
        ((low, high),) = _extrema(image.convert("F"))
        return (high - low) / 257
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return max(high - low for low, high in _extrema(image if image.mode == "RGB" else image.convert("RGB")))


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    """The least and the greatest value of each channel."""
    found: Any = image.getextrema()
    return [found] if len(image.getbands()) == 1 else list(found)
