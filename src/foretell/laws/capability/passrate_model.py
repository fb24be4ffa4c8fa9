"""The law of the mean log pass rate, -E[ln p] = alpha C^-k, fitted to counts (OpenAI 2023, "GPT-4 Technical Report").

Section 3.2 there states it for problems of one difficulty. Within a bucket of such problems v = -ln(p) is Gamma
distributed about its mean m, with one shape for all runs, so p = e^-v lies between 0 and 1. A problem that a run solved
c times of n has the likelihood e^(-c v) (1 - e^-v)^(n - c), integrated over v by quadrature: zero of n says that p is
small, and how small, and nothing is smoothed. ln(m) falls with slope k in ln(compute); each run scatters about the law,
and drifts from it the more the further it lies below the largest. Everything runs over grids; no random numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from foretell.laws.capability.share_model import STEPS, Matrix, Vector, drift_variance, lognormal_points

DEPTHS = np.geomspace(1e-3, 40.0, 240)  # values of v for the quadrature; e^-40 is never
MEANS = np.geomspace(0.02, 30.0, 90)  # values of m
SHAPES = np.geomspace(0.7, 60.0, 8)  # of the Gamma distribution: from spread out to all alike
TOPS = 61  # values of m at the largest run
DRAWS = 1500


@dataclass(frozen=True)
class PassRatePrior:
    """What is believed before the counts are seen. Only one public family has counts, so little is.

    Attributes:
        exponent, exponent_factor: of k, a log-normal; between zero and a few times it by far most of what is reported.
        scatter, scatter_factor: standard deviation of a run's ln(m) about the law.
        drift, memory: of the slope, as for accuracies.
    """

    exponent: float = 0.07
    exponent_factor: float = 2.5
    scatter: float = 0.06
    scatter_factor: float = 2.0
    drift: float = 0.5
    memory: float = 4.0


@dataclass(frozen=True)
class BucketPosterior:
    """Equally likely draws of a bucket's law, shape (draws,) each: ln(m) at the largest run, k, scatter, shape."""

    log_top: Vector
    exponent: Vector
    scatter: Vector
    shape: Vector
    prior: PassRatePrior

    def depths(self, distance: float) -> tuple[Vector, Vector]:
        """Draws of m at ln(compute) ``distance`` above the largest run, and of the mean pass rate that goes with it."""
        wander = math.sqrt(float(drift_variance(np.array(distance), self.prior.memory))) * self.prior.drift
        spread = np.hypot(self.scatter, self.exponent * wander)
        depths = np.exp((self.log_top - self.exponent * distance)[:, None] + spread[:, None] * STEPS)
        shapes = self.shape[:, None]
        return depths.ravel(), ((1 + depths / shapes) ** -shapes).ravel()


def depth_likelihood(samples: Vector, correct: Vector) -> NDArray[np.float64]:
    """Log-likelihood of one run's counts in one bucket, for every shape and mean, shape (SHAPES, MEANS)."""
    log_step = math.log(DEPTHS[1] / DEPTHS[0])
    problem = -np.outer(correct, DEPTHS) + np.outer(samples - correct, np.log(-np.expm1(-DEPTHS)))
    best = problem.max(axis=1, keepdims=True)
    likelihood = np.exp(problem - best)
    shape, mean = SHAPES[:, None, None], MEANS[None, :, None]
    log_density = shape * np.log(shape / mean) + shape * np.log(DEPTHS) - shape * DEPTHS / mean - gammaln(shape)
    # a narrow Gamma distribution falls between the nodes; its weights are made to sum to one
    density = np.exp(log_density) * log_step
    density /= np.maximum(density.sum(axis=2, keepdims=True), 1e-300)
    mixed = np.tensordot(density, likelihood, axes=([2], [1]))
    return np.asarray(np.log(np.maximum(mixed, 1e-300)).sum(axis=2) + best.sum())


def infer_bucket(x: Vector, likelihoods: Sequence[NDArray[np.float64]], prior: PassRatePrior) -> BucketPosterior:
    """The posterior of one bucket's law.

    Args:
        x: ln(compute) of the runs above the largest's, so at most 0.
        likelihoods: of :func:`depth_likelihood`, one a run.
        prior: of the law and the scatter about it.
    """
    log_means = np.log(MEANS)
    tops = _likely_tops(likelihoods[-1], log_means)
    exponents = lognormal_points(prior.exponent, prior.exponent_factor, 15)
    scatters = lognormal_points(prior.scatter, prior.scatter_factor, 4)
    scale = [likelihood - likelihood.max() for likelihood in likelihoods]
    weights = np.zeros((len(exponents), len(scatters), len(SHAPES), TOPS))
    for i, j in itertools.product(range(len(exponents)), range(len(scatters))):
        for position, likelihood in zip(x, scale, strict=True):
            wander = exponents[i] * prior.drift * math.sqrt(float(drift_variance(np.array(-position), prior.memory)))
            spread = math.hypot(scatters[j], wander)
            at = tops - exponents[i] * position
            kernel = np.exp(-0.5 * ((at[:, None] - log_means[None, :]) / max(spread, log_means[1] - log_means[0])) ** 2)
            kernel /= np.maximum(kernel.sum(axis=1, keepdims=True), 1e-300)
            weights[i, j] += np.log(np.maximum(np.exp(likelihood) @ kernel.T, 1e-300))
    weights = np.exp(weights - weights.max())
    cumulative = np.cumsum(weights.ravel())
    drawn = np.searchsorted(cumulative / cumulative[-1], (np.arange(DRAWS) + 0.5) / DRAWS)
    exponent, scatter, shape, top = np.unravel_index(drawn, weights.shape)
    return BucketPosterior(tops[top], exponents[exponent], scatters[scatter], SHAPES[shape], prior)


def _likely_tops(likelihood: Matrix, log_means: Vector) -> Vector:
    """Values of ln(m) at the largest run: where its own counts can lie, and a good way around."""
    profile = likelihood.max(axis=0)
    likely = np.flatnonzero(profile > profile.max() - 15)
    margin = 0.4
    low = max(float(log_means[likely[0]]) - margin, float(log_means[0]))
    high = min(float(log_means[likely[-1]]) + margin, float(log_means[-1]))
    return np.linspace(low, high, TOPS)


def problem_depths(samples: Vector, correct: Vector) -> Vector:
    """Posterior mean of each problem's v in one run, given the run's likeliest distribution over problems."""
    likelihood = depth_likelihood(samples, correct)
    shape_index, mean_index = np.unravel_index(likelihood.argmax(), likelihood.shape)
    shape, mean = SHAPES[shape_index], MEANS[mean_index]
    prior = shape * np.log(DEPTHS) - shape * DEPTHS / mean
    log_weight = prior - np.outer(correct, DEPTHS) + np.outer(samples - correct, np.log(-np.expm1(-DEPTHS)))
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return np.asarray(weight @ DEPTHS / weight.sum(axis=1))


def mean_depth(samples: Vector, correct: Vector) -> tuple[float, float]:
    """Posterior mean and standard deviation of ln(m) of one run's counts by themselves, under a flat prior."""
    likelihood = depth_likelihood(samples, correct)
    weight = np.exp(likelihood - likelihood.max()).sum(axis=0)
    weight /= weight.sum()
    mean = float(weight @ np.log(MEANS))
    return mean, math.sqrt(max(float(weight @ (np.log(MEANS) - mean) ** 2), 0.0))


def interval(values: Vector, level: float) -> tuple[float, float, float]:
    """Low, median and high of equally likely values."""
    low, median, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return float(low), float(median), float(high)
