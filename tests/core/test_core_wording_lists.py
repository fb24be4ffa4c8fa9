"""Lists and factors in sentences."""

from foretell.core.wording import factor, listed, plural, span


def test_one_and_many() -> None:
    assert (plural(1, "size"), plural(2, "size"), plural(1200, "run")) == ("1 size", "2 sizes", "1,200 runs")
    assert (span("3.4", "3.4"), span("3.4", "7")) == ("3.4", "3.4 to 7")
    assert (listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])) == ("a", "a and b", "a, b and c")
    assert listed([str(i) for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert (factor(1.4), factor(33.3), factor(1000.0), factor(12345.6)) == ("1.4", "33", "1,000", "12,346")
