"""How far the loss of a run still has to fall, learned from the curves of smaller runs of the same recipe.

A loss in the middle of a run is above the loss at its end; by how much depends on the schedule, on the run's size and,
for a training loss, on its distance from the held-out loss. With p the progress (the share of the run that is done) and
x the logarithm of compute relative to the largest rung, the rungs show

    r(p, x) = ln(loss(p) / final loss) = a(p) + b(p) x + noise

with a level ``a`` and a trend with size ``b`` at every p, both under weak priors: a Bayesian linear regression at each
point of a grid. The target lies a long way beyond the rungs, and such trends fade, so half of the trend's extrapolation
is believed, give or take half. The parts of the uncertainty are kept along the run as a covariance, for the largest
deviation of a whole curve decides what counts as unusual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foretell.laws.records import Observation
from foretell.laws.sizes import Vector, group_sizes

START = 0.1  # below this share of the run nothing is said: the loss still falls steeply
GRID = np.linspace(START, 1.0, 19)
WINDOW = 0.05  # of the run, over which losses are averaged, as in the curves of a ladder's records
FEWEST_POINTS = 8  # of a curve that is learned from

GENERIC_FALL, GENERIC_SHARE, GENERIC_FLOOR = 0.07, 0.9, 0.02  # r = 0.07 ln(1 / p), known within 90 %, and 2 %
GENERIC_FREEDOM = 30.0
TREND_SHARE, TREND_END = 0.4, 0.015  # prior scale of b: of the generic fall, and at the end of the run
FADING = 0.5  # mean and standard deviation of the share of the trend that still holds at the target
DRIFT = 0.008  # for each e-fold of compute between rung and target: what no trend among the rungs foretells
OTHER_LOSS = 0.005  # curves that end this far from the final loss are of another one, on training data
SEED_NOISE, SEED_WEIGHT = 0.006, 4.0  # prior of the scatter about the trend, and how many runs it counts for
MEMORY = 0.3  # of the run, over which deviations from the expected curve stay alike
DRAWS = 4000
JITTER = 1e-9  # on correlations, which may be singular
NORMAL_MEDIAN = 0.6745  # of the absolute value of a standard normal

FALL = -GENERIC_FALL * np.log(GRID)


@dataclass(frozen=True)
class CurveShape:
    """ln(loss so far / loss at the end) as a function of progress, for a run of one size.

    Attributes:
        mean: at :data:`GRID`, shape (points,).
        covariance: of a new run about it, shape (points, points).
        freedom: degrees of freedom of its scale: a covariance learned from few runs may be too small.
        runs: how many curves it was learned from; 0 where the generic prior is all there is.
    """

    mean: Vector
    covariance: Vector
    freedom: float
    runs: int

    @property
    def deviation(self) -> Vector:
        """Standard deviation at :data:`GRID`, shape (points,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def at(self, progress: float) -> tuple[float, float]:
        """Mean and standard deviation at a progress from :data:`START` to 1."""
        return float(np.interp(progress, GRID, self.mean)), float(np.interp(progress, GRID, self.deviation))

    def boundary(self, false_alarms: float) -> float:
        """Standard deviations that a run leaves, to either side and at any time, with probability ``false_alarms``.

        The quantile of the largest standardised deviation along a run, so it holds for all looks together, however
        often one looks. Found by drawing curves from a multivariate t distribution, always the same ones.
        """
        correlation = self.covariance / np.outer(self.deviation, self.deviation)
        root = np.linalg.cholesky(correlation + JITTER * np.eye(len(GRID)))
        generator = np.random.default_rng(0)
        largest = np.abs(generator.standard_normal((DRAWS, len(GRID))) @ root.T).max(axis=1)
        scale = np.sqrt(self.freedom / generator.chisquare(self.freedom, DRAWS))
        return float(np.quantile(largest * scale, 1 - false_alarms))


def learn_shape(observations: Sequence[Observation], target_flops: float) -> CurveShape:
    """The shape of a run of ``target_flops``, from those of the smaller runs that have curves.

    Args:
        observations: finished runs; those without a curve of :data:`FEWEST_POINTS` points are passed over, and where
            none has one the answer is :func:`generic_shape`.
        target_flops: training compute of the run to be watched, > 0.
    """
    gathered = [(group[0].flops, curve_ratios(group)) for group in group_sizes(observations)]
    sizes = [(flops, ratios) for flops, ratios in gathered if len(ratios)]
    if not sizes:
        return generic_shape()
    x = np.log(np.array([flops for flops, _ in sizes]))
    reach = max(0.0, math.log(target_flops) - float(x[-1]))
    features = np.stack([np.ones_like(x), x - x[-1]], axis=1)
    counts = np.array([len(ratios) for _, ratios in sizes], dtype=float)
    noise, freedom = _noise([ratios for _, ratios in sizes], features)
    other = min(1.0, math.sqrt(np.mean(np.concatenate([ratios[:, -1] ** 2 for _, ratios in sizes]))) / OTHER_LOSS)
    weights = 2 / (noise[:, None] ** 2 * (1 + 1 / counts))  # (points, sizes); half of the scatter is a size's own

    scales = np.stack(
        [2 * np.hypot(GENERIC_SHARE * FALL, GENERIC_FLOOR), TREND_SHARE * FALL + TREND_END * (other + 0.1)], axis=1
    )
    prior = (1 / scales**2)[:, :, None] * np.eye(2)
    covariance = np.linalg.inv(prior + np.einsum("ps,si,sj->pij", weights, features, features))
    means = np.stack([ratios.mean(axis=0) for _, ratios in sizes], axis=1)  # (points, sizes)
    pull = np.stack([prior[:, 0, 0] * FALL, np.zeros_like(FALL)], axis=1)
    fitted = np.einsum("pij,pj->pi", covariance, pull + np.einsum("ps,si,ps->pi", weights, features, means))

    new = np.array([1.0, FADING * reach])
    spread = np.sqrt(np.einsum("i,pij,j->p", new, covariance, new) + noise**2)
    trend = FADING * reach * np.hypot(fitted[:, 1], np.sqrt(covariance[:, 1, 1]))
    drift = DRIFT * reach * np.sqrt(other**2 + (1 - other**2) * (1 - GRID))
    alike = np.exp(-np.abs(GRID[:, None] - GRID[None, :]) / MEMORY)
    along = (np.outer(spread, spread) + np.outer(trend, trend)) * alike + np.outer(drift, drift)
    along += np.median([roughness(run) for run in observations if len(run.curve) >= FEWEST_POINTS]) ** 2 * np.eye(
        len(GRID)
    )
    return CurveShape(fitted @ new, along, freedom, int(counts.sum()))


def generic_shape() -> CurveShape:
    """What is believed of a run whose smaller siblings left no curves: a decaying learning rate of any usual kind.

    The loss is taken for the one that is forecast, on the same held-out data.
    """
    return CurveShape(FALL, np.outer(FALL, FALL) * GENERIC_SHARE**2 + GENERIC_FLOOR**2, GENERIC_FREEDOM, 0)


def curve_ratios(runs: Sequence[Observation]) -> Vector:
    """ln(loss so far / final loss) at :data:`GRID` of each run that has a curve, shape (runs with one, points).

    Between points of a curve the loss is taken for a line in ln(progress), which few checkpoints early on follow better
    than one in progress.
    """
    rows = [
        np.interp(np.log(GRID), np.log(_progress(run)), np.log(np.array([loss for _, loss in run.curve]) / run.loss))
        for run in runs
        if len(run.curve) >= FEWEST_POINTS
    ]
    return np.array(rows).reshape(len(rows), len(GRID))


def roughness(run: Observation) -> float:
    """Scatter of single points of a curve about their neighbours' line, in ln(loss), from its later two thirds."""
    done, losses = np.array(run.curve).T
    late = done > done[-1] / 3
    done, logs = done[late], np.log(losses[late])
    share = (done[1:-1] - done[:-2]) / (done[2:] - done[:-2])
    left = logs[1:-1] - (1 - share) * logs[:-2] - share * logs[2:]
    return (
        float(np.median(np.abs(left / np.sqrt(1 + share**2 + (1 - share) ** 2))) / NORMAL_MEDIAN) if len(left) else 0.0
    )


def _progress(run: Observation) -> Vector:
    """Progress at each point of a run's curve, whose first column is FLOPs or tokens so far."""
    done = np.array([point[0] for point in run.curve])
    for total in (run.flops, run.tokens):
        if total is not None and 0.5 < done[-1] / total < 1.02:
            return np.asarray(done / total)
    return np.asarray(done / done[-1])


def _noise(sizes: Sequence[Vector], features: Vector) -> tuple[Vector, float]:
    """Scatter of single runs at each point: between seeds, and of sizes about a straight trend, under a weak prior.

    Returns:
        Its standard deviation, shape (points,), and degrees of freedom.
    """
    squares = SEED_WEIGHT * SEED_NOISE**2 + sum(((ratios - ratios.mean(axis=0)) ** 2).sum(axis=0) for ratios in sizes)
    freedom = SEED_WEIGHT + sum(len(ratios) - 1 for ratios in sizes)
    if len(sizes) > 2:
        means = np.stack([ratios.mean(axis=0) for ratios in sizes])
        left = means - features @ np.linalg.lstsq(features, means, rcond=None)[0]
        squares = squares + (np.array([len(ratios) for ratios in sizes])[:, None] * left**2).sum(axis=0)
        freedom += len(sizes) - 2
    return np.asarray(np.sqrt(squares / freedom)), freedom
