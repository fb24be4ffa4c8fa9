"""One of a thing, and ranges that show nothing."""

from foretell.core.wording import as_json, plural, span, with_range


def test_plural() -> None:
    assert [plural(number, "run") for number in (0, 1, 12_000)] == ["0 runs", "1 run", "12,000 runs"]
    assert [plural(number, "hour") for number in (1.0, 1.5)] == ["1 hour", "1.5 hours"]
    assert plural(1, "run makes", "runs make") == "1 run makes" and plural(2, "run makes", "runs make") == "2 runs make"


def test_ranges() -> None:
    assert span("3.4", "3.4") == "3.4" and span("1.2", "3.4") == "1.2 to 3.4"
    assert with_range("3.4", "3.4", "3.4") == "3.4" and with_range("3.4", "3.4", "3.5") == "3.4 (3.4 to 3.5)"


def test_values_of_json_files() -> None:
    assert [as_json(value) for value in (None, True, "é", [1.5])] == ["null", "true", '"é"', "[1.5]"]
    assert len(as_json("x" * 1000)) == 63
