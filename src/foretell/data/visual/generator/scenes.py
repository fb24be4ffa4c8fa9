"""Scenes: shapes with colours on a ground, one to a cell of a grid, so that position and count are beyond dispute.

Every draw treats shapes, colours and cells alike, and counts are drawn first and scenes made to have them: a question
alone says nothing of its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from PIL import Image, ImageDraw

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Setting
from foretell.data.visual.generator.palette import Ground, draw_ground, textured, varied
from foretell.data.visual.generator.shapes import FINER, OUTLINES, UPRIGHT, Colour, draw_shape, shrunk

Pair = tuple[str, str]  # shape and colour
SHAPES = {level: tuple(OUTLINES)[:count] for level, count in {1: 6, 2: 8, 3: 10}.items()}
MOST = {1: 6, 2: 6, 3: 10}  # largest count that is asked for
MODES = {
    1: {"single": 0.3, "scattered": 0.3, "counted": 0.4},
    2: {"single": 0.1, "scattered": 0.4, "counted": 0.5},
    3: {"scattered": 0.5, "counted": 0.5},
}
SCATTERED = {1: (2, 4), 2: (3, 6), 3: (5, 9)}


@dataclass(frozen=True)
class Thing:
    """A shape in a cell; ``x``, ``y`` and ``radius`` in pixels, ``turn`` in degrees."""

    shape: str
    colour: str
    row: int
    column: int
    x: float
    y: float
    radius: float
    turn: int
    paint: Colour


@dataclass(frozen=True)
class Filter:
    """The things of a shape, of a colour, or of both; all things where it names neither."""

    shape: str | None = None
    colour: str | None = None

    def count(self, things: tuple[Thing, ...]) -> int:
        """How many of them."""
        return sum(self.shape in (None, thing.shape) and self.colour in (None, thing.colour) for thing in things)


@dataclass(frozen=True)
class Scene:
    """All that is in a picture.

    Attributes:
        side: rows, and columns, of the grid.
        shapes, colours: of which its things were drawn.
        counted: what may be counted here without bias.
        most: the largest count.
        rims: whether things that touch are parted by a rim.
    """

    width: int
    height: int
    side: int
    ground: Ground
    shapes: tuple[str, ...]
    colours: tuple[str, ...]
    things: tuple[Thing, ...]
    counted: tuple[Filter, ...] = ()
    most: int = 0
    rims: bool = False


def describe(draws: Draws, setting: Setting, mode: str | None = None) -> Scene:
    """A scene of a level: a single thing, things to tell apart, or things to count; which is drawn if not given."""
    level, mode = setting.level, mode or draws.weighted(MODES[setting.level])
    ground = draw_ground(draws, level)
    shapes, colours = SHAPES[level], ground.names(level)
    pairs, side, crowded = [(draws.choose(shapes), draws.choose(colours))], 3, False
    counted: tuple[Filter, ...] = ()
    if mode == "single":
        side = draws.choose((1, 3))
    elif mode == "scattered":
        pairs = _scattered(draws, level, shapes, colours)
    else:
        crowded = level == 3
        side = 4 if crowded else 3
        pairs, counted = counted_pairs(draws, side * side, MOST[level], shapes, colours)
    things = place(draws, setting, pairs, side, crowded)
    return Scene(
        setting.width, setting.height, side, ground, shapes, colours, things, counted, MOST[level], rims=crowded
    )


def _scattered(draws: Draws, level: int, shapes: tuple[str, ...], colours: tuple[str, ...]) -> list[Pair]:
    count = draws.between(*SCATTERED[level])
    if level == 1:
        return list(zip(draws.sample(shapes, count), draws.sample(colours, count), strict=True))
    return [(draws.choose(shapes), draws.choose(colours)) for _ in range(count)]


def counted_pairs(
    draws: Draws, room: int, most: int, shapes: tuple[str, ...], colours: tuple[str, ...]
) -> tuple[list[Pair], tuple[Filter, ...]]:
    """Things in numbers that were drawn first, 0 to ``most`` with equal chances, and what those numbers are of."""
    shape, colour, what = draws.choose(shapes), draws.choose(colours), draws.below(3)
    if what == 0:
        count = draws.between(1, most)
        return [(draws.choose(shapes), draws.choose(colours)) for _ in range(count)], (Filter(),)
    other_shapes = [other for other in shapes if other != shape]
    other_colours = [other for other in colours if other != colour]
    if what == 1:
        count = draws.between(0, most)
        pairs = [(shape, colour)] * count
        others = [pair for pair in product(shapes, colours) if pair != (shape, colour)]
        alike = [pair for pair in others if shape in pair or colour in pair]
        for _ in range(draws.between(0 if count else 1, min(5, room - count))):
            pairs.append(draws.choose(alike if draws.coin() else others))
        return pairs, (Filter(shape, colour),)
    of_shape, of_colour = draws.between(0, most), draws.between(0, most)
    both = draws.between(max(0, of_shape + of_colour - room), min(of_shape, of_colour))
    pairs = [(shape, colour)] * both
    pairs += [(shape, draws.choose(other_colours)) for _ in range(of_shape - both)]
    pairs += [(draws.choose(other_shapes), colour) for _ in range(of_colour - both)]
    rest = draws.between(0 if pairs else 1, min(3, room - len(pairs)))
    pairs += [(draws.choose(other_shapes), draws.choose(other_colours)) for _ in range(rest)]
    return pairs, (Filter(shape=shape), Filter(colour=colour))


def place(draws: Draws, setting: Setting, pairs: list[Pair], side: int, crowded: bool) -> tuple[Thing, ...]:
    """Each pair in a cell of its own, wholly inside it; where it is crowded they may reach a little into the next."""
    wide, high = setting.width / side, setting.height / side
    half = min(wide, high) / 2
    low, high_share = (0.78, 1.05) if crowded else ((0.7, 0.95) if setting.level == 1 else (0.55, 0.95))
    cells = draws.sample(list(product(range(side), range(side))), len(pairs))
    things = []
    for (shape, colour), (row, column) in zip(pairs, cells, strict=True):
        radius = half * draws.uniform(low, high_share)
        spare = 0.15 * half if crowded else half - radius
        shifts = [draws.uniform(-1, 1) * (spare + extra) for extra in (wide / 2 - half, high / 2 - half)]
        turn = draws.between(-12, 12) if setting.level > 1 else 0
        if shape in UPRIGHT and draws.coin():
            turn += 90
        x = min(max((column + 0.5) * wide + shifts[0], radius), setting.width - radius)
        y = min(max((row + 0.5) * high + shifts[1], radius), setting.height - radius)
        paint = varied(draws, colour, setting.level)
        things.append(Thing(shape, colour, row, column, x, y, radius, turn, paint))
    return tuple(things)


def draw(scene: Scene) -> tuple[Image.Image, ...]:
    """The picture of a scene."""
    size = (scene.width * FINER, scene.height * FINER)
    image = Image.new("RGB", size, scene.ground.colour)
    canvas = ImageDraw.Draw(image)
    for thing in scene.things:
        rim = scene.ground.colour if scene.rims else None
        draw_shape(canvas, thing.shape, (thing.x, thing.y), thing.radius, thing.turn, thing.paint, rim)
    return (textured(shrunk(image), scene.ground),)
