"""Numbers as a reader wants them: few digits, a unit, and a word for what was not measured."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from foretell.core.progress import duration
from foretell.core.wording import plural as plural  # its home is below, for sentences of the laws; pages find it here

MISSING = "not recorded"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """``-3`` becomes ``10⁻³``, in characters every system font has."""
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def scientific(value: float | None) -> str:
    """``6.2e13`` becomes ``6.20 × 10¹³``; used for FLOPs."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa} × {power_of_ten(int(exponent))}"


def _prefixed(value: float, base_unit: str, scale: tuple[tuple[float, str], ...]) -> str:
    for size, unit in scale:
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}" if abs(value) < 1000 * size else f"{value / size:,.0f} {unit}"
    return f"{value:.3g} {base_unit}".rstrip()


def count(value: float | None) -> str:
    """``3210432`` becomes ``3.21 million``."""
    if value is None:
        return MISSING
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    return _prefixed(value, "", ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")))


def short(value: float | None) -> str:
    """``3210432`` becomes ``3.21 M``; for crowded tables."""
    if value is None:
        return MISSING
    return (
        f"{value:,.0f}"
        if abs(value) < 1000
        else _prefixed(value, "", ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")))
    )


def whole(value: float | None) -> str:
    """``3210432`` becomes ``3,210,432``."""
    return MISSING if value is None else f"{value:,.0f}"


def plain(value: float | None) -> str:
    """Three significant digits without an exponent where that is short: ``0.0078``, ``1.5e-05``."""
    return MISSING if value is None else f"{value:.3g}"


def size(value: float | None) -> str:
    """Bytes in decimal units: ``12.3 MB``."""
    if value is None:
        return MISSING
    return _prefixed(value, "B", ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")))


def rate(value: float | None, unit: str = "FLOP/s") -> str:
    """A rate with an SI prefix: ``112 GFLOP/s``."""
    if value is None:
        return MISSING
    return _prefixed(value, unit, ((1e15, "P" + unit), (1e12, "T" + unit), (1e9, "G" + unit), (1e6, "M" + unit)))


def bits(value: float | None) -> str:
    """A loss in bits, three decimals."""
    return MISSING if value is None else f"{value:.3f}"


def loss(value: float) -> str:
    """A loss in anybody's unit: three decimals, or three digits where that says too little."""
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}"


def times(value: float) -> str:
    """A factor: ``4.84``, ``1,240``, ``2.78 million``."""
    return f"{value:.3g}" if value < 1000 else count(value)


def percent(value: float | None) -> str:
    """``0.0123`` becomes ``1.2 %``; what is below a tenth of a per cent keeps two digits."""
    if value is None:
        return MISSING
    scaled = 100 * value
    return f"{scaled:.1f} %" if abs(scaled) >= 0.1 or scaled == 0 else f"{scaled:.2g} %"


def fraction(value: float | None) -> str:
    """A share of the target below one as ``1/212``, others as ``1.4 times``."""
    if value is None or value <= 0:
        return MISSING
    return f"1/{1 / value:,.0f}" if value < 1 / 1.5 else f"{value:.3g} times"


def seconds(value: float | None) -> str:
    """``75`` becomes ``1m15s``, what is under ten seconds keeps a decimal."""
    if value is None:
        return MISSING
    return f"{value:.1f}s" if 0 <= value < 10 else duration(value)


def energy(joules: float | None) -> str:
    """Joules as watt-hours: ``23.4 Wh``."""
    if joules is None:
        return MISSING
    return _prefixed(joules / 3600, "Wh", ((1e6, "MWh"), (1e3, "kWh")))


def moment(unix: float | None) -> str:
    """Seconds since 1970 as ``2026-01-31 12:00:05 UTC``."""
    if unix is None:
        return MISSING
    try:
        return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return MISSING


def compute_tick(value: float, brief: bool = False) -> str:
    """The label of a power of ten on an axis of relative compute: ``1/1,000`` (brief: ``10⁻³``) or ``1``."""
    exponent = round(math.log10(value))
    if brief and exponent < 0:
        return power_of_ten(exponent)
    if -5 <= exponent < 0:
        return f"1/{10**-exponent:,}"
    return f"{10**exponent:,}" if 0 <= exponent <= 3 else power_of_ten(exponent)


def one_line(text: str, longest: int) -> str:
    """A name for a label: printable, on one line, cut to ``longest`` characters."""
    plain_text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain_text if len(plain_text) <= longest else plain_text[: longest - 1] + "…"
