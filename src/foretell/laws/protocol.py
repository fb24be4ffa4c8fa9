"""How far off forecasts are: from the runs up to F_max / R of every public family, its best run near F_max.

For every family and loss of a folder of tidy tables the finished runs with at most 1/R of the largest compute, at least
four of them, forecast the run with the lowest loss among those of at least half the largest compute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.laws.forecast import forecast_runs
from foretell.laws.runs import Run, Runs, runs_of

GAPS = (10.0, 100.0, 1_000.0, 10_000.0)
FEWEST_RUNS = 4
# One loss of each family that its source calls neither mis-tuned nor noisy nor a constant-rate checkpoint.
CLEAN = frozenset({
    ("chinchilla", "loss_nats_train"),
    ("datablations-c4-1epoch", "loss_nats_c4_val"),
    ("gadre-c4", "loss_nats_paloma_redpajama"),
    ("gadre-rpj", "loss_nats_paloma_redpajama"),
    ("gemstones-cooldown", "loss_nats_val"),
    ("l2l-fineweb", "loss_nats_own_val"),
    ("l2l-fineweb-edu", "loss_nats_own_val"),
    ("l2l-proof-pile-2", "loss_nats_own_val"),
    ("l2l-smollm-corpus", "loss_nats_own_val"),
    ("porian-rw-tuned-shortwarm-const", "loss_nats_val"),
    ("porian-rw-tuned-longwarm-const-kaplanN", "loss_nats_train"),
    ("steplaw-dense", "loss_nats_train_smooth_best_over_lr_bs"),
})  # fmt: skip


@dataclass(frozen=True)
class GapCase:
    """A family's runs up to 1/gap of its largest compute, and the run that they are to foretell."""

    source: str
    family: str
    metric: str
    gap: float
    runs: Runs
    target: Run

    @property
    def clean(self) -> bool:
        """Whether it counts for the headline."""
        return (self.family, self.metric) in CLEAN


@dataclass(frozen=True)
class GapOutcome:
    """One case after the fact; ``error`` and ``half_width`` are relative to the outcome and the forecast."""

    source: str
    family: str
    metric: str
    gap: float
    n_runs: int
    value: float
    low: float
    high: float
    outcome: float
    clean: bool
    refused: bool

    @property
    def error(self) -> float:
        """Forecast over outcome, less one."""
        return self.value / self.outcome - 1

    @property
    def inside(self) -> bool:
        """Whether the interval held the outcome."""
        return self.low <= self.outcome <= self.high

    def winkler(self, level: float) -> float:
        """Interval score (Gneiting & Raftery 2007) of ln(loss): the width, and 2 / (1 - level) for each unit missed."""
        low, high, outcome = math.log(self.low), math.log(self.high), math.log(self.outcome)
        return high - low + 2 / (1 - level) * (max(low - outcome, 0.0) + max(outcome - high, 0.0))


def is_loss(metric: str) -> bool:
    """Whether a metric's name says that it is a loss, in nats, bits per byte or as a task's cross-entropy."""
    return "loss" in metric.lower() or metric.startswith(("bpb", "ce_"))


def gap_cases(folder: Path, gaps: Sequence[float] = GAPS, skipped: list[str] | None = None) -> Iterator[GapCase]:
    """Every case that the tidy tables of a folder hold, in the order of their names.

    Tables of another form and families that cannot be read are named in ``skipped`` with the reason.

    Raises:
        UserError: where the folder holds no tidy table.
    """
    skipped = [] if skipped is None else skipped
    paths = sorted(path for path in folder.glob("*.csv") if "per_problem" not in path.name)
    if not paths:
        raise UserError(f"{folder} holds no .csv table.")
    for path in paths:
        table = read_table(path)
        if not {"family", "metric", "value"} <= set(table.columns):
            skipped.append(f"{path.name}: it has no columns family, metric and value")
            continue
        pairs = dict.fromkeys((str(row["family"]), str(row["metric"])) for row in table.rows)
        for family, name in pairs:
            if not is_loss(name):
                continue
            try:
                runs = runs_of(table, name, family)
            except UserError as error:
                skipped.append(f"{family} {name}: {str(error).replace(str(path), path.name)}")
                continue
            yield from _cut(path.stem, family, runs, gaps)


