"""Numbers as people write them, against Python's own, and what is none."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.tasks.values import LONGEST, MOST_EXPONENT, as_value

WHOLE = st.integers(0, 10**12)
SIGNS = st.sampled_from([("", 1), ("-", -1), ("+", 1), ("−", -1)])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8), (" 8\n", 8), ("007", 7), ("1,000", 1000), ("12,345,678.5", Fraction("12345678.5")),
        ("1234,567", None), (".5", Fraction(1, 2)), ("5.", None), ("1e5", 100_000),
        ("1E+5", 100_000), ("1e-05", Fraction(1, 100_000)),
        ("1.5e−3", Fraction(3, 2000)), ("3/4", Fraction(3, 4)), ("3 / 4", Fraction(3, 4)), ("1.5/2", Fraction(3, 4)),
        ("1,000/3", Fraction(1000, 3)), ("1 1/2", Fraction(3, 2)), ("-1 1/2", Fraction(-3, 2)), ("−5", -5), ("+5", 5),
        # lists, groups of other sizes, parts of a date, sums, units, words, markup
        ("3, 5", None), ("3,5", None), ("1,00", None), ("1,0000", None), ("0,500", None), (",500", None), ("1 2", None),
        ("1/0", None), ("1 1/0", None), ("1 3/2", None), ("1/2/3", None), ("1/2e5", None), ("1 .5/2", None),
        ("--5", None), ("- 5", None), ("5-", None), ("3-4", None), ("3/-4", None), ("2^10", None), ("5!", None),
        ("5%", None), ("$5", None), ("5 km", None), ("1:30", None), ("1.2.3", None), ("e5", None), ("1e", None),
        ("nan", None), ("inf", None), ("1_000", None), ("0x10", None), ("٣", None), ("½", None), ("", None),
        (".", None), ("9" * LONGEST, int("9" * LONGEST)), ("9" * (LONGEST + 1), None),
        (f"1e{MOST_EXPONENT}", 10**MOST_EXPONENT), (f"1e{MOST_EXPONENT + 1}", None), (f"1e-{MOST_EXPONENT + 1}", None),
    ],
)  # fmt: skip
def test_what_is_a_number_and_what_is_none(text: str, value: Fraction | int | None) -> None:
    assert as_value(text) == value


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "1e" + "9" * 90, "9" * 10**6, "1 " * 10**5])
def test_no_number_costs_more_than_its_reading(text: str) -> None:
    start = time.perf_counter()
    assert as_value(text) is None and time.perf_counter() - start < 0.1


DIGITS = st.text("0123456789", min_size=1, max_size=8)


@given(SIGNS, WHOLE, st.none() | DIGITS, st.booleans(), st.none() | st.integers(-40, 40))
def test_decimals_are_pythons(
    sign: tuple[str, int], whole: int, digits: str | None, grouped: bool, exponent: int | None
) -> None:
    text = (f"{whole:,}" if grouped else str(whole)) + ("" if digits is None else f".{digits}")
    written = sign[0] + text + ("" if exponent is None else f"e{exponent}")
    expected = Fraction(text.replace(",", "")) * Fraction(10) ** (exponent or 0)
    assert as_value(written) == sign[1] * expected


@given(SIGNS, WHOLE, st.integers(0, 999), st.integers(1, 1000))
def test_fractions_and_mixed_numbers(sign: tuple[str, int], whole: int, part: int, more: int) -> None:
    of = part + more
    assert as_value(f"{sign[0]}{whole}/{of}") == sign[1] * Fraction(whole, of)
    assert as_value(f"{sign[0]}{whole} {part}/{of}") == sign[1] * (whole + Fraction(part, of))


@given(st.lists(st.integers(0, 10**6).map(str), min_size=2, max_size=4))
def test_a_list_is_no_number(values: list[str]) -> None:
    assert as_value(", ".join(values)) is None


@given(st.fractions())
def test_what_python_writes_of_a_fraction_is_read(value: Fraction) -> None:
    assert as_value(str(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_python_writes_of_a_float_is_read(value: float) -> None:
    assert as_value(repr(value)) == Fraction(repr(value))


@given(st.text("0123456789 ,./-+−eE", max_size=12))
def test_any_text_is_read_and_nothing_is_glued(text: str) -> None:
    """Only commas between groups of three, and spaces around a slash, may go without changing the number."""
    value = as_value(text)
    if value is not None:
        assert len([part for part in text.replace("/", " / ").split() if part != "/"]) <= 3
        assert as_value(f" {text.strip()}\n") == value
