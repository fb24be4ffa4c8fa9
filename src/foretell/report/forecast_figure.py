"""The figure of a forecast from anyone's table: all runs, the points the law is fitted to, its band, the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from foretell.laws.records import Forecast
from foretell.laws.tables.runs import Run
from foretell.report.drawing import INK, LAW, OUTCOME, PAPER, RUNG, inline_svg, legend_above, widen_left, write_figure
from foretell.report.forecast_record import ForecastRecord
from foretell.report.wording import loss, one_line, plural, power_of_ten, scientific

Vector = NDArray[np.float64]

# Width and height in points: one for screens, one for telephones.
WIDE = (540, 340)
NARROW = (290, 300)
ENTRIES = 3  # of the legend besides those of runs: the points, the law, its band
ABOVE = 0.6  # of the height of what was used and foretold: runs further above it leave the axis
FOR_WORDS = 0.13  # of the height, kept free for the target's figures
MANY = 1500  # runs beyond which those that would cover each other are drawn once
GRID = 2.0  # points of the page within which they do
FEW_DECADES = 1.5  # of compute, below which ticks stand between powers of ten
LONGEST_NAME = 36  # characters of the metric that fit along the axis
TICK_CHARACTERS, CHARACTER = 5, 6.5  # that the margin holds, and the width of one in points
FEW_TIMES = 6.0  # of the loss, below which its ticks are evenly spaced


@dataclass(frozen=True)
class Limits:
    """Of the axes, and how many runs lie above them."""

    flops: tuple[float, float]
    loss: tuple[float, float]
    above: int


def forecast_svg(record: ForecastRecord, size: tuple[int, int] = WIDE, identity: str = "forecast") -> str:
    """The figure as SVG to set into a page.

    Args:
        record: the forecast and its runs.
        size: :data:`WIDE` or :data:`NARROW`.
        identity: start of the ids in the SVG, unique on a page.
    """
    rows = _legend_rows(record, size)
    return inline_svg(lambda axes: _draw(axes, record), *size, figure_label(record), identity, legend_rows=rows)


def write_table_figure(path: Path, record: ForecastRecord) -> None:
    """Write the figure as a file of its own on a light background, SVG or PNG by its suffix.

    Raises:
        UserError: where the suffix is another, or the file cannot be written.
    """
    label, rows = figure_label(record), _legend_rows(record, WIDE)
    write_figure(path, lambda axes: _draw(axes, record), WIDE, label, "forecast", legend_rows=rows)


def _legend_columns(record: ForecastRecord) -> tuple[int, int]:
    """Entries in a row of the legend, on screens and on telephones."""
    entries = ENTRIES + len({shown.use for shown in record.runs})
    return entries if entries <= 4 else 3, 2


def _legend_rows(record: ForecastRecord, size: tuple[int, int]) -> int:
    columns = _legend_columns(record)[size == NARROW]
    return -(-(ENTRIES + len({shown.use for shown in record.runs})) // columns)


def figure_label(record: ForecastRecord) -> str:
    """The figure in words, for those who do not see it."""
    made = record.forecast
    first, last = made.rungs[0], made.rungs[-1]
    kept_back = len(record.of_use("kept back"))
    parts = [
        f"{one_line(made.metric, 200)} against training compute: {plural(len(record.runs), 'run')}.",
        f"The law is fitted to {plural(len(made.rungs), 'point')} from {loss(first['mean_loss'])} at "
        f"{scientific(first['flops'])} FLOPs to {loss(last['mean_loss'])} at {scientific(last['flops'])} FLOPs.",
        f"Forecast at {scientific(made.target_flops)} FLOPs: {loss(made.median)}, {100 * made.level:g} % interval "
        f"{loss(made.low)} to {loss(made.high)}{', refused' if made.refused else ''}.",
    ]
    if kept_back:
        parts.append(f"{plural(kept_back, 'run')} kept back from the law.")
    if above := limits_of(record).above:
        parts.append(f"{plural(above, 'run')} above the axis.")
    return " ".join(parts)


def limits_of(record: ForecastRecord) -> Limits:
    """Limits that hold runs used, points, band and target whole, and of other runs all but those far above them.

    The axis of a share is not logarithmic and ends at 0 and 1.
    """
    made = record.forecast
    share = made.is_share
    change, back = (float, float) if share else (math.log, math.exp)
    runs = [shown.run for shown in record.runs]
    core = [change(value) for value in (*made.band["low"], *made.band["high"], made.low, made.high)]
    core += [change(rung["mean_loss"]) for rung in made.rungs] + [change(run.value) for run in record.of_use("used")]
    bottom, top = min(core), max(core)
    highest = top + ABOVE * (top - bottom)
    values = [change(run.value) for run in runs]
    shown = [value for value in values if value <= highest]
    bottom, top = min([bottom, *shown]), max([top, *shown])
    room = (top - bottom) or 0.1
    below, above = (0.05, FOR_WORDS) if _rises(made) else (FOR_WORDS, 0.05)
    low, high = back(bottom - below * room), back(top + above * room)
    if share:
        low, high = max(low, 0.0), min(high, 1 + above)
    smallest = min([made.band["flops"][0], *(run.flops for run in runs)])
    largest = max([made.target_flops, *(run.flops for run in runs)])
    margin = (largest / smallest) ** 0.03
    return Limits((smallest / margin, largest * margin**1.5), (low, high), len(values) - len(shown))


def _rises(made: Forecast) -> bool:
    """Whether more compute makes the metric larger, as of an accuracy."""
    return made.band["median"][-1] > made.band["median"][0]


def _draw(axes: Axes, record: ForecastRecord) -> None:
    made, limits = record.forecast, limits_of(record)
    axes.set_xscale("log")
    if not made.is_share:
        axes.set_yscale("log")
    axes.set_xlim(*limits.flops)
    axes.set_ylim(*limits.loss)
    far = [*record.of_use("far from the frontier"), *record.of_use("stray")]
    _dots(axes, far, "left out", "x", color=RUNG, alpha=0.35, markeredgewidth=0.8)
    _dots(axes, record.of_use("used"), "runs used", "o", color=RUNG, alpha=0.35, markeredgewidth=0)
    _dots(axes, record.of_use("kept back"), "runs kept back", "D", color=OUTCOME, alpha=0.55, markeredgewidth=0)
    _law(axes, made)
    _target(axes, made)
    _ticks(axes, limits)
    axes.set_xlabel("training compute, FLOPs")
    axes.set_ylabel(one_line(made.metric, LONGEST_NAME))
    legend_above(axes, ("runs used", "left out", "runs kept back"), _legend_columns(record))


def _dots(axes: Axes, runs: Sequence[Run], name: str, marker: str, **style: Any) -> None:
    if not runs:
        return
    flops, values = np.array([run.flops for run in runs]), np.array([run.value for run in runs])
    if len(runs) > MANY:
        kept = _apart(axes, flops, values)
        flops, values = flops[kept], values[kept]
    axes.plot(flops, values, marker, linestyle="none", markersize=3.6, label=name, **style)


def _apart(axes: Axes, flops: Vector, values: Vector) -> NDArray[np.intp]:
    """One of the runs of every cell of a grid so fine that the others would be hidden behind it."""
    places = axes.transData.transform(np.column_stack([flops, values])) / GRID
    return np.sort(np.unique(np.round(places), axis=0, return_index=True)[1])


def _law(axes: Axes, made: Forecast) -> None:
    flops = made.band["flops"]
    axes.fill_between(flops, made.band["low"], made.band["high"], color=LAW, alpha=0.16, linewidth=0,
                      label=f"{100 * made.level:g} % band")  # fmt: skip
    axes.plot(flops, made.band["median"], color=LAW, linewidth=1.8, label="law, median")
    axes.errorbar(
        [rung["flops"] for rung in made.rungs], [rung["mean_loss"] for rung in made.rungs],
        yerr=[rung["standard_error"] for rung in made.rungs], fmt="o", markersize=8, color=RUNG,
        markerfacecolor="none", markeredgewidth=1.3, elinewidth=1.2, label="points fitted",
    )  # fmt: skip


def _target(axes: Axes, made: Forecast) -> None:
    """The interval at the target, dashed where the forecast is refused, its figures where the law leaves room."""
    axes.axvline(made.target_flops, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    # a target whose shape costs loss lies above the band of the best shape, so this is drawn by itself
    axes.plot([made.target_flops] * 2, [made.low, made.high], color=LAW, linewidth=1.8,
              linestyle=(0, (2, 2)) if made.refused else "-")  # fmt: skip
    axes.plot([made.target_flops] * 2, [made.low, made.high], "_", markersize=9, markeredgewidth=1.8, color=LAW)
    axes.plot([made.target_flops], [made.median], "o", markersize=6, color=LAW, markeredgecolor=PAPER)
    rising = _rises(made)
    words = f"{loss(made.median)}  ({loss(made.low)} to {loss(made.high)})"
    axes.annotate(
        f"refused: {words}" if made.refused else words, (made.target_flops, made.high if rising else made.low),
        xytext=(-4, 5 if rising else -5),
        textcoords="offset points", ha="right", va="bottom" if rising else "top", fontsize=10.5,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def _ticks(axes: Axes, limits: Limits) -> None:
    decades = math.log10(limits.flops[1] / limits.flops[0])
    between = (1.0, 2.0, 5.0) if decades < FEW_DECADES else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=between, numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compute_label(value)))
    low, high = limits.loss
    evenly = axes.get_yscale() == "linear" or high / low < FEW_TIMES
    locator: Locator = MaxNLocator(6, steps=[1, 2, 5, 10]) if evenly else LogLocator(base=10, subs=(1.0, 2.0, 5.0))
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    longest = max((len(f"{tick:.6g}") for tick in axes.yaxis.get_majorticklocs()), default=0)
    if longest > TICK_CHARACTERS:
        widen_left(axes, (longest - TICK_CHARACTERS) * CHARACTER)


def compute_label(flops: float) -> str:
    """``1e21`` becomes ``10²¹``, ``5e18`` ``5×10¹⁸``."""
    exponent = math.floor(math.log10(flops) + 1e-9)
    first = round(flops / 10.0**exponent)
    return power_of_ten(exponent) if first == 1 else f"{first}×{power_of_ten(exponent)}"
