"""Learn the constants of accuracies from public families: once from all sources, and once without each of them.

``python -m foretell.laws.capability.share_learning FOLDER --write`` does it and writes ``share_constants.json`` beside
this file. Levels and slopes are the moments of what the model itself finds in the full range of every family, every
source counting once. The scales of noise and drift and the forms of the curve are chosen among :data:`MOVES`, one after
the other, by the mean predictive log density of the backtest's cases, again with every source counting once.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.laws.capability.accuracy import loss_at, share_mixture
from foretell.laws.capability.capability_protocol import ShareCase, ShareFamily, share_cases, share_families
from foretell.laws.capability.share_frontier import share_frontier
from foretell.laws.capability.share_model import infer_share
from foretell.laws.capability.share_prior import SharePrior, TaskPrior, prior_from, share_task, task_of
from foretell.laws.records import Forecast

CONSTANTS = Path(__file__).with_name("share_constants.json")
FEWEST_POINTS, SHORTEST_SPAN = 3, 20.0  # doublings of compute that a family must hold to be learned from, and its span
SURE = 0.5  # standard deviation of a level above which a family does not tell it
# Moments of a few sources are uncertain themselves; spreads are not believed below these.
SMALLEST_LEVEL_SPREAD, SMALLEST_SLOPE_FACTOR, SMALLEST_TASK_SPREAD = 0.6, 1.3, 0.3
LEAST_GAIN = 0.02  # of the mean score, below which a constant is left where it was
MOVES: tuple[dict[str, Any], ...] = (
    {"loss_weight": 0.0}, {"loss_weight": 0.6},
    {"curvatures": (0.0,)}, {"curvatures": (0.0, 0.1)},
    {"drift": 0.2}, {"drift": 0.45},
    {"noise": 0.007}, {"noise": 0.014},
    {"points": 6}, {"points": 9},
    {"ceilings": ((1.0, 0.0),)},
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What the model finds in one family's full range: h at the reference compute, and ln of its slope."""

    source: str
    task: str | None
    level: float
    log_slope: float


def look(families: Sequence[ShareFamily]) -> list[Seen]:
    """The level and slope of every family and share that tells them, with next to nothing believed before."""
    open_prior = SharePrior(level_spread=3.0, slope_factor=2.0, outlier=0.9)
    found = []
    for family in families:
        task = share_task(family.runs.metric, open_prior)
        points = share_frontier(
            family.runs.runs, falling=task.falling, losses=family.losses, items=None, most=12
        ).points  # fmt: skip
        if len(points.x) < FEWEST_POINTS or points.x[-1] - points.x[0] < math.log(SHORTEST_SPAN):
            continue
        posterior = infer_share(points, chance=task.chance, prior=open_prior)
        if float(posterior.level.std()) <= SURE:
            level, log_slope = float(posterior.level.mean()), float(np.log(posterior.slope_there).mean())
            found.append(Seen(family.source, task_of(task.metric), level, log_slope))
    return found


def moments(seen: Sequence[Seen], prior: SharePrior) -> SharePrior:
    """The prior with the levels and slopes of these families; a source counts once for a task, however many it has."""
    groups: dict[tuple[str, str], list[Seen]] = {}
    for index, entry in enumerate(seen):
        groups.setdefault((entry.task or f"unknown {index}", entry.source), []).append(entry)
    means = {
        key: (float(np.mean([e.level for e in group])), float(np.mean([e.log_slope for e in group])))
        for key, group in groups.items()
    }
    levels, log_slopes = np.array(list(means.values())).T
    tasks = {}
    for name in sorted({task for task, _ in means if not task.startswith("unknown ")}):
        own = np.array([value for (task, _), value in means.items() if task == name])
        tasks[name] = TaskPrior(round(float(own[:, 0].mean()), 3), round(math.exp(float(own[:, 1].mean())), 4))
    around = [
        (entry.level - tasks[entry.task].level, entry.log_slope - math.log(tasks[entry.task].slope))
        for entry in seen
        if entry.task in tasks
    ]
    spread = np.sqrt(np.mean(np.square(around), axis=0)) if around else np.array([0.0, 0.0])
    return dataclasses.replace(
        prior,
        level=round(float(np.median(levels)), 3),
        level_spread=round(max(float(levels.std()), SMALLEST_LEVEL_SPREAD), 3),
        slope=round(math.exp(float(log_slopes.mean())), 4),
        slope_factor=round(max(math.exp(float(log_slopes.std())), SMALLEST_SLOPE_FACTOR), 3),
        task_level_spread=round(max(float(spread[0]), SMALLEST_TASK_SPREAD), 3),
        task_slope_factor=round(max(math.exp(float(spread[1])), SMALLEST_SLOPE_FACTOR), 3),
        tasks=tasks,
    )


