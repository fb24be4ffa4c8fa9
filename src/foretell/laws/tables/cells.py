"""Cells of anyone's tables as numbers, the way people write them."""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any

SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
BLANKS = frozenset({"", "nan", "na", "n/a", "<na>", "nat", "null", "none", "-"})


def is_missing(cell: Any) -> bool:
    """Whether a cell says that there is nothing: empty, a text for that, or NaN, pandas' NA and the like."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return cell.strip().lower() in BLANKS
    if type(cell).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):  # a cell that is itself an array
        return False


def text_of(cell: Any) -> str:
    """A cell as text, empty where it is missing."""
    if is_missing(cell):
        return ""
    try:
        return str(cell).strip()
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return shown(cell)


def shown(cell: Any) -> str:
    """A cell for a sentence: quoted where it is text, and short."""
    try:
        return reprlib.repr(cell)
    except ValueError:
        return f"a {type(cell).__name__} with thousands of digits"


def quantity(text: Any) -> float:
    """A number as people write it: ``1.2e21``, ``1,300,000``, ``70M``, ``1.3B``.

    Raises:
        ValueError: for what is not a number.
        OverflowError: for an integer too large for a float.
    """
    if isinstance(text, bool):
        raise ValueError(f"{text} is not a number")
    if isinstance(text, int | float):
        return float(text)
    plain = str(text).strip().replace("_", "")
    if "," in plain:
        # 2,876 may be a decimal comma; with a suffix or two groups it cannot
        if not re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?[kmbgtKMBGT]|\d{1,3}(,\d{3}){2,}(\.\d+)?", plain):
            raise ValueError(f"{text} has a comma that may be a decimal one")
        plain = plain.replace(",", "")
    if plain[-1:].lower() in SUFFIXES and plain[:-1].strip():
        return float(plain[:-1]) * SUFFIXES[plain[-1].lower()]
    return float(plain)


def number_or_none(cell: Any) -> float | None:
    """A finite number, or ``None`` for anything else."""
    if is_missing(cell):
        return None
    try:
        value = quantity(cell)
    except (ValueError, OverflowError, TypeError, RecursionError):
        return None
    return value if math.isfinite(value) else None
