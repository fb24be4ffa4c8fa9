"""The efficient frontier: of many runs, those that are best for their compute."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foretell.laws.records import Observation
from foretell.laws.sizes import group_sizes

FEW, ONE_RECIPE = 12, 2.0  # sizes, and the factor of tokens per parameter within which they are one ladder
SPAN, FEWEST = 16.0, 5  # on public families 0.7 % of error ten times ahead, where ten sizes give 1.4 %

Size = list[Observation]


def frontier(runs: Sequence[Observation]) -> list[Observation]:
    """The best size of each doubling of compute, as long as it is better than every cheaper one, with all its seeds.

    Seeds of one size (:func:`foretell.laws.sizes.group_sizes`) are judged by their mean ln(loss).
    """
    best: dict[int, Size] = {}
    for size in group_sizes(runs):
        doubling = round(math.log2(size[0].flops))
        if doubling not in best or _log_loss(size) < _log_loss(best[doubling]):
            best[doubling] = size
    kept: list[Size] = []
    for _, size in sorted(best.items()):
        if not kept or _log_loss(size) < _log_loss(kept[-1]):
            kept.append(size)
    return [run for size in kept for run in size]


def ladder_of(runs: Sequence[Observation]) -> list[Observation]:
    """The runs that a law is fitted to: of a ladder all, of a sweep the frontier, as far down as helps.

    That is a factor :data:`SPAN` of compute, or :data:`FEWEST` sizes where these reach further: what lies below bends
    the law more than it supports it.
    """
    chosen = list(runs) if _is_ladder(runs) else frontier(runs)
    compute = sorted({run.flops for run in chosen})
    smallest = min(compute[-1] / SPAN, compute[-FEWEST:][0])
    return [run for run in chosen if run.flops >= smallest * (1 - 1e-9)]


def _is_ladder(runs: Sequence[Observation]) -> bool:
    """Whether the runs are a few sizes of one recipe: about as many tokens a parameter in each."""
    ratios = [run.tokens / run.params for run in runs if run.tokens is not None and run.params is not None]
    known = len(ratios) == len(runs)
    return known and max(ratios) <= ONE_RECIPE * min(ratios) and len(group_sizes(runs)) <= FEW


def _log_loss(size: Size) -> float:
    return sum(math.log(run.loss) for run in size) / len(size)
