"""The efficient frontier: of many runs, what the best of each compute reach."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretell.laws.records import Observation
from foretell.laws.shape import Shape, smooth_frontier
from foretell.laws.sizes import Sizes, check_observations, check_range, gather_sizes, group_sizes
from foretell.laws.strays import stray_runs

FEW, ONE_RECIPE = 12, 2.0  # sizes, and the factor of tokens per parameter within which they are one ladder
# The part of a frontier that a law is fitted to: what lies below bends it more than it supports it.
SPAN, FEWEST = 16.0, 5

Size = list[Observation]
Stray = tuple[Observation, float]


@dataclass(frozen=True)
class Ladder:
    """What of a table of runs a law is fitted to.

    Attributes:
        sizes: all points of the frontier, or all sizes of a ladder of one recipe, in order of compute.
        shape: how the loss depends on tokens per parameter; ``None`` where the points are runs as they are.
        used, left_out: the runs behind the points, and those that are too far from the frontier to say anything.
        strays: runs whose loss cannot be that of their size, each with the loss that the others lead to expect. With
            the used and the left out they are all runs.
    """

    sizes: Sizes
    shape: Shape | None
    used: tuple[Observation, ...]
    left_out: tuple[Observation, ...]
    strays: tuple[Stray, ...] = ()


def ladder_of(runs: Sequence[Observation]) -> Ladder:
    """A few sizes of one recipe as they are; of many runs the smoothed frontier, or the best if shapes are unknown.

    Raises:
        UserError: for the rows that :mod:`foretell.laws.sizes` names.
    """
    check_observations(runs)
    rest, strays = without_strays(runs, one_recipe=_is_ladder(runs))
    ladder = _ladder(rest)
    check_range(ladder.used)
    return dataclasses.replace(ladder, strays=strays)


def without_strays(
    runs: Sequence[Observation], *, one_recipe: bool
) -> tuple[tuple[Observation, ...], tuple[Stray, ...]]:
    """The runs less those of :func:`foretell.laws.strays.stray_runs`, and these with the loss expected of them."""
    strays = stray_runs(runs, one_recipe=one_recipe)
    rest = tuple(run for index, run in enumerate(runs) if index not in strays)
    return rest, tuple((runs[index], expected) for index, expected in sorted(strays.items()))


def _ladder(runs: Sequence[Observation]) -> Ladder:
    if _is_ladder(runs):
        return Ladder(gather_sizes(runs), None, tuple(runs), ())
    smoothed = smooth_frontier(runs)
    if smoothed is None:
        best = frontier(runs)
        kept = {id(run) for run in best}
        return Ladder(gather_sizes(best), None, tuple(best), tuple(run for run in runs if id(run) not in kept))
    sizes, shape, near = smoothed
    used, left_out = (tuple(itertools.compress(runs, chosen)) for chosen in (near, ~near))
    return Ladder(sizes, shape, used, left_out)


def upper_part(sizes: Sizes) -> Sizes:
    """The largest sizes: a factor :data:`SPAN` of compute, or :data:`FEWEST` of them where these reach further."""
    smallest = min(sizes.flops[-1] / SPAN, sizes.flops[-FEWEST:][0])
    return part_of(sizes, sizes.flops >= smallest * (1 - 1e-9))


def part_of(sizes: Sizes, kept: NDArray[np.bool_]) -> Sizes:
    """The sizes where ``kept`` is true; the scatter between seeds stays that of all."""
    fields = ("flops", "log_loss", "seeds", "params", "tokens")
    labels = tuple(label for label, keep in zip(sizes.labels, kept, strict=True) if keep)
    return dataclasses.replace(sizes, labels=labels, **{name: getattr(sizes, name)[kept] for name in fields})


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


def _is_ladder(runs: Sequence[Observation]) -> bool:
    """Whether the runs are a few sizes of one recipe: about as many tokens a parameter in each."""
    ratios = [run.tokens / run.params for run in runs if run.tokens is not None and run.params is not None]
    known = len(ratios) == len(runs)
    return known and max(ratios) <= ONE_RECIPE * min(ratios) and len(group_sizes(runs)) <= FEW


def _log_loss(size: Size) -> float:
    return sum(math.log(run.loss) for run in size) / len(size)
