"""What is believed about a ladder before it is seen; the one home of the constants that calibration sets.

Ladders below the scale of every public family have constants of their own (:class:`Prior`'s defaults); above it they
are learned from public families (:func:`public_prior`, the file learned.json, written by
:mod:`foretell.laws.backtests.learn`).
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEARNED = Path(__file__).with_name("learned.json")
PUBLIC_FLOPS = 1e15  # the smallest runs of the public families

TRANSITION_SMALL_FLOPS = 1e13
TRANSITION_LARGE_FLOPS = 1e18


@dataclass(frozen=True)
class Prior:
    """What is believed before a ladder is seen. Factors are one standard deviation of a log-normal.

    The defaults are those of ladders below :data:`PUBLIC_FLOPS`, where the relaxing slope has not been tested:
    ``kappa``, ``ell`` and ``offset_share`` are calibrated on public families: ``python -m
    foretell.laws.backtests.backtest FOLDER --calibrate`` shows that moving them gains next to nothing. The transition's
    probability at small compute and its strength rest on the project's own measured ladders, one of which had one;
    docs/ladder.md has both tables.
    """

    exponent: float = 0.12
    exponent_factor: float = 1.8
    offset_bits: float = 0.5  # bits per byte: the entropy of text and code lies around here
    offset_bits_factor: float = 1.7
    offset_share: float = 0.6  # of the largest rung's loss, where the metric has no such scale
    offset_share_factor: float = 1.4
    offset_flops: float = 0.0  # where both terms of the law are equal, which gives the share instead; 0 for unknown
    seed_noise: float = 0.005
    seed_noise_factor: float = 1.8
    misfit: float = 0.003
    misfit_factor: float = 2.0
    kappa: float = 0.1
    kappa_factor: float = 2.3
    ell: float = 4.0
    transition_small: float = 0.3  # probability at and below TRANSITION_SMALL_FLOPS; 0 for none at all
    transition_large: float = 0.04  # at and above TRANSITION_LARGE_FLOPS
    transition_strength: float = 0.6  # scale of the half-normal u
    straight: float = 0.0  # probability of a straight line, for ladders that no public family is like
    relaxing: float = (
        0.0  # probability, of the rest, of the law whose slope relaxes (foretell.laws.power_laws); s, e, r:
    )
    slope: float = 0.055
    slope_factor: float = 1.5
    floor: float = 0.037
    floor_factor: float = 1.2
    rate: float = 0.25
    rate_factor: float = 2.0


def offset_share(top_flops: float, prior: Prior) -> float:
    """Median of c / L at the largest rung; by the law itself c / (a C^-b) grows as C^b."""
    if not prior.offset_flops:
        return prior.offset_share
    return float(1 / (1 + (top_flops / prior.offset_flops) ** -prior.exponent))


def transition_probability(top_flops: float, prior: Prior) -> float:
    """Prior probability of a steepening transition near or above the largest rung: less at larger compute."""
    if not prior.transition_small:
        return 0.0
    reach = math.log(TRANSITION_LARGE_FLOPS / TRANSITION_SMALL_FLOPS)
    position = min(max(math.log(top_flops / TRANSITION_SMALL_FLOPS) / reach, 0.0), 1.0)
    return float(prior.transition_small * (prior.transition_large / prior.transition_small) ** position)


@functools.cache
def learned() -> dict[str, Any]:
    """The file of learned constants: ``constants``, and ``without`` each source, for tests on that source."""
    values: dict[str, Any] = json.loads(LEARNED.read_text(encoding="utf-8"))
    return values


def public_prior(without: str | None = None) -> Prior:
    """Constants learned from public families, or from all but one source of them, where that one is the test."""
    values = learned()
    return Prior(**(values["without"].get(without, values["constants"]) if without else values["constants"]))


def prior_for(top_flops: float, without: str | None = None) -> Prior:
    """What is believed about a ladder whose largest rung has so much compute."""
    return public_prior(without) if top_flops >= PUBLIC_FLOPS else Prior()
