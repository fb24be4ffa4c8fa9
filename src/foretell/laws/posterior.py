"""The Bayesian model behind a forecast, evaluated on a deterministic grid.

With x = ln(compute / compute of the largest rung), the mean over seeds of ln(loss) of a size is

    y(x) = m + law(x) + z(x) + noise

- ``m`` is the level at the largest rung: flat prior, integrated out in closed form.
- ``law`` is one of :mod:`foretell.laws.power_laws`, averaged with their probabilities; within a law the ladder's
  likelihood weighs its constants.
- ``z`` is how real curves leave the law: the local slope is off by kappa * s times an Ornstein-Uhlenbeck process in x
  with a memory of ``ell``, so z is its integral. It bends the ladder as well as the gap, so a bent ladder raises kappa.
- noise is seed noise sigma / sqrt(seeds) and a misfit tau of each size that more seeds do not remove.
- ``s`` is the ladder's mean slope.

Everything but ``m`` runs over a grid; each grid point is a Gaussian for the loss anywhere, so a forecast is a mixture
whose quantiles are found by bisection. No random numbers: equal ladders give equal forecasts.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from foretell.laws.ladder_shape import mean_slope, slope_rise
from foretell.laws.power_laws import Law, Matrix, laws_for, lognormal_points
from foretell.laws.prior import Prior
from foretell.laws.sizes import Sizes, Vector

COMPONENTS = 2000  # the mixture is thinned to this many equally likely points before quantiles are taken
LEAST_PROBABILITY = 0.05  # of a law, whatever the ladder says


@dataclass(frozen=True)
class Member:
    """One law's part of the posterior: its constants, shape (its components,), and its share of the probability."""

    name: str
    formula: str
    probability: float
    constants: dict[str, Vector]


@dataclass(frozen=True)
class Mixture:
    """Equally likely Gaussian components of the posterior.

    Attributes:
        members: what belongs to each law; their components follow each other.
        seed_noise: sigma, shape (components,).
        means, deviations: of ln(loss) at the points asked for, shape (components, points); of a new run, so its seed
            noise is in them.
    """

    members: tuple[Member, ...]
    seed_noise: Vector
    means: Matrix
    deviations: Matrix

    def quantiles(self, probability: float) -> Vector:
        """The ``probability`` quantile of ln(loss) at every point, shape (points,), by bisection."""
        low = (self.means - 9 * self.deviations).min(axis=0)
        high = (self.means + 9 * self.deviations).max(axis=0)
        for _ in range(27):
            middle = (low + high) / 2
            below = ndtr((middle - self.means) / self.deviations).mean(axis=0) < probability
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray((low + high) / 2)

    def shifted(self, point: int, shift: float, doubt: float) -> Mixture:
        """The same with ln(loss) at one point larger by ``shift``, known to a standard deviation of ``doubt``."""
        means, deviations = self.means.copy(), self.deviations.copy()
        means[:, point] += shift
        deviations[:, point] = np.hypot(deviations[:, point], doubt)
        return dataclasses.replace(self, means=means, deviations=deviations)

    def log_density(self, point: int, log_loss: float) -> float:
        """ln of the predictive density of ln(loss) at one point."""
        scaled = (log_loss - self.means[:, point]) / self.deviations[:, point]
        density = np.exp(-0.5 * scaled**2) / (self.deviations[:, point] * math.sqrt(2 * math.pi))
        return float(np.log(np.maximum(density.mean(), 1e-300)))


def drift_covariance(x: Vector, other: Vector, ell: float) -> Matrix:
    """Covariance of the integral from 0 of a unit Ornstein-Uhlenbeck process, shape (len(x), len(other))."""
    left, right = np.abs(x)[:, None], np.abs(other)[None, :]
    small, large = np.minimum(left, right), np.maximum(left, right)
    same_side = 2 * ell * small - ell**2 * (
        1 - np.exp(-small / ell) - np.exp(-large / ell) + np.exp(-(large - small) / ell)
    )
    across = -(ell**2) * (1 - np.exp(-left / ell)) * (1 - np.exp(-right / ell))
    return np.where(x[:, None] * other[None, :] >= 0, same_side, across)


def infer(
    sizes: Sizes,
    points: Vector,
    *,
    bits_per_byte: bool,
    prior: Prior | None = None,
    probabilities: Sequence[float] | None = None,
) -> Mixture:
    """The posterior of a ladder, and of the loss at ``points`` (ln of compute over the largest rung's, any sign).

    Laws are weighed by how well they foretell each size from the others (their marginal likelihood), or by the
    ``probabilities`` given, as where held-out runs have told which one extrapolates better.
    """
    prior = prior or Prior()
    laws = laws_for(sizes, bits_per_byte=bits_per_byte, prior=prior)
    slope = mean_slope(sizes)
    scales, scale_weights = _scales(sizes, prior)
    drift = slope**2 * drift_covariance(sizes.x, sizes.x, prior.ell)
    precisions = np.asarray(np.linalg.inv(_covariances(scales, drift, sizes)), dtype=np.float64)
    evidence, drawn = [], []
    for law in laws:
        residuals = sizes.log_loss - law.curves(law.shapes, sizes.x)
        log_weights = _misfit_evidence(residuals, precisions) + scale_weights[:, None] + law.log_weights[None, :]
        best = log_weights.max()
        drawn.append(np.exp(log_weights - best))
        evidence.append(best + math.log(drawn[-1].sum()))
    if probabilities is None:
        probabilities = weigh([law.probability for law in laws], evidence)
    members, parts = [], []
    for law, share, weights in zip(laws, probabilities, drawn, strict=True):
        chosen = np.unravel_index(_systematic(weights.ravel(), round(COMPONENTS * share)), weights.shape)
        rows = law.shapes[chosen[1]]
        level, means, deviations = _predict(sizes, points, prior, slope, law, rows, scales, chosen[0], precisions)
        members.append(Member(law.name, law.formula, share, law.constants(rows, level)))
        parts.append((scales[chosen[0], 0], means, deviations))
    noise, means, deviations = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Mixture(tuple(members), noise, means, deviations)


