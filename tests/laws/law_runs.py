"""Runs whose law of parameters and tokens is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from foretell.laws.tables.runs import Run

TRUE = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}


def true_loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Loss by :data:`TRUE`, written as the formula is printed."""
    return TRUE["E"] + TRUE["A"] / params ** TRUE["alpha"] + TRUE["B"] / tokens ** TRUE["beta"]


def make_runs(params: Iterable[float], tokens: Iterable[float], loss: Iterable[float]) -> list[Run]:
    """Runs of 6 N D."""
    return [
        Run(row, f"run {row}", "", 6 * n * d, float(n), float(d), float(value))
        for row, (n, d, value) in enumerate(zip(params, tokens, loss, strict=True), 2)
    ]


def random_runs(count: int, noise: float = 0.005, seed: int = 0) -> list[Run]:
    """Sizes of 1e7 to 1e9, 2 to 200 tokens a parameter, losses by the law with Gaussian noise."""
    random = np.random.default_rng(seed)
    params = 10 ** random.uniform(7, 9, count)
    tokens = params * 10 ** random.uniform(0.3, 2.3, count)
    return make_runs(params, tokens, true_loss(params, tokens) * np.exp(noise * random.standard_normal(count)))
