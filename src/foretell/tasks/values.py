"""Numbers as they are written for people: what a text is worth where all of it is one number."""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST = 100  # characters; a model that repeats a digit has named no number
MOST_EXPONENT = 400  # of ten, up or down; floats end at 308
_SIGN = r"(?P<sign>[-+−])?"
_WHOLE = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_WHOLE}(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER = re.compile(rf"{_SIGN}(?P<number>{_DECIMAL})(?:[eE](?P<exponent>[-+−]?[0-9]+))?")
_FRACTION = re.compile(
    rf"{_SIGN}(?:(?P<whole>{_WHOLE})[ \t]+(?P<part>[0-9]+)/(?P<of>[0-9]+)"
    rf"|(?P<over>{_DECIMAL})[ \t]*/[ \t]*(?P<under>{_DECIMAL}))"
)


def as_value(text: str) -> Fraction | None:
    """The number that a text is, exactly; None where it is anything else.

    Numbers are whole ones and decimals (``.5`` too), with commas before groups of three digits or without, or with an
    exponent (``1e5``); fractions (``3/4``); and mixed numbers (``1 1/2``, whose fraction is below one). Each may have a
    sign, also the typographic minus. White space around it is passed over. A list (``3, 5``), a range, a unit, a sum
    or two numbers are no number; nor is one longer than ``LONGEST`` or of an exponent beyond ``MOST_EXPONENT``.
    """
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if match := _NUMBER.fullmatch(text):
        value = _scaled(match["number"], match["exponent"])
    elif match := _FRACTION.fullmatch(text):
        value = _fraction(match)
    else:
        return None
    return -value if value is not None and match["sign"] in ("-", "−") else value


def _scaled(number: str, exponent: str | None) -> Fraction | None:
    power = int((exponent or "0").replace("−", "-"))
    return _decimal(number) * Fraction(10) ** power if abs(power) <= MOST_EXPONENT else None


def _fraction(match: re.Match[str]) -> Fraction | None:
    if match["whole"] is None:
        under = _decimal(match["under"])
        return _decimal(match["over"]) / under if under else None
    part, of = int(match["part"]), int(match["of"])
    return _decimal(match["whole"]) + Fraction(part, of) if part < of else None


def _decimal(number: str) -> Fraction:
    return Fraction(number.replace(",", ""))
