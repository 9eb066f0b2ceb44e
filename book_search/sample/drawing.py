"""Draws book covers: a thing, perhaps a smaller one above it, a scene, a title and an author.

What a caption can speak of lies in the middle square, since CLIP's centre crop cuts off the top and bottom sixth of
a cover of 2:3, where title and author stand.
"""

import hashlib
import io
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from book_search.sample.things import Colour, Place, draw_thing
from book_search.sample.vocabulary import (
    ADJECTIVES,
    COLOURS,
    COMPANIONS,
    FAMILY_NAMES,
    GIVEN_NAMES,
    NIGHT_BACKGROUNDS,
    NOUNS,
    OBJECTS,
    SCENES,
)

SIZE = (360, 540)  # pixels; most real covers are about 2:3
SMOOTHING = 2  # drawn so many times as large, then scaled down
HELD_OUT = 7  # one combination in so many is never drawn for training


@dataclass(frozen=True)
class Lettering:
    """How title and author are set. `bold` is a stroke for a height of 1080, `band` how far it is from the ground."""

    capitals: bool = False
    spaced: bool = False
    bold: float = 0
    slant: float = 0
    narrow: float = 1.0
    band: float = 0


LETTERINGS = (
    Lettering(),
    Lettering(capitals=True, bold=2, narrow=0.8, band=0.85),
    Lettering(slant=0.22),
    Lettering(capitals=True, spaced=True, narrow=0.55),
    Lettering(bold=3, narrow=1.1),
    Lettering(capitals=True, narrow=0.9, band=0.2),
    Lettering(slant=0.15, bold=1, band=1.0),
)


@dataclass(frozen=True)
class CoverSpec:
    """What a cover shows. `seed` moves, scales and turns things a little: another drawing of the same cover."""

    object: str
    object_colour: str
    background: str
    companion: str | None
    companion_colour: str | None
    scene: str
    title: str
    author: str
    lettering: int
    seed: int


def random_spec(rng: random.Random, held_out: bool | None = None) -> CoverSpec:
    """A cover at random.

    Args:
        rng: where it is drawn from.
        held_out: True for a combination never seen in training, False for one that may be, None for any.
    """
    while True:
        scene = rng.choice(["plain", "plain", *(name for name in SCENES if name != "plain")])
        background = rng.choice(NIGHT_BACKGROUNDS if scene == "night" else list(COLOURS))
        others = [colour for colour in COLOURS if colour != background]
        name = rng.choice(list(OBJECTS))
        companion = rng.choice([None, None, *(other for other in COMPANIONS if other != name)])
        spec = CoverSpec(
            object=name,
            object_colour=rng.choice(others),
            background=background,
            companion=companion,
            companion_colour=rng.choice(others) if companion else None,
            scene=scene,
            title=f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}",
            author=f"{rng.choice(GIVEN_NAMES)} {rng.choice(FAMILY_NAMES)}",
            lettering=rng.randrange(len(LETTERINGS)),
            seed=rng.randrange(2**31),
        )
        if held_out is None or is_held_out(spec) == held_out:
            return spec


def is_held_out(spec: CoverSpec) -> bool:
    """Whether this combination of thing and colours is kept from training, by a hash that never changes."""
    combination = f"{spec.object}/{spec.object_colour}/{spec.background}"
    return hashlib.sha256(combination.encode()).digest()[0] % HELD_OUT == 0


def draw_cover(spec: CoverSpec, size: tuple[int, int] = SIZE) -> Image.Image:
    """The cover as an RGB picture of `size` (width, height) pixels."""
    width, height = size[0] * SMOOTHING, size[1] * SMOOTHING
    rng = random.Random(spec.seed)
    ground = _shade(COLOURS[spec.background], rng)
    picture = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    _draw_scene(draw, spec, width, height, ground, rng)
    # The middle square reaches from a sixth of the height to five sixths.
    size_of_thing = width * (rng.uniform(0.52, 0.62) if spec.companion else rng.uniform(0.56, 0.72))
    level = rng.uniform(0.56, 0.60) if spec.companion else rng.uniform(0.46, 0.53)
    middle = (width * rng.uniform(0.45, 0.55), height * level)
    thing = _placed(middle, size_of_thing, math.radians(rng.uniform(-9, 9)), mirrored=rng.random() < 0.5)
    draw_thing(draw, spec.object, thing, _shade(COLOURS[spec.object_colour], rng), ground)
    if spec.companion and spec.companion_colour:
        side = rng.choice([rng.uniform(0.18, 0.28), rng.uniform(0.72, 0.82)])
        above = (width * side, height * rng.uniform(0.26, 0.29))
        smaller = _placed(above, width * rng.uniform(0.24, 0.30), math.radians(rng.uniform(-9, 9)), mirrored=False)
        draw_thing(draw, spec.companion, smaller, _shade(COLOURS[spec.companion_colour], rng), ground)
    _letter(picture, spec, ground, width, height)
    return picture.reduce(SMOOTHING)


