"""Budgets in FLOPs, hours and money, and what is said of those that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.budget import PEAKS, budget_of
from foretell.core.errors import UserError

AMOUNT = st.floats(1e-3, 1e9)


def test_hours_of_hardware() -> None:
    budget = budget_of(hardware="H100", count=64, hours=240, mfu=0.5, price_per_hour=2.5)
    assert budget.flops == pytest.approx(64 * 240 * 3600 * 989e12 * 0.5)
    assert budget.accelerator_hours == 64 * 240 and budget.hours == 240 and budget.money == 64 * 240 * 2.5


def test_money_and_hours_and_flops_are_one_budget() -> None:
    bought = budget_of(money=50_000, price_per_hour=2.5, hardware="a100", count=8)
    assert bought.accelerator_hours == 20_000 and bought.hours == 2_500
    again = budget_of(flops=bought.flops, hardware="a100", count=8, price_per_hour=2.5)
    assert (again.accelerator_hours, again.hours, again.money) == pytest.approx((20_000, 2_500, 50_000))
    assert budget_of(flops=1e20).accelerator_hours is None


@given(AMOUNT, AMOUNT, st.floats(1e-3, 1.0), st.floats(1e9, 1e16))
def test_what_money_buys_costs_that_money(money: float, price: float, mfu: float, peak: float) -> None:
    budget = budget_of(money=money, price_per_hour=price, mfu=mfu, peak_flops=peak)
    assert budget.money == pytest.approx(money)
    assert budget.flops == pytest.approx(money / price * 3600 * mfu * peak)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "A budget is missing"),
        ({"hardware": "h100"}, "A budget is missing"),
        ({"flops": 1e20, "hours": 3, "hardware": "h100"}, "--flops and --hours are both a budget"),
        ({"money": 10, "hours": 3, "hardware": "h100"}, "--hours and --money are both a budget"),
        ({"flops": -1.0}, "--flops is -1"),
        ({"flops": float("nan")}, "--flops is nan"),
        ({"hours": float("inf"), "hardware": "h100"}, "--hours is inf"),
        ({"hours": 3}, "--hours needs --hardware"),
        ({"money": 3, "hardware": "h100"}, "--money needs --price-per-hour"),
        ({"hours": 3, "hardware": "h10"}, "did you mean h100"),
        ({"hours": 3, "hardware": "abacus"}, "--peak-flops takes"),
        ({"hours": 3, "hardware": "h100", "peak_flops": 1e15}, "both give a peak"),
        ({"hours": 3, "hardware": "h100", "mfu": 40}, "--mfu is 40"),
        ({"flops": 1e20, "count": 8}, "--count says nothing"),
        ({"flops": 1e20, "price_per_hour": 8}, "--price-per-hour says nothing"),
    ],
)
def test_mistakes(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        budget_of(**options)


def test_peaks_are_plausible() -> None:
    assert all(5e13 < peak < 5e15 for peak in PEAKS.values())
    assert PEAKS["a100"] < PEAKS["h100"] < PEAKS["b200"]
