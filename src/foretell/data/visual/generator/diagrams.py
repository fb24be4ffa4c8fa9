"""Diagrams: boxes with names, and arrows between neighbours, none of which cross."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from PIL import Image, ImageDraw

from foretell.data.visual.generator.diagram_phrasings import PHRASINGS
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Question, Setting, Split
from foretell.data.visual.generator.fonts import PLAIN_FONTS, fitting_font
from foretell.data.visual.generator.shapes import FINER, Colour, shrunk
from foretell.data.visual.generator.vocabulary import draw_words
from foretell.data.visual.generator.wording import quoted

SIDE = {1: 2, 2: 3, 3: 3}  # rows and columns of places for boxes
BOXES = {1: (2, 4), 2: (4, 6), 3: (6, 9)}
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # less I and O, which look like figures
Cell = tuple[int, int]


@dataclass(frozen=True)
class Style:
    """How a diagram looks: whether boxes are rounded, and colours."""

    rounded: bool
    paper: Colour
    box: Colour
    ink: Colour


STYLES: dict[Split, tuple[Style, ...]] = {
    "train": (
        Style(False, (255, 255, 255), (255, 255, 255), (0, 0, 0)),
        Style(False, (255, 255, 255), (205, 225, 250), (20, 20, 60)),
        Style(False, (250, 247, 236), (255, 230, 160), (60, 40, 0)),
        Style(False, (25, 25, 30), (60, 60, 80), (235, 235, 235)),
    ),
    "heldout": (
        Style(True, (255, 255, 255), (215, 240, 215), (0, 50, 0)),
        Style(True, (20, 30, 40), (20, 30, 40), (220, 230, 240)),
    ),
}


@dataclass(frozen=True)
class Diagram:
    """Boxes in cells of a grid of ``side`` by ``side``; arrows as pairs of numbers of boxes, from and to."""

    width: int
    height: int
    side: int
    style: Style
    font: str
    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    arrows: tuple[tuple[int, int], ...]
    counts: tuple[int, int]

    def targets(self, box: int) -> list[int]:
        """What a box points to."""
        return [to for start, to in self.arrows if start == box]

    def sources(self, box: int) -> list[int]:
        """What points to a box."""
        return [start for start, to in self.arrows if to == box]


def describe(draws: Draws, setting: Setting) -> Diagram:
    """Boxes that hang together by arrows."""
    side = SIDE[setting.level]
    count = draws.between(*BOXES[setting.level])
    cells, arrows = _grown(draws, side, count)
    letters = int(setting.width / side * 0.6 / 6.5)
    if letters >= 3 and draws.coin():
        names = draw_words(draws, setting.split, count, 3, min(4, letters))
    else:
        names = draws.sample(LETTERS, count)
    return Diagram(
        setting.width, setting.height, side, draws.choose(STYLES[setting.split]),
        draws.choose(PLAIN_FONTS[setting.split]), tuple(names), cells, arrows, BOXES[setting.level],
    )  # fmt: skip


def _grown(draws: Draws, side: int, count: int) -> tuple[tuple[Cell, ...], tuple[tuple[int, int], ...]]:
    """Cells, each beside an earlier one with which an arrow joins it, and a few arrows more between neighbours."""
    cells = [(draws.below(side), draws.below(side))]
    joined: list[tuple[int, int]] = []
    while len(cells) < count:
        steps = [
            (number, (row + down, column + across)) for number, (row, column) in enumerate(cells)
            for down, across in ((0, 1), (1, 0), (0, -1), (-1, 0))
            if 0 <= row + down < side and 0 <= column + across < side and (row + down, column + across) not in cells
        ]  # fmt: skip
        number, cell = draws.choose(steps)
        joined.append((number, len(cells)))
        cells.append(cell)
    for one, other in product(range(count), repeat=2):
        near = abs(cells[one][0] - cells[other][0]) + abs(cells[one][1] - cells[other][1]) == 1
        if one < other and near and (one, other) not in joined and draws.coin(0.25):
            joined.append((one, other))
    order = draws.shuffled(range(count))  # so that a box's number says nothing of its place
    arrows = [(order[a], order[b]) if draws.coin() else (order[b], order[a]) for a, b in joined]
    placed = sorted(zip(order, cells, strict=True))
    return tuple(cell for _, cell in placed), tuple(arrows)


def draw(diagram: Diagram) -> tuple[Image.Image, ...]:
    """The picture of a diagram."""
    style = diagram.style
    image = Image.new("RGB", (diagram.width * FINER, diagram.height * FINER), style.paper)
    canvas = ImageDraw.Draw(image)
    wide, high = diagram.width / diagram.side, diagram.height / diagram.side
    half = (wide * 0.31, min(high * 0.27, wide * 0.31))
    middles = [(wide * (column + 0.5), high * (row + 0.5)) for row, column in diagram.cells]
    for start, to in diagram.arrows:
        _arrow(canvas, middles[start], middles[to], half, style.ink)
    for x, y in middles:
        box = tuple(FINER * part for part in (x - half[0], y - half[1], x + half[0], y + half[1]))
        radius = half[1] * FINER * 0.8 if style.rounded else 0
        canvas.rounded_rectangle(box, radius, fill=style.box, outline=style.ink, width=FINER)
    image = shrunk(image)
    font = fitting_font(
        diagram.font, diagram.names, half[0] * 2 - 3, max(9, min(diagram.height // 7, int(half[1] * 1.5))), 9
    )
    for name, (x, y) in zip(diagram.names, middles, strict=True):
        ImageDraw.Draw(image).text((x, y), name, fill=style.ink, font=font, anchor="mm")
    return (image,)


def _arrow(
    canvas: ImageDraw.ImageDraw,
    start: tuple[float, float],
    to: tuple[float, float],
    half: tuple[float, float],
    ink: Colour,
) -> None:
    """From the edge of one box to that of another, along a row or a column, with a head."""
    (x, y), (across, down) = to, (to[0] - start[0], to[1] - start[1])
    step = ((across > 0) - (across < 0), (down > 0) - (down < 0))
    tip = (x - step[0] * (half[0] + 1), y - step[1] * (half[1] + 1))
    head = max(4.0, min(6.0, 0.45 * (abs(across + down) - 2 * (half[0] if across else half[1]))))
    back = (tip[0] - step[0] * head, tip[1] - step[1] * head)
    line = [FINER * part for part in (*start, *back)]
    canvas.line(line, fill=ink, width=round(1.5 * FINER))
    side = (step[1] * head * 0.75, step[0] * head * 0.75)
    corners = [tip, (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
    canvas.polygon([(FINER * px, FINER * py) for px, py in corners], fill=ink)


def ask_target(draws: Draws, diagram: Diagram) -> Question | None:
    """What a box points to."""
    return _ask_end(draws, diagram, "target", diagram.targets)


def ask_source(draws: Draws, diagram: Diagram) -> Question | None:
    """What points to a box."""
    return _ask_end(draws, diagram, "source", diagram.sources)


def _ask_end(draws: Draws, diagram: Diagram, kind: str, ends: Callable[[int], list[int]]) -> Question | None:
    boxes = [box for box in range(len(diagram.names)) if len(ends(box)) == 1]
    if not boxes:
        return None
    box = draws.choose(boxes)
    (end,) = ends(box)
    others = tuple(name for name in diagram.names if name != diagram.names[box])
    return Question(kind, kind, {"name": quoted(diagram.names[box])}, diagram.names[end], (kind, box), others)


def ask_arrow(draws: Draws, diagram: Diagram) -> Question | None:
    """Whether an arrow leads from one box to another."""
    asked = start, to = draws.choose(diagram.arrows)
    there = draws.coin()
    if not there:
        pairs = [pair for pair in product(range(len(diagram.names)), repeat=2) if pair[0] != pair[1]]
        absent = [pair for pair in pairs if pair not in diagram.arrows]
        start, to = (to, start) if draws.coin(0.6) else draws.choose(absent)
    slots = {"one": quoted(diagram.names[start]), "other": quoted(diagram.names[to])}
    return Question("arrow", "arrow", slots, "yes" if there else "no", ("arrow", asked))


def ask_follow(draws: Draws, diagram: Diagram) -> Question | None:
    """Where two arrows lead from a box, where there is one way alone."""
    ways = []
    for box in range(len(diagram.names)):
        ends = [end for middle in diagram.targets(box) for end in diagram.targets(middle)]
        if len(diagram.targets(box)) == 1 and len(ends) == 1:
            ways.append((box, ends[0]))
    if not ways:
        return None
    box, end = draws.choose(ways)
    others = tuple(name for name in diagram.names if name != diagram.names[box])
    return Question(
        "follow", "follow", {"name": quoted(diagram.names[box])}, diagram.names[end], ("follow", box), others
    )


def ask_boxes(draws: Draws, diagram: Diagram) -> Question | None:
    """How many boxes there are."""
    pool = tuple(map(str, range(diagram.counts[0], diagram.counts[1] + 1)))
    return Question("boxes", "boxes", {}, str(len(diagram.names)), "boxes", pool)


DIAGRAMS = Family(
    name="diagrams",
    size=(96, 96),
    least=(80, 80),
    describe=describe,
    askers={
        "target": ask_target, "source": ask_source, "arrow": ask_arrow, "follow": ask_follow, "boxes": ask_boxes,
    },
    draw=draw,
    phrasings=PHRASINGS,
)  # fmt: skip
