"""Numbers on the command line as people write them."""

from __future__ import annotations

import argparse

from foretell.laws.tables.cells import quantity, shown


def quantity_argument(text: str) -> float:
    """An argparse type: ``1e22``, ``7B``, ``1.4T``, ``1,300,000``, as in tables of runs.

    Raises:
        argparse.ArgumentTypeError: for what is no number.
    """
    try:
        return quantity(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no number; such as 1e22, 7B or 1.4T is expected") from error
