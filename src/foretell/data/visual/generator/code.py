"""Screenshots of code: short functions in a mono font, with syntax colours."""

from __future__ import annotations

from dataclasses import dataclass
from keyword import iskeyword

from PIL import Image, ImageDraw

from foretell.data.visual.generator.code_phrasings import PHRASINGS
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Question, Setting, Split
from foretell.data.visual.generator.fonts import MONO_FONTS, fitting_font
from foretell.data.visual.generator.shapes import Colour
from foretell.data.visual.generator.vocabulary import alike, draw_words
from foretell.data.visual.generator.wording import quoted

MOST_ARGUMENTS = 3
NUMBERS = (0, 99)
SMALLEST = 9  # pixels of the font
LETTERS = "abcxyz"


@dataclass(frozen=True)
class Theme:
    """Colours of the paper, and of what is written."""

    paper: Colour
    plain: Colour
    keyword: Colour
    name: Colour
    number: Colour


THEMES: dict[Split, tuple[Theme, ...]] = {
    "train": (
        Theme((255, 255, 255), (0, 0, 0), (0, 0, 200), (110, 60, 0), (0, 120, 60)),
        Theme((250, 250, 245), (40, 40, 40), (160, 20, 90), (0, 80, 170), (180, 90, 0)),
        Theme((30, 30, 30), (220, 220, 220), (90, 160, 240), (220, 220, 150), (180, 210, 170)),
        Theme((40, 42, 54), (240, 240, 235), (255, 120, 200), (100, 240, 130), (190, 150, 250)),
    ),
    "heldout": (
        Theme((253, 246, 227), (70, 90, 100), (110, 130, 0), (30, 120, 190), (200, 50, 110)),
        Theme((0, 43, 54), (150, 165, 165), (140, 160, 20), (60, 150, 220), (225, 80, 150)),
    ),
}


@dataclass(frozen=True)
class Function:
    """``name(arguments)`` that sets a variable, where it has one, and returns a number."""

    name: str
    arguments: tuple[str, ...]
    variable: tuple[str, int] | None
    returned: int


@dataclass(frozen=True)
class Listing:
    """Functions below each other."""

    width: int
    height: int
    theme: Theme
    font: str
    functions: tuple[Function, ...]


def describe(draws: Draws, setting: Setting) -> Listing:
    """A function at level 1, with a variable at level 2, two of them at level 3."""
    count, longest = (2 if setting.level == 3 else 1), (7 if setting.level > 1 else 5)
    names = draw_words(draws, setting.split, count, 3, longest)
    while any(map(iskeyword, names)):
        names = draw_words(draws, setting.split, count, 3, longest)
    functions = []
    for name in names:
        arguments = draws.sample(LETTERS, draws.between(0, MOST_ARGUMENTS))
        variable = None
        if setting.level > 1:
            variable = (draws.choose([letter for letter in "nkmt" if letter not in arguments]), draws.between(*NUMBERS))
        functions.append(Function(name, tuple(arguments), variable, draws.between(*NUMBERS)))
    theme, font = draws.choose(THEMES[setting.split]), draws.choose(MONO_FONTS[setting.split])
    return Listing(setting.width, setting.height, theme, font, tuple(functions))


Token = tuple[str, Colour]


def lines_of(listing: Listing) -> list[list[Token]]:
    """What is printed: lines of texts with their colours."""
    theme, lines = listing.theme, []
    for function in listing.functions:
        rest = f"({', '.join(function.arguments)}):"
        lines.append([("def ", theme.keyword), (function.name, theme.name), (rest, theme.plain)])
        if function.variable is not None:
            name, value = function.variable
            lines.append([(f"    {name} = ", theme.plain), (str(value), theme.number)])
        lines.append([("    return ", theme.keyword), (str(function.returned), theme.number)])
    return lines


def draw(listing: Listing) -> tuple[Image.Image, ...]:
    """The picture of a listing."""
    lines = lines_of(listing)
    texts = tuple("".join(text for text, _ in line) for line in lines)
    high = (listing.height - 4) / len(lines)
    size = max(SMALLEST, min(listing.height // 5, int(high * 0.85)))
    font = fitting_font(listing.font, texts, listing.width - 6, size, SMALLEST)
    image = Image.new("RGB", (listing.width, listing.height), listing.theme.paper)
    canvas = ImageDraw.Draw(image)
    tall = min(high, font.size * 1.5)
    for row, line in enumerate(lines):
        left = 3.0
        for text, colour in line:
            canvas.text((left, 2 + tall * (row + 0.75)), text, fill=colour, font=font, anchor="ls")
            left += font.getlength(text)
    return (image,)


def _function(draws: Draws, listing: Listing) -> tuple[int, Function]:
    number = draws.below(len(listing.functions))
    return number, listing.functions[number]


def _which(listing: Listing, function: Function) -> dict[str, str]:
    """What a question calls a function: by name where there are several."""
    return {"it": f"function {quoted(function.name)}" if len(listing.functions) > 1 else "function"}


def ask_function(draws: Draws, listing: Listing) -> Question | None:
    """The name of a function."""
    number, function = _function(draws, listing)
    which = "" if len(listing.functions) == 1 else ("first ", "second ")[number]
    slots, topic = {"nth": which}, ("function", number)
    return Question("function", "function", slots, function.name, topic, alike(function.name))


def ask_returned(draws: Draws, listing: Listing) -> Question | None:
    """The number that a function returns."""
    number, function = _function(draws, listing)
    return Question("returned", "returned", _which(listing, function), str(function.returned), ("returned", number),
                    tuple(map(str, range(NUMBERS[0], NUMBERS[1] + 1))))  # fmt: skip


def ask_arguments(draws: Draws, listing: Listing) -> Question | None:
    """How many arguments a function takes."""
    number, function = _function(draws, listing)
    pool = tuple(map(str, range(MOST_ARGUMENTS + 1)))
    answer = str(len(function.arguments))
    return Question("arguments", "arguments", _which(listing, function), answer, ("arguments", number), pool)


def ask_variable(draws: Draws, listing: Listing) -> Question | None:
    """The number that a variable is set to."""
    number, function = _function(draws, listing)
    if function.variable is None:
        return None
    name, value = function.variable
    slots = {"name": name, **_which(listing, function)}
    return Question("variable", "variable", slots, str(value), ("variable", number),
                    tuple(map(str, range(NUMBERS[0], NUMBERS[1] + 1))))  # fmt: skip


CODE = Family(
    name="code",
    size=(160, 80),
    least=(144, 72),
    describe=describe,
    askers={
        "function": ask_function, "returned": ask_returned, "arguments": ask_arguments, "variable": ask_variable,
    },
    draw=draw,
    phrasings=PHRASINGS,
)  # fmt: skip
