"""Numbers in words."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.report import wording


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.scientific(6.2e13), "6.20 × 10¹³"),
        (wording.scientific(9.999e-3), "1.00 × 10⁻²"),
        (wording.count(3_210_432), "3.21 million"),
        (wording.count(9_999), "9,999"),
        (wording.short(42_000), "42 k"),
        (wording.short(2_883_584), "2.88 M"),
        (wording.size(257_000_000), "257 MB"),
        (wording.size(12), "12 B"),
        (wording.rate(1.12e11), "112 GFLOP/s"),
        (wording.percent(0.0123), "1.2 %"),
        (wording.percent(0.000321), "0.032 %"),
        (wording.percent(-0.011), "-1.1 %"),
        (wording.fraction(1 / 212), "1/212"),
        (wording.fraction(1.4), "1.4 times"),
        (wording.seconds(9.84), "9.8s"),
        (wording.seconds(75), "1m15s"),
        (wording.energy(44_640), "12.4 Wh"),
        (wording.energy(7.2e6), "2 kWh"),
        (wording.moment(1_767_600_000), "2026-01-05 08:00:00 UTC"),
        (wording.moment(1e300), "not recorded"),
        (wording.compute_tick(1e-4), "1/10,000"),
        (wording.compute_tick(1e-4, brief=True), "10⁻⁴"),
        (wording.compute_tick(1e-8), "10⁻⁸"),
        (wording.compute_tick(1.0), "1"),
        (wording.plural(1, "run"), "1 run"),
        (wording.plural(1200, "run"), "1,200 runs"),
    ],
)
def test_numbers_are_short_and_have_units(shown, expected):
    assert shown == expected


def test_what_is_missing_is_said_to_be():
    forms = ("scientific", "count", "short", "whole", "plain", "size", "rate", "bits", "percent", "fraction", "seconds",
             "energy", "moment")  # fmt: skip
    for name in forms:
        form = getattr(wording, name)
        assert inspect.isfunction(form) and form(None) == wording.MISSING


@given(st.floats(1e4, 9e14))
def test_counts_round_to_three_digits(value):
    number, unit = wording.count(value).split(" ")
    scale = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}[unit]
    assert float(number.replace(",", "")) * scale == pytest.approx(value, rel=0.006)
