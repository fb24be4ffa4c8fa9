"""How far a law of parameters and tokens can be trusted beyond its runs: the part of the doubt that no constant has.

Real curves leave their law: the local slope is off by a share that remembers over a stretch of compute, as in the
forecast's model (:mod:`foretell.laws.posterior`); here about the law of parameters and tokens, from its largest run on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from foretell.laws.posterior import drift_covariance
from foretell.laws.prior import Prior
from foretell.laws.sizing.chinchilla import LossLaw
from foretell.laws.sizing.loss_terms import Vector

DRAWS = 20  # of drift and noise for each sample of the constants
STEP = 0.1  # of ln(compute), over which the local slope is taken


def drift_variance(law: LossLaw, flops: float, seen_up_to: ArrayLike) -> Vector:
    """Variance of ln(loss) at ``flops`` that drift adds where the largest run has ``seen_up_to`` FLOPs; its shape."""
    prior = Prior()
    beyond = np.atleast_1d(np.maximum(np.log(flops / np.asarray(seen_up_to, float)), 0.0))
    spread = prior.kappa * slope(law, flops)
    return np.asarray(spread**2 * np.diagonal(drift_covariance(beyond, beyond, prior.ell))).reshape(
        np.shape(seen_up_to)
    )


def slope(law: LossLaw, flops: float) -> float:
    """How fast -ln(loss) of the optimum rises with ln(compute), at ``flops``."""
    here, further = (float(np.log(law.loss(*law.optimum(flops * np.exp(step))))) for step in (0.0, STEP))
    return (here - further) / STEP


def predicted_loss(law: LossLaw, params: float, tokens: float, level: float) -> tuple[float, float, float]:
    """Low, middle and high of the loss of one new run; the outer two enclose ``level`` of the probability."""
    variance = float(drift_variance(law, float(law.compute(params, tokens)), law.flops.max())) + law.spread**2
    sampled = np.log(law.sampled_loss(params, tokens))
    noise = np.random.default_rng(2).standard_normal((DRAWS, len(sampled))) * variance**0.5
    low, high = np.exp(np.quantile(sampled + noise, [(1 - level) / 2, (1 + level) / 2]))
    middle = float(law.loss(params, tokens))
    return min(float(low), middle), middle, max(float(high), middle)
