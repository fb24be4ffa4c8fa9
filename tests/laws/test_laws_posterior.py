"""The drift's covariance against numerical integration, the quantiles against sampling, and the calibration."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from law_ladders import ladder

from foretell.laws.posterior import drift_covariance, infer
from foretell.laws.prior import Prior, transition_probability
from foretell.laws.records import Observation
from foretell.laws.sizes import gather_sizes


def test_drift_covariance_is_the_double_integral_of_its_kernel():
    ell, points = 3.0, np.array([-3.5, -1.0, 0.0, 2.0, 5.0])
    closed = drift_covariance(points, points, ell)
    for row, left in enumerate(points):
        for column, right in enumerate(points):
            s = np.linspace(0, left, 801)
            t = np.linspace(0, right, 801)
            inner = np.trapezoid(np.exp(-np.abs(s[:, None] - t[None, :]) / ell), t, axis=1)
            assert closed[row, column] == pytest.approx(float(np.trapezoid(inner, s)), abs=1e-4)


def test_quantiles_agree_with_sampling():
    mixture = infer(gather_sizes(ladder(noise=0.005)), np.array([1.0, 5.0]), bits_per_byte=True)
    generator = np.random.default_rng(0)
    draws = mixture.means + mixture.deviations * generator.standard_normal((200, *mixture.means.shape))
    for probability in (0.05, 0.5, 0.95):
        expected = np.quantile(draws.reshape(-1, 2), probability, axis=0)
        assert mixture.quantiles(probability) == pytest.approx(expected, abs=0.003)


def test_log_density_integrates_to_one():
    mixture = infer(gather_sizes(ladder()), np.array([5.0]), bits_per_byte=True)
    grid = np.linspace(-1.5, 2.0, 3001)
    density = np.exp([mixture.log_density(0, value) for value in grid])
    assert float(np.trapezoid(density, grid)) == pytest.approx(1.0, abs=1e-3)


def test_seed_noise_is_learnt_from_the_seeds():
    for noise in (0.002, 0.01, 0.03):
        sizes = gather_sizes(ladder(np.geomspace(1e10, 3e11, 7), seeds=8, noise=noise))
        mixture = infer(sizes, np.array([5.0]), bits_per_byte=True)
        assert float(np.median(mixture.seed_noise)) == pytest.approx(noise, rel=0.45)


def test_transitions_are_less_likely_at_larger_compute():
    prior = Prior()
    at = [transition_probability(flops, prior) for flops in (1e8, 1e13, 1e15, 1e18, 1e25)]
    assert at[0] == at[1] == prior.transition_small and at[3] == at[4] == pytest.approx(prior.transition_large)
    assert at[1] > at[2] > at[3]


def replicate(generator: np.random.Generator, prior: Prior) -> tuple[list[Observation], float, float]:
    """A ladder and its outcome drawn as the model says: law, drifting slope, misfit and seed noise."""
    flops = np.geomspace(1e17, 1e17 * generator.uniform(10, 50), generator.integers(5, 8))
    gap = math.exp(generator.uniform(math.log(20), math.log(500)))
    x = np.append(np.log(flops / flops[-1]), math.log(gap))
    share = min(prior.offset_share * prior.offset_share_factor ** generator.standard_normal(), 0.93)
    exponent = prior.exponent * prior.exponent_factor ** generator.standard_normal()
    curve = np.log(share + (1 - share) * np.exp(-exponent * x))
    slope = (curve[0] - curve[-2]) / (x[-2] - x[0])
    kappa = prior.kappa * prior.kappa_factor ** generator.standard_normal()
    covariance = (kappa * slope) ** 2 * drift_covariance(x, x, prior.ell)
    curve += generator.multivariate_normal(np.zeros(len(x)), covariance, method="svd")
    sigma = prior.seed_noise * prior.seed_noise_factor ** generator.standard_normal()
    tau = prior.misfit * prior.misfit_factor ** generator.standard_normal()
    curve += tau * generator.standard_normal(len(x))
    losses = 3.0 * np.exp(curve[:, None] + sigma * generator.standard_normal((len(x), 2)))
    runs = [
        Observation(float(size), float(losses[index, seed]), 1.0, 1.0, seed)
        for index, size in enumerate(flops)
        for seed in range(2)
    ]
    return runs, math.log(gap), math.log(losses[-1, 0])


def coverage(count: int) -> float:
    generator, prior = np.random.default_rng(7), Prior()
    inside = 0
    for _ in range(count):
        runs, point, outcome = replicate(generator, prior)
        mixture = infer(gather_sizes(runs), np.array([point]), bits_per_byte=False, prior=prior)
        inside += float(mixture.quantiles(0.05)[0]) < outcome < float(mixture.quantiles(0.95)[0])
    return inside / count


def test_intervals_cover_what_they_promise_on_a_sample():
    assert 0.8 <= coverage(40) <= 1.0


@pytest.mark.slow
def test_intervals_cover_what_they_promise():
    assert 0.85 <= coverage(300) <= 0.95


def test_the_laws_need_numpy_and_scipy_only():
    """A fresh interpreter imports the whole package without a deep-learning or settings library."""
    modules = ", ".join(f"foretell.laws.{name}" for name in ("forecast", "registry", "backtests.protocol", "api"))
    program = f"import sys, {modules}; print([name for name in ('torch', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"
