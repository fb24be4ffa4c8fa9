"""Numbers on the command line, written as in tables of runs."""

from __future__ import annotations

import argparse
import math

from foretell.laws.tables.cells import quantity, shown


def quantity_argument(text: str) -> float:
    """An argparse type: a finite number such as ``5000``, ``1e22``, ``7B`` or ``1.4T``.

    Raises:
        argparse.ArgumentTypeError: for anything else; argparse names the option before the sentence.
    """
    try:
        value = quantity(text)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number; one such as 5000, 1e22, 7B or 1.4T is expected")
    return value
