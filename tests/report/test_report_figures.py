"""Figures: the plotted series against closed forms, and the SVG text they become."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_builder import BYTES, SHARES, TARGET_FLOPS, WORDS, build_complete, law

from foretell.core.errors import UserError
from foretell.report import forecast_figure, write_forecast_figure
from foretell.report.drawing import LIGHT
from foretell.report.figures import forecast_label, loss_figure, loss_limits
from foretell.report.records import Record
from foretell.report.series import forecast_series, loss_series, smooth, tuning_series

FACTOR = BYTES / WORDS


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = build_complete(tmp_path_factory.mktemp("figures") / "run")
    return [json.loads((folder / name).read_text()) for name in ("forecast.json", "score.json", "ladder/tuning.json")]


def test_forecast_points_stand_at_their_share_of_the_target(records):
    registered, score, _ = records
    series = forecast_series(registered, score, FACTOR)
    assert [rung.compute for rung in series.rungs] == pytest.approx(list(SHARES))
    means = [rung["mean_loss"] * FACTOR for rung in registered["forecast"]["rungs"]]
    assert [rung.loss for rung in series.rungs] == pytest.approx(means)
    assert series.band is not None and series.band.compute[-1] == pytest.approx(1.0)
    assert series.band.median == pytest.approx([law(c * TARGET_FLOPS) * FACTOR for c in series.band.compute])
    middle = law(TARGET_FLOPS) * FACTOR
    assert (series.low, series.high) == pytest.approx((0.953 * middle, 1.047 * middle))
    assert series.outcome == pytest.approx(score["outcome"] * FACTOR)
    assert series.unit == "bits per word"


def test_without_words_the_unit_is_bits_per_byte_and_without_outcome_there_is_none(records):
    series = forecast_series(records[0], None, None)
    assert series.unit == "bits per byte" and series.outcome is None
    assert series.median == pytest.approx(law(TARGET_FLOPS))
    assert "No outcome yet" in forecast_label(series)


def test_drawn_rungs_are_evenly_placed_in_the_logarithm_of_compute(records):
    svg = forecast_figure(*records[:2], FACTOR)
    uses = re.findall(r'<use href="#[^"]+" x="([\d.]+)" y="([\d.]+)" style="fill: var\(--figure-rung\)', svg)
    # The topmost dot is the legend's.
    dots = sorted(sorted(((float(x), float(y)) for x, y in uses), key=lambda dot: dot[1])[1:])
    series = forecast_series(records[0], records[1], FACTOR)
    places = [(math.log(rung.compute), rung.loss) for rung in series.rungs]
    assert len(dots) == len(places) == 5
    for axis in (0, 1):
        scale = (dots[4][axis] - dots[0][axis]) / (places[4][axis] - places[0][axis])
        expected = [dots[0][axis] + scale * (place[axis] - places[0][axis]) for place in places]
        assert [dot[axis] for dot in dots] == pytest.approx(expected, abs=0.01)


def test_the_file_is_xml_on_its_own_with_a_light_ground(records, tmp_path):
    write_forecast_figure(tmp_path / "a.svg", records[0], records[1], FACTOR)
    write_forecast_figure(tmp_path / "b.svg", records[0], records[1], FACTOR)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.attrib["role"] == "img"
    assert root[0].attrib["fill"] == LIGHT["#010208"]
    assert "var(" not in text and "#01020" not in text and "<metadata" not in text


def test_inline_figures_follow_the_page_and_keep_ids_apart(records):
    one = forecast_figure(*records[:2], FACTOR, identity="one")
    two = forecast_figure(*records[:2], FACTOR, identity="two")
    ids = [re.findall(r' id="([^"]+)"', svg) for svg in (one, two)]
    assert len(set(ids[0] + ids[1])) == len(ids[0]) + len(ids[1])
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one)) and "#01020" not in one
    used = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one)}
    assert used <= set(ids[0])
    assert {"var(--figure-ink)", "var(--figure-law)", "var(--figure-outcome)"} <= set(re.findall(r"var\([^)]+\)", one))
    colours = set(re.findall(r"#[0-9a-f]{6}\b", one))
    assert colours <= {"#ffffff", "#000000"} and not re.search(r"<style|xlink|DejaVu", one)


def test_a_forecast_without_figures_still_draws(records):
    bare = {"forecast": {"target_flops": 1e12, "median": None, "rungs": [{"flops": 1e9, "mean_loss": 3.0}]}}
    assert "<svg" in forecast_figure(bare, None, None)
    with pytest.raises(UserError, match="target_flops is None"):
        forecast_figure({}, None, None)


def step(number: int, loss: float | None) -> Record:
    return Record("log", {"kind": "step", "step": number, "tokens": 100 * number, "bits_per_byte": loss})


def test_loss_series_keeps_the_end_and_leaves_out_what_was_not_measured():
    log = [step(n, 5.0 if n != 7 else None) for n in range(1, 2001)]
    log.append(Record("log", {"kind": "eval", "step": 2000, "tokens": 200_000, "bits_per_byte": 4.5}))
    log.append(Record("log", {"kind": "guard", "step": 50, "verdict": "skip"}))
    series = loss_series(log)
    assert len(series.tokens) <= 400 and series.tokens[-1] == 200_000
    assert series.training == pytest.approx([5.0] * len(series.training))
    assert series.heldout == (4.5,) and series.guard_tokens == (5000.0,)
    assert "<svg" in loss_figure(series, None)


def test_the_first_fall_does_not_flatten_the_rest():
    series = loss_series([step(n, 2.0 + (8.0 if n < 10 else 0.5)) for n in range(1, 1001)])
    low, high = loss_limits(series, None)
    assert low < 2.5 and high < 3.0


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50), st.integers(1, 20))
def test_smoothing_stays_between_extremes_and_keeps_constants(values, span):
    smoothed = smooth(values, span)
    assert len(smoothed) == len(values) and smoothed[0] == pytest.approx(values[0])
    assert min(values) - 1e-9 <= min(smoothed) and max(smoothed) <= max(values) + 1e-9
    weights = [0.5 ** ((len(values) - 1 - index) / span) for index in range(len(values))]
    direct = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert smoothed[-1] == pytest.approx(direct)


def test_tuning_sets_each_run_against_its_own_best(records):
    series = tuning_series(Record("tuning.json", records[2]))
    assert series.diverged == (0.064,) and len(series.excess) == 5
    assert all(min(column) == 0.0 for column in zip(*series.excess, strict=True))
    assert min(zip(series.mean, series.learning_rates, strict=True))[1] == 8e-3
    candidate = {"learning_rate": 0.1, "losses": [2.0, 4.0]}
    other = {"learning_rate": 0.2, "losses": [2.2, 4.84]}
    small = tuning_series(Record("t", {"candidates": [other, candidate], "chosen": None, "curve": None}))
    assert small.learning_rates == (0.1, 0.2) and small.curve == ()
    assert small.mean[1] == pytest.approx(math.sqrt(1.1 * 1.21) - 1)


def test_the_recorded_parabola_is_drawn_through_its_own_bottom():
    bottom = math.log(0.01)
    curve = {"second": 0.05, "first": -0.1 * bottom, "constant": 0.05 * bottom**2}
    candidates = [{"learning_rate": rate, "losses": [3.0]} for rate in (0.005, 0.01, 0.02)]
    series = tuning_series(Record("t", {"candidates": candidates, "chosen": 0.01, "curve": curve}))
    lowest = min(series.curve, key=lambda point: point[1])
    assert lowest[0] == pytest.approx(0.01, rel=0.02) and lowest[1] == pytest.approx(0, abs=1e-4)
    assert (series.curve[0][0], series.curve[-1][0]) == pytest.approx((0.005, 0.02))
