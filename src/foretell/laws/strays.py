"""Runs whose losses cannot be those of their size: a diverged run, another unit, a metric that went wrong.

One such run decides a frontier (the lowest loss of all) or bends a ladder, so it is set aside by its neighbours' word
and named. The rules look at the order of losses and at a robust line, never at a law, and err on the side of keeping:
what is merely badly tuned is for the frontier and for other findings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretell.laws.records import Observation
from foretell.laws.sizes import Vector

TOO_LOW = 0.15  # of ln(loss) below every one of several runs of as much compute and more
TOO_HIGH = 0.25  # above several runs of as much compute and less
SEVERAL = 3
FAR, FAR_SCATTERS = 0.35, 6.0  # from the robust line, of ln(loss) and of its own scatter: both
MOST = 0.2  # share of the runs that may be strays; of more it cannot be said which are
FEWEST = 4  # runs that have neighbours enough to tell
MOST_PAIRED = 1500  # runs whose pairs give the line its slope; of more every second, third, ...


def stray_runs(runs: Sequence[Observation], *, one_recipe: bool) -> dict[int, float]:
    """Runs that are far off their neighbours, by their position, with the loss that these lead to expect.

    Args:
        runs: any number, in any order; losses > 0.
        one_recipe: whether runs are sizes of one ladder, in which one far above the others has diverged; in a sweep
            such runs are usual and the frontier leaves them out.

    Returns:
        At most :data:`MOST` of the runs, empty where more are odd, for then there is no telling which.
    """
    if len(runs) < FEWEST:
        return {}
    x = np.log(np.array([run.flops for run in runs], dtype=float))
    y = np.log(np.array([run.loss for run in runs], dtype=float))
    kept = np.ones(len(runs), dtype=bool)
    found: dict[int, float] = {}
    limit = max(1, math.floor(MOST * len(runs)))
    while kept.sum() >= FEWEST:
        worst = _worst(x, y, kept, one_recipe)
        if worst is None:
            return found
        index, expected = worst
        found[index] = math.exp(expected)
        kept[index] = False
        if len(found) > limit:
            return {}
    return found


def _worst(x: Vector, y: Vector, kept: NDArray[np.bool_], one_recipe: bool) -> tuple[int, float] | None:
    """The run that is furthest off, and the ln(loss) expected of it; ``None`` where none is."""
    positions = np.flatnonzero(kept)
    expected, line = _line(x[kept], y[kept])
    residuals = y[kept] - expected
    # runs of a sweep lie far above the best as a matter of course, so only what lies below tells their scatter
    spread = np.abs(residuals) if one_recipe else -residuals[residuals <= 0]
    far = max(FAR, FAR_SCATTERS * 1.4826 * float(np.median(spread)))
    odd = _below_all_larger(x[kept], y[kept]) | ((residuals < -far) & line)
    if one_recipe:
        odd |= _above_most_smaller(x[kept], y[kept]) | ((residuals > far) & line)
    if not odd.any():
        return None
    place = int(np.argmax(np.where(odd, np.abs(residuals), -1.0)))
    return int(positions[place]), float(expected[place])


def _line(x: Vector, y: Vector) -> tuple[Vector, bool]:
    """A robust line (Theil 1950, Sen 1968) at the points, shape (runs,), and whether they are enough to trust it."""
    some = np.argsort(x, kind="stable")[:: math.ceil(len(x) / MOST_PAIRED)]
    left, right = np.triu_indices(len(some), 1)
    apart = x[some][right] - x[some][left]
    far = apart > 0.1
    if not far.any():
        return np.full_like(y, np.median(y)), True
    slope = float(np.median((y[some][right] - y[some][left])[far] / apart[far]))
    return np.asarray(np.median(y - slope * x) + slope * x), len(x) > FEWEST


def _below_all_larger(x: Vector, y: Vector) -> NDArray[np.bool_]:
    """Where a run is far below every one of several others of as much compute and more."""
    order = np.argsort(x, kind="stable")
    first = np.searchsorted(x[order], x - 1e-9)
    lowest = np.minimum.accumulate(y[order][::-1])[::-1][first]
    # where a run is itself the lowest from its compute on, the lowest of the others is what counts
    alone = np.flatnonzero((y <= lowest) & (len(x) - first > SEVERAL))
    below = np.zeros(len(x), dtype=bool)
    for run in alone:
        larger = x >= x[run] - 1e-9
        larger[run] = False
        below[run] = float(y[larger].min()) - y[run] > TOO_LOW
    return below


def _above_most_smaller(x: Vector, y: Vector) -> NDArray[np.bool_]:
    """Where a run is far above all but one of several others of as much compute and less: one may be a stray itself."""
    above = np.zeros(len(x), dtype=bool)
    for run in range(len(x)):
        others = x <= x[run] + 1e-9
        others[run] = False
        smaller = np.sort(y[others])
        above[run] = len(smaller) >= SEVERAL and y[run] - float(smaller[-2]) > TOO_HIGH
    return above
