"""Which further small run would teach most about the large one.

With f the ln(loss) of the target and g that of a candidate, both uncertain by the law's constants, seeing the candidate
takes a share of cov(f, g)^2 / var(g) from the variance of f: Bayesian c-optimality (Chaloner & Verdinelli 1995,
"Bayesian experimental design"), linear in what the runs have left open. The share is what the law's own bootstrap would
make of one more run. A candidate beyond the largest run also brings the place nearer from which drift begins
(:mod:`foretell.laws.sizing.reach`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from foretell.laws.sizing.chinchilla import LossLaw
from foretell.laws.sizing.loss_terms import Vector
from foretell.laws.sizing.reach import drift_variance

COMPUTE_LEVELS = 10.0 ** (-np.arange(5) / 2)  # of the most that may be spent
SIZE_FACTORS = 2.0 ** np.arange(-4, 5)  # of the size that is best for a candidate's compute
NEAR = 2.0  # a candidate may leave the tokens per parameter and the sizes that were tried by this factor
WEIGHTS = 64
WORTH_A_RUN = 0.03  # shrinks of the interval below this are not advised, however cheap


@dataclass(frozen=True)
class Candidate:
    """A run that has not been trained.

    Attributes:
        params, tokens, flops: of the run.
        shrink: share by which the interval of the target's loss is expected to become narrower, 0 to 1.
        advised: whether it is the one that shrinks the interval most per FLOP, of those that shrink it noticeably.
    """

    params: float
    tokens: float
    flops: float
    shrink: float
    advised: bool = False


def next_runs(law: LossLaw, params: float, tokens: float, most_flops: float) -> tuple[Candidate, ...]:
    """For each compute level the best candidate, in order of compute; at most one is advised.

    Args:
        law: of the runs so far.
        params, tokens: of the target.
        most_flops: training compute that one candidate may take.
    """
    flops = np.repeat(most_flops * COMPUTE_LEVELS, len(SIZE_FACTORS))
    sizes = law.optimum(flops)[0] * np.tile(SIZE_FACTORS, len(COMPUTE_LEVELS))
    seen = flops / law.flops_factor / sizes
    shrinks = expected_shrink(law, params, tokens, sizes, seen)
    shrinks[~_near(law, sizes, seen)] = -1.0
    first = np.arange(len(COMPUTE_LEVELS)) * len(SIZE_FACTORS)
    best = (first + np.argmax(shrinks.reshape(len(COMPUTE_LEVELS), -1), axis=1)).tolist()
    rows = [index for index in reversed(best) if shrinks[index] > 0]
    worth = [index for index in rows if shrinks[index] >= WORTH_A_RUN]
    advised = max(worth, key=lambda index: float(shrinks[index] / flops[index]), default=None)
    return tuple(
        Candidate(float(sizes[index]), float(seen[index]), float(flops[index]), float(shrinks[index]), index == advised)
        for index in rows
    )


def _near(law: LossLaw, sizes: Vector, seen: Vector) -> NDArray[np.bool_]:
    """Whether each candidate is of a kind that the law was fitted to; no smaller, but it may be larger."""
    ratios = law.tokens / law.params
    inside = (seen / sizes > ratios.min() / NEAR) & (seen / sizes < ratios.max() * NEAR)
    return inside & (sizes > law.params.min() / NEAR)


def expected_shrink(law: LossLaw, params: float, tokens: float, sizes: Vector, seen: Vector) -> Vector:
    """Share by which each candidate, shapes (m,), narrows the interval of one new run of the target, shape (m,)."""
    every_size, every_token = np.append(sizes, params), np.append(seen, tokens)
    covariance = np.cov(np.log(law.sampled_loss(every_size, every_token)), rowvar=False)
    target, largest, noise = float(law.compute(params, tokens)), float(law.flops.max()), law.spread**2
    flops = law.compute(sizes, seen)
    left_open = np.diagonal(covariance)[:-1]
    taken = covariance[-1, :-1] ** 2 / left_open * _share_learned(left_open / noise, law.share)
    before = covariance[-1, -1] + noise + drift_variance(law, target, largest)
    after = covariance[-1, -1] + noise - taken + drift_variance(law, target, np.maximum(largest, flops))
    return np.asarray(1 - np.sqrt(after / before))


def _share_learned(ratio: Vector, share: float) -> Vector:
    """Share of a run's open variance that the fit will take from it, where that is ``ratio`` times the noise's.

    A replicate that gives the run the weight g, a gamma variable of shape ``share``, goes g r / (1 + g r) of the way to
    it. Beyond Huber's bound the fit follows residuals as a median does, of pi / 2 times the variance of a mean.
    """
    weights = gammaincinv(share, (np.arange(WEIGHTS) + 0.5) / WEIGHTS)  # equally likely ones
    moved = np.multiply.outer(weights, ratio / (np.pi / 2))
    return np.asarray(1 - ((1 + moved) ** -2).mean(axis=0))
