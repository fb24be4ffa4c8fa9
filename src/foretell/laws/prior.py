"""What is believed about a ladder before it is seen; the one home of the constants that calibration sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

TRANSITION_SMALL_FLOPS = 1e13
TRANSITION_LARGE_FLOPS = 1e18


@dataclass(frozen=True)
class Prior:
    """What is believed before a ladder is seen. Factors are one standard deviation of a log-normal.

    ``kappa``, ``ell`` and ``offset_share`` are calibrated on public families: ``python -m foretell.laws.backtest FOLDER
    --calibrate`` shows that moving them gains next to nothing. The transition's probability at small compute and its
    strength rest on the project's own measured ladders, one of which had one; docs/forecast.md has both tables.
    """

    exponent: float = 0.12
    exponent_factor: float = 1.8
    offset_bits: float = 0.5  # bits per byte: the entropy of text and code lies around here
    offset_bits_factor: float = 1.7
    offset_share: float = 0.6  # of the largest rung's loss, where the metric has no such scale
    offset_share_factor: float = 1.4
    seed_noise: float = 0.005
    seed_noise_factor: float = 1.8
    misfit: float = 0.003
    misfit_factor: float = 2.0
    kappa: float = 0.1
    kappa_factor: float = 2.3
    ell: float = 4.0
    transition_small: float = 0.3  # probability at and below TRANSITION_SMALL_FLOPS
    transition_large: float = 0.04  # at and above TRANSITION_LARGE_FLOPS
    transition_strength: float = 0.6  # scale of the half-normal u


def transition_probability(top_flops: float, prior: Prior) -> float:
    """Prior probability of a steepening transition near or above the largest rung: less at larger compute."""
    reach = math.log(TRANSITION_LARGE_FLOPS / TRANSITION_SMALL_FLOPS)
    position = min(max(math.log(top_flops / TRANSITION_SMALL_FLOPS) / reach, 0.0), 1.0)
    return float(prior.transition_small * (prior.transition_large / prior.transition_small) ** position)
