"""Forecasts recover known laws, hold the measured outcomes, and behave when the ladder or the question changes."""

from __future__ import annotations

import dataclasses
import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_ladders import (
    ENGLISH,
    ENGLISH_OUTCOME,
    FLOPS,
    MEASURED_TARGET,
    PYTHON_OUTCOME,
    PYTHON_SOURCE,
    TARGET,
    ladder,
    law,
    measured,
    usual_forecast,
)

from foretell.core.errors import UserError
from foretell.laws.forecast import Forecast, Observation, forecast


@pytest.mark.parametrize("constants", [(20.0, 0.09, 0.5), (60.0, 0.13, 0.7), (12.0, 0.075, 0.3), (300.0, 0.2, 0.8)])
def test_a_wide_ladder_without_noise_gives_its_law_back(constants):
    result = forecast(ladder(np.geomspace(1e11, 1e16, 9), constants=constants, seeds=4, noise=1e-5), 2e17)
    truth = law(2e17, *constants)
    assert result.median == pytest.approx(truth, rel=0.01)
    assert result.low < truth < result.high
    assert result.half_width < 0.035
    for name, value in zip("abc", constants, strict=True):
        assert result.law[name]["low"] < value < result.law[name]["high"]
    assert result.law["b"]["median"] == pytest.approx(constants[1], rel=0.12)
    assert not result.refused


@pytest.mark.parametrize("constants", [(20.0, 0.09, 0.5), (60.0, 0.13, 0.7), (12.0, 0.075, 0.3)])
def test_a_small_noisy_ladder_holds_the_truth_and_is_not_refused(constants):
    result = forecast(ladder(constants=constants, noise=0.005), TARGET)
    assert result.low < law(TARGET, *constants) < result.high
    assert result.half_width < 0.2
    assert not result.refused


@pytest.mark.parametrize("rungs", range(4, len(PYTHON_SOURCE) + 1))
def test_the_measured_ladder_of_python_source(rungs):
    result = forecast(measured(PYTHON_SOURCE[:rungs]), MEASURED_TARGET)
    assert result.low < PYTHON_OUTCOME < result.high or result.refused
    assert result.half_width < 0.2


@pytest.mark.parametrize("rungs", range(4, len(ENGLISH) + 1))
def test_the_measured_ladder_of_english_text_is_carried(rungs):
    result = forecast(measured(ENGLISH[:rungs]), MEASURED_TARGET)
    assert result.low < ENGLISH_OUTCOME < result.high
    assert not result.refused
    assert result.half_width < 0.16


def test_intervals_widen_with_the_gap():
    widths = [forecast(ladder(noise=0.003), FLOPS[-1] * gap).half_width for gap in (1.5, 10, 100, 1000)]
    assert widths == sorted(widths)
    assert widths[-1] > 3 * widths[0]


def test_intervals_widen_with_the_noise_between_seeds():
    def width(noise: float) -> float:
        spread = (-noise, noise)
        runs = [dataclasses.replace(run, loss=run.loss * math.exp(spread[run.seed])) for run in ladder()]
        return forecast(runs, TARGET).half_width

    widths = [width(noise) for noise in (0.001, 0.015, 0.04)]
    assert widths == sorted(widths)
    assert widths[-1] > 1.15 * widths[0]


def test_more_seeds_narrow_a_noisy_ladder():
    def scattered(seeds: int) -> list[Observation]:
        return [
            dataclasses.replace(run, loss=run.loss * (1.03 if run.seed % 2 else 1 / 1.03))
            for run in ladder(np.geomspace(1e16, 3e17, 6), seeds=seeds)
        ]

    assert forecast(scattered(12), 3e19).half_width < 0.9 * forecast(scattered(2), 3e19).half_width


def test_slopes_that_rise_widen_the_interval():
    bends = [lambda flops, r=rise: -r * max(0.0, math.log(flops / 3e10)) ** 2 for rise in (0.0, 0.005, 0.01)]
    widths = [forecast(ladder(bend=bend), TARGET).half_width for bend in bends]
    assert widths[0] < 0.8 * widths[1] < 0.8 * widths[2]


