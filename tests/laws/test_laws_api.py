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
    numbers = [{"C": float(row["flops"]), "loss": float(row["loss"])} for row in rows]
    without_sizes = foretell.forecast(numbers, flops=TARGET)
    assert without_sizes.low < OUTCOME < without_sizes.high


def test_mistakes_name_the_argument() -> None:
    with pytest.raises(UserError, match=r"There are no runs|a column of compute"):
        foretell.forecast([], flops=TARGET)
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        _ = foretell.forcast
