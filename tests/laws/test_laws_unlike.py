"""Ladders that contradict what public families show: said, and with room for a straight line."""

import math
from pathlib import Path

import numpy as np
import pytest

from foretell.laws.backtests.protocol import gap_cases
from foretell.laws.forecast import as_observation, forecast_runs
from foretell.laws.frontier import ladder_of, upper_part
from foretell.laws.ladder_shape import mean_slope
from foretell.laws.records import Forecast
from foretell.laws.tables.runs import Run, Runs
from foretell.laws.unlike import PUBLIC_SLOPES, unlike_public

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"
START, COUNT = 1e17, 7
LARGEST = START * 3 ** (COUNT - 1)


def made_from(loss, start: float = START, gap: float = 100, noise: float = 0.0) -> Forecast:
    generator = np.random.default_rng(0)
    runs = []
    for i in range(COUNT):
        flops = start * 3**i
        params = math.sqrt(flops / 120)
        value = loss(flops / start) * math.exp(noise * generator.standard_normal())
        runs.append(Run(i + 2, f"r{i}", "", flops, params, 20 * params, value))
    return forecast_runs(Runs("val_loss", tuple(runs)), runs[-1].flops * gap)[0]


@pytest.mark.parametrize("slope", [0.07, 0.1, 0.15, 0.2, 0.3])
@pytest.mark.parametrize("gap", [10, 100, 1000])
def test_a_pure_power_law_is_held_and_said_to_be_unlike_any_family(slope: float, gap: float) -> None:
    made = made_from(lambda grown: 3 * grown**-slope, gap=gap)
    truth = 3 * (LARGEST * gap / START) ** -slope
    assert made.low < truth < made.high
    said = {finding.code: finding for finding in made.findings}["unlike-public"]
    assert said.severity == "warning" and f"{slope:.3f}" in said.sentence
    law = made.law
    assert "power law without offset" in [law["name"], *(one["name"] for one in law["averaged_with"])]


def test_noise_does_not_hide_a_steep_line() -> None:
    made = made_from(lambda grown: 3 * grown**-0.2, noise=0.005)
    assert "unlike-public" in [finding.code for finding in made.findings]
    assert made.low < 3 * (LARGEST * 100 / START) ** -0.2 < made.high


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_a_law_that_bends_as_families_do_is_not_warned_of(noise: float) -> None:
    made = made_from(lambda grown: 1.6 + 1.6 * grown**-0.16, noise=noise)
    assert "unlike-public" not in [finding.code for finding in made.findings]
    assert len(made.law["averaged_with"]) == 1


def test_below_the_scale_of_public_families_nothing_is_said_of_them() -> None:
    made = made_from(lambda grown: 3 * grown**-0.2, start=1e10)
    assert "unlike-public" not in [finding.code for finding in made.findings]


@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
def test_the_bounds_are_those_of_the_public_families() -> None:
    slopes, unlike = [], []
    for case in gap_cases(SCALING, gaps=(1.0, 10.0, 100.0, 1000.0)):
        if not case.clean:
            continue
        sizes = ladder_of([as_observation(run) for run in case.runs.runs]).sizes
        upper = upper_part(sizes)
        if len(upper.flops) >= 3:
            slopes.append(mean_slope(upper))
        if unlike_public(sizes, upper):
            unlike.append((case.family, case.gap))
    assert not unlike
    assert PUBLIC_SLOPES[0] < min(slopes) and max(slopes) < PUBLIC_SLOPES[1]


def test_a_steep_ladder_that_bends_is_warned_of_and_no_straight_line_drawn() -> None:
    made = made_from(lambda grown: 0.5 + 3 * grown**-0.35)
    assert "unlike-public" in [finding.code for finding in made.findings]
    assert "power law without offset" not in [made.law["name"], *(one["name"] for one in made.law["averaged_with"])]
    assert made.low < 0.5 + 3 * (LARGEST * 100 / START) ** -0.35 < made.high
