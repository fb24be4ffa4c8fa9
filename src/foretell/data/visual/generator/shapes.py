"""Outlines of the shapes, as polygons around (0, 0) within a circle of radius 1, and how they are drawn."""

from __future__ import annotations

import math
from functools import cache

from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]
FINER = 3  # drawn at this many times the size and averaged, for smooth edges


def _around(count: int, *radii: float, start: float = -90.0) -> tuple[Point, ...]:
    """``count`` points around the centre; radii take turns."""
    angles = [math.radians(start + 360 * number / count) for number in range(count)]
    return tuple(
        (radii[number % len(radii)] * math.cos(angle), radii[number % len(radii)] * math.sin(angle))
        for number, angle in enumerate(angles)
    )


def _box(width: float, height: float) -> tuple[Point, ...]:
    return ((-width, -height), (width, -height), (width, height), (-width, height))


def _cross(reach: float, half: float) -> tuple[Point, ...]:
    corners = ((-half, -reach), (half, -reach), (half, -half), (reach, -half), (reach, half), (half, half))
    return corners + tuple((-x, -y) for x, y in corners)


def _heart() -> tuple[Point, ...]:
    points = []
    for number in range(40):
        t = 2 * math.pi * number / 40
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 17, -(y + 2) / 17))
    return tuple(points)


def _ring() -> tuple[Point, ...]:
    outer = _around(40, 0.95)
    return (*outer, outer[0], *((0.5 * x, 0.5 * y) for x, y in (outer[0], *reversed(outer))))


def _moon() -> tuple[Point, ...]:
    """A disc less a disc of the same size that lies to its right."""
    outer = [math.radians(angle) for angle in range(55, 306, 10)]
    inner = [math.radians(angle) for angle in range(235, 124, -10)]
    points = [(math.cos(angle), math.sin(angle)) for angle in outer]
    points += [(1.15 + math.cos(angle), math.sin(angle)) for angle in inner]
    return tuple((x + 0.15, y) for x, y in points)


OUTLINES: dict[str, tuple[Point, ...]] = {
    "circle": _around(40, 0.9),
    "square": _box(0.72, 0.72),
    "triangle": tuple((x, y + 0.2) for x, y in _around(3, 1.05)),
    "rectangle": _box(0.95, 0.45),
    "star": _around(10, 1.0, 0.4),
    "cross": _cross(0.9, 0.28),
    "pentagon": _around(5, 0.95),
    "heart": _heart(),
    "ring": _ring(),
    "moon": _moon(),
}
UPRIGHT = ("rectangle",)
"""Shapes of which a part stands on its short side: turned by a quarter at random."""


@cache
def _outline(shape: str, turn: int) -> tuple[Point, ...]:
    """A shape turned clockwise by ``turn`` degrees."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return tuple((x * cosine - y * sine, x * sine + y * cosine) for x, y in OUTLINES[shape])


def draw_shape(
    canvas: ImageDraw.ImageDraw, shape: str, centre: Point, radius: float, turn: int, colour: Colour, rim: Colour | None
) -> None:
    """Draw onto a canvas that is ``FINER`` times the image; a ``rim`` parts the shape from one beneath it."""
    x, y, scale = centre[0] * FINER, centre[1] * FINER, radius * FINER
    points = [(x + scale * px, y + scale * py) for px, py in _outline(shape, turn)]
    if rim is not None:
        canvas.line([*points, points[0]], fill=rim, width=FINER * 2, joint="curve")
    canvas.polygon(points, fill=colour)


def shrunk(image: Image.Image) -> Image.Image:
    """The canvas as the image."""
    return image.reduce(FINER)