def cover_jpeg(spec: CoverSpec, size: tuple[int, int] = SIZE) -> bytes:
    """The cover as a JPEG file; the same bytes for the same spec."""
    file = io.BytesIO()
    draw_cover(spec, size).save(file, "JPEG", quality=87)
    return file.getvalue()


def _placed(middle: tuple[float, float], size: float, angle: float, mirrored: bool) -> Place:
    cos, sin = math.cos(angle), math.sin(angle)

    def place(x: float, y: float) -> tuple[float, float]:
        across, down = ((0.5 - x) if mirrored else (x - 0.5)) * size, (y - 0.5) * size
        return middle[0] + across * cos - down * sin, middle[1] + across * sin + down * cos

    return place


def _shade(colour: Colour, rng: random.Random) -> Colour:
    """The colour as another printer would have it."""
    red, green, blue = (max(0, min(255, part + rng.randint(-10, 10))) for part in colour)
    return red, green, blue


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _contrast(ground: Colour) -> Colour:
    """Near black or near white, whichever can be read on `ground`."""
    return (20, 20, 24) if _luma(ground) > 135 else (248, 246, 240)


def _luma(colour: Colour) -> float:
    """How light a colour is, 0 to 255, by ITU-R BT.601."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _draw_scene(
    draw: ImageDraw.ImageDraw, spec: CoverSpec, width: int, height: int, ground: Colour, rng: random.Random
) -> None:
    ink = _mixed(ground, _contrast(ground), 0.45)
    one = height / 1080  # what follows is given for a picture 1080 high
    if spec.scene == "night":
        for _ in range(40):
            x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 18) * one
            waist = radius * 0.28
            corners = [(0, -radius), (waist, -waist), (radius, 0), (waist, waist)]
            sparkle = corners + [(-across, -down) for across, down in corners]
            draw.polygon([(x + across, y + down) for across, down in sparkle], fill=(250, 245, 215))
    elif spec.scene == "snow":
        flake = (252, 252, 252) if _luma(ground) < 195 else (140, 165, 200)
        for _ in range(60):
            x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(6, 13) * one
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=flake)
    elif spec.scene == "rain":
        for _ in range(60):
            x, y, length = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(45, 80) * one
            draw.line((x, y, x - length * 0.35, y + length), fill=ink, width=max(1, round(6 * one)))
    elif spec.scene == "sea":
        for line in range(6):
            level = height * (0.68 + 0.05 * line)
            phase = rng.uniform(0, 2 * math.pi)
            steps = [step / 60 for step in range(62)]
            wave = [(x * width, level + 13 * one * math.sin(x * 22 + phase)) for x in steps]
            draw.line(wave, fill=ink, width=max(1, round(11 * one)), joint="curve")


def _letter(picture: Image.Image, spec: CoverSpec, ground: Colour, width: int, height: int) -> None:
    """Title and author, in letterings made of Pillow's own typeface: a fresh machine has no other.

    Some stand on bands, and all of it above and below the middle square that CLIP sees.
    """
    lettering = LETTERINGS[spec.lettering]
    ink = _contrast(ground)
    if lettering.band:
        band, ink = _mixed(ground, ink, lettering.band), _contrast(_mixed(ground, ink, lettering.band))
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, 0, width, round(height * 0.155)), fill=band)
        draw.rectangle((0, round(height * 0.89), width, height), fill=band)
    title = spec.title.upper() if lettering.capitals else spec.title
    title = " ".join(title) if lettering.spaced else title
    bold = round(lettering.bold * height / 1080)
    box = (width, round(height * 0.14))
    _put(picture, title, box, round(height * 0.01), ink, bold, lettering.slant, lettering.narrow)
    box = (width, round(height * 0.08))
    _put(picture, spec.author, box, round(height * 0.905), ink, 0, lettering.slant, 0.9)


def _put(
    picture: Image.Image,
    text: str,
    box: tuple[int, int],
    top: int,
    ink: Colour,
    bold: int,
    slant: float,
    narrow: float,
) -> None:
    """One line in the middle of a band `box` (width, height) that begins at `top`, made to fit."""
    font = ImageFont.load_default(size=box[1] * 0.6)
    left, upper, right, lower = font.getbbox(text, stroke_width=bold)
    line = Image.new("L", (math.ceil(right - left) + 8, math.ceil(lower - upper) + 8))
    ImageDraw.Draw(line).text((4 - left, 4 - upper), text, fill=255, font=font, stroke_width=bold)
    if slant:
        wider = (line.width + round(line.height * slant), line.height)
        line = line.transform(wider, Image.Transform.AFFINE, (1, slant, -line.height * slant, 0, 1, 0))
    scale = min(1.0, box[0] * 0.9 / (line.width * narrow))
    fitted = line.resize((max(1, round(line.width * narrow * scale)), max(1, round(line.height * scale))))
    place = ((box[0] - fitted.width) // 2, top + (box[1] - fitted.height) // 2)
    picture.paste(Image.new("RGB", fitted.size, ink), place, fitted)
