"""The usual practice, for comparison: a power law with offset on the frontier, its interval from a bootstrap.

Least squares, of relative errors, of L = a C^-b + c on the best run of each doubling; the interval is the percentiles
of the fits to resampled runs (Efron 1979). It knows nothing of other families and of how laws fail, so it is narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foretell.laws.frontier import frontier
from foretell.laws.records import Observation
from foretell.laws.sizes import Vector

RESAMPLES = 200
EXPONENTS = np.geomspace(0.01, 1.0, 120)


def bootstrap_forecast(runs: Sequence[Observation], target_flops: float, level: float) -> tuple[float, float, float]:
    """Point forecast, low and high end of the loss at ``target_flops``."""
    best = frontier(runs)
    flops = np.array([run.flops for run in best])
    loss = np.array([run.loss for run in best])
    generator = np.random.default_rng(0)
    weights = generator.multinomial(len(best), np.full(len(best), 1 / len(best)), size=RESAMPLES).astype(float)
    weights = np.vstack([np.ones(len(best)), weights])
    found = _fit_and_predict(flops / target_flops, loss, weights / loss**2)
    low, high = np.quantile(found[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(found[0]), float(low), float(high)


def _fit_and_predict(relative: Vector, loss: Vector, weights: Vector) -> Vector:
    """a + c of the best fit for each row of weights, with compute relative to the target, so that C^-b is 1 there."""
    power = relative[None, :] ** -EXPONENTS[:, None]
    total = weights.sum(axis=1)[:, None]
    mean_power = weights @ power.T / total
    mean_loss = (weights @ loss)[:, None] / total
    variance = weights @ (power**2).T / total - mean_power**2
    covariance = weights @ (power * loss).T / total - mean_power * mean_loss
    steep = np.maximum(covariance / np.maximum(variance, 1e-300), 0.0)
    offset = mean_loss - steep * mean_power
    # an offset below zero is no loss: the fit is then a line through the origin
    steep = np.where(offset < 0, weights @ (power * loss).T / np.maximum(weights @ (power**2).T, 1e-300), steep)
    offset = np.maximum(offset, 0.0)
    fitted = steep[:, :, None] * power[None, :, :] + offset[:, :, None]
    misfit = (weights[:, None, :] * (fitted - loss[None, None, :]) ** 2).sum(axis=2)
    chosen = np.argmin(misfit, axis=1)
    rows = np.arange(len(weights))
    return np.asarray(steep[rows, chosen] + offset[rows, chosen])
