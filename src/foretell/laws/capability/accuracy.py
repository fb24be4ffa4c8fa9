"""The accuracy of a run that nobody has trained yet, or another share, from small runs, with an interval.

The law is -ln(share above chance) = (C / C0)^-b (OpenAI 2023, "GPT-4 Technical Report", section 3.2); the model around
it is in :mod:`foretell.laws.capability.share_model`. Where the runs have a loss too, a part of the forecast goes by way
of it: the loss is forecast first, then the accuracy as a function of the loss (Gadre et al. 2024, arXiv 2403.08540).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.capability.share_findings import share_findings
from foretell.laws.capability.share_frontier import ShareFrontier, losses_beside, share_frontier
from foretell.laws.capability.share_model import Points, ShareMixture, SharePosterior, Vector, infer_share, mix
from foretell.laws.capability.share_prior import ShareTask, learned_prior, share_task
from foretell.laws.diagnostics import by_severity
from foretell.laws.forecast import forecast_runs
from foretell.laws.records import Forecast, Observation
from foretell.laws.tables.runs import Run, Runs
from foretell.laws.target import level_of, number_of, positive, positive_or_none

BAND_POINTS = 12
LOSS_NODES = ndtri((np.arange(5) + 0.5) / 5)  # equally likely standard normal values that stand for the loss
NINETY = float(ndtri(0.95))


class ShareForecast(Forecast):
    """A forecast whose values are shares from 0 to 1; ``loss`` of its observations and rungs is the share."""

    @property
    def half_width(self) -> float:
        """Half the interval's width, in share: 0.05 means plus or minus 5 points."""
        return (self.high - self.low) / 2


def forecast_share(
    runs: Runs, target_flops: float, *, level: float = 0.9, losses: Runs | None = None, chance: float | None = None,
    items: int | None = None, max_flops: float | None = None, without: str | None = None,
) -> ShareForecast:  # fmt: skip
    """Forecast an accuracy, an error rate or a pass rate at ``target_flops``.

    Args:
        runs: of one family and metric; values are shares from 0 to 1.
        target_flops: compute of the run that is foretold, best for its compute; more than the largest run's.
        level: probability of the interval, 0.5 to 0.999.
        losses: a loss of the same runs, which says which of them are best for their compute and makes the forecast
            two-stage; see :func:`foretell.laws.capability.share_frontier.losses_beside`.
        chance: share of right answers by guessing, 0 to 0.9; by the task's name where it is known, else estimated.
        items: number of questions, for the noise of the measured shares.
        max_flops: only runs up to this compute are used, as if the others had not been trained.
        without: a public source whose lessons are not used, where its own runs are the test.

    Returns:
        ``median``, ``low`` and ``high`` are in the metric's own direction, an error rate for error rates.

    Raises:
        UserError: for no runs, a share outside 0 to 1, a level, chance or number of items out of range, or a target
            that is not above the runs.
    """
    target_flops, level = positive("target_flops", target_flops), level_of(level)
    max_flops = positive_or_none("max_flops", max_flops)
    chance, items = _chance(chance), _items(items)
    used = [run for run in runs.runs if max_flops is None or run.flops <= max_flops]
    _check(runs, used, target_flops, max_flops)
    task = share_task(runs.metric, learned_prior(without), chance)
    falling = task.falling
    beside = None if losses is None else Runs(losses.metric, tuple(r for r in losses.runs if r.flops <= used[-1].flops))
    frontier = share_frontier(used, falling=falling, losses=beside, items=items, most=task.prior.points)
    loss = None if frontier.log_loss is None or beside is None else loss_at(beside, target_flops, without)
    direct, mixture, two_stage = share_mixture(task, frontier, target_flops, loss)
    tail = (1 - level) / 2
    low, median, high = (mixture.quantile(p) for p in (tail, 0.5, 1 - tail))
    if falling:
        low, median, high = 1 - high, 1 - median, 1 - low
    findings = [
        *runs.findings,
        *share_findings(
            task, frontier, target_flops, (low, median, high), len(used), loss if two_stage else None, beside
        ),
    ]
    return ShareForecast(
        law=_law(direct, task, level, two_stage=two_stage),
        target_flops=float(target_flops),
        median=median,
        low=low,
        high=high,
        level=level,
        metric=runs.metric,
        findings=by_severity(findings),
        band=_band(task, frontier, direct, target_flops, (low, median, high), tail),
        rungs=_rungs(frontier, direct, falling),
        observations=tuple(Observation(r.flops, r.value, r.params, r.tokens, r.seed, r.name) for r in used),
        kind=runs.kind,
    )


def forecast_share_table(
    table: Table, runs: Runs, target_flops: float, *, family: str | None = None, level: float = 0.9,
    chance: float | None = None, items: int | None = None, max_flops: float | None = None,
) -> ShareForecast:  # fmt: skip
    """:func:`forecast_share` of runs that were read from a table, together with the loss that the table has beside it.

    Raises:
        UserError: as :func:`forecast_share`.
    """
    losses = losses_beside(table, runs, family)
    return forecast_share(
        runs, target_flops, level=level, losses=losses, chance=chance, items=items, max_flops=max_flops
    )


def _chance(chance: Any) -> float | None:
    if chance is None:
        return None
    number = number_of(chance)
    if not 0 <= number <= 0.9:
        raise UserError(f"chance is {chance}; a share from 0 to 0.9 is accepted.")
    return number


