"""Coverage on families drawn from fits to one source, forecast by constants learned from the others."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from foretell.core.errors import UserError
from foretell.laws.backtests.protocol import FEWEST_RUNS, gap_cases
from foretell.laws.forecast import as_observation, forecast_runs
from foretell.laws.shape import smooth_frontier
from foretell.laws.sizing.chinchilla import fit_law
from foretell.laws.tables.runs import Run, Runs

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"
GAPS = (10.0, 30.0, 100.0, 300.0)
COUNT = 300


@dataclass(frozen=True)
class Fit:
    """A family's shapes, and losses of the same shapes by laws that its runs leave possible."""

    runs: tuple[Run, ...]
    samples: np.ndarray  # of ln(loss), shape (laws, runs)
    spread: float

    def draw(self, generator: np.random.Generator) -> tuple[Run, ...]:
        """The same shapes by one of the laws, with the family's noise."""
        log_loss = self.samples[generator.integers(len(self.samples))]
        losses = np.exp(log_loss + self.spread * generator.standard_normal(len(self.runs)))
        return tuple(dataclasses.replace(run, value=float(loss)) for run, loss in zip(self.runs, losses, strict=True))


def of_parameters_and_tokens(runs: tuple[Run, ...]) -> Fit:
    """L = E + A / N^alpha + B / D^beta."""
    law = fit_law(runs)
    params, tokens = (np.array([getattr(run, name) for run in runs]) for name in ("params", "tokens"))
    return Fit(runs, np.log(law.sampled_loss(params, tokens)), law.spread)


def of_compute_and_shape(runs: tuple[Run, ...]) -> Fit | None:
    """L = (a C^-b + c) exp(q (u - u*)^2), the frontier by least squares of resampled points."""
    observations = [as_observation(run) for run in runs]
    smoothed = smooth_frontier(observations)
    if smoothed is None or len(smoothed[0].flops) < 5:
        return None
    sizes, shape, _ = smoothed
    flops, params, tokens = (np.array([getattr(run, name) for run in runs]) for name in ("flops", "params", "tokens"))
    generator = np.random.default_rng(0)

    def frontier(constants: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.logaddexp(constants[0] - constants[1] * np.log(at / sizes.flops[-1]), constants[2])

    samples = []
    for _ in range(40):
        weights = generator.multinomial(len(sizes.flops), np.full(len(sizes.flops), 1 / len(sizes.flops))) ** 0.5
        found = least_squares(lambda c, w=weights: w * (frontier(c, sizes.flops) - sizes.log_loss),
                              [sizes.log_loss[-1] - 1.0, 0.15, sizes.log_loss[-1] - 0.5],
                              bounds=([-9, 0.03, -9], [9, 0.6, 9]))  # fmt: skip
        samples.append(frontier(found.x, flops) + shape.penalty(flops, params, tokens))
    return Fit(runs, np.array(samples), shape.scatter)


def fits() -> dict[str, list[Fit]]:
    """Both kinds of fit to the clean families of each source."""
    found: dict[str, list[Fit]] = {}
    for case in gap_cases(SCALING, [1.0]):
        runs = case.runs.runs
        if case.clean and all(run.params and run.tokens for run in runs):
            made = [of_parameters_and_tokens(runs), of_compute_and_shape(runs)]
            found.setdefault(case.source, []).extend(fit for fit in made if fit is not None)
    return found


def outcome(source: str, family: tuple[Run, ...], generator: np.random.Generator) -> tuple[float, float, float] | None:
    """Low and high end of a forecast from a part of the family, and what came; ``None`` where too few runs are left."""
    largest = max(run.flops for run in family)
    small = tuple(run for run in family if run.flops <= largest / generator.choice(GAPS))
    if len(small) < FEWEST_RUNS:
        return None
    target = min((run for run in family if run.flops >= largest / 2), key=lambda run: run.value)
    try:
        made, _ = forecast_runs(Runs("loss", small), target.flops, without=source)
    except UserError:
        return None
    return made.low, made.high, target.value


def simulate(count: int) -> list[tuple[str, float, float, float]]:
    """Source, ends of the interval and outcome of ``count`` families, every source as often."""
    generator = np.random.default_rng(0)
    sources = fits()
    names = sorted(sources)
    results: list[tuple[str, float, float, float]] = []
    while len(results) < count:
        source = names[len(results) % len(names)]
        fit = sources[source][generator.integers(len(sources[source]))]
        found = outcome(source, fit.draw(generator), generator)
        if found is not None:
            results.append((source, *found))
    return results


@pytest.mark.slow
@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
def test_the_interval_covers_what_it_promises() -> None:
    results = simulate(COUNT)
    inside = [low <= came <= high for _, low, high, came in results]
    assert all(math.isfinite(low) and math.isfinite(high) for _, low, high, _ in results)
    assert 0.86 <= float(np.mean(inside)) <= 0.94
