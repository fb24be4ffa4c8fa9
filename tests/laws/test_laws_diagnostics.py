"""Every finding fires on a ladder built to have that fault, and clean ladders are left alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from law_ladders import FLOPS, TARGET, ladder, law, usual_forecast

from foretell.laws.diagnostics import diagnose
from foretell.laws.forecast import Forecast, forecast
from foretell.laws.prior import learned, public_prior
from foretell.laws.records import Observation
from foretell.laws.sizes import gather_sizes

QUIET = {"below-public-scale"}


def found(result: Forecast) -> dict[str, str]:
    return {finding.code: finding.severity for finding in result.findings}


def sentence(result: Forecast, code: str) -> str:
    return next(finding.sentence for finding in result.findings if finding.code == code)


def test_clean_ladders_have_nothing_said_against_them():
    quiet = sum(
        set(found(forecast(ladder(noise=0.005, seeds=3, generator=np.random.default_rng(seed)), TARGET))) <= QUIET
        for seed in range(10)
    )
    assert quiet >= 9


def test_clean_ladders_are_never_refused():
    for seed in range(8):
        result = forecast(ladder(noise=0.008, seeds=1, generator=np.random.default_rng(100 + seed)), TARGET)
        assert not result.refused, result.sentence


def test_at_large_compute_the_note_on_small_scale_is_absent():
    flops = [size * 1e7 for size in FLOPS]
    made = forecast(ladder(flops, constants=(85.0, 0.09, 0.5)), 1e20)
    assert found(made) == {"track-record": "note"}
    assert "33 times beyond the largest point" in sentence(made, "track-record")


def test_slopes_that_rise_are_warned_of_and_then_refused():
    slight = forecast(ladder(bend=lambda flops: -0.005 * max(0.0, math.log(flops / 3e10)) ** 2), TARGET)
    strong = forecast(ladder(bend=lambda flops: -0.02 * max(0.0, math.log(flops / 3e10)) ** 2), TARGET)
    assert found(slight)["slopes-rise"] == "warning" and not slight.refused
    assert found(strong)["slopes-rise"] == "refusal" and strong.refused
    assert "standard errors" in sentence(strong, "slopes-rise")


def test_a_kink_upwards_in_slope_is_refused_and_downwards_is_not():
    steeper = forecast(ladder(bend=lambda flops: -0.06 * max(0.0, math.log(flops / 7e10))), TARGET)
    flatter = forecast(ladder(bend=lambda flops: 0.02 * max(0.0, math.log(flops / 7e10))), TARGET)
    assert found(steeper)["slopes-rise"] == "refusal"
    assert "slopes-rise" not in found(flatter)


def test_residuals_with_a_pattern_are_noticed():
    result = forecast(ladder(bend=lambda flops: 0.02 * math.cos(2 * math.log(flops / FLOPS[0]))), TARGET)
    assert found(result)["residual-pattern"] == "warning"
    assert "chi-square" in sentence(result, "residual-pattern")
    assert result.half_width > usual_forecast().half_width


def test_too_few_sizes():
    assert found(forecast(ladder(FLOPS[:1]), TARGET))["too-few-sizes"] == "refusal"
    assert found(forecast(ladder(FLOPS[:2]), TARGET))["too-few-sizes"] == "refusal"
    three = forecast(ladder(FLOPS[:5:2]), TARGET)
    assert found(three)["few-sizes"] == "warning" and not three.refused
    assert "few-sizes" not in found(forecast(ladder(FLOPS[:4]), TARGET))


def test_one_seed():
    assert found(forecast(ladder(seeds=1), TARGET))["one-seed"] == "warning"
    assert "one-seed" not in found(forecast(ladder(seeds=2), TARGET))


@pytest.mark.parametrize("constants", [(20.0, 0.0, 0.5), (0.02, -0.1, 2.0)])
def test_losses_that_do_not_fall_are_refused(constants):
    assert found(forecast(ladder(constants=constants), TARGET))["does-not-fall"] == "refusal"


def test_a_rung_out_of_order_is_named():
    runs = [dataclasses.replace(run, loss=run.loss * 1.12) if run.label == "rung 3" else run for run in ladder()]
    result = forecast(runs, TARGET)
    assert found(result)["out-of-order"] == "warning"
    assert "rung 3" in sentence(result, "out-of-order") and "rung 2" in sentence(result, "out-of-order")


def test_the_gap_against_what_is_tested():
    assert "gap" not in found(forecast(ladder(), FLOPS[-1] * 900))
    assert found(forecast(ladder(), FLOPS[-1] * 5_000))["gap"] == "warning"
    assert found(forecast(ladder(), FLOPS[-1] * 100_000))["gap"] == "refusal"


def test_the_gap_against_the_ladders_own_span():
    def severity(span: float) -> str | None:
        return found(forecast(ladder(np.geomspace(3e11 / span, 3e11, 5)), TARGET)).get("span")

    assert severity(30) is None
    assert severity(3) == "warning"
    assert severity(1.8) == "refusal"


def test_an_interval_that_decides_nothing_is_refused():
    runs = [dataclasses.replace(run, loss=run.loss * (1.25 if run.seed else 0.8)) for run in ladder()]
    zigzag = forecast(ladder(bend=lambda flops: 0.08 * math.cos(7 * math.log(flops))), TARGET)
    assert found(zigzag)["interval-too-wide"] == "refusal"
    assert forecast(runs, TARGET).half_width > 1.15 * usual_forecast().half_width


def curve(drop: float) -> tuple[tuple[float, float], ...]:
    """A power law in progress, a linear decay's gentle finish, and a late drop of ``drop`` in ln(loss)."""
    progress = np.geomspace(0.02, 1.0, 40)
    finish = 0.04 * np.clip((progress - 0.5) / 0.5, 0, 1)
    late = drop / (1 + np.exp(-(progress - 0.8) / 0.03))
    losses = law(1e10) * np.exp(-0.15 * np.log(progress) - finish - late)
    return tuple(zip((progress * 1e6).tolist(), losses.tolist(), strict=True))


