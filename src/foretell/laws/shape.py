"""What the shape of a run costs: of many runs, smoothed points of the frontier that each would reach at its best shape.

Along a line of equal compute C = 6 N D the loss is close to a parabola in u = ln(D / N), tokens per parameter:

    ln L = p(ln C) + q (u - u*(ln C))^2            u* linear in ln C  (Hoffmann et al. 2022, section 3.2, figure 3)

and the curvature q is nearly the same everywhere: 0.006 to 0.015 on seven public sources. With that as a prior a few
runs are enough to take the shape out of every run near the frontier, and their average is far less noisy than the
best run of each budget, which is the luckiest one as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretell.laws.records import Observation
from foretell.laws.sizes import Sizes, Vector

CENTRE = 3.0  # of u: about 20 tokens a parameter
FEWEST_RUNS = 6
NEAR_LOSS = 0.15  # ln(loss) above the best of no more compute; further off the parabola does not hold
NEAR_SHAPE = 0.06  # ln(loss) that a run may owe to its shape and still count
LOOK_AHEAD = 0.35  # of ln C: runs of so little more compute are alternatives at one budget
# Means and standard deviations of the coefficients of 1, X, X^2, U, U^2, U X with X = ln(C / largest), U = u - CENTRE
PRIOR_MEAN = np.array([0.0, -0.06, 0.003, 0.0, 0.010, 0.0])
PRIOR_DEVIATION = np.array([10.0, 0.04, 0.004, 0.02, 0.004, 0.004])
LEAST_CURVATURE, FURTHEST_OPTIMUM = 0.002, 4.0
USUAL_SCATTER, SCATTER_RUNS = 0.005, 2.0  # of ln(loss) about the surface, worth so many runs
ITERATIONS = 20
TUNING = 1.5  # residuals beyond so many standard deviations are weighed down (Huber 1964)
PARABOLA_REACH = 2.0  # of u: beyond, the penalty goes on as a straight line


@dataclass(frozen=True)
class Shape:
    """The fitted parabola.

    Attributes:
        largest: compute of the largest run it was fitted to, FLOPs.
        coefficients: of 1, X, X^2, U, U^2, U X.
        scatter: standard deviation of ln(loss) of a run about the surface.
        tried: smallest and largest tokens per parameter of the runs near the frontier.
    """

    largest: float
    coefficients: Vector
    scatter: float
    tried: tuple[float, float]

    @property
    def curvature(self) -> float:
        """q, > 0."""
        return max(float(self.coefficients[4]), LEAST_CURVATURE)

    def best_ratio(self, flops: float | Vector) -> Vector:
        """Tokens per parameter of the lowest loss at a compute, same shape."""
        x = np.log(np.asarray(flops) / self.largest)
        offset = -(self.coefficients[3] + self.coefficients[5] * x) / (2 * self.curvature)
        return np.asarray(np.exp(CENTRE + np.clip(offset, -FURTHEST_OPTIMUM, FURTHEST_OPTIMUM)))

    def penalty(self, flops: float | Vector, params: float | Vector, tokens: float | Vector) -> Vector:
        """ln(loss) above that of the best shape of the same compute, >= 0."""
        distance = np.abs(np.log(np.asarray(tokens) / np.asarray(params)) - np.log(self.best_ratio(flops)))
        inside = np.minimum(distance, PARABOLA_REACH)
        return np.asarray(self.curvature * (inside**2 + 2 * PARABOLA_REACH * (distance - inside)))


def smooth_frontier(runs: Sequence[Observation]) -> tuple[Sizes, Shape, NDArray[np.bool_]] | None:
    """Points of the frontier, one a doubling of compute, from all runs near it.

    Returns:
        The points, whose ``seeds`` are the square roots of how many runs each stands for (runs of a doubling share what
        the parabola leaves out); the parabola; and which runs are near enough to the frontier to count. ``None`` where
        shapes are not known or runs are fewer than :data:`FEWEST_RUNS`.
    """
    if len(runs) < FEWEST_RUNS or any(run.params is None or run.tokens is None for run in runs):
        return None
    flops, params, tokens, loss = (
        np.array([getattr(run, field) for run in runs], dtype=float) for field in ("flops", "params", "tokens", "loss")
    )
    y, x = np.log(loss), np.log(flops / flops.max())
    close = y - _best_so_far(x, y) < NEAR_LOSS
    shape = _fit(x, y, np.log(tokens / params) - CENTRE, close, float(flops.max()))
    owed = shape.penalty(flops, params, tokens)
    near = close & (owed < NEAR_SHAPE)
    if not near.any():
        return None
    ratios = (tokens / params)[near]
    shape = Shape(shape.largest, shape.coefficients, shape.scatter, (float(ratios.min()), float(ratios.max())))
    trend = np.polynomial.polynomial.polyval(x, shape.coefficients[:3])
    return _points(flops[near], y[near] - owed[near], trend[near], shape.scatter), shape, near


def _best_so_far(x: Vector, y: Vector) -> Vector:
    """The lowest y of all runs of at most a little more compute, for each run."""
    order = np.argsort(x)
    lowest = np.minimum.accumulate(y[order])
    reach = np.searchsorted(x[order], x + LOOK_AHEAD, side="right") - 1
    return np.asarray(lowest[reach])


def _fit(x: Vector, y: Vector, u: Vector, close: NDArray[np.bool_], largest: float) -> Shape:
    """Penalised least squares, reweighted until outliers have no say (Huber)."""
    design = np.stack([np.ones_like(x), x, x**2, u, u**2, u * x], axis=1)
    prior = PRIOR_DEVIATION**-2
    count = int(close.sum())
    weights, scatter = close.astype(float), 2 * USUAL_SCATTER
    coefficients = PRIOR_MEAN
    for _ in range(ITERATIONS):
        weighted = design.T * (weights / scatter**2)
        coefficients = np.linalg.solve(weighted @ design + np.diag(prior), weighted @ y + PRIOR_MEAN * prior)
        residuals = y - design @ coefficients
        free = max(count - min(6.0, count / 2), 1.0)
        seen = 1.4826 * float(np.median(np.abs(residuals[close]))) * math.sqrt(count / free)
        scatter = math.sqrt((seen**2 * count + USUAL_SCATTER**2 * SCATTER_RUNS) / (count + SCATTER_RUNS))
        weights = close / np.maximum(1.0, np.abs(residuals) / (TUNING * scatter))
    return Shape(largest, np.asarray(coefficients), scatter, (math.nan, math.nan))


def _points(flops: Vector, y: Vector, trend: Vector, scatter: float) -> Sizes:
    """One point a doubling: the median of its runs, moved along the trend to their mean compute."""
    doublings = np.round(np.log2(flops))
    rows = []
    for doubling in np.unique(doublings):
        here = doublings == doubling
        centre, level = np.log(flops[here]).mean(), trend[here].mean()
        moved = y[here] - trend[here] + level
        # the median of two or three runs is noisier than their mean and no safer
        rows.append((centre, np.median(moved) if here.sum() > 2 else moved.mean(), int(here.sum())))
    centres, levels, counts = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    freedom = max(len(flops) - len(rows) - 3, 1)
    unknown = np.full(len(rows), np.nan)
    labels = tuple(f"{math.exp(centre):.2g} FLOPs" for centre in centres)
    return Sizes(np.exp(centres), levels, np.sqrt(counts), unknown, unknown, labels, scatter**2 * freedom, freedom)