def _cut(source: str, family: str, runs: Runs, gaps: Iterable[float]) -> Iterator[GapCase]:
    largest = runs.runs[-1].flops
    target = min((run for run in runs.runs if run.flops >= largest / 2), key=lambda run: run.value)
    for gap in gaps:
        small = tuple(run for run in runs.runs if run.flops <= largest / gap)
        if len(small) >= FEWEST_RUNS:
            yield GapCase(source, family, runs.metric, gap, Runs(runs.metric, small), target)


def run_case(case: GapCase, level: float) -> GapOutcome | None:
    """One forecast against its outcome; ``None`` where the runs cannot be forecast from at all."""
    try:
        made, _ = forecast_runs(case.runs, case.target.flops, level=level)
    except UserError:
        return None
    return GapOutcome(case.source, case.family, case.metric, case.gap, len(case.runs.runs), made.median, made.low,
                      made.high, case.target.value, case.clean, made.refused)  # fmt: skip


def summary(outcomes: Sequence[GapOutcome], level: float) -> list[dict[str, Any]]:
    """One record a gap: cases, median and 90th percentile of the absolute error, coverage, interval score, bias."""
    records = []
    for gap in sorted({outcome.gap for outcome in outcomes}):
        group = [outcome for outcome in outcomes if outcome.gap == gap]
        errors = np.array([outcome.error for outcome in group])
        records.append({
            "gap": gap, "cases": len(group), "median_error": float(np.median(np.abs(errors))),
            "p90_error": float(np.quantile(np.abs(errors), 0.9)), "bias": float(errors.mean()),
            "coverage": float(np.mean([outcome.inside for outcome in group])),
            "winkler": float(np.mean([outcome.winkler(level) for outcome in group])),
        })  # fmt: skip
    return records


def gap_backtest(folder: Path, gaps: Sequence[float] = GAPS, level: float = 0.9) -> dict[str, Any]:
    """Every case of a folder, forecast and compared: summaries of clean and other families, and each case by name.

    Raises:
        UserError: where the folder holds no tidy table, or no family of enough span.
    """
    skipped: list[str] = []
    found = [(case, run_case(case, level)) for case in gap_cases(folder, gaps, skipped)]
    outcomes = [outcome for _, outcome in found if outcome is not None]
    if not outcomes:
        raise UserError(f"{folder} holds no family with {FEWEST_RUNS} runs of at most 1/{min(gaps):g} of its largest.")
    return {
        "level": level,
        "clean": summary([outcome for outcome in outcomes if outcome.clean], level),
        "others": summary([outcome for outcome in outcomes if not outcome.clean], level),
        "skipped": skipped,
        "without_forecast": [
            f"{case.family} {case.metric} at {case.gap:g}" for case, outcome in found if outcome is None
        ],
        "cases": [asdict(outcome) | {"error": outcome.error, "inside": outcome.inside} for outcome in outcomes],
    }


def backtest_page(record: dict[str, Any]) -> str:
    """A backtest's record as Markdown: the summaries, then every case by name."""
    lines = []
    for key, title in (("clean", "Clean families"), ("others", "All other families and losses")):
        if not record[key]:
            continue
        lines += [f"{title}:", "", "| gap | cases | error, median | 90th percentile | bias | inside | interval score |",
                  "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
        lines += [
            f"| {row['gap']:,.0f} | {row['cases']} | {row['median_error']:.1%} | {row['p90_error']:.1%} | "
            f"{row['bias']:+.1%} | {row['coverage']:.0%} | {row['winkler']:.3f} |"
            for row in record[key]
        ]
        lines.append("")
    lines += ["| family | loss | gap | runs | forecast | interval | outcome | error | |", "|" + " --- |" * 9]
    lines += [
        f"| {case['family']} | {case['metric']} | {case['gap']:,.0f} | {case['n_runs']} | {case['value']:.3f} | "
        f"{case['low']:.3f} to {case['high']:.3f} | {case['outcome']:.3f} | {case['error']:+.1%} | "
        f"{'' if case['inside'] else 'outside'}{' refused' if case['refused'] else ''} |"
        for case in record["cases"]
    ]
    for key, title in (("without_forecast", "Without a forecast"), ("skipped", "Not read")):
        if record[key]:
            lines += ["", f"{title}:", "", *(f"- {entry}" for entry in record[key])]
    return "\n".join(lines)
