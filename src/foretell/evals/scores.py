"""Means of scores and their standard errors, over items or over groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Average = Literal["items", "groups"]


@dataclass(frozen=True)
class Score:
    """A mean.

    Attributes:
        value: of ``n`` items.
        stderr: standard error; ``None`` where one item says nothing of it.
        n: how many.
    """

    value: float
    stderr: float | None
    n: int

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def mean_score(values: Sequence[float] | np.ndarray) -> Score:
    """The mean of at least one value, with the standard error of a sample mean: s / sqrt(n), s over n - 1."""
    found = np.asarray(values, dtype=np.float64)
    spread = None if len(found) < 2 else float(found.std(ddof=1) / math.sqrt(len(found)))
    return Score(float(found.mean()), spread, len(found))


def average_score(values: Sequence[float], groups: Sequence[str], average: Average) -> Score:
    """The mean over items, or over groups of their means.

    In the latter the groups are taken as they are, and items as a sample of theirs: the variance is the mean of the
    groups' squared standard errors over their number. A group of one item has the variance that items of the other
    groups have about their means.
    """
    if average == "items":
        return mean_score(values)
    parts = _by_group(values, groups)
    value = float(np.mean([part.mean() for part in parts]))
    spread = sum(len(part) - 1 for part in parts)
    if not spread:
        return Score(value, None, len(values))
    pooled = sum(float(((part - part.mean()) ** 2).sum()) for part in parts) / spread
    variances = [(float(part.var(ddof=1)) if len(part) > 1 else pooled) / len(part) for part in parts]
    return Score(value, math.sqrt(math.fsum(variances)) / len(parts), len(values))


def summarise(
    scores: Sequence[Mapping[str, float]], groups: Sequence[str], average: Average
) -> tuple[dict[str, Score], dict[str, dict[str, Score]]]:
    """Scores of items by metric: each metric's average, and its mean in each group; items without it do not count."""
    names = dict.fromkeys(name for one in scores for name in one)
    overall: dict[str, Score] = {}
    by_group: dict[str, dict[str, Score]] = {}
    for name in names:
        kept = [(one[name], group) for one, group in zip(scores, groups, strict=True) if name in one]
        values, where = zip(*kept, strict=True)
        overall[name] = average_score(values, where, average)
        for group in dict.fromkeys(where):
            found = [value for value, one in kept if one == group]
            by_group.setdefault(group, {})[name] = mean_score(found)
    return overall, by_group


def _by_group(values: Iterable[float], groups: Iterable[str]) -> list[np.ndarray]:
    found: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        found.setdefault(group, []).append(value)
    return [np.asarray(part, dtype=np.float64) for part in found.values()]