@dataclass(frozen=True)
class Prepared:
    """A case and its first stage, which no constant of ours changes."""

    case: ShareCase
    loss: Forecast | None

    def score(self, prior: SharePrior) -> float:
        """ln of the predictive density at the outcome."""
        case, task = self.case, share_task(self.case.runs.metric, prior)
        frontier = share_frontier(
            case.runs.runs, falling=task.falling, losses=case.losses, items=None, most=prior.points
        )  # fmt: skip
        _, mixture, _ = share_mixture(task, frontier, case.target.flops, self.loss)
        return mixture.log_density(1 - case.target.value if task.falling else case.target.value)


def prepare(case: ShareCase) -> Prepared:
    """Forecast the loss once."""
    return Prepared(case, None if case.losses is None else loss_at(case.losses, case.target.flops, case.source))


def choose(scores: Mapping[str, Mapping[str, Sequence[float]]], sources: Sequence[str]) -> str:
    """The move with the best mean score over sources, each counting once."""
    return max(scores, key=lambda name: float(np.mean([np.mean(scores[name][source]) for source in sources])))


def learn(folder: Path) -> dict[str, Any]:
    """All constants: ``all``, and ``without`` each source that has cases, as JSON-ready values.

    Raises:
        UserError: where the folder holds no table, or fewer than two sources of shares.
    """
    families = list(share_families(folder))
    sources = sorted({family.source for family in families})
    if len(sources) < 2:
        raise UserError(f"{folder} holds shares of {len(sources)} sources; at least two are needed.")
    cases: dict[str, list[Prepared]] = {}
    for family in families:
        for case in share_cases(family):
            cases.setdefault(case.source, []).append(prepare(case))
    scorer = _Scorer(look(families), cases)
    chosen: dict[str, dict[str, Any]] = {name: {} for name in ("", *sources)}
    for name, moves in itertools.groupby(MOVES, key=lambda move: next(iter(move))):
        options = list(moves)
        for left_out, so_far in chosen.items():
            best = max((so_far | move for move in options), key=lambda moved: scorer.mean(moved, left_out))
            if scorer.mean(best, left_out) > scorer.mean(so_far, left_out) + LEAST_GAIN:
                chosen[left_out] = best
        say(f"{name}: " + ", ".join(f"{key or 'all'} {found.get(name, '-')}" for key, found in chosen.items()))
    record = {left_out: dataclasses.asdict(scorer.prior(moved, left_out)) for left_out, moved in chosen.items()}
    say(f"mean log score {scorer.mean(chosen[''], ''):.3f}")
    return {"all": record.pop(""), "without": record}


class _Scorer:
    """Mean scores of sources under constants that were moved, each source with the levels and slopes of the others."""

    def __init__(self, seen: Sequence[Seen], cases: Mapping[str, Sequence[Prepared]]) -> None:
        self._seen, self._cases = seen, cases
        self._scores: dict[tuple[str, str], float] = {}

    def prior(self, moved: Mapping[str, Any], *left_out: str) -> SharePrior:
        """The constants without these sources."""
        others = [entry for entry in self._seen if entry.source not in left_out]
        return moments(others, dataclasses.replace(SharePrior(), **moved))

    def mean(self, moved: Mapping[str, Any], left_out: str) -> float:
        """Over all sources but one."""
        return float(np.mean([self._score(moved, source) for source in self._cases if source != left_out]))

    def _score(self, moved: Mapping[str, Any], source: str) -> float:
        key = repr(sorted(moved.items())), source
        if key not in self._scores:
            prior = self.prior(moved, source)
            self._scores[key] = float(np.mean([case.score(prior) for case in self._cases[source]]))
        return self._scores[key]


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn the constants and print or write them (about ten minutes)."""
    parser = argparse.ArgumentParser(prog="python -m foretell.laws.capability.share_learning", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="tidy CSVs of public training runs")
    parser.add_argument("--write", action="store_true", help=f"into {CONSTANTS.name}, which forecasts read")
    options = parser.parse_args(arguments)
    try:
        record = learn(options.folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    prior_from(json.loads(json.dumps(record["all"])))
    text = json.dumps(record, indent=1) + "\n"
    if options.write:
        CONSTANTS.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