def weigh(before: Sequence[float], log_evidence: Sequence[float]) -> list[float]:
    """Probabilities of the laws after the evidence; one ladder rules none of them out."""
    best = max(log_evidence)
    weights = [share * math.exp(seen - best) for share, seen in zip(before, log_evidence, strict=True)]
    least = LEAST_PROBABILITY if len(weights) > 1 else 0.0
    kept = [max(weight / sum(weights), least) for weight in weights]
    spare = 1 - least * len(kept)
    above = sum(share - least for share in kept)
    return [least + spare * (share - least) / above if above > 0 else share for share in kept]


def _scales(sizes: Sizes, prior: Prior) -> tuple[Matrix, Vector]:
    """The grid of noise scales, rows (sigma, tau, kappa), and the logarithm of their weight once the seeds are seen.

    Slopes that have been seen to rise may go on changing: kappa's median grows by the rise as a share of the slope.
    """
    rise = slope_rise(sizes, prior)
    kappa = prior.kappa + (rise.certainty * rise.relative if rise else 0.0)
    grids = [
        np.geomspace(0.001, 0.05, 9),
        np.geomspace(0.001, 0.03, 4),
        lognormal_points(kappa, prior.kappa_factor, 5),
    ]
    scales = np.array(list(itertools.product(*grids)))
    sigma, tau = scales[:, 0], scales[:, 1]
    weights = -0.5 * (np.log(sigma / prior.seed_noise) / math.log(prior.seed_noise_factor)) ** 2
    weights -= 0.5 * (np.log(tau / prior.misfit) / math.log(prior.misfit_factor)) ** 2
    seeds = -sizes.freedom * np.log(sigma) - sizes.squares / (2 * sigma**2)
    return scales, weights + seeds


def _covariances(scales: Matrix, drift: Matrix, sizes: Sizes) -> Matrix:
    """Covariance of the sizes' noise and drift for every row of ``scales``, shape (scales, sizes, sizes)."""
    sigma, tau, kappa = (column[:, None, None] for column in scales.T)
    return np.asarray(kappa**2 * drift + np.eye(len(sizes.seeds)) * (sigma**2 / sizes.seeds + tau**2))


def _misfit_evidence(residuals: Matrix, precisions: Matrix) -> Matrix:
    """Log-likelihood of every shape under every scale, with m integrated out, shape (scales, shapes).

    The quadratic forms of all pairs are one matrix product over the residuals' pairwise products.
    """
    pull = precisions.sum(axis=2)
    total = pull.sum(axis=1)
    projected = precisions - pull[:, :, None] * pull[:, None, :] / total[:, None, None]
    centred = residuals - residuals.mean(axis=1, keepdims=True)  # changes nothing but rounding: m is free
    row, column = np.triu_indices(residuals.shape[1])
    doubled = projected[:, row, column] * np.where(row == column, 1.0, 2.0)
    misfit = doubled @ (centred[:, row] * centred[:, column]).T
    log_norm = np.linalg.slogdet(precisions)[1] - np.log(total)
    return np.asarray(0.5 * (log_norm[:, None] - misfit))


def _systematic(weights: Vector, count: int) -> NDArray[np.intp]:
    """Indices of ``count`` equally likely draws, spread evenly along the cumulative weight: no randomness."""
    cumulative = np.cumsum(weights)
    return np.searchsorted(cumulative / cumulative[-1], (np.arange(count) + 0.5) / count)


def _predict(
    sizes: Sizes,
    points: Vector,
    prior: Prior,
    slope: float,
    law: Law,
    rows: Matrix,
    scales: Matrix,
    chosen: NDArray[np.intp],
    precisions: Matrix,
) -> tuple[Vector, Matrix, Matrix]:
    """Condition each chosen component on the ladder and evaluate it at ``points``: m, means and deviations."""
    across = slope**2 * drift_covariance(points, sizes.x, prior.ell)
    variance = slope**2 * np.diagonal(drift_covariance(points, points, prior.ell))
    residuals = sizes.log_loss - law.curves(rows, sizes.x)
    means = law.curves(rows, points)
    deviations = np.empty_like(means)
    level = np.empty(len(rows))
    for row in np.unique(chosen):
        here = chosen == row
        sigma, tau, kappa = scales[row]
        precision = precisions[row]
        level_precision = precision.sum(axis=1)
        level[here] = residuals[here] @ level_precision / level_precision.sum()
        gain = kappa**2 * across @ precision
        means[here] += level[here][:, None] + (residuals[here] - level[here][:, None]) @ gain.T
        spread = kappa**2 * variance - kappa**2 * np.einsum("ij,ij->i", gain, across)
        spread += (1 - gain.sum(axis=1)) ** 2 / level_precision.sum()
        deviations[here] = np.sqrt(np.maximum(spread, 0.0) + sigma**2 + tau**2)
    return level, means, deviations