def _items(items: Any) -> int | None:
    if items is None:
        return None
    number = number_of(items)
    if not (1 <= number < math.inf and number == round(number)):
        raise UserError(f"items is {items}; a number of questions, at least 1, is accepted.")
    return round(number)


def _check(runs: Runs, used: Sequence[Run], target: float, max_flops: float | None) -> None:
    if not used:
        said = "There are no runs" if max_flops is None else f"max_flops is {max_flops:.4g} and leaves no run"
        raise UserError(f"{said} to forecast {runs.metric} from; at least one is needed.")
    odd = next((run for run in used if not 0 <= run.value <= 1), None)
    if odd is not None:
        raise UserError(f"Row {odd.row}: {runs.metric} is {odd.value:g}; shares from 0 to 1 are expected.")
    largest = max(run.flops for run in used)
    if target <= largest:
        raise UserError(
            f"target_flops is {target:.4g}; a finite number above the largest run's {largest:.4g} FLOPs is needed."
        )


def loss_at(losses: Runs, target_flops: float, without: str | None = None) -> Forecast | None:
    """The first of two stages: the loss at the target; ``None`` where the losses cannot carry a forecast."""
    try:
        made = forecast_runs(losses, target_flops, level=0.9, without=without)[0]
    except UserError:
        return None
    return None if made.refused else made


def share_mixture(
    task: ShareTask, frontier: ShareFrontier, target_flops: float, loss: Forecast | None
) -> tuple[SharePosterior, ShareMixture, bool]:
    """The law along compute, the share of successes at the target, and whether it went by way of the loss in part."""
    prior, points = task.prior, frontier.points
    direct = infer_share(points, chance=task.chance, prior=prior, task=task.known)
    mixture = direct.predict([math.log(target_flops) - float(points.x[-1])])
    if loss is None or frontier.log_loss is None or len(points.x) < 3 or prior.loss_weight == 0:
        return direct, mixture, False
    scaled = _by_loss(points, frontier.log_loss, loss)
    if scaled is None:
        return direct, mixture, False
    bends = prior.loss_curvatures
    by_loss = infer_share(scaled[0], chance=task.chance, prior=prior, task=task.known, curvatures=bends)
    return direct, mix(mixture, by_loss.predict(scaled[1]), prior.loss_weight), True


def _by_loss(points: Points, log_loss: Vector, loss: Forecast) -> tuple[Points, list[float]] | None:
    """The points along -ln(loss), in the ln(compute) that such a loss takes near the runs, and the target's distances.

    So scaled, levels and slopes compare with those of other sources. ``None`` where the losses do not fall.
    """
    slope = -float(np.polyfit(points.x, log_loss, 1)[0])
    if slope <= 0:
        return None
    best = float(log_loss.min())
    x = points.x[-1] - (log_loss - best) / slope
    order = np.argsort(x, kind="stable")
    middle, low, high = (math.log(value) for value in (loss.median, loss.low, loss.high))
    sides = np.where(LOSS_NODES < 0, middle - low, high - middle) / NINETY
    distances = (best - (middle + LOSS_NODES * sides)) / slope
    return Points(x[order], points.share[order], points.sampling[order], points.lowest), [float(d) for d in distances]


def _law(posterior: SharePosterior, task: ShareTask, level: float, *, two_stage: bool) -> dict[str, Any]:
    """Posterior medians and ranges of the law's constants."""

    def spread(values: Vector) -> dict[str, float]:
        low, median, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
        return {"median": float(median), "low": float(low), "high": float(high)}

    share = f"1 - {task.metric}" if task.falling else "p"
    return {
        "name": "pass-rate power law above chance" + (", in part by way of the loss" if two_stage else ""),
        "formula": f"{share} = floor + (ceiling - floor) * exp(-(C / C0)^-b)",
        "floor": spread(posterior.floor),
        "ceiling": spread(posterior.ceiling),
        "b": spread(posterior.slope),
    }


def _band(
    task: ShareTask, frontier: ShareFrontier, posterior: SharePosterior, target_flops: float,
    interval: tuple[float, float, float], tail: float,
) -> dict[str, list[float]]:  # fmt: skip
    """The forecast by compute alone, from the largest run to the target, where it ends in the interval itself."""
    start = float(frontier.points.x[-1])
    rows = []
    for x in np.linspace(start, math.log(target_flops), BAND_POINTS)[:-1]:
        mixture = posterior.predict([float(x) - start])
        low, median, high = (mixture.quantile(p) for p in (tail, 0.5, 1 - tail))
        rows.append((math.exp(x), *((1 - high, 1 - median, 1 - low) if task.falling else (low, median, high))))
    rows.append((target_flops, *interval))
    flops, low_side, middle, high_side = zip(*rows, strict=True)
    return {"flops": list(flops), "low": list(low_side), "median": list(middle), "high": list(high_side)}


def _rungs(frontier: ShareFrontier, posterior: SharePosterior, falling: bool) -> list[dict[str, Any]]:
    """One record a point of the frontier; residuals are in share, above the law where the runs are better."""
    points = frontier.points
    residuals = points.share - posterior.fitted(points.x - points.x[-1])
    return [
        {
            "label": group[-1].name or f"{math.exp(points.x[index]):.2g} FLOPs",
            "flops": math.exp(float(points.x[index])),
            "params": group[0].params,
            "tokens": group[0].tokens,
            "seeds": len(group),
            "mean_loss": float(1 - points.share[index] if falling else points.share[index]),
            "standard_error": float(points.sampling[index]),
            "residual": float(residuals[index]),
        }
        for index, group in enumerate(frontier.chosen)
    ]