def test_a_late_drop_in_a_training_curve():
    smooth = [dataclasses.replace(run, curve=curve(0.0)) for run in ladder()]
    dropping = [dataclasses.replace(run, curve=curve(0.25 if run.label == "rung 5" else 0.0)) for run in ladder()]
    assert "late-drop" not in found(forecast(smooth, TARGET))
    result = forecast(dropping, TARGET)
    assert found(result)["late-drop"] == "warning"
    assert "2 runs" in sentence(result, "late-drop") and "rung 5" in sentence(result, "late-drop")


def test_a_curve_of_a_few_points_says_nothing():
    runs = [dataclasses.replace(run, curve=((1.0, 5.0), (2.0, 4.9), (3.0, 2.0))) for run in ladder()]
    assert "late-drop" not in found(forecast(runs, TARGET))


def test_refusals_come_first():
    severities = [finding.severity for finding in forecast(ladder(FLOPS[:2], seeds=1), 1e17).findings]
    assert severities == sorted(severities, key=("refusal", "warning", "note").index)


def test_a_gap_of_exactly_a_hundred_is_none_above_a_hundred() -> None:
    sizes = gather_sizes([Observation(1e18 * 3**i, 3 * 0.9**i) for i in range(7)])
    largest = float(sizes.flops[-1])
    severities = set()
    for dust in (1 - 1e-7, 1.0, 1 + 1e-12, 1 + 1e-6):
        found = diagnose(sizes, [], np.zeros(7), 100 * largest * dust, (1.0, 1.1, 1.2), prior=public_prior())
        severities.add({finding.code: finding.severity for finding in found}["track-record"])
    assert severities == {"note"}
    beyond = diagnose(sizes, [], np.zeros(7), 101 * largest, (1.0, 1.1, 1.2), prior=public_prior())
    assert {finding.code: finding.severity for finding in beyond}["track-record"] == "warning"


def test_the_page_says_what_the_track_record_of_the_lessons_is():
    page = " ".join((Path(__file__).parents[2] / "docs" / "forecast.md").read_text().split())
    errors, held = [], []
    for gap in (10, 100, 1000):
        alike = [one for one in learned()["track_record"] if 0.5 <= one["gap"] / gap <= 2]
        errors.append(f"{100 * np.median([abs(one['error']) for one in alike]):.1f}")
        held.append(f"{100 * np.mean([one['inside'] for one in alike]):.0f}")
    assert f"{errors[0]}, {errors[1]} and {errors[2]} % at gaps of 10, 100 and 1,000" in page
    assert f"interval held {held[0]}, {held[1]} and {held[2]} %" in page
