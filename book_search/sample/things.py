"""The outlines of the things on the drawn covers, each in a unit square of its own with y pointing down."""

import math
from collections.abc import Callable

from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Place = Callable[[float, float], Point]  # from the unit square (0 to 1 both ways) to the picture


def draw_thing(draw: ImageDraw.ImageDraw, name: str, place: Place, colour: Colour, ground: Colour) -> None:
    """Draw one of `vocabulary.OBJECTS`.

    Args:
        place: puts a point of the unit square where it belongs: moved, scaled, turned.
        colour: of the thing.
        ground: of the background, for what is cut out of the thing.
    """
    for shape, filled in OUTLINES[name]():
        draw.polygon([place(x, y) for x, y in shape], fill=colour if filled else ground)


def _ring(
    x: float, y: float, radius_x: float, radius_y: float | None = None, start: float = 0, end: float = 360
) -> list[Point]:
    radius_y = radius_x if radius_y is None else radius_y
    angles = [math.radians(start + (end - start) * step / 40) for step in range(41)]
    return [(x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles]


def _box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


Outline = list[tuple[list[Point], bool]]


def _ship() -> Outline:
    return [
        ([(0.02, 0.68), (0.98, 0.68), (0.82, 0.92), (0.18, 0.92)], True),
        (_box(0.47, 0.05, 0.53, 0.70), True),
        ([(0.56, 0.08), (0.92, 0.60), (0.56, 0.60)], True),
        ([(0.44, 0.18), (0.44, 0.60), (0.14, 0.60)], True),
    ]


def _moon() -> Outline:
    # Two circles; the angles are those at which they cross.
    outer = _ring(0.42, 0.5, 0.46, start=55.2, end=304.8)
    inner = _ring(0.64, 0.5, 0.38, start=276.4, end=83.6)
    return [(outer + inner, True)]


def _star() -> Outline:
    points = []
    for step in range(10):
        radius, angle = (0.5 if step % 2 == 0 else 0.2), math.radians(-90 + 36 * step)
        points.append((0.5 + radius * math.cos(angle), 0.53 + radius * math.sin(angle)))
    return [(points, True)]


def _heart() -> Outline:
    points = []
    for step in range(60):
        t = 2 * math.pi * step / 60
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((0.5 + x / 34, 0.46 - y / 34))
    return [(points, True)]


def _tree() -> Outline:
    return [
        (_box(0.44, 0.80, 0.56, 1.0), True),
        ([(0.5, 0.0), (0.74, 0.34), (0.26, 0.34)], True),
        ([(0.5, 0.18), (0.82, 0.60), (0.18, 0.60)], True),
        ([(0.5, 0.40), (0.92, 0.84), (0.08, 0.84)], True),
    ]


def _house() -> Outline:
    return [
        (_box(0.14, 0.46, 0.86, 0.98), True),
        ([(0.02, 0.48), (0.5, 0.06), (0.98, 0.48)], True),
        (_box(0.70, 0.10, 0.80, 0.34), True),
        (_box(0.43, 0.68, 0.57, 0.98), False),
        (_box(0.22, 0.56, 0.36, 0.70), False),
        (_box(0.64, 0.56, 0.78, 0.70), False),
    ]


def _fish() -> Outline:
    return [
        (_ring(0.42, 0.5, 0.42, 0.24), True),
        ([(0.74, 0.5), (1.0, 0.22), (0.93, 0.5), (1.0, 0.78)], True),
        ([(0.36, 0.30), (0.58, 0.10), (0.60, 0.34)], True),
        (_ring(0.17, 0.44, 0.045), False),
    ]


def _key() -> Outline:
    return [
        (_ring(0.5, 0.22, 0.22), True),
        (_ring(0.5, 0.22, 0.11), False),
        (_box(0.44, 0.40, 0.56, 1.0), True),
        (_box(0.56, 0.84, 0.76, 0.94), True),
        (_box(0.56, 0.66, 0.72, 0.76), True),
    ]


def _sword() -> Outline:
    return [
        ([(0.5, 0.0), (0.57, 0.10), (0.57, 0.70), (0.43, 0.70), (0.43, 0.10)], True),
        (_box(0.22, 0.68, 0.78, 0.76), True),
        (_box(0.455, 0.76, 0.545, 0.93), True),
        (_ring(0.5, 0.95, 0.06), True),
    ]


def _crown() -> Outline:
    zigzag = [(0.06, 0.86), (0.02, 0.26), (0.27, 0.52), (0.5, 0.12), (0.73, 0.52), (0.98, 0.26), (0.94, 0.86)]
    return [
        (zigzag, True),
        (_ring(0.02, 0.24, 0.055), True),
        (_ring(0.5, 0.10, 0.065), True),
        (_ring(0.98, 0.24, 0.055), True),
        (_box(0.08, 0.70, 0.92, 0.75), False),
    ]


def _mountain() -> Outline:
    snow_line = [(0.24, 0.34), (0.32, 0.42), (0.38, 0.33), (0.44, 0.42), (0.53, 0.34)]
    return [
        ([(0.0, 0.92), (0.38, 0.10), (0.60, 0.56), (0.74, 0.34), (1.0, 0.92)], True),
        (snow_line + [(x, y + 0.06) for x, y in reversed(snow_line)], False),
    ]


def _bird() -> Outline:
    left = [(0.5, 0.62), (0.40, 0.40), (0.24, 0.26), (0.0, 0.30), (0.20, 0.42), (0.34, 0.58), (0.42, 0.74)]
    right = [(1 - x, y) for x, y in reversed(left)]
    return [([*left, (0.5, 0.86), *right], True), (_ring(0.5, 0.56, 0.07), True)]


def _flower() -> Outline:
    petals: Outline = []
    for step in range(6):
        angle = math.radians(60 * step)
        petals.append((_ring(0.5 + 0.20 * math.cos(angle), 0.32 + 0.20 * math.sin(angle), 0.135), True))
    stem: Outline = [(_box(0.47, 0.45, 0.53, 1.0), True), ([(0.5, 0.86), (0.78, 0.64), (0.72, 0.84)], True)]
    return stem + petals + [(_ring(0.5, 0.32, 0.09), False)]


def _clock() -> Outline:
    return [
        (_ring(0.5, 0.5, 0.48), True),
        (_ring(0.5, 0.5, 0.38), False),
        (_box(0.47, 0.20, 0.53, 0.53), True),
        ([(0.48, 0.47), (0.74, 0.60), (0.71, 0.66), (0.46, 0.54)], True),
    ]


def _cat() -> Outline:
    return [
        (_ring(0.44, 0.74, 0.26, 0.26), True),
        (_ring(0.44, 0.34, 0.20, 0.18), True),
        ([(0.25, 0.32), (0.25, 0.04), (0.43, 0.20)], True),
        ([(0.63, 0.32), (0.63, 0.04), (0.45, 0.20)], True),
        ([(0.62, 0.94), (0.86, 0.90), (0.94, 0.60), (0.86, 0.52), (0.82, 0.78), (0.62, 0.82)], True),
        (_ring(0.37, 0.33, 0.03), False),
        (_ring(0.51, 0.33, 0.03), False),
    ]


def _candle() -> Outline:
    flame = [(0.5, 0.0), (0.59, 0.14), (0.57, 0.26), (0.5, 0.31), (0.43, 0.26), (0.41, 0.14)]
    return [
        (flame, True),
        (_box(0.38, 0.36, 0.62, 0.90), True),
        (_box(0.20, 0.88, 0.80, 0.98), True),
    ]


OUTLINES: dict[str, Callable[[], Outline]] = {
    "ship": _ship, "moon": _moon, "star": _star, "heart": _heart, "tree": _tree, "house": _house, "fish": _fish,
    "key": _key, "sword": _sword, "crown": _crown, "mountain": _mountain, "bird": _bird, "flower": _flower,
    "clock": _clock, "cat": _cat, "candle": _candle,
}  # fmt: skip
