"""``foretell.forecast`` as its page shows it."""

import csv
from pathlib import Path

import pytest

import foretell
from foretell.core.errors import UserError

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "runs.csv"
OUTCOME, TARGET = 1.826, 2.25e13  # docs/forecasts/python-seed0


def test_the_example_of_the_page() -> None:
    result = foretell.forecast(str(EXAMPLE), flops=TARGET)
    assert result.low < OUTCOME < result.high
    assert result.findings and not result.refused


def test_rows_are_as_good_as_a_file() -> None:
    with EXAMPLE.open() as file:
        rows = list(csv.DictReader(file))
    assert foretell.forecast(rows, flops=TARGET).median == foretell.forecast(EXAMPLE, flops=TARGET).median
    numbers = [{"C": float(row["flops"]), "bits_per_byte": float(row["bits_per_byte"])} for row in rows]
    without_sizes = foretell.forecast(numbers, flops=TARGET)
    assert without_sizes.low < OUTCOME < without_sizes.high


def test_mistakes_name_the_argument() -> None:
    with pytest.raises(UserError, match=r"There are no runs|a column of compute"):
        foretell.forecast([], flops=TARGET)
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        _ = foretell.forcast


def test_whole_numbers_beyond_64_bits_and_figures_that_are_none() -> None:
    rows = [{"flops": 1e18 * 3**i, "loss": 4.0 - 0.2 * i} for i in range(6)]
    assert foretell.forecast(rows, flops=10**22).median == foretell.forecast(rows, flops=1e22).median
    for wrong in (None, "much", -1, float("nan")):
        with pytest.raises(UserError, match="flops"):
            foretell.forecast(rows, flops=wrong)


def test_a_target_unlike_the_runs_is_warned_of() -> None:
    rows = [
        {"flops": 120e14 * 9**i, "params": 1e7 * 3**i, "tokens": 2e8 * 3**i, "loss": 4.0 - 0.2 * i} for i in range(6)
    ]
    codes = [f.code for f in foretell.forecast(rows, flops=6e21, params=1e9, tokens=1e12).findings]
    assert "target-shape" in codes
    usual = foretell.forecast(rows, flops=1.2e22, params=1e10, tokens=2e11)
    assert "target-shape" not in [finding.code for finding in usual.findings]
