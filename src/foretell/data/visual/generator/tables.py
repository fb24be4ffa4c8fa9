"""Tables of numbers with named rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Question, Setting, Split
from foretell.data.visual.generator.fonts import PLAIN_FONTS, fitting_font
from foretell.data.visual.generator.shapes import Colour
from foretell.data.visual.generator.table_phrasings import PHRASINGS
from foretell.data.visual.generator.vocabulary import draw_words
from foretell.data.visual.generator.wording import quoted

SHAPES = {1: (2, 2), 2: (3, 2), 3: (4, 3)}  # rows and columns of numbers
LETTER = 6.5  # pixels that a letter takes, about
SMALLEST = 9  # pixels of the font


@dataclass(frozen=True)
class Style:
    """How a table looks: lines between rows, between columns, colours of its parts."""

    paper: Colour
    header: Colour
    stripe: Colour
    ink: Colour
    rows: bool
    columns: bool


WHITE, BLACK = (255, 255, 255), (15, 15, 15)
STYLES: dict[Split, tuple[Style, ...]] = {
    "train": (
        Style(WHITE, WHITE, WHITE, BLACK, rows=True, columns=True),
        Style(WHITE, (210, 220, 235), WHITE, BLACK, rows=True, columns=True),
        Style(WHITE, (225, 225, 225), (243, 243, 243), BLACK, rows=False, columns=False),
        Style((25, 25, 30), (60, 60, 75), (25, 25, 30), (230, 230, 230), rows=True, columns=True),
        Style((252, 248, 238), (252, 248, 238), (252, 248, 238), (60, 30, 10), rows=True, columns=False),
    ),
    "heldout": (
        Style((240, 248, 240), (190, 220, 190), (225, 240, 225), (10, 40, 10), rows=False, columns=True),
        Style((15, 30, 45), (15, 30, 45), (30, 50, 70), (225, 235, 245), rows=False, columns=False),
    ),
}


@dataclass(frozen=True)
class Table:
    """Numbers of 10 to 99, no two alike, by row and column."""

    width: int
    height: int
    style: Style
    font: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]


def describe(draws: Draws, setting: Setting) -> Table:
    """A table whose size is that of its level."""
    rows, columns = SHAPES[setting.level]
    letters = max(3, min(5, int((setting.width / (columns + 1) - 4) / LETTER)))
    names = draw_words(draws, setting.split, rows + columns, 3, letters)
    numbers = draws.sample(range(10, 100), rows * columns)
    cells = tuple(tuple(numbers[row * columns : (row + 1) * columns]) for row in range(rows))
    return Table(
        setting.width, setting.height, draws.choose(STYLES[setting.split]), draws.choose(PLAIN_FONTS[setting.split]),
        tuple(names[:rows]), tuple(names[rows:]), cells,
    )  # fmt: skip


def draw(table: Table) -> tuple[Image.Image, ...]:
    """The picture of a table."""
    style = table.style
    image = Image.new("RGB", (table.width, table.height), style.paper)
    canvas = ImageDraw.Draw(image)
    lines = [("", *table.columns)]
    lines += [(name, *map(str, cells)) for name, cells in zip(table.rows, table.cells, strict=True)]
    wide, high = (table.width - 3) / len(lines[0]), (table.height - 3) / len(lines)
    texts = tuple(text for line in lines for text in line)
    size = max(SMALLEST, min(table.height // 7, int(high * 0.7)))
    font = fitting_font(table.font, texts, wide - 3, size, SMALLEST)
    for row, line in enumerate(lines):
        top, bottom = round(1 + row * high), round(1 + (row + 1) * high)
        shade = style.header if row == 0 else (style.paper, style.stripe)[row % 2]
        canvas.rectangle((1, top, table.width - 2, bottom), fill=shade)
        for column, text in enumerate(line):
            canvas.text(
                (1 + wide * (column + 0.5), (top + bottom) / 2 + 0.5), text, fill=style.ink, font=font, anchor="mm"
            )
    for row in range(len(lines) + 1) if style.rows else (1,):
        canvas.line((1, round(1 + row * high), table.width - 2, round(1 + row * high)), fill=style.ink)
    for column in range(len(lines[0]) + 1) if style.columns else ():
        canvas.line((round(1 + column * wide), 1, round(1 + column * wide), table.height - 2), fill=style.ink)
    return (image,)


def ask_cell(draws: Draws, table: Table) -> Question | None:
    """The number in a row and a column."""
    row, column = draws.below(len(table.rows)), draws.below(len(table.columns))
    slots = {"row": quoted(table.rows[row]), "column": quoted(table.columns[column])}
    pool = tuple(str(number) for cells in table.cells for number in cells)
    return Question("cell", "cell", slots, str(table.cells[row][column]), ("cell", row, column), pool)


def ask_lookup(draws: Draws, table: Table) -> Question | None:
    """The row, or the column, of a number."""
    row, column = draws.below(len(table.rows)), draws.below(len(table.columns))
    slots = {"number": str(table.cells[row][column])}
    if draws.coin():
        return Question("lookup", "row", slots, table.rows[row], ("row", row, column), table.rows)
    return Question("lookup", "column", slots, table.columns[column], ("column", row, column), table.columns)


def ask_largest(draws: Draws, table: Table) -> Question | None:
    """The row that has the largest number of a column."""
    column = draws.below(len(table.columns))
    numbers = [cells[column] for cells in table.cells]
    slots = {"column": quoted(table.columns[column])}
    return Question(
        "largest", "largest", slots, table.rows[numbers.index(max(numbers))], ("largest", column), table.rows
    )


TABLES = Family(
    name="tables",
    size=(128, 96),
    least=(112, 72),
    describe=describe,
    askers={"cell": ask_cell, "lookup": ask_lookup, "largest": ask_largest},
    draw=draw,
    phrasings=PHRASINGS,
)
