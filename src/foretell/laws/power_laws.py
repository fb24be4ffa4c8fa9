"""The laws that a forecast averages, each as a grid of shapes with a prior weight.

With x = ln(C / C of the largest rung) and m the level there, ln(L) - m is

- power law with offset, L = a C^-b + c:      ln(f + (1 - f) e^(-b x)),  f = c / L(0)
  (OpenAI 2023, "GPT-4 Technical Report", section 3.1; Henighan et al. 2020). Its log-log slope falls to zero.
- relaxing slope:                             -e x - (s - e) (1 - e^(-r x)) / r
  The log-log slope falls from s at the largest rung towards a floor e at a rate r. On public families slopes of 0.08 to
  0.11 at 1e18 FLOPs, and of 0.05 to 0.06 there, both come down to 0.04 to 0.05 a thousand times further.
- straight line, L = a C^-b:                  -b x
  For ladders that are straight where every public family bends (:mod:`foretell.laws.unlike`), and for no others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from foretell.laws.ladder_shape import mean_slope
from foretell.laws.prior import Prior, offset_share, transition_probability
from foretell.laws.sizes import Sizes, Vector

Matrix = NDArray[np.float64]

TRANSITION_SPAN = math.log(30)  # the measured transition steepened the curve over about this much compute
TRANSITION_ONSETS = (-1.5, 0.0, 1.5)  # relative to the largest rung, in ln(compute)
LARGEST_SHARE = 0.93  # an offset nearer to the largest rung's loss leaves no law


@dataclass(frozen=True)
class Law:
    """A law over a grid of its constants.

    Attributes:
        name, formula: in words and in symbols.
        probability: that this law is the better one, before the ladder is seen; those of all laws add up to 1.
        shapes: one row a point of the grid, columns are the law's constants.
        log_weights: prior weight of each row; the weights add up to 1.
        curves: ln(loss) less the level m of given rows at given x, shape (rows, points).
        constants: from rows and their m, what people call the constants, each shape (rows,).
    """

    name: str
    formula: str
    probability: float
    shapes: Matrix
    log_weights: Vector
    curves: Callable[[Matrix, Vector], Matrix]
    constants: Callable[[Matrix, Vector], dict[str, Vector]]


def laws_for(sizes: Sizes, *, bits_per_byte: bool, prior: Prior) -> tuple[Law, ...]:
    """The laws that are averaged for a ladder."""
    curved = 1 - prior.straight
    laws = [
        _offset_law(sizes, curved * (1 - prior.relaxing), bits_per_byte, prior),
        _relaxing_law(sizes, curved * prior.relaxing, prior),
        _straight_law(sizes, prior.straight),
    ]
    return tuple(law for law in laws if law.probability > 0)


def lognormal_points(median: float, factor: float, count: int) -> Vector:
    """Quantile midpoints of a log-normal: equally likely values that stand for it."""
    return np.asarray(median * factor ** ndtri((np.arange(count) + 0.5) / count))


def _normalised(log_weights: Vector) -> Vector:
    return np.asarray(log_weights - np.logaddexp.reduce(log_weights))


def _offset_law(sizes: Sizes, probability: float, bits_per_byte: bool, prior: Prior) -> Law:
    """Columns b, f, onset and strength of a transition (Olsson et al. 2022), which steepens the curve for a while."""
    top = math.exp(float(sizes.log_loss[-1]))
    slope = mean_slope(sizes)
    share, factor = offset_share(float(sizes.flops[-1]), prior), prior.offset_share_factor
    if bits_per_byte and prior.offset_bits < prior.offset_share * top:
        share, factor = prior.offset_bits / top, prior.offset_bits_factor
    shares = np.minimum(lognormal_points(share, factor, 16), LARGEST_SHARE)
    exponents = np.geomspace(0.015, 0.9, 56)
    exponent_weights = -0.5 * (np.log(exponents / prior.exponent) / math.log(prior.exponent_factor)) ** 2
    strengths = prior.transition_strength * ndtri(0.5 + (np.arange(4) + 0.5) / 8)
    chance = transition_probability(float(sizes.flops[-1]), prior)
    steeper = list(itertools.product(TRANSITION_ONSETS, strengths)) if chance else []
    transitions = [(0.0, 0.0), *steeper]
    transition_weights = np.log([1 - chance] + [chance / len(steeper) for _ in steeper])
    grid = np.array(list(itertools.product(exponents, shares, range(len(transitions)))))
    chosen = grid[:, 2].astype(int)
    shapes = np.column_stack([grid[:, :2], np.array(transitions)[chosen]])
    weights = np.repeat(exponent_weights, len(shares) * len(transitions)) + transition_weights[chosen]

    def curves(rows: Matrix, x: Vector) -> Matrix:
        exponent, offset, onset, strength = (column[:, None] for column in rows.T)
        ramp = np.clip(x[None, :] - onset, 0.0, TRANSITION_SPAN)
        # m is the level at x = 0, so that f is a share of the same thing with and without a transition
        ramp_at_top = np.clip(-onset, 0.0, TRANSITION_SPAN)
        law = np.logaddexp(np.log(offset), np.log1p(-offset) - exponent * x[None, :])
        return np.asarray(law - strength * slope * (ramp - ramp_at_top))

    def constants(rows: Matrix, level: Vector) -> dict[str, Vector]:
        scale, exponent, offset = np.exp(level), rows[:, 0], rows[:, 1]
        return {"a": scale * (1 - offset) * sizes.flops[-1] ** exponent, "b": exponent, "c": scale * offset}

    return Law("power law with offset", "L(C) = a * C^-b + c", probability, shapes, _normalised(weights), curves,
               constants)  # fmt: skip


def _relaxing_law(sizes: Sizes, probability: float, prior: Prior) -> Law:
    """Columns s, e, r."""
    slopes = np.geomspace(0.008, 0.3, 40)
    slope_weights = -0.5 * (np.log(slopes / prior.slope) / math.log(prior.slope_factor)) ** 2
    floors = lognormal_points(prior.floor, prior.floor_factor, 9)
    rates = lognormal_points(prior.rate, prior.rate_factor, 7)
    shapes = np.array(list(itertools.product(slopes, floors, rates)))
    weights = np.repeat(slope_weights, len(floors) * len(rates))

    def curves(rows: Matrix, x: Vector) -> Matrix:
        slope, floor, rate = (column[:, None] for column in rows.T)
        return np.asarray(-floor * x[None, :] + (slope - floor) * np.expm1(-rate * x[None, :]) / rate)

    def constants(rows: Matrix, level: Vector) -> dict[str, Vector]:
        return {"m": level, "s": rows[:, 0], "e": rows[:, 1], "r": rows[:, 2]}

    top = f"{sizes.flops[-1]:.4g}"
    return Law("relaxing slope", f"ln L(C) = m - e x - (s - e) (1 - exp(-r x)) / r, x = ln(C / {top})", probability,
               shapes, _normalised(weights), curves, constants)  # fmt: skip


def _straight_law(sizes: Sizes, probability: float) -> Law:
    """Column b, any slope as likely as any other of its order: nothing is known of such ladders."""
    slopes = np.geomspace(0.004, 1.0, 160)[:, None]

    def curves(rows: Matrix, x: Vector) -> Matrix:
        return np.asarray(-rows * x[None, :])

    def constants(rows: Matrix, level: Vector) -> dict[str, Vector]:
        return {"a": np.exp(level) * sizes.flops[-1] ** rows[:, 0], "b": rows[:, 0]}

    return Law("power law without offset", "L(C) = a * C^-b", probability, slopes,
               _normalised(np.zeros(len(slopes))), curves, constants)  # fmt: skip
