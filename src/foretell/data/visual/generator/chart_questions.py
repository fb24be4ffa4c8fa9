"""Questions about charts, and the family that they make up."""

from __future__ import annotations

from foretell.data.visual.generator.charts import DARK_COLOURS, LIGHT_COLOURS, TICKS, TRENDS, Chart, describe, draw
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Family, Phrasings, Question
from foretell.data.visual.generator.wording import quoted


def ask_value(draws: Draws, chart: Chart) -> Question | None:
    """The value of a bar; one that is a tick of the axis off is near."""
    if not chart.is_bars:
        return None
    number = draws.below(len(chart.labels))
    pool = tuple(map(str, range(chart.step, chart.top + 1, chart.step)))
    answer = str(int(chart.series[0].values[number]))
    return Question("value", "value", {"name": quoted(chart.labels[number])}, answer, ("value", number), pool,
                    tolerance=chart.top / TICKS)  # fmt: skip


def ask_maximum(draws: Draws, chart: Chart) -> Question | None:
    """Which bar is the highest."""
    return _extreme(chart, "maximum", highest=True)


def ask_minimum(draws: Draws, chart: Chart) -> Question | None:
    """Which bar is the lowest."""
    return _extreme(chart, "minimum", highest=False)


def _extreme(chart: Chart, kind: str, highest: bool) -> Question | None:
    if not chart.is_bars:
        return None
    values = chart.series[0].values
    value = max(values) if highest else min(values)
    return Question(kind, kind, {}, chart.labels[values.index(value)], kind, chart.labels)


def ask_higher(draws: Draws, chart: Chart) -> Question | None:
    """Whether one bar is higher than another."""
    if not chart.is_bars:
        return None
    values = chart.series[0].values
    one, other = draws.sample(range(len(values)), 2)
    if (values[one] > values[other]) != draws.coin():
        one, other = other, one
    answer = "yes" if values[one] > values[other] else "no"
    slots = {"one": quoted(chart.labels[one]), "other": quoted(chart.labels[other])}
    return Question("higher", "higher", slots, answer, ("higher", frozenset((one, other))))


def ask_trend(draws: Draws, chart: Chart) -> Question | None:
    """Whether a line rises, falls or stays."""
    if chart.is_bars:
        return None
    number = draws.below(len(chart.series))
    series = chart.series[number]
    assert series.trend is not None
    return Question("trend", "trend", {"name": quoted(series.name)}, series.trend, ("trend", number), TRENDS)


def ask_legend(draws: Draws, chart: Chart) -> Question | None:
    """The colour of a line, the line of a colour, or the line that is the highest."""
    if chart.is_bars:
        return None
    number, what = draws.below(len(chart.series)), draws.below(3 if len(chart.series) > 1 else 1)
    series, names = chart.series[number], tuple(series.name for series in chart.series)
    if what == 0:
        pool = DARK_COLOURS if chart.style.dark else LIGHT_COLOURS
        return Question("legend", "colour", {"name": quoted(series.name)}, series.colour, ("legend", number), pool)
    if what == 1:
        return Question("legend", "named", {"colour": series.colour}, series.name, ("named", number), names)
    return Question("legend", "highest", {}, names[chart.order[0]], "highest", names)


