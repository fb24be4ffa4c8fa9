"""The figure of micro-code: pass rates of the rungs, the forecast at the target, and what the target reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from foretell.report.drawing import (
    INK,
    LAW,
    OUTCOME,
    PAPER,
    RUNG,
    inline_svg,
    is_narrow,
    legend_above,
    widen_left,
    write_figure,
)
from foretell.report.figures import ROUND_STEPS, WIDE
from foretell.report.records import Record
from foretell.report.wording import compute_tick, fraction, percent, plural

DEVIATIONS = 2.0  # of the bars, about 95 %
LEGEND = ("rungs", "forecast")
WIDEST_TICK = 12  # points that "100 %" needs more than other figures' labels


@dataclass(frozen=True)
class PassRatePoint:
    """A model's pass rate: compute relative to the target, rate 0 to 1, standard error from the number of samples."""

    compute: float
    rate: float
    error: float


@dataclass(frozen=True)
class CodeSeries:
    """The figure in numbers, all of the problems that are foretold.

    Attributes:
        problems: how many.
        rungs: those that solved any; the others' rates were not measured.
        low, median, high: the forecast of the mean pass rate at the target.
        baseline: the largest rung's rate, where it was measured.
        outcome: the target's, where it was.
    """

    problems: int
    rungs: tuple[PassRatePoint, ...]
    low: float
    median: float
    high: float
    baseline: float | None
    outcome: PassRatePoint | None


def code_series(registered: Mapping[str, Any], scored: Mapping[str, Any] | None) -> CodeSeries | None:
    """Series of the figure, from ``forecast-code.json`` and ``score-code.json``; ``None`` where nothing is foretold.

    Raises:
        UserError: naming the field that is of another kind.
    """
    record = Record("forecast-code.json", registered)
    flops, total = record.number("target_flops"), record.record("forecast.total")
    rate = total.numbers("pass_rate")
    if not flops or len(rate) != 3:
        return None
    problems = set(total.items("problems"))
    points = [_point(run, problems, flops) for run in record.records("counts")]
    outcome = _point(Record("score-code.json", scored).record("counts"), problems, flops) if scored else None
    low, median, high = rate
    rungs = tuple(point for point in points if point)
    return CodeSeries(len(problems), rungs, low, median, high, record.number("baseline.pass_rate"), outcome)


def _point(run: Record, problems: set[Any], target_flops: float) -> PassRatePoint | None:
    flops = run.number("flops")
    cells = zip(run.items("problems"), run.numbers("samples"), run.numbers("correct"), strict=False)
    found = [(samples, correct) for problem, samples, correct in cells if problem in problems]
    if not flops or not any(correct for _, correct in found):
        return None
    rates = [(correct / samples, samples) for samples, correct in found]
    variance = sum(rate * (1 - rate) / samples for rate, samples in rates)
    return PassRatePoint(
        flops / target_flops, sum(rate for rate, _ in rates) / len(rates), math.sqrt(variance) / len(rates)
    )


def code_figure(
    registered: Mapping[str, Any], scored: Mapping[str, Any] | None, size: tuple[int, int] = WIDE,
    identity: str = "code",
) -> str | None:  # fmt: skip
    """Inline SVG of pass rates against compute relative to the target; ``None`` where nothing is foretold."""
    series = code_series(registered, scored)
    return inline_svg(lambda axes: _draw(axes, series), *size, _label(series), identity) if series else None


def write_code_figure(path: Path, registered: Mapping[str, Any], scored: Mapping[str, Any] | None) -> None:
    """Write the figure as a file of its own, SVG or PNG by its suffix, where anything is foretold.

    Raises:
        UserError: where the suffix is another, or ``path`` cannot be written.
    """
    series = code_series(registered, scored)
    if series:
        write_figure(path, lambda axes: _draw(axes, series), WIDE, _label(series), "code")


def _label(series: CodeSeries) -> str:
    parts = [f"Mean pass rate on {plural(series.problems, 'problem')} against training compute relative to the target."]
    if series.rungs:
        first, last = series.rungs[0], series.rungs[-1]
        parts.append(
            f"{plural(len(series.rungs), 'rung')} from {percent(first.rate)} at {fraction(first.compute)} to "
            f"{percent(last.rate)} at {fraction(last.compute)} of the target's compute."
        )
    parts.append(f"Forecast: {percent(series.median)}, interval {percent(series.low)} to {percent(series.high)}.")
    parts.append(f"Outcome: {percent(series.outcome.rate)}." if series.outcome else "No outcome yet.")
    return " ".join(parts)


def _draw(axes: Axes, series: CodeSeries) -> None:
    axes.set_xscale("log")
    axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.errorbar(
        [point.compute for point in series.rungs], [point.rate for point in series.rungs],
        yerr=[DEVIATIONS * point.error for point in series.rungs],
        fmt="o", markersize=6.5, color=RUNG, markeredgecolor=PAPER, markeredgewidth=0.8, elinewidth=1.2, label="rungs",
    )  # fmt: skip
    if series.baseline is not None and series.rungs:
        axes.plot([series.rungs[-1].compute, 1.0], [series.baseline] * 2, color=RUNG, linewidth=1.2,
                  linestyle=(0, (5, 3)), label="same as the largest")  # fmt: skip
    reach = [[max(0.0, series.median - series.low)], [max(0.0, series.high - series.median)]]
    axes.errorbar(
        [1.0], [series.median], yerr=reach, fmt="_", markersize=11, color=LAW, capsize=5, elinewidth=1.8,
        markeredgewidth=1.8, label="forecast",
    )  # fmt: skip
    if series.outcome:
        axes.plot([1.0], [series.outcome.rate], "D", markersize=8, color=OUTCOME, markeredgecolor=PAPER,
                  label="outcome")  # fmt: skip
    axes.set_xlim(min([point.compute for point in series.rungs] + [0.1]) / 1.8, 3.0)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compute_tick(value, is_narrow(axes))))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("training compute (target = 1)")
    axes.set_ylabel("mean pass rate")
    widen_left(axes, WIDEST_TICK)
    legend_above(axes, LEGEND)
