"""Ladders that the tests of the laws share: synthetic ones with known constants, and the two measured ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from foretell.laws.forecast import forecast
from foretell.laws.records import Forecast, Observation

PYTHON_SOURCE = (
    (1.3e10, 3.27), (3.7e10, 3.01), (7.8e10, 2.86), (1.4e11, 2.75), (2.5e11, 2.63), (5.7e11, 2.48), (2.1e12, 2.24),
)  # fmt: skip
ENGLISH = ((3.7e10, 3.01), (7.8e10, 2.83), (1.4e11, 2.71), (2.5e11, 2.61), (5.7e11, 2.47), (2.1e12, 2.28))
MEASURED_TARGET, PYTHON_OUTCOME, ENGLISH_OUTCOME = 6.2e13, 1.58, 1.80

FLOPS = tuple(np.geomspace(1e10, 3e11, 6))
TARGET = 6e13


def law(flops: float, a: float = 20.0, b: float = 0.09, c: float = 0.5) -> float:
    """The plain law; the default looks like the measured ladders."""
    return a * flops**-b + c


def ladder(
    flops: Sequence[float] = FLOPS,
    *,
    constants: tuple[float, float, float] = (20.0, 0.09, 0.5),
    seeds: int = 2,
    noise: float = 0.0,
    generator: np.random.Generator | None = None,
    bend: Callable[[float], float] = lambda flops: 0.0,
) -> list[Observation]:
    """Runs on the law; ``bend`` is added to ln(loss), ``noise`` is the relative scatter between seeds."""
    generator = generator or np.random.default_rng(0)
    return [
        Observation(
            flops=float(size),
            loss=law(size, *constants) * math.exp(bend(size) + noise * generator.standard_normal()),
            params=math.sqrt(size / 120),
            tokens=math.sqrt(size / 120) * 20,
            seed=seed,
            label=f"rung {index}",
        )
        for index, size in enumerate(flops)
        for seed in range(seeds)
    ]


@functools.cache
def usual_forecast() -> Forecast:
    """Of the usual ladder, for the usual target; made once, for many tests ask for it."""
    return forecast(ladder(), TARGET)


def measured(points: Sequence[tuple[float, float]]) -> list[Observation]:
    """One run a point, as in the design's tables."""
    return [Observation(flops, loss, math.sqrt(flops / 120), math.sqrt(flops / 6)) for flops, loss in points]
