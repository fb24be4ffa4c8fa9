"""Charts: bars with values to read off an axis, and lines that rise, fall or stay, told apart by a legend."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from PIL import Image, ImageDraw

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Setting, Split
from foretell.data.visual.generator.fonts import PLAIN_FONTS, load_font
from foretell.data.visual.generator.palette import COLOURS
from foretell.data.visual.generator.shapes import FINER, Colour, shrunk
from foretell.data.visual.generator.vocabulary import draw_words

TEXT = 10  # pixels of the font at the least
LETTER = 0.65  # of the font's pixels that a letter takes, about
TICKS = 5
AXES = {1: ((10, 1),), 2: ((50, 5),), 3: ((100, 10), (500, 50))}  # top, and step of values: half of that of the ticks
BARS = {1: 3, 2: 4, 3: 5}
SERIES = {1: 1, 2: 2, 3: 3}
POINTS = 6
LIGHT_COLOURS = ("red", "green", "blue", "orange", "purple", "black")
DARK_COLOURS = ("red", "green", "blue", "orange", "yellow", "white")
Trend = Literal["rising", "falling", "flat"]
TRENDS: tuple[Trend, ...] = ("rising", "falling", "flat")


@dataclass(frozen=True)
class Style:
    """How a chart looks: its frame (``box``, ``open`` to the right and above, ``none``), and colours of its parts."""

    frame: str
    paper: Colour
    panel: Colour
    grid: Colour | None
    outlined: bool = False

    @property
    def dark(self) -> bool:
        """Whether text on it is light."""
        return sum(self.paper) < 384


STYLES: dict[Split, tuple[Style, ...]] = {
    "train": (
        Style("open", (255, 255, 255), (255, 255, 255), None),
        Style("open", (255, 255, 255), (255, 255, 255), (210, 210, 210)),
        Style("box", (250, 248, 240), (250, 248, 240), None, outlined=True),
        Style("box", (255, 255, 255), (255, 255, 255), (220, 220, 220), outlined=True),
        Style("open", (20, 20, 24), (20, 20, 24), (70, 70, 75)),
        Style("box", (30, 30, 40), (15, 15, 20), None),
    ),
    "heldout": (
        Style("none", (255, 255, 255), (232, 234, 240), (255, 255, 255)),
        Style("none", (255, 255, 255), (255, 255, 255), (200, 205, 215), outlined=True),
        Style("none", (10, 25, 30), (10, 25, 30), (60, 80, 85)),
    ),
}


@dataclass(frozen=True)
class Series:
    """Bars, or the points of a line; values from 0 to the chart's top."""

    name: str
    colour: str
    values: tuple[float, ...]
    trend: Trend | None = None


@dataclass(frozen=True)
class Chart:
    """All that is in a picture.

    Attributes:
        labels: of the bars; none of lines.
        top, step: of the axis of values: its end, and what values of bars are multiples of.
        series: one of bars; one or more of lines, of which the first in ``order`` is the highest throughout.
    """

    width: int
    height: int
    style: Style
    font: str
    top: int
    step: int
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    order: tuple[int, ...] = (0,)

    @property
    def is_bars(self) -> bool:
        """Bars rather than lines."""
        return bool(self.labels)

    @property
    def text(self) -> int:
        """Pixels of the font."""
        return text_size(self.width, self.height)