def test_the_interval_leaves_more_room_below_at_small_compute_than_at_large():
    def room_below(scale: float) -> float:
        constants = (20.0 * scale**0.09, 0.09, 0.5)  # the same losses at another compute
        result = forecast(ladder([flops * scale for flops in FLOPS], constants=constants), TARGET * scale)
        return math.log(result.median / result.low)

    assert room_below(1.0) > 1.3 * room_below(1e8)


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = (forecast(ladder(noise=0.005), TARGET, level=level) for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.median == wide.median < narrow.high < wide.high


def test_equal_ladders_give_equal_forecasts_in_any_order():
    runs = ladder(noise=0.005)
    first, again, shuffled = forecast(runs, TARGET), forecast(runs, TARGET), forecast(runs[::-1], TARGET)
    assert first == again
    assert shuffled.median == pytest.approx(first.median, rel=1e-9)
    assert shuffled.low == pytest.approx(first.low, rel=1e-6)


def test_the_band_ends_at_the_target_and_follows_the_rungs():
    result = usual_forecast()
    band = result.band
    assert len({len(band[key]) for key in ("flops", "low", "median", "high")}) == 1
    assert band["flops"][0] < FLOPS[0] and band["flops"][-1] == TARGET
    assert (band["low"][-1], band["median"][-1], band["high"][-1]) == (result.low, result.median, result.high)
    for rung in result.rungs:
        median = np.interp(math.log(rung["flops"]), np.log(band["flops"]), band["median"])
        assert rung["mean_loss"] == pytest.approx(median, rel=0.01)
        assert abs(rung["residual"]) < 0.005
        assert rung["standard_error"] > 0


def test_of_two_shapes_at_one_compute_the_better_is_kept():
    runs = ladder()
    wasteful = dataclasses.replace(runs[4], params=runs[4].params * 4, loss=runs[4].loss * 1.2, label="too wide")
    with_it, without = forecast([*runs, wasteful], TARGET), usual_forecast()
    assert with_it.median == without.median
    assert any("too wide" in finding.sentence for finding in with_it.findings)


def test_other_metrics_scale_with_their_unit():
    runs = ladder(noise=0.004)
    in_nats = [dataclasses.replace(run, loss=run.loss * 2.7) for run in runs]
    one, other = (forecast(losses, TARGET, metric="nats per token") for losses in (runs, in_nats))
    for name in ("low", "median", "high"):
        assert getattr(other, name) == pytest.approx(2.7 * getattr(one, name), rel=1e-6)
    assert other.law["c"]["median"] == pytest.approx(2.7 * one.law["c"]["median"], rel=1e-6)


def test_json_round_trip_restores_an_equal_forecast():
    runs = [dataclasses.replace(run, curve=((1.0, 5.0), (2.0, 4.0))) for run in ladder()]
    result = forecast(runs, TARGET)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert Forecast.from_dict(json.loads(text)) == result
    with pytest.raises(UserError, match="median"):
        Forecast.from_dict({key: value for key, value in result.to_dict().items() if key != "median"})


def test_the_sentence_carries_the_figures():
    result = usual_forecast()
    for figure in (f"{result.median:.3f}", f"{result.low:.3f}", f"{result.high:.3f}", "90 %", "6e+13", "200 times"):
        assert figure in result.sentence
    assert "cannot carry" in forecast(ladder(FLOPS[:2]), TARGET).sentence


BAD = [(field, value) for field in ("flops", "loss", "params", "tokens") for value in (0.0, -1.0, math.nan, math.inf)]


@pytest.mark.parametrize(("field", "value"), [*BAD, ("flops", None), ("loss", None)])
def test_a_bad_value_is_named_with_its_row(field, value):
    runs = ladder()
    runs[3] = dataclasses.replace(runs[3], **{field: value})
    with pytest.raises(UserError, match=rf"Run 4 \(rung 1\): {field} is {value}"):
        forecast(runs, TARGET)


@pytest.mark.parametrize("target", [1e9, 1e11, 3e11, math.nan, math.inf, -1.0])
def test_a_target_that_is_not_above_the_ladder_is_refused_as_input(target):
    with pytest.raises(UserError, match=r"above the largest rung's 3e\+11"):
        forecast(ladder(), target)


def test_no_runs_and_a_level_out_of_range_are_refused_as_input():
    with pytest.raises(UserError, match="no runs"):
        forecast([], TARGET)
    with pytest.raises(UserError, match="level is 90"):
        forecast(ladder(), TARGET, level=90)


def test_one_forecast_is_fast():
    start = time.process_time()
    forecast(ladder(np.geomspace(1e10, 3e11, 7), seeds=4, noise=0.005), TARGET)
    assert time.process_time() - start < 4.0


RUN = st.tuples(st.floats(1e6, 1e26), st.floats(1e-3, 1e3), st.integers(0, 3))


@settings(max_examples=8, deadline=None)
@given(
    st.lists(RUN, min_size=1, max_size=8), st.floats(1.01, 1e9), st.sampled_from(["bits per byte", "nats per token"])
)
def test_any_sane_runs_give_finite_ordered_figures(runs, gap, metric):
    observations = [Observation(flops, loss, 1e6, 1e7, seed) for flops, loss, seed in runs]
    result = forecast(observations, max(run.flops for run in observations) * gap, metric=metric)
    assert 0 < result.low < result.median < result.high < math.inf
    assert all(math.isfinite(value) for values in result.band.values() for value in values)
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.sentence
