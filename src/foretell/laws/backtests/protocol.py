"""How far off forecasts are: from the runs up to F_max / R of every public family, its best run near F_max.

For every family and loss of a folder of tidy tables the finished runs with at most 1/R of the largest compute, at least
four of them, forecast the run with the lowest loss among those of at least half the largest compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.tables import Table, read_table
from foretell.laws.backtests.baseline import bootstrap_forecast
from foretell.laws.forecast import as_observation, forecast_runs
from foretell.laws.tables.runs import Run, Runs, runs_of

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
class Interval:
    """A forecast as the backtest compares it."""

    value: float
    low: float
    high: float

    def winkler(self, outcome: float, level: float) -> float:
        """Interval score (Gneiting & Raftery 2007) of ln(loss): the width, and 2 / (1 - level) for each unit missed."""
        low, high, seen = math.log(self.low), math.log(self.high), math.log(outcome)
        return high - low + 2 / (1 - level) * (max(low - seen, 0.0) + max(seen - high, 0.0))

    def holds(self, outcome: float) -> bool:
        """Whether the interval holds the outcome."""
        return self.low <= outcome <= self.high


@dataclass(frozen=True)
class GapOutcome:
    """One case after the fact: our forecast, the usual bootstrap's, and what came."""

    source: str
    family: str
    metric: str
    gap: float
    n_runs: int
    clean: bool
    outcome: float
    ours: Interval
    bootstrap: Interval
    refused: bool

    @property
    def error(self) -> float:
        """Our forecast over the outcome, less one."""
        return self.ours.value / self.outcome - 1


def is_loss(metric: str) -> bool:
    """Whether a metric's name says that it is a loss, in nats, bits per byte or as a task's cross-entropy."""
    return "loss" in metric.lower() or metric.startswith(("bpb", "ce_"))


def gap_cases(folder: Path, gaps: Sequence[float] = GAPS, skipped: list[str] | None = None) -> Iterator[GapCase]:
    """Every case that the tidy tables of a folder hold, in the order of their names.

    Tables of another form and families that cannot be read are named in ``skipped`` with the reason.

    Raises:
        UserError: where the folder holds no tidy table.
    """
    for path, _, runs, family in tidy_families(folder, is_loss, [] if skipped is None else skipped):
        yield from _cut(path.stem, family, runs, gaps)


def tidy_families(
    folder: Path, wanted: Callable[[str], bool], skipped: list[str]
) -> Iterator[tuple[Path, Table, Runs, str]]:
    """The runs of every family and wanted metric of a folder of tidy tables: file, table, runs, family.

    Raises:
        UserError: where the folder holds no table.
    """
    paths = sorted(path for path in folder.glob("*.csv") if "per_problem" not in path.name)
    if not paths:
        raise UserError(f"{folder} holds no .csv table.")
    for path in paths:
        table = read_table(path)
        if not {"family", "metric", "value"} <= set(table.columns):
            skipped.append(f"{path.name}: it has no columns family, metric and value")
            continue
        for family, name in dict.fromkeys((str(row["family"]), str(row["metric"])) for row in table.rows):
            if not wanted(name):
                continue
            try:
                runs = runs_of(table, name, family)
            except UserError as error:
                skipped.append(f"{family} {name}: {str(error).replace(str(path), path.name)}")
                continue
            yield path, table, runs, family


def _cut(source: str, family: str, runs: Runs, gaps: Iterable[float]) -> Iterator[GapCase]:
    largest = runs.runs[-1].flops
    target = min((run for run in runs.runs if run.flops >= largest / 2), key=lambda run: run.value)
    for gap in gaps:
        small = tuple(run for run in runs.runs if run.flops <= largest / gap)
        if len(small) >= FEWEST_RUNS:
            yield GapCase(source, family, runs.metric, gap, Runs(runs.metric, small), target)


def run_case(case: GapCase, level: float) -> GapOutcome | None:
    """One forecast against its outcome, by constants that have not seen the source; ``None`` where none can be made."""
    try:
        made, _ = forecast_runs(case.runs, case.target.flops, level=level, without=case.source)
    except UserError:
        return None
    usual = bootstrap_forecast([as_observation(run) for run in case.runs.runs], case.target.flops, level)
    return GapOutcome(case.source, case.family, case.metric, case.gap, len(case.runs.runs), case.clean,
                      case.target.value, Interval(made.median, made.low, made.high), Interval(*usual),
                      made.refused)  # fmt: skip


def summary(outcomes: Sequence[GapOutcome], level: float) -> list[dict[str, Any]]:
    """One record a gap, and one for all: errors, coverage and interval scores, ours and the bootstrap's."""
    gaps = sorted({outcome.gap for outcome in outcomes})
    groups = [(gap, [outcome for outcome in outcomes if outcome.gap == gap]) for gap in gaps]
    return [_summary(gap, group, level) for gap, group in [*groups, (None, list(outcomes))] if group]


def _summary(gap: float | None, group: Sequence[GapOutcome], level: float) -> dict[str, Any]:
    errors = np.array([outcome.error for outcome in group])
    usual = np.array([outcome.bootstrap.value / outcome.outcome - 1 for outcome in group])
    return {
        "gap": gap, "cases": len(group), "median_error": float(np.median(np.abs(errors))),
        "p90_error": float(np.quantile(np.abs(errors), 0.9)), "bias": float(errors.mean()),
        "coverage": float(np.mean([one.ours.holds(one.outcome) for one in group])),
        "winkler": float(np.mean([one.ours.winkler(one.outcome, level) for one in group])),
        "bootstrap_median_error": float(np.median(np.abs(usual))),
        "bootstrap_coverage": float(np.mean([one.bootstrap.holds(one.outcome) for one in group])),
        "bootstrap_winkler": float(np.mean([one.bootstrap.winkler(one.outcome, level) for one in group])),
    }  # fmt: skip


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
        "all": summary(outcomes, level)[-1],
        "skipped": skipped,
        "without_forecast": [
            f"{case.family} {case.metric} at {case.gap:g}" for case, outcome in found if outcome is None
        ],
        "cases": [asdict(outcome) | {"error": outcome.error} for outcome in outcomes],
    }
