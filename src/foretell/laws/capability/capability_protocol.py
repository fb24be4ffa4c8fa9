"""How far off forecasts of accuracies are: from a family's runs up to F_max / R, its best run near F_max.

For every family and share of a folder of tidy tables the finished runs with at most 1/R of the largest compute, at
least four of them, forecast the run with the highest accuracy (the lowest error) among those of at least half the
largest compute. Every source is forecast with constants that were learned from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.laws.backtests.protocol import FEWEST_RUNS, GAPS, tidy_families
from foretell.laws.capability.accuracy import ShareForecast, forecast_share
from foretell.laws.capability.share_frontier import losses_beside
from foretell.laws.capability.share_prior import lower_is_better
from foretell.laws.tables.runs import Run, Runs, is_share


@dataclass(frozen=True)
class ShareFamily:
    """All finished runs of one family and share, with the loss that goes with it most closely, if there is one."""

    source: str
    runs: Runs
    family: str
    losses: Runs | None


@dataclass(frozen=True)
class ShareCase:
    """A family's runs up to 1/gap of its largest compute, and the run that they are to foretell."""

    source: str
    family: str
    gap: float
    runs: Runs
    losses: Runs | None
    target: Run

    def forecast(self, level: float) -> ShareForecast:
        """The target's share, foretold with constants that have not seen its source."""
        return forecast_share(self.runs, self.target.flops, level=level, losses=self.losses, without=self.source)


@dataclass(frozen=True)
class ShareOutcome:
    """One case after the fact; all figures are shares from 0 to 1."""

    source: str
    family: str
    metric: str
    gap: float
    n_runs: int
    value: float
    low: float
    high: float
    outcome: float
    refused: bool

    @property
    def error(self) -> float:
        """Forecast less outcome."""
        return self.value - self.outcome

    @property
    def inside(self) -> bool:
        """Whether the interval held the outcome."""
        return self.low <= self.outcome <= self.high

    def winkler(self, level: float) -> float:
        """Interval score (Gneiting & Raftery 2007): the width, and 2 / (1 - level) for each unit missed."""
        missed = max(self.low - self.outcome, 0.0) + max(self.outcome - self.high, 0.0)
        return self.high - self.low + 2 / (1 - level) * missed


def share_families(folder: Path, skipped: list[str] | None = None) -> Iterator[ShareFamily]:
    """Every family and share of the tidy tables of a folder; what cannot be read is named in ``skipped``.

    Raises:
        UserError: where the folder holds no table.
    """
    for path, table, runs, family in tidy_families(folder, is_share, [] if skipped is None else skipped):
        yield ShareFamily(path.stem, runs, family, losses_beside(table, runs, family))


def share_cases(family: ShareFamily, gaps: Sequence[float] = GAPS) -> Iterator[ShareCase]:
    """The cases that one family holds. Losses beyond the small runs stay out, as those runs do."""
    runs = family.runs.runs
    best = min if lower_is_better(family.runs.metric) else max
    target = best((run for run in runs if run.flops >= runs[-1].flops / 2), key=lambda run: run.value)
    for gap in gaps:
        top = runs[-1].flops / gap
        small = tuple(run for run in runs if run.flops <= top)
        if len(small) < FEWEST_RUNS:
            continue
        losses = None
        if family.losses is not None:
            losses = Runs(family.losses.metric, tuple(run for run in family.losses.runs if run.flops <= top))
        yield ShareCase(family.source, family.family, gap, Runs(family.runs.metric, small), losses, target)


def run_share_case(case: ShareCase, level: float) -> ShareOutcome:
    """One forecast against its outcome."""
    made = case.forecast(level)
    return ShareOutcome(case.source, case.family, case.runs.metric, case.gap, len(case.runs.runs), made.median,
                        made.low, made.high, case.target.value, made.refused)  # fmt: skip


def share_summary(outcomes: Sequence[ShareOutcome], level: float) -> list[dict[str, Any]]:
    """One record a gap: cases, median and 90th percentile of the absolute error, bias, coverage, interval score."""
    records = []
    for gap in sorted({outcome.gap for outcome in outcomes}):
        group = [outcome for outcome in outcomes if outcome.gap == gap]
        errors = np.array([outcome.error for outcome in group])
        records.append({
            "gap": gap, "cases": len(group), "sources": len({outcome.source for outcome in group}),
            "median_error": float(np.median(np.abs(errors))), "p90_error": float(np.quantile(np.abs(errors), 0.9)),
            "bias": float(errors.mean()), "coverage": float(np.mean([outcome.inside for outcome in group])),
            "width": float(np.median([outcome.high - outcome.low for outcome in group])),
            "winkler": float(np.mean([outcome.winkler(level) for outcome in group])),
        })  # fmt: skip
    return records


def capability_backtest(folder: Path, gaps: Sequence[float] = GAPS, level: float = 0.9) -> dict[str, Any]:
    """Every family and share of a folder, forecast and compared: a summary a gap and a source, and each case by name.

    Returns:
        ``level``, ``summary``, ``sources`` (a summary each), ``skipped`` and ``cases``; empty where the folder holds no
        share of enough span.

    Raises:
        UserError: where the folder holds no table.
    """
    skipped: list[str] = []
    outcomes = [
        run_share_case(case, level) for family in share_families(folder, skipped) for case in share_cases(family, gaps)
    ]
    names = list(dict.fromkeys(outcome.source for outcome in outcomes))
    return {
        "level": level,
        "summary": share_summary(outcomes, level),
        "sources": {name: share_summary([o for o in outcomes if o.source == name], level) for name in names},
        "skipped": skipped,
        "cases": [asdict(outcome) | {"error": outcome.error, "inside": outcome.inside} for outcome in outcomes],
    }


def capability_page(record: dict[str, Any]) -> str:
    """A capability backtest's record as Markdown: all sources, each source, every case by name; errors in points."""
    head = ["| gap | cases | error, median | 90th percentile | bias | inside | width, median | interval score |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    lines = ["Accuracies and other shares, errors in points:", "", *head, *map(_row, record["summary"]), ""]
    for name, rows in record["sources"].items():
        lines += [f"{name}:", "", *head, *map(_row, rows), ""]
    lines += ["| family | share | gap | runs | forecast | interval | outcome | error | |", "|" + " --- |" * 9]
    lines += [
        f"| {case['family']} | {case['metric']} | {case['gap']:,.0f} | {case['n_runs']} | {case['value']:.3f} | "
        f"{case['low']:.3f} to {case['high']:.3f} | {case['outcome']:.3f} | {100 * case['error']:+.1f} | "
        f"{'' if case['inside'] else 'outside'}{' refused' if case['refused'] else ''} |"
        for case in record["cases"]
    ]
    if record["skipped"]:
        lines += ["", "Not read:", "", *(f"- {entry}" for entry in record["skipped"])]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    return (
        f"| {row['gap']:,.0f} | {row['cases']} | {100 * row['median_error']:.1f} | {100 * row['p90_error']:.1f} | "
        f"{100 * row['bias']:+.1f} | {row['coverage']:.0%} | {100 * row['width']:.0f} | {row['winkler']:.3f} |"
    )