CHARTS = Family(
    name="charts",
    size=(128, 96),
    least=(112, 80),
    describe=describe,
    askers={
        "value": ask_value, "maximum": ask_maximum, "minimum": ask_minimum, "higher": ask_higher,
        "trend": ask_trend, "legend": ask_legend,
    },
    draw=draw,
    phrasings={
        "value": Phrasings(
            train=(
                "what is the value of {name}?",
                "what value does {name} have?",
                "how high is the bar of {name}?",
                "which value does the bar of {name} show?",
                "read the value of {name}.",
                "in the chart, what is the value of {name}?",
                "the bar of {name} has which value?",
                "tell me the value of the bar {name}.",
                "what number does the bar of {name} reach?",
            ),
            heldout=(
                "which value does {name} have in the chart?",
                "what is the value of the bar {name}?",
                "read the value of the bar of {name}.",
                "how high is {name}?",
            ),
        ),
        "maximum": Phrasings(
            train=(
                "which bar is the highest?",
                "what is the highest bar?",
                "which bar has the highest value?",
                "name the highest bar.",
                "which bar is higher than all others?",
                "what bar of the chart is the tallest?",
                "the highest value is that of which bar?",
                "in the chart, which bar has the largest value?",
                "tell me which bar is the tallest.",
            ),
            heldout=(
                "in the chart, which bar is the highest?",
                "name the bar of the highest value.",
                "which bar is the tallest?",
                "what bar has the largest value?",
            ),
        ),
        "minimum": Phrasings(
            train=(
                "which bar is the lowest?",
                "what is the lowest bar?",
                "which bar has the lowest value?",
                "name the lowest bar.",
                "which bar is lower than all others?",
                "what bar of the chart is the shortest?",
                "the lowest value is that of which bar?",
                "in the chart, which bar has the smallest value?",
                "tell me which bar is the shortest.",
            ),
            heldout=(
                "in the chart, which bar is the lowest?",
                "name the bar of the lowest value.",
                "which bar is the shortest?",
                "what bar has the smallest value?",
            ),
        ),
        "higher": Phrasings(
            train=(
                "is {one} higher than {other}?",
                "is the bar of {one} higher than that of {other}?",
                "does {one} have a higher value than {other}?",
                "is the value of {one} larger than that of {other}?",
                "in the chart, is {one} above {other}?",
                "is it true that {one} is higher than {other}?",
                "is the bar {one} taller than the bar {other}?",
                "does the bar of {one} reach higher than that of {other}?",
            ),
            heldout=(
                "in the chart, is {one} higher than {other}?",
                "is the value of {one} higher than that of {other}?",
                "does {one} have a larger value than {other}?",
            ),
        ),
        "trend": Phrasings(
            train=(
                "is {name} rising, falling or flat?",
                "what is the trend of {name}?",
                "which trend does {name} show?",
                "is the line of {name} rising, falling or flat?",
                "in the chart, is the line {name} rising, flat or falling?",
                "what does the line of {name} do: is it flat, falling or rising?",
                "name the trend of the line {name}.",
                "tell me the trend of {name}: rising, falling or flat?",
            ),
            heldout=(
                "which trend does the line of {name} show?",
                "in the chart, what is the trend of {name}?",
                "is the line {name} flat, rising or falling?",
            ),
        ),
        "colour": Phrasings(
            train=(
                "what color is {name}?",
                "what colour is the line of {name}?",
                "what color does {name} have in the chart?",
                "which color is {name} drawn in?",
                "name the colour of {name}.",
                "the line of {name} has which color?",
                "in the legend, which colour is {name}?",
                "tell me the color of the line {name}.",
            ),
            heldout=(
                "what color is the line of {name}?",
                "in the chart, which color is {name}?",
                "which colour does the line {name} have?",
            ),
        ),
        "named": Phrasings(
            train=(
                "which line is {colour}?",
                "what is the name of the {colour} line?",
                "name the {colour} line.",
                "the {colour} line is which one?",
                "what does the {colour} line show?",
                "in the chart, what is the {colour} line?",
                "tell me the name of the {colour} line.",
                "which one is drawn in {colour}?",
            ),
            heldout=(
                "in the chart, which line is {colour}?",
                "which line is drawn in {colour}?",
                "what is the {colour} line?",
            ),
        ),
        "highest": Phrasings(
            train=(
                "which line is the highest?",
                "which line is above all others?",
                "name the highest line.",
                "what is the highest line?",
                "which line has the highest values?",
                "in the chart, which line is above the others?",
                "tell me which line is the highest.",
                "the highest line is which one?",
            ),
            heldout=(
                "in the chart, which line is the highest?",
                "what is the name of the highest line?",
                "which one is above all others?",
            ),
        ),
    },
)  # fmt: skip
