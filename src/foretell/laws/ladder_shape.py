"""The ladder as it lies, before any belief about it: noise, slope, whether slopes rise, how well the plain law fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foretell.laws.prior import Prior
from foretell.laws.sizes import Sizes, Vector

RISE_NOTICED, RISE_CERTAIN = 1.3, 3.0  # standard errors between which a rise of the slope counts more and more


@dataclass(frozen=True)
class SlopeRise:
    """How the slope of -ln(loss) over ln(compute) changes along the ladder, from a parabola.

    Attributes:
        bottom, top: local slope at the smallest and at the largest rung.
        evidence: the rise in standard errors; negative where slopes fall, as a law with an offset makes them.
    """

    bottom: float
    top: float
    evidence: float

    @property
    def certainty(self) -> float:
        """0 where noise explains the rise (or there is none), 1 where it certainly does not."""
        return min(max((self.evidence - RISE_NOTICED) / (RISE_CERTAIN - RISE_NOTICED), 0.0), 1.0)

    @property
    def relative(self) -> float:
        """The rise as a share of the mean slope, 0 to 2."""
        mean = (self.bottom + self.top) / 2
        return min(max((self.top - self.bottom) / mean, 0.0), 2.0) if mean > 0 else 2.0


def mean_slope(sizes: Sizes) -> float:
    """Least-squares slope of -ln(loss) over ln(compute), kept within 0.01 to 0.4 so that it can serve as a scale."""
    x = sizes.x - sizes.x.mean()
    spread = float(x @ x)
    slope = -float(x @ sizes.log_loss) / spread if spread > 0 else 0.07
    return float(min(max(slope, 0.01), 0.4))


def noise_of_sizes(sizes: Sizes, prior: Prior) -> Vector:
    """Standard deviation of each size's mean ln(loss): seeds, pooled with a prior worth four of them, and misfit."""
    variance = (sizes.squares + 4 * prior.seed_noise**2) / (sizes.freedom + 4)
    return np.asarray(np.sqrt(variance / sizes.seeds + prior.misfit**2))


def weighted_polynomial(x: Vector, y: Vector, noise: Vector, degree: int) -> tuple[Vector, Vector]:
    """Weighted least squares: coefficients in rising order and their standard errors under the given noise."""
    design = np.vander(x, degree + 1, increasing=True) / noise[:, None]
    covariance = np.linalg.pinv(design.T @ design)
    return covariance @ design.T @ (y / noise), np.sqrt(np.diagonal(covariance))


def slope_rise(sizes: Sizes, prior: Prior) -> SlopeRise | None:
    """Fit the parabola; None under four sizes. Scatter beyond noise about it weakens the evidence."""
    count = len(sizes.flops)
    if count < 4:
        return None
    noise = noise_of_sizes(sizes, prior)
    coefficients, errors = weighted_polynomial(sizes.x, sizes.log_loss, noise, 2)
    misses = (sizes.log_loss - np.polynomial.polynomial.polyval(sizes.x, coefficients)) / noise
    scatter = max(1.0, math.sqrt(float(misses @ misses) / (count - 3)))
    return SlopeRise(
        bottom=float(-coefficients[1] - 2 * coefficients[2] * sizes.x[0]),
        top=float(-coefficients[1]),
        evidence=float(-coefficients[2] / (errors[2] * scatter)),
    )


def law_residuals(sizes: Sizes, prior: Prior) -> Vector:
    """ln(loss) less the best a C^-b + c by weighted least squares over b and c/L, shape (sizes,); no prior."""
    exponents, shares = np.meshgrid(np.geomspace(0.01, 1.5, 120), np.append(0.0, np.linspace(0.02, 0.96, 48)))
    with np.errstate(divide="ignore"):
        floor = np.log(shares.ravel())[:, None]
    curves = np.logaddexp(floor, np.log1p(-shares.ravel())[:, None] - exponents.ravel()[:, None] * sizes.x[None, :])
    weights = noise_of_sizes(sizes, prior) ** -2
    residuals = sizes.log_loss - curves
    residuals -= (residuals @ weights / weights.sum())[:, None]
    return np.asarray(residuals[np.argmin(residuals**2 @ weights)])
