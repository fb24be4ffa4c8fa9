"""The base learning rate: tried on the smallest rungs, carried to every size by muP."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foretell.core.errors import UserError


def choose_learning_rate(losses: Mapping[float, Sequence[float]]) -> dict[str, Any]:
    """The rate at the bottom of a parabola through the best rate and its neighbours, in the logarithm of the rate.

    Args:
        losses: for each base rate the held-out losses of the same sizes and seeds, in the same order; a run that
            diverged has a loss that is not finite and rules its rate out.

    Returns:
        The record ``{candidates, chosen, curve, at_edge, sentence}``; the chosen rate lies within the tried range.

    Raises:
        UserError: when every rate diverged.
    """
    rates = sorted(losses)
    columns = np.array([losses[rate] for rate in rates], dtype=float)
    usable = np.isfinite(columns).all(axis=1)
    scores = np.full(len(rates), np.inf)
    if not usable.any():
        raise UserError(
            f"Every learning rate from {rates[0]:g} to {rates[-1]:g} diverged; lower ladder.learning_rates."
        )
    # Sizes differ in loss; each is compared with its own best rate.
    logs = np.log(columns[usable])
    scores[usable] = (logs - logs.min(axis=0)).mean(axis=1)
    best = int(np.argmin(scores))
    chosen, curve = rates[best], None
    if 0 < best < len(rates) - 1 and np.isfinite(scores[best - 1 : best + 2]).all():
        x = np.log([rates[best - 1], rates[best], rates[best + 1]])
        second, first, constant = np.polyfit(x, scores[best - 1 : best + 2], 2)
        if second > 0:
            bottom = float(np.clip(-first / (2 * second), x[0], x[2]))
            chosen = math.exp(bottom)
            curve = {"second": float(second), "first": float(first), "constant": float(constant)}
    edge = best in (0, len(rates) - 1) and len(rates) > 1
    sentence = f"Base learning rate {chosen:.2g}, tuned over {len(rates)} rates on {columns.shape[1]} small runs each"
    sentence += "; the best lies at the edge of what was tried." if edge else "."
    return {
        "candidates": [
            {"learning_rate": rate, "losses": [None if not math.isfinite(v) else v for v in losses[rate]]}
            for rate in rates
        ],
        "chosen": chosen,
        "curve": curve,
        "at_edge": edge,
        "sentence": sentence,
    }
