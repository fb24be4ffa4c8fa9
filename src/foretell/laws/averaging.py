"""Which law extrapolates better is asked of runs held out: the upper end of the ladder, foretold from the lower."""

from __future__ import annotations

import numpy as np

from foretell.laws.frontier import part_of, upper_part
from foretell.laws.posterior import infer, weigh
from foretell.laws.power_laws import laws_for
from foretell.laws.prior import Prior
from foretell.laws.sizes import Sizes

HELD_OUT = 8.0  # factor of compute at the upper end that is foretold
FEWEST_BELOW = 4
WORTH = 2.0  # independent outcomes that the held-out sizes are worth at most: they lie on one curve


def held_out_probabilities(sizes: Sizes, *, bits_per_byte: bool, prior: Prior) -> tuple[float, ...] | None:
    """Probabilities of the laws after each has foretold the ladder's upper end from what lies below it.

    Returns:
        One probability a law, or ``None`` where one law alone is believed or the ladder is too short to be cut.
    """
    below = sizes.flops <= sizes.flops[-1] / HELD_OUT
    before = [law.probability for law in laws_for(sizes, bits_per_byte=bits_per_byte, prior=prior)]
    if len(before) < 2 or below.sum() < FEWEST_BELOW:
        return None
    lower = upper_part(part_of(sizes, below))
    points = np.log(sizes.flops[~below] / lower.flops[-1])
    outcomes = sizes.log_loss[~below]
    scores = []
    for alone in np.eye(len(before)).tolist():
        mixture = infer(lower, points, bits_per_byte=bits_per_byte, prior=prior, probabilities=alone)
        scores.append(float(np.mean([mixture.log_density(i, float(outcome)) for i, outcome in enumerate(outcomes)])))
    worth = min(WORTH, len(outcomes))
    return tuple(weigh(before, [worth * score for score in scores]))