def text_size(width: int, height: int) -> int:
    """Pixels of the font of a chart: more in a large one."""
    return max(TEXT, min(width // 16, height // 12))


def describe(draws: Draws, setting: Setting) -> Chart:
    """Bars or lines."""
    style = draws.choose(STYLES[setting.split])
    font = draws.choose(PLAIN_FONTS[setting.split])
    top, step = draws.choose(AXES[setting.level])
    text = text_size(setting.width, setting.height)
    colours = draws.shuffled(DARK_COLOURS if style.dark else LIGHT_COLOURS)
    if draws.coin(0.6):
        labels = _labels(draws, setting)
        # no two bars of the same height: one is the highest, one the lowest, and each answer is as likely
        values = draws.sample([step * number for number in range(1, top // step + 1)], len(labels))
        series, order = [Series("", colours[0], tuple(map(float, values)))], [0]
    else:
        labels, order = (), draws.shuffled(range(SERIES[setting.level]))
        letters = int((setting.width / len(order) - 1.5 * text) / (text * LETTER))
        names = draw_words(draws, setting.split, len(order), 3, 4 if letters > 3 else 3)
        series = [
            _line(draws, name, colour, top, order.index(number), len(order))
            for number, (name, colour) in enumerate(zip(names, colours, strict=False))
        ]
    return Chart(setting.width, setting.height, style, font, top, step, labels, tuple(series), tuple(order))


def _labels(draws: Draws, setting: Setting) -> tuple[str, ...]:
    count = BARS[setting.level]
    text = text_size(setting.width, setting.height)
    letters = min(4, int((setting.width - 3 * text) / count / (text * LETTER) - 0.5))  # half of one apart
    if letters < 3 or draws.coin(0.3):
        return tuple("ABCDE"[:count])
    return tuple(draw_words(draws, setting.split, count, 3, letters))


def _line(draws: Draws, name: str, colour: str, top: int, place: int, count: int) -> Series:
    """A line within its band of the axis, of which the one of ``place`` 0 is the highest: lines do not cross."""
    trend = draws.choose(TRENDS)
    band = 1 / count
    floor = 1 - (place + 1) * band
    low, high = draws.uniform(0.12, 0.2), draws.uniform(0.8, 0.9)
    start, end = {"rising": (low, high), "falling": (high, low), "flat": (0.0, 0.0)}[trend]
    if trend == "flat":
        start = end = draws.uniform(0.2, 0.8)
    values = []
    for number in range(POINTS):
        share = start + (end - start) * number / (POINTS - 1) + draws.uniform(-0.04, 0.04)
        values.append(top * (floor + band * share))
    return Series(name, colour, tuple(values), trend)


@dataclass(frozen=True)
class Frame:
    """Where the panel of a chart is, in pixels, and a value in it."""

    left: float
    upper: float
    right: float
    lower: float
    top: int

    def y(self, value: float) -> float:
        """Height of a value, from the picture's upper edge."""
        return self.lower - (self.lower - self.upper) * value / self.top

    def slot(self, number: int, count: int) -> tuple[float, float]:
        """Left and right edge of a bar."""
        wide = (self.right - self.left) / count
        return self.left + wide * (number + 0.18), self.left + wide * (number + 0.82)


def frame_of(chart: Chart) -> Frame:
    """The panel, less room for the labels of the axes and for a legend."""
    left = round(len(str(chart.top)) * LETTER * chart.text) + 5
    upper = 0.7 * chart.text if chart.is_bars else 2 * chart.text
    lower = chart.height - (1.5 * chart.text if chart.is_bars else 0.7 * chart.text)
    return Frame(left, upper, chart.width - 5, lower, chart.top)


def draw(chart: Chart) -> tuple[Image.Image, ...]:
    """The picture of a chart: panel, grid, bars or lines, frame, then text."""
    frame, style = frame_of(chart), chart.style
    ink = (225, 225, 225) if style.dark else (25, 25, 25)
    image = Image.new("RGB", (chart.width * FINER, chart.height * FINER), style.paper)
    canvas = ImageDraw.Draw(image)
    corners = [round(FINER * part) for part in (frame.left, frame.upper, frame.right, frame.lower)]
    canvas.rectangle(corners, fill=style.panel)
    ticks = [chart.top * number // TICKS for number in range(TICKS + 1)]
    for tick in ticks:
        y = round(FINER * frame.y(tick))
        if style.grid is not None:
            canvas.line((corners[0], y, corners[2], y), fill=style.grid, width=FINER)
        canvas.line((corners[0] - 2 * FINER, y, corners[0], y), fill=ink, width=FINER)
    (_draw_bars if chart.is_bars else _draw_lines)(canvas, chart, frame, ink)
    if style.frame == "box":
        canvas.rectangle(corners, outline=ink, width=FINER)
    elif style.frame == "open":
        canvas.line((corners[0], corners[1], corners[0], corners[3]), fill=ink, width=FINER)
        canvas.line((corners[0], corners[3], corners[2], corners[3]), fill=ink, width=FINER)
    image = shrunk(image)
    _write(ImageDraw.Draw(image), chart, frame, ticks, ink)
    return (image,)


def _draw_bars(canvas: ImageDraw.ImageDraw, chart: Chart, frame: Frame, ink: Colour) -> None:
    (series,) = chart.series
    for number, value in enumerate(series.values):
        left, right = frame.slot(number, len(series.values))
        box = [round(FINER * part) for part in (left, frame.y(value), right, frame.lower)]
        outline = ink if chart.style.outlined else None
        canvas.rectangle(box, fill=COLOURS[series.colour], outline=outline, width=FINER)


def _draw_lines(canvas: ImageDraw.ImageDraw, chart: Chart, frame: Frame, ink: Colour) -> None:
    for series in chart.series:
        across = (frame.right - frame.left) / (len(series.values) - 1)
        points = [(FINER * (frame.left + across * n), FINER * frame.y(v)) for n, v in enumerate(series.values)]
        for start, end in pairwise(points):
            canvas.line((start, end), fill=COLOURS[series.colour], width=2 * FINER)
        if chart.style.outlined:
            for x, y in points:
                canvas.ellipse((x - 6, y - 6, x + 6, y + 6), fill=COLOURS[series.colour])
    upper, side = 0.5 * chart.text, 0.7 * chart.text
    for (x, _), series in zip(_legend(chart), chart.series, strict=True):
        box = [FINER * part for part in (x, upper, x + side, upper + side)]
        canvas.rectangle(box, fill=COLOURS[series.colour])


def _legend(chart: Chart) -> list[tuple[float, str]]:
    """Where each entry begins, and its text."""
    wide = (chart.width - 4) / len(chart.series)
    return [(4 + wide * number, series.name) for number, series in enumerate(chart.series)]


def _write(canvas: ImageDraw.ImageDraw, chart: Chart, frame: Frame, ticks: list[int], ink: Colour) -> None:
    font = load_font(chart.font, chart.text)
    for tick in ticks:
        canvas.text((frame.left - 3, frame.y(tick)), str(tick), fill=ink, font=font, anchor="rm")
    for number, label in enumerate(chart.labels):
        left, right = frame.slot(number, len(chart.labels))
        canvas.text(((left + right) / 2, chart.height - 4), label, fill=ink, font=font, anchor="ms")
    if not chart.is_bars:
        for x, name in _legend(chart):
            canvas.text((x + chart.text, 1.2 * chart.text), name, fill=ink, font=font, anchor="ls")
