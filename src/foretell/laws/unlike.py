"""Whether a ladder contradicts what public families teach: too steep, too flat, or straight where all of them bend.

The laws of a forecast believe that log-log slopes fall towards those of public families at large compute. A ladder
that shows the opposite must not be pressed into them in silence. Where it is straight beyond doubt, a straight line
has a part in its forecast (see :mod:`foretell.laws.power_laws`). Where it is only steep or flat it is warned of: seven
steep starts of public families with noisy or out-of-domain losses bent later, and a straight line foretold them worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foretell.laws.ladder_shape import weighted_polynomial
from foretell.laws.prior import PUBLIC_FLOPS
from foretell.laws.sizes import Sizes, Vector

# Measured over the clean losses of the public families of the backtest; tests/laws/test_laws_unlike.py holds them to it
PUBLIC_SLOPES = (0.03, 0.13)  # log-log slopes of the upper part of their frontiers
PUBLIC_BEND = 0.05  # by what share of itself the slope falls for each factor e of compute, at the least
NEAR_FLOOR = 0.06  # slopes below this have little left to fall: a straight line is then nothing odd
FEWEST = 5  # sizes that tell a line from a curve
CLEAR = 2.0  # standard errors between a ladder's slope and PUBLIC_SLOPES
CERTAIN = 4.0  # standard errors between a ladder's bend and PUBLIC_BEND
RISING = -0.03  # a bend below this is a slope that rises, which has a finding of its own
SCATTER, SCATTER_WORTH = 0.003, 2.0  # of ln(loss) about the parabola, believed before, and how many sizes that is worth


@dataclass(frozen=True)
class Unlike:
    """What of a ladder no public family shows.

    Attributes:
        slope: log-log slope of the part that laws are fitted to, of -ln(loss) over ln(compute).
        straight: factor of compute over which the slope does not fall; ``None`` where the slope itself is the matter.
    """

    slope: float
    straight: float | None = None

    @property
    def sentence(self) -> str:
        """The contradiction with its figures."""
        low, high = PUBLIC_SLOPES
        if self.straight is None:
            seen = f"the log-log slope of the largest is {self.slope:.3f}, and that of public families {low} to {high}"
        else:
            seen = (
                f"the log-log slope of {self.slope:.3f} does not fall over a factor {self.straight:,.0f} of compute, "
                f"and that of public families falls by {100 * PUBLIC_BEND:.0f} % of itself and more for each factor e, "
                "so a law without offset has a part in the forecast"
            )
        return f"These runs are unlike any clean public family: {seen}; the backtest says nothing of such runs."


def unlike_public(every: Sizes, upper: Sizes) -> Unlike | None:
    """What contradicts the public families; ``None`` where nothing does, or none of them is so small.

    Args:
        every: all sizes of the ladder or points of the frontier, which show whether the slope falls.
        upper: those that laws are fitted to, which show how steep it is.
    """
    if every.flops[-1] < PUBLIC_FLOPS or len(upper.flops) < 3:
        return None
    coefficients, errors = _fitted(upper, 1)
    slope, error = -float(coefficients[1]), float(errors[1])
    if slope > NEAR_FLOOR and _is_straight(every):
        return Unlike(slope, float(every.flops[-1] / every.flops[0]))
    low, high = PUBLIC_SLOPES
    # a slope that does not fall has a finding of its own
    return Unlike(slope) if slope > high + CLEAR * error or 0 < slope < low - CLEAR * error else None


def _is_straight(every: Sizes) -> bool:
    """Whether the slope certainly falls by less than that of every public family."""
    if len(every.flops) < FEWEST:
        return False
    coefficients, errors = _fitted(every, 2)
    middle = -float(coefficients[1])
    if middle <= 0:
        return False
    bend, error = 2 * float(coefficients[2]) / middle, 2 * float(errors[2]) / middle
    return bend > RISING and PUBLIC_BEND - bend > CERTAIN * error


def _fitted(sizes: Sizes, degree: int) -> tuple[Vector, Vector]:
    """A polynomial of ln(loss) over ln(compute) about its mean: coefficients in rising order, standard errors.

    The noise is the ladder's own scatter, not the usual one: a line without noise is the plainest contradiction.
    """
    x, weights = sizes.x - sizes.x.mean(), 1 / np.sqrt(sizes.seeds)
    coefficients, errors = weighted_polynomial(x, sizes.log_loss, weights, degree)
    misses = (sizes.log_loss - np.polynomial.polynomial.polyval(x, coefficients)) / weights
    free = len(x) - degree - 1 + SCATTER_WORTH
    scatter = math.sqrt((float(misses @ misses) + SCATTER_WORTH * SCATTER**2) / free)
    return coefficients, errors * scatter
