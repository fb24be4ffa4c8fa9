"""The Bayesian model of an accuracy along compute, evaluated on a deterministic grid.

A share of right answers is p = floor + (ceiling - floor) exp(-e^(-h)), and h rises with x = ln(compute): with a
constant slope this is -ln(p) = (C / C0)^-slope above the floor, the law of the pass rate of OpenAI 2023, "GPT-4
Technical Report", section 3.2, which is nearly straight for accuracies too. The slope may fall along x (curvature).

- The floor is near the chance of guessing where that is known, between 0 and the worst run where it is not.
- The likelihood is in p: evaluation noise, and drift, by which the real curve's slope leaves the law's. A run counts
  the less, the further it lies below the largest, and where the curve is flat drift does not show.
- Levels and slopes of other sources are the prior; a task known by name has a narrower one of its own.

Each grid point is a range of values at the target, so a forecast is a mixture whose quantiles are found by bisection.
No random numbers: equal runs give equal forecasts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from foretell.laws.capability.share_prior import REFERENCE_FLOPS, SharePrior, TaskPrior

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

COMPONENTS = 2000  # the posterior is thinned to so many equally likely grid points
LEVELS, SLOPES, SCALES, FLOORS = 33, 13, 3, 6  # grid points of each
LOWEST_LEVEL, HIGHEST_LEVEL = -3.0, 5.0  # of h at the largest run: p is 0 above the floor, and 1
COARSE_NOISE, NEGLIGIBLE = 4.0, 1e-4  # a first pass over few levels, so with more noise, finds where the level can lie
FARTHEST = 40.0  # in ln(compute), beyond which a bent curve is not followed
BELIEVED = 13.0  # in ln(compute) from the reference; public families begin there, and beliefs reach no further
OUTLIER_RANGE = 12.0  # of h, evenly, where other sources tell nothing
STEPS = ndtri((np.arange(9) + 0.5) / 9)  # equally likely standard normal values
CHANCE_STEPS = np.array([-3.0, -2.0, -1.0, -0.4, 0.0, 0.4])  # floors lie below the chance of guessing more than above


@dataclass(frozen=True)
class Points:
    """A family's frontier, one entry a doubling of compute, in order.

    Attributes:
        x: ln(compute), or what stands for it.
        share: of right answers, 0 to 1.
        sampling: standard deviation of each share from its finite number of questions.
        lowest: share of any run, these points' or smaller ones'; no floor that must be estimated lies above it.
    """

    x: Vector
    share: Vector
    sampling: Vector
    lowest: float


@dataclass(frozen=True)
class ShareMixture:
    """Equally likely Gaussian components of a share at the target.

    Attributes:
        means, deviations: shape (components,).
    """

    means: Vector
    deviations: Vector

    def quantile(self, probability: float) -> float:
        """The ``probability`` quantile, 0 to 1, by bisection."""
        low, high = -0.5, 1.5
        for _ in range(24):
            middle = (low + high) / 2
            below = float(ndtr((middle - self.means) / self.deviations).mean()) < probability
            low, high = (middle, high) if below else (low, middle)
        return min(max((low + high) / 2, 0.0), 1.0)

    def log_density(self, share: float) -> float:
        """ln of the predictive density, bounded below so that one miss does not decide a comparison."""
        scaled = (share - self.means) / self.deviations
        return math.log(max(float((np.exp(-0.5 * scaled**2) / self.deviations).mean()) / math.sqrt(2 * math.pi), 1e-3))


@dataclass(frozen=True)
class SharePosterior:
    """Equally likely draws of the law, its noise and its drift, shape (draws,) each.

    Attributes:
        floor, ceiling: of the share.
        top, slope, curvature: h and dh/dx at the largest run, and how fast the slope falls along x.
        level, slope_there: h and dh/dx at the reference compute.
        noise, drift: of a measured share, and of the slope relative to itself.
        memory: of the drift.
    """

    floor: Vector
    ceiling: Vector
    top: Vector
    slope: Vector
    curvature: Vector
    level: Vector
    slope_there: Vector
    noise: Vector
    drift: Vector
    memory: float

    def predict(self, distances: Sequence[float]) -> ShareMixture:
        """The share of a new run at equally likely ``distances`` of x above the largest run, each at or above 0."""
        ahead = np.maximum(np.asarray(distances, dtype=float), 0.0)
        spread = (self.slope * self.drift)[:, None] * np.sqrt(drift_variance(ahead, self.memory))
        means = self._share(self._h(ahead)[:, :, None] + spread[:, :, None] * STEPS)
        return ShareMixture(means.ravel(), np.broadcast_to(self.noise[:, None, None], means.shape).ravel())

    def fitted(self, x: Vector) -> Vector:
        """Mean of the law at x relative to the largest run, shape of x."""
        return np.asarray(self._share(self._h(x)[:, :, None])[:, :, 0].mean(axis=0))

    def _h(self, x: Vector) -> Matrix:
        return curve(self.top[:, None], self.slope[:, None], self.curvature[:, None], x[None, :])

    def _share(self, h: NDArray[np.float64]) -> NDArray[np.float64]:
        amplitude = (self.ceiling - self.floor)[:, None, None]
        return np.asarray(self.floor[:, None, None] + amplitude * np.exp(-np.exp(-np.clip(h, -6.0, 30.0))))


def mix(first: ShareMixture, second: ShareMixture, weight: float) -> ShareMixture:
    """Both mixtures, with probabilities 1 - weight and weight, still of equally likely components."""
    parts = []
    for mixture, share in ((first, 1 - weight), (second, weight)):
        count = max(round(2 * COMPONENTS * share), 1)
        order = np.argsort(mixture.means, kind="stable")
        chosen = order[((np.arange(count) + 0.5) * len(order) / count).astype(int)]
        parts.append((mixture.means[chosen], mixture.deviations[chosen]))
    means, deviations = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ShareMixture(means, deviations)


def lognormal_points(median: float, factor: float, count: int) -> Vector:
    """Quantile midpoints of a log-normal: equally likely values that stand for it."""
    return np.asarray(median * factor ** ndtri((np.arange(count) + 0.5) / count))


def drift_variance(distance: Vector, memory: float) -> Vector:
    """Variance of the integral over ``distance`` of a unit Ornstein-Uhlenbeck process with this memory."""
    return np.asarray(2 * memory * distance - 2 * memory**2 * -np.expm1(-distance / memory))


def curve(level: Matrix, slope: Matrix, curvature: Matrix, x: Matrix) -> Matrix:
    """h at x above the largest run (negative below it), whose h is ``level`` and whose local slope is ``slope``."""
    safe = np.where(curvature == 0, 1.0, curvature)
    bent = -np.expm1(-safe * np.clip(x, -FARTHEST, FARTHEST)) / safe
    return np.asarray(level + slope * np.where(curvature == 0, x, bent))


@dataclass(frozen=True)
class _Grid:
    floor: Vector
    ceiling: Vector
    slope: Vector
    curvature: Vector
    top: Vector
    reference: Vector
    slope_there: Vector
    scales: Matrix
    log_weight: Matrix


def _floors(points: Points, chance: float | None, prior: SharePrior) -> tuple[Vector, Vector]:
    """Values of the floor and the logarithm of their weights."""
    if chance is None:
        return np.linspace(0.0, max(points.lowest, 0.02), FLOORS), np.zeros(FLOORS)
    if chance == 0:
        return np.zeros(1), np.zeros(1)
    return np.maximum(chance + prior.chance_spread * CHANCE_STEPS, 0.0), -0.5 * CHANCE_STEPS**2


def _grid(
    points: Points, tops: Vector, chance: float | None, prior: SharePrior, task: TaskPrior | None,
    curvatures: Sequence[float], scales: Matrix, *, along_compute: bool,
) -> _Grid:  # fmt: skip
    """Log posterior of every shape (columns) under every noise and drift (rows)."""
    floors, floor_weights = _floors(points, chance, prior)
    ceilings, ceiling_weights = np.array(prior.ceilings).T
    slopes = (
        lognormal_points(task.slope, prior.task_slope_factor, SLOPES)
        if task
        else lognormal_points(prior.slope, prior.slope_factor, SLOPES)
    )
    grid = np.array(list(itertools.product(range(len(floors)), range(len(ceilings)), slopes, curvatures, tops)))
    floor_index, ceiling_index = grid[:, 0].astype(int), grid[:, 1].astype(int)
    floor, ceiling = floors[floor_index], ceilings[ceiling_index]
    curvature, top = grid[:, 3], grid[:, 4]
    # levels and slopes are believed at the reference, along compute; a curve along the loss bends in another way
    bend = curvature if along_compute else np.full_like(curvature, np.mean(prior.curvatures))
    beyond = float(np.clip(math.log(REFERENCE_FLOPS) - points.x[-1], -BELIEVED, BELIEVED))
    slope = grid[:, 2] * np.exp(bend * beyond)
    shape = top[:, None], slope[:, None], curvature[:, None]
    reference = curve(top[:, None], slope[:, None], bend[:, None], np.array([[beyond]]))[:, 0]
    centre, spread = (task.level, prior.task_level_spread) if task else (prior.level, prior.level_spread)
    density = np.exp(-0.5 * ((reference - centre) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
    weights = floor_weights[floor_index] + ceiling_weights[ceiling_index]
    weights = weights + np.log((1 - prior.outlier) * density + prior.outlier / OUTLIER_RANGE)

    decay = np.exp(-np.clip(curve(*shape, (points.x - points.x[-1])[None, :]), -6.0, 30.0))
    amplitude = (ceiling - floor)[:, None]
    squares = (points.share - floor[:, None] - amplitude * np.exp(-decay)) ** 2
    steepness = amplitude * np.exp(-decay) * decay * slope[:, None]
    drifts = steepness**2 * drift_variance(points.x[-1] - points.x, prior.memory)
    log_weight = np.empty((len(scales), len(grid)))
    for row, (noise, drift) in enumerate(scales):
        variance = noise**2 + points.sampling**2 + drift**2 * drifts
        log_weight[row] = weights - 0.5 * (squares / variance + np.log(variance)).sum(axis=1)
    return _Grid(floor, ceiling, slope, curvature, top, reference, grid[:, 2], scales, log_weight)


def infer_share(
    points: Points, *, chance: float | None, prior: SharePrior, task: TaskPrior | None = None,
    curvatures: Sequence[float] | None = None,
) -> SharePosterior:  # fmt: skip
    """The posterior of a share's law.

    Args:
        points: the frontier, at least one point.
        chance: share of right answers by guessing, ``None`` where it is not known.
        prior: learned constants.
        task: what is known of this task from other sources.
        curvatures: equally likely, instead of the prior's, where x stands for the loss and not for compute itself.
    """
    bends = prior.curvatures if curvatures is None else curvatures
    coarse = np.linspace(LOWEST_LEVEL, HIGHEST_LEVEL, LEVELS)
    wide = np.array([[COARSE_NOISE * prior.noise, prior.drift]])
    found = _grid(points, coarse, chance, prior, task, bends, wide, along_compute=curvatures is None)
    weight = np.exp(found.log_weight[0] - found.log_weight.max())
    mass = np.array([weight[found.top == top].sum() for top in coarse])
    likely = np.flatnonzero(mass > NEGLIGIBLE * mass.max())
    low, high = coarse[max(likely[0] - 1, 0)], coarse[min(likely[-1] + 1, LEVELS - 1)]
    noises = lognormal_points(prior.noise, prior.noise_factor, SCALES)
    drifts = lognormal_points(prior.drift, prior.drift_factor, SCALES)
    scales = np.array(list(itertools.product(noises, drifts)))
    tops = np.linspace(low, high, LEVELS)
    found = _grid(points, tops, chance, prior, task, bends, scales, along_compute=curvatures is None)

    weight = np.exp(found.log_weight - found.log_weight.max())
    cumulative = np.cumsum(weight.ravel())
    drawn = np.searchsorted(cumulative / cumulative[-1], (np.arange(COMPONENTS) + 0.5) / COMPONENTS)
    scale, shape = np.unravel_index(drawn, weight.shape)
    noise, drift = found.scales[scale].T
    return SharePosterior(
        found.floor[shape], found.ceiling[shape], found.top[shape], found.slope[shape], found.curvature[shape],
        found.reference[shape], found.slope_there[shape], noise, drift, prior.memory,
    )  # fmt: skip
