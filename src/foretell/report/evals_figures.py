"""The figures of evaluations: scores with their intervals (a forest plot), and reliability diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator

from foretell.evals.calibration import Calibration
from foretell.report.drawing import (
    FAINT,
    INK,
    LAW,
    OUTCOME,
    PAPER,
    inline_svg,
    is_narrow,
    legend_above,
    widen_left,
    write_figure,
)

Z = 1.96  # standard errors of a 95 % interval
ROW = 26  # points of height for each task
FOREST_WIDE, FOREST_NARROW = 520, 290
FOREST_MARGINS = 90
RELIABILITY = (380, 360)
CHARACTER = 5.6  # points of width
LONGEST_NAME = 30
COLOURS = (LAW, OUTCOME)
MARKS = ("o", "D")


@dataclass(frozen=True)
class ForestRow:
    """One task's headline under each model: value and standard error, 0 to 1, ``None`` where it was not asked."""

    name: str
    scores: tuple[tuple[float, float | None] | None, ...]


def forest_svg(rows: Sequence[ForestRow], models: Sequence[str], narrow: bool, identity: str) -> str:
    """Inline SVG of scores with 95 % intervals, a row for each task and a mark for each of one or two models."""
    size = (FOREST_NARROW if narrow else FOREST_WIDE, FOREST_MARGINS + ROW * len(rows))
    return inline_svg(lambda axes: _draw_forest(axes, rows, models), *size, forest_label(rows, models), identity,
                      legend_rows=1)  # fmt: skip


def forest_label(rows: Sequence[ForestRow], models: Sequence[str]) -> str:
    """The forest plot in words."""
    said = []
    for row in rows:
        values = [f"{100 * score[0]:.1f} %" for score in row.scores if score is not None]
        said.append(f"{row.name} {' and '.join(values)}")
    return f"Scores of {' and '.join(models)} with 95 % intervals: {'; '.join(said)}."


def _draw_forest(axes: Axes, rows: Sequence[ForestRow], models: Sequence[str]) -> None:
    names = [row.name if len(row.name) <= LONGEST_NAME else row.name[: LONGEST_NAME - 1] + "…" for row in rows]
    widen_left(axes, max(0.0, CHARACTER * max(map(len, names)) - 34))
    offset = 0.16 if len(models) > 1 else 0.0
    for number, model in enumerate(models):
        for place, row in enumerate(rows):
            score = row.scores[number]
            if score is None:
                continue
            at = place + (2 * number - 1) * offset
            value, error = 100 * score[0], 100 * Z * (score[1] or 0.0)
            low, high = max(0.0, value - error), min(100.0, value + error)
            axes.plot([low, high], [at, at], color=COLOURS[number], linewidth=1.6)
            axes.plot([value], [at], MARKS[number], color=COLOURS[number], markersize=6, markeredgecolor=PAPER,
                      markeredgewidth=0.8, linestyle="none", label=model)  # fmt: skip
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_locator(MultipleLocator(25 if is_narrow(axes) else 20))
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("score, %")
    if len(models) > 1:
        legend_above(axes)


def reliability_svg(found: Sequence[tuple[str, Calibration]], identity: str) -> str:
    """Inline SVG of the reliability of one model or two: the share that was true over stated confidence."""
    return inline_svg(lambda axes: _draw_reliability(axes, found), *RELIABILITY, reliability_label(found), identity,
                      legend_rows=len(found))  # fmt: skip


def write_reliability_figure(path: Path, found: Sequence[tuple[str, Calibration]]) -> None:
    """Write it as a file of its own, SVG or PNG by its suffix.

    Args:
        path: of the file.
        found: name and calibration of one model, or of two (before and after post-training).

    Raises:
        UserError: where the suffix is another, or the file cannot be written.
    """
    write_figure(path, lambda axes: _draw_reliability(axes, found), RELIABILITY, reliability_label(found),
                 "reliability", legend_rows=len(found))  # fmt: skip


def reliability_label(found: Sequence[tuple[str, Calibration]]) -> str:
    """The diagram in words."""
    said = [
        f"{name}: expected calibration error {one.ece:.3f} ({one.ece_low:.3f} to {one.ece_high:.3f}), "
        f"Brier score {one.brier:.3f}"
        for name, one in found
    ]
    return f"Share that was true over the model's confidence. {'; '.join(said)}."


def _draw_reliability(axes: Axes, found: Sequence[tuple[str, Calibration]]) -> None:
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    for number, (name, one) in enumerate(found):
        confidence = [100 * part.confidence for part in one.bins]
        true = [100 * part.true for part in one.bins]
        low = [100 * max(0.0, part.true - part.true_low) for part in one.bins]
        high = [100 * max(0.0, part.true_high - part.true) for part in one.bins]
        axes.errorbar(confidence, true, yerr=[low, high], fmt=MARKS[number] + "-", color=COLOURS[number],
                      markersize=5.5, markeredgecolor=PAPER, markeredgewidth=0.8, linewidth=1.4, elinewidth=1.0,
                      label=f"{name}: ECE {one.ece:.3f}")  # fmt: skip
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(20))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(visible=True, axis="both", color=FAINT)
    axes.set_xlabel("confidence, %")
    axes.set_ylabel("true, %")
    legend_above(axes, columns=(1, 1))
