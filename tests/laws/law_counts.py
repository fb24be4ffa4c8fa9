"""Counts of runs whose pass rates follow a known law."""

import numpy as np
from scipy import stats

from foretell.laws.capability.passrate_table import CountedRun, Counts


def depth(flops: float, hardness: float = 1.0) -> float:
    """-ln(pass rate) under the law."""
    return hardness * 5 * (flops / 1e18) ** -0.06


def family(samples: int, powers: list[float], problems: int = 60) -> Counts:
    """Runs whose problems have pass rates by the law, with the expected counts."""
    hardness = stats.gamma(6, scale=1 / 6).ppf((np.arange(problems) + 0.5) / problems)
    runs = []
    for power in powers:
        rates = np.exp(-depth(10**power) * hardness)
        correct = np.floor(samples * rates + 0.5)
        names = tuple(f"p{i:03d}" for i in range(problems))
        runs.append(CountedRun(f"r{power}", 10**power, names, np.full(problems, float(samples)), correct))
    return Counts("made", tuple(runs))
