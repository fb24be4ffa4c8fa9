"""The watch: is what it says about a running job true, how often is it wrong, and how early is it right?"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from foretell.core.errors import UserError
from foretell.laws.records import Forecast, Observation
from foretell.laws.registry import load_registered, registered_forecast
from foretell.laws.training_curves.curves import GRID, WINDOW, curve_ratios, generic_shape, learn_shape
from foretell.laws.training_curves.watch import Verdict, Watch
from foretell.laws.training_curves.watch_backtest import PUBLIC, own_table, public_checkpoints, row, sealed_verdicts

FORECASTS = Path(__file__).parents[2] / "docs" / "forecasts"
SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"
STEPS = 400


def annealed_curve(size: float, tokens: float, steps: int = STEPS) -> np.ndarray:
    """Losses of a run with linear decay by the law of Tissue et al. 2024, arXiv 2408.11029, shape (steps,)."""
    rate = np.linspace(1.0, 0.0, steps)
    area = np.cumsum(rate) / rate.sum() * tokens
    momentum = lfilter([1.0], [1.0, -0.99], -np.diff(rate, prepend=1.0))
    fallen = 0.01 * np.cumsum(momentum)
    floor = 1.2 + 60 * size**-0.35
    return floor + 250 * area**-0.37 - 0.15 * fallen


def observed(size: float, seed: int, noise: float = 0.01) -> tuple[Observation, np.ndarray]:
    """A finished run of 20 tokens a parameter with a noisy curve, and the losses of its steps."""
    generator = np.random.default_rng([seed, int(size)])
    tokens = 20 * size
    losses = annealed_curve(size, tokens)
    final = losses[-1] * math.exp(0.003 * generator.standard_normal())
    losses = losses * np.exp(noise * generator.standard_normal(STEPS)) * final / losses[-1]
    points = losses.reshape(20, -1).mean(axis=1)
    done = np.arange(1, 21) / 20 * 6 * size * tokens
    curve = tuple(zip(done.tolist(), points.tolist(), strict=True))
    return Observation(6 * size * tokens, float(final), size, tokens, seed, f"{size:g}", curve), losses


def ladder(seed: int, seeds: int = 3) -> list[Observation]:
    return [observed(size, 100 * seed + repeat)[0] for size in (1e6, 2e6, 4e6, 8e6) for repeat in range(seeds)]


def forecast_at(low: float, high: float, observations: list[Observation], flops: float) -> Forecast:
    return Forecast({}, flops, math.sqrt(low * high), low, high, observations=tuple(observations))


def follow(watch: Watch, losses: np.ndarray) -> Verdict:
    verdict = None
    for step, loss in enumerate(losses, 1):
        verdict = watch.update(step / len(losses), float(loss))
    assert verdict is not None
    return verdict


def outcome(seed: int, worse: float, edge: float = 0.0) -> Verdict:
    """The last verdict about a run whose loss is ``worse`` times as expected; the forecast is as narrow as can be."""
    target, losses = observed(6.4e7, 7000 + seed)
    truth = target.loss * math.exp(edge)
    return follow(Watch(forecast_at(truth, truth * 1.0001, ladder(seed), target.flops)), losses * worse)


def test_a_run_as_foretold_stays_on_track_and_its_projection_nears_the_outcome() -> None:
    target, losses = observed(6.4e7, 1)
    watch = Watch(forecast_at(0.95 * target.loss, 1.05 * target.loss, ladder(0), target.flops))
    verdicts = [watch.update(step / STEPS, loss) for step, loss in enumerate(losses.tolist(), 1)]
    assert {verdict.status for verdict in verdicts} == {"early", "on track"}
    assert [verdict.status for verdict in verdicts].index("on track") == round(0.1 * STEPS) - 1
    half = verdicts[STEPS // 2]
    assert half.low < target.loss < half.high and half.projected == pytest.approx(target.loss, rel=0.05)
    assert half.loss > half.projected
    assert verdicts[-1].projected == pytest.approx(target.loss, rel=0.015)
    assert verdicts[-1].high - verdicts[-1].low < half.high - half.low


def test_a_spike_is_forgotten_with_its_window() -> None:
    watch = Watch(forecast_at(1.9, 2.1, [], 1e15))
    for step in range(1, 1001):
        watch.update(step / 1000, {300: 1e18, 350: 1e308}.get(step, 2.0))
    assert watch.update(1.0, 2.0).loss == pytest.approx(2.0, rel=1e-9)


def test_worse_and_better_runs_are_told_before_their_end() -> None:
    above, below = outcome(0, 1.15), outcome(0, 0.85)
    assert above.status == "above" and below.status == "below" and above.off_track and below.off_track
    assert above.since is not None and above.since < 0.5 and below.since is not None and below.since < 0.5
    assert "above since" in above.sentence


def test_false_alarms_stay_below_their_rate_though_every_step_is_a_look() -> None:
    alarms = [outcome(seed, 1.0).off_track for seed in range(30)]
    assert sum(alarms) <= 3  # 5 % of 30 is 1.5; four or more would happen by chance in 6 % of the cases


@pytest.mark.slow
def test_false_alarms_of_many_runs() -> None:
    alarms = [outcome(seed, 1.0).off_track for seed in range(400)]
    assert sum(alarms) <= 0.05 * 400 + 2 * math.sqrt(0.05 * 0.95 * 400)
    detected = [outcome(seed, 1.1).since for seed in range(50)]
    assert all(since is not None and since < 0.6 for since in detected)


def test_the_boundary_is_that_of_the_largest_deviation() -> None:
    shape = learn_shape(ladder(0), 1e18)
    root = np.linalg.cholesky(shape.covariance + 1e-12 * np.eye(len(GRID)))
    generator = np.random.default_rng(5)
    draws = generator.standard_normal((8000, len(GRID))) @ root.T / shape.deviation
    draws *= np.sqrt(shape.freedom / generator.chisquare(shape.freedom, (8000, 1)))
    outside = (np.abs(draws).max(axis=1) > shape.boundary(0.05)).mean()
    assert outside == pytest.approx(0.05, abs=0.012)
    assert 1.96 < shape.boundary(0.05) < 3.5 < shape.boundary(0.001)


def test_further_targets_have_wider_projections() -> None:
    runs = ladder(0)
    near, far = (learn_shape(runs, gap * runs[-1].flops) for gap in (2, 200))
    assert (far.deviation[:-1] > near.deviation[:-1]).all()


def test_curves_are_read_in_flops_and_in_tokens() -> None:
    run = observed(1e6, 0)[0]
    assert run.tokens is not None
    in_tokens = tuple((flops / run.flops * run.tokens, loss) for flops, loss in run.curve)
    other = Observation(run.flops, run.loss, run.params, run.tokens, curve=in_tokens)
    np.testing.assert_allclose(curve_ratios([run]), curve_ratios([other]), rtol=1e-12)
    assert curve_ratios([Observation(1.0, 1.0)]).shape == (0, len(GRID))


def test_without_curves_the_generic_shape_is_wider() -> None:
    bare = [Observation(run.flops, run.loss) for run in ladder(0)]
    generic = learn_shape(bare, 1e18)
    assert generic.runs == 0 and (generic.deviation == generic_shape().deviation).all()
    assert (generic.deviation > learn_shape(ladder(0), ladder(0)[-1].flops * 10).deviation).all()


def test_an_alarm_stays_and_the_end_is_a_fact() -> None:
    target, losses = observed(6.4e7, 2)
    watch = Watch(forecast_at(0.98 * target.loss, 1.02 * target.loss, ladder(2), target.flops))
    assert follow(watch, losses[: STEPS // 2] * 1.3).status == "above"
    assert watch.update(0.9, target.loss).status == "above"
    done = watch.finish(target.loss)
    assert done.status == "on track" and done.finished and not done.off_track and "an alarm was raised" in done.sentence
    assert watch.finish(target.loss * 1.5).status == "above" and watch.finish(math.nan).off_track


def test_the_loss_is_averaged_over_a_twentieth_and_forgets_what_was_taken_back() -> None:
    watch = Watch(forecast_at(2.0, 3.0, [], 1e18))
    watch.update(0.30, 9.0)
    for progress, loss in ((0.50, 3.0), (0.52, 4.0), (0.54, 5.0)):
        verdict = watch.update(progress, loss)
    assert verdict.loss == pytest.approx(4.0)
    assert watch.update(0.51, 6.0).loss == pytest.approx(4.5)  # back to a checkpoint: 0.52 and 0.54 never were
    assert WINDOW == 0.05


def test_losses_that_are_not_finite_are_said_and_passed() -> None:
    watch = Watch(forecast_at(2.0, 3.0, [], 1e18))
    watch.update(0.4, 2.6)
    broken = watch.update(0.41, math.nan)
    assert broken.status == "not finite" and broken.off_track and "not finite" in broken.sentence
    assert json.loads(json.dumps(broken.to_dict(), allow_nan=False))["projected"] is None
    assert watch.update(0.42, 2.6).status == "on track"


@pytest.mark.parametrize(("progress", "loss"), [(-0.1, 2.0), (math.nan, 2.0), (math.inf, 2.0), (0.5, 0.0), (0.5, -1.0)])
def test_readings_that_cannot_be(progress: float, loss: float) -> None:
    with pytest.raises(UserError, match=r"(progress|loss) is"):
        Watch(forecast_at(2.0, 3.0, [], 1e18)).update(progress, loss)


@pytest.mark.parametrize("rate", [0.0, 0.6, math.nan])
def test_rates_that_cannot_be(rate: float) -> None:
    with pytest.raises(UserError, match="false_alarms is"):
        Watch(forecast_at(2.0, 3.0, [], 1e18), false_alarms=rate)


@pytest.mark.parametrize("name", ["english-seed0", "python-seed2"])
def test_real_rungs_are_inside_the_band_learned_from_smaller_ones(name: str) -> None:
    runs = registered_forecast(load_registered(FORECASTS / name / "forecast.json")).observations
    largest = max(run.flops for run in runs)
    shape = learn_shape([run for run in runs if run.flops < largest], largest)
    deviations = np.abs(curve_ratios([run for run in runs if run.flops == largest]) - shape.mean) / shape.deviation
    assert deviations.shape == (4, len(GRID)) and (deviations.max(axis=1) < shape.boundary(0.05)).all()


@pytest.mark.slow
def test_the_page_is_what_the_backtest_prints() -> None:
    page = (FORECASTS.parent / "watch.md").read_text()
    for line in [*own_table(FORECASTS), *sealed_verdicts(FORECASTS)]:
        assert line in page
    if SCALING.is_dir():
        assert row("pythia-std", list(public_checkpoints(SCALING, PUBLIC[3]))) in page


def test_a_family_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gemstones\.csv is missing"):
        list(public_checkpoints(tmp_path, PUBLIC[0]))
    (tmp_path / "gemstones.csv").write_text("family,run,flops,metric,value\n")
    with pytest.raises(UserError, match="no rows of family 'gemstones-constlr'"):
        list(public_checkpoints(tmp_path, PUBLIC[0]))
