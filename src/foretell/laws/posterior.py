"""The Bayesian model behind a forecast, evaluated on a deterministic grid.

With x = ln(compute / compute of the largest rung), the mean over seeds of ln(loss) of a size is

    y(x) = m + ln(f + (1 - f) e^(-b x)) - u s ramp(x) + z(x) + noise        (L = a C^-b + c with f = c / L(0))

- ``m`` is the law's level at the largest rung: flat prior, integrated out in closed form.
- ``b`` and ``f`` are the law's exponent and its offset as a share of the largest rung's loss.
- ``z`` is how real curves leave the law: the local slope is off by kappa * s times an Ornstein-Uhlenbeck process in x
  with a memory of ``ell``, so z is its integral. It bends the ladder as well as the gap, so a bent ladder raises kappa.
- the ramp is a transition that steepens the curve, under way or still to come (Olsson et al. 2022, "In-context Learning
  and Induction Heads"): from its onset the slope is larger by u * s over a limited stretch of compute.
- noise is seed noise sigma / sqrt(seeds) and a misfit tau of each size that more seeds do not remove.
- ``s`` is the ladder's mean slope.

Everything but ``m`` runs over a grid; each grid point is a Gaussian for the loss anywhere, so a forecast is a mixture
whose quantiles are found by bisection. No random numbers: equal ladders give equal forecasts.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from foretell.laws.ladder_shape import mean_slope, slope_rise
from foretell.laws.prior import Prior, transition_probability
from foretell.laws.sizes import Sizes, Vector

Matrix = NDArray[np.float64]

TRANSITION_SPAN = math.log(30)  # the measured transition steepened the curve over about this much compute
TRANSITION_ONSETS = (-1.5, 0.0, 1.5)  # relative to the largest rung, in ln(compute)
COMPONENTS = 2000  # the mixture is thinned to this many equally likely points before quantiles are taken
LARGEST_SHARE = 0.93  # an offset nearer to the largest rung's loss leaves no law


@dataclass(frozen=True)
class Mixture:
    """Equally likely Gaussian components of the posterior.

    Attributes:
        exponent, share: the law's b and f, shape (components,).
        level: mean of m, shape (components,).
        seed_noise: sigma, shape (components,).
        means, deviations: of ln(loss) at the points asked for, shape (components, points); of a new run, so its seed
            noise is in them.
    """

    exponent: Vector
    share: Vector
    level: Vector
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


def _lognormal_points(median: float, factor: float, count: int) -> Vector:
    """Quantile midpoints of a log-normal: equally likely values that stand for it."""
    return np.asarray(median * factor ** ndtri((np.arange(count) + 0.5) / count))


def _shapes(sizes: Sizes, prior: Prior, bits_per_byte: bool) -> tuple[Matrix, Vector]:
    """The grid of law shapes: columns b, f, onset, u; and the logarithm of their prior weight."""
    top = math.exp(float(sizes.log_loss[-1]))
    share, factor = prior.offset_share, prior.offset_share_factor
    if bits_per_byte and prior.offset_bits < share * top:
        share, factor = prior.offset_bits / top, prior.offset_bits_factor
    shares = np.minimum(_lognormal_points(share, factor, 16), LARGEST_SHARE)
    exponents = np.geomspace(0.015, 0.9, 56)
    exponent_weights = -0.5 * (np.log(exponents / prior.exponent) / math.log(prior.exponent_factor)) ** 2
    strengths = prior.transition_strength * ndtri(0.5 + (np.arange(4) + 0.5) / 8)
    transitions = [(0.0, 0.0), *itertools.product(TRANSITION_ONSETS, strengths)]
    probability = transition_probability(float(sizes.flops[-1]), prior)
    transition_weights = np.log([1 - probability] + [probability / (len(transitions) - 1)] * (len(transitions) - 1))
    grid = np.array(list(itertools.product(exponents, shares, range(len(transitions)))))
    chosen = grid[:, 2].astype(int)
    columns = np.column_stack([grid[:, :2], np.array(transitions)[chosen]])
    weights = np.repeat(exponent_weights, len(shares) * len(transitions)) + transition_weights[chosen]
    return columns, weights


def _curves(shapes: Matrix, x: Vector, slope: float) -> Matrix:
    """ln(loss) less m of every law shape at every x, shape (shapes, points)."""
    exponent, share, onset, strength = (column[:, None] for column in shapes.T)
    ramp = np.clip(x[None, :] - onset, 0.0, TRANSITION_SPAN)
    # m is the level at x = 0, so that f is a share of the same thing with and without a transition
    ramp_at_top = np.clip(-onset, 0.0, TRANSITION_SPAN)
    law = np.logaddexp(np.log(share), np.log1p(-share) - exponent * x[None, :])
    return np.asarray(law - strength * slope * (ramp - ramp_at_top))


def infer(sizes: Sizes, points: Vector, *, bits_per_byte: bool, prior: Prior | None = None) -> Mixture:
    """The posterior of a ladder, and of the loss at ``points`` (ln of compute over the largest rung's, any sign)."""
    prior = prior or Prior()
    slope = mean_slope(sizes)
    shapes, shape_weights = _shapes(sizes, prior, bits_per_byte)
    residuals = sizes.log_loss - _curves(shapes, sizes.x, slope)
    scales, scale_weights = _scales(sizes, prior)
    drift = slope**2 * drift_covariance(sizes.x, sizes.x, prior.ell)
    precisions = np.asarray(np.linalg.inv(_covariances(scales, drift, sizes)), dtype=np.float64)
    log_weights = _misfit_evidence(residuals, precisions) + scale_weights[:, None] + shape_weights[None, :]
    log_weights -= log_weights.max()
    weights = np.exp(log_weights, out=log_weights)
    chosen_scale, chosen_shape = np.unravel_index(_systematic(weights.ravel(), COMPONENTS), weights.shape)
    return _predict(sizes, points, prior, slope, shapes[chosen_shape], scales, chosen_scale, precisions)


def _scales(sizes: Sizes, prior: Prior) -> tuple[Matrix, Vector]:
    """The grid of noise scales, rows (sigma, tau, kappa), and the logarithm of their weight once the seeds are seen.

    Slopes that have been seen to rise may go on changing: kappa's median grows by the rise as a share of the slope.
    """
    rise = slope_rise(sizes, prior)
    kappa = prior.kappa + (rise.certainty * rise.relative if rise else 0.0)
    grids = [
        np.geomspace(0.001, 0.05, 9),
        np.geomspace(0.001, 0.03, 4),
        _lognormal_points(kappa, prior.kappa_factor, 5),
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
    shapes: Matrix,
    scales: Matrix,
    chosen: NDArray[np.intp],
    precisions: Matrix,
) -> Mixture:
    """Condition each chosen component on the ladder and evaluate it at ``points``."""
    across = slope**2 * drift_covariance(points, sizes.x, prior.ell)
    variance = slope**2 * np.diagonal(drift_covariance(points, points, prior.ell))
    residuals = sizes.log_loss - _curves(shapes, sizes.x, slope)
    means = _curves(shapes, points, slope)
    deviations = np.empty_like(means)
    level = np.empty(len(shapes))
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
    return Mixture(
        exponent=shapes[:, 0],
        share=shapes[:, 1],
        level=level,
        seed_noise=scales[chosen, 0],
        means=means,
        deviations=deviations,
    )
