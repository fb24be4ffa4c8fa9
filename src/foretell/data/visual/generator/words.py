"""Words and numbers to read: one to a line, in a font, a size and colours of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

from PIL import Image, ImageDraw

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Question, Setting
from foretell.data.visual.generator.fonts import FONTS, fitting_font
from foretell.data.visual.generator.palette import Ground, draw_ground, textured
from foretell.data.visual.generator.shapes import Colour
from foretell.data.visual.generator.vocabulary import alike, draw_number, draw_words
from foretell.data.visual.generator.word_phrasings import PHRASINGS
from foretell.data.visual.generator.wording import quoted

LENGTHS = {1: (2, 4), 2: (3, 6), 3: (4, 8)}  # letters of a word
DIGITS = {1: (2, 3), 2: (2, 4), 3: (3, 6)}
TURN = {1: 0.0, 2: 3.0, 3: 6.0}  # degrees at most, and less where an image is long
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
SMALLEST, LARGEST = 11, 40  # pixels of a font
LINE = 16  # pixels of height that a line takes at least


@dataclass(frozen=True)
class Page:
    """Printed lines.

    Attributes:
        lines: a word or a number each, none of them a part of another.
        longest: letters of the longest word that might have stood here.
        size: pixels of the font, less where a line would not fit.
        shift: of the text from the middle, as a share of the room that is left on each side, -1 to 1.
        turn: degrees, counter-clockwise.
    """

    width: int
    height: int
    lengths: tuple[int, int]
    lines: tuple[str, ...]
    ground: Ground
    ink: Colour
    font: str
    size: int
    shift: tuple[float, float]
    turn: float

    @property
    def printed_words(self) -> tuple[int, ...]:
        """Which lines are words."""
        return tuple(number for number, line in enumerate(self.lines) if line.isalpha())

    @property
    def printed_numbers(self) -> tuple[int, ...]:
        """Which lines are numbers."""
        return tuple(number for number, line in enumerate(self.lines) if line.isdigit())


def describe(draws: Draws, setting: Setting) -> Page:
    """A line at level 1, up to two at level 2, three at level 3 (or as many as the height allows)."""
    level, room = setting.level, max(1, setting.height // LINE)
    count = min(room, {1: 1, 2: draws.between(1, 2), 3: 3}[level])
    lines = _draw_lines(draws, setting, count)
    ground = draw_ground(draws, level)
    size = int(setting.height / count * draws.uniform(0.55, 0.85))
    steepest = min(TURN[level], 11.0 * setting.height / setting.width)
    return Page(
        setting.width, setting.height, LENGTHS[level], lines, ground,
        draw_ink(draws, ground, level), draws.choose(FONTS[setting.split]), max(SMALLEST, min(LARGEST, size)),
        (draws.uniform(-1, 1), draws.uniform(-1, 1)), draws.uniform(-steepest, steepest),
    )  # fmt: skip


def _draw_lines(draws: Draws, setting: Setting, count: int) -> tuple[str, ...]:
    of_words = draws.between(0, count)
    while True:
        lines = draw_words(draws, setting.split, of_words, *LENGTHS[setting.level])
        while len(lines) < count:
            lines.append(draw_number(draws, setting.split, draws.between(*DIGITS[setting.level])))
        if not any(one in other for one, other in permutations(lines, 2)):
            return tuple(draws.shuffled(lines))


def draw_ink(draws: Draws, ground: Ground, level: int) -> Colour:
    """A colour of text: dark on light grounds and light on dark ones, with a tint from level 2 on."""
    tint = 90 if level > 1 else 25
    first, second, third = (draws.between(0, tint) for _ in range(3))
    return (255 - first, 255 - second, 255 - third) if ground.dark else (first, second, third)


def draw(page: Page) -> tuple[Image.Image, ...]:
    """The picture of a page."""
    lift = page.width / 2 * math.sin(math.radians(abs(page.turn)))  # by which turning raises an end of a line
    room = (page.height - 2 * lift) / len(page.lines)
    font = fitting_font(page.font, page.lines, page.width * 0.9, min(page.size, int(room * 0.85)), SMALLEST)
    ascent, descent = font.getmetrics()
    tall = min(room, ascent + descent)
    mask = Image.new("L", (page.width, page.height))
    canvas = ImageDraw.Draw(mask)
    spare = (page.height - tall * len(page.lines)) / 2
    top = spare + page.shift[1] * max(0.0, spare - lift) * 0.7
    for number, line in enumerate(page.lines):
        side = (page.width * 0.94 - font.getlength(line)) / 2
        left = (page.width - font.getlength(line)) / 2 + page.shift[0] * max(0.0, side)
        # on its base line, since fonts differ in what lies above their capitals
        base = top + tall * (number + 0.5) + (ascent - descent) * 0.42
        canvas.text((left, base), line, fill=255, font=font, anchor="ls")
    if page.turn:
        mask = mask.rotate(page.turn, Image.Resampling.BICUBIC)
    image = Image.new("RGB", mask.size, page.ground.colour)
    image.paste(page.ink, (0, 0), mask)
    return (textured(image, page.ground),)


def ask_word(draws: Draws, page: Page) -> Question | None:
    """The only word."""
    if len(page.printed_words) != 1:
        return None
    word = page.lines[page.printed_words[0]]
    return Question("word", "word", {}, word, "word", alike(word))


def ask_number(draws: Draws, page: Page) -> Question | None:
    """The only number."""
    if len(page.printed_numbers) != 1:
        return None
    number = page.lines[page.printed_numbers[0]]
    return Question("number", "number", {}, number, "number", alike(number))


def ask_line(draws: Draws, page: Page) -> Question | None:
    """What a line says, or which line says something."""
    if len(page.lines) == 1:
        return None
    number = draws.below(len(page.lines))
    text, ordinal = page.lines[number], ORDINALS[number]
    if draws.coin():
        return Question("line", "line", {"nth": ordinal}, text, ("line", number), alike(text))
    return Question("line", "which", {"text": quoted(text)}, ordinal, ("which", number), ORDINALS[: len(page.lines)])


def ask_says(draws: Draws, page: Page) -> Question | None:
    """Whether something is printed."""
    number, there = draws.below(len(page.lines)), draws.coin()
    text = page.lines[number]
    others = [other for other in alike(text) if not any(other in line for line in page.lines)]
    return Question("says", "says", {"text": quoted(text if there else draws.choose(others))}, "yes" if there else "no",
                    ("says", number))  # fmt: skip


def ask_letters(draws: Draws, page: Page) -> Question | None:
    """How many letters the only word has."""
    if len(page.printed_words) != 1:
        return None
    pool = tuple(map(str, range(page.lengths[0], page.lengths[1] + 1)))
    return Question("letters", "letters", {}, str(len(page.lines[page.printed_words[0]])), "letters", pool)


def ask_letter(draws: Draws, page: Page) -> Question | None:
    """A letter of the only word, by its place."""
    if len(page.printed_words) != 1:
        return None
    word = page.lines[page.printed_words[0]]
    number = draws.below(len(word))
    last = number == len(word) - 1 and draws.coin()
    slots = {"nth": "last" if last else ORDINALS[number]}
    return Question("letter", "letter", slots, word[number], ("letter", number))


WORDS = Family(
    name="words",
    size=(96, 64),
    least=(64, 24),
    describe=describe,
    askers={
        "word": ask_word,
        "number": ask_number,
        "line": ask_line,
        "says": ask_says,
        "letters": ask_letters,
        "letter": ask_letter,
    },
    draw=draw,
    phrasings=PHRASINGS,
    printed=frozenset({"word", "number", "line"}),
)
