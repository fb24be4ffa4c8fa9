"""The run that is asked for, and the other figures of a question: numbers as people write them, or one sentence."""

from __future__ import annotations

import math
import reprlib
from typing import Any

from foretell.core.errors import UserError
from foretell.laws.tables.cells import quantity, shown

FAR = 3.0  # factor between compute and 6 N D that conventions of counting explain


def target_of(flops: Any, params: Any, tokens: Any) -> tuple[float, float | None, float | None]:
    """What run is asked for: compute from a shape, or the missing half of a shape from compute, by C = 6 N D.

    Args:
        flops, params, tokens: numbers above zero, or texts of such as ``1.4T``; ``None`` where they are not given.

    Raises:
        UserError: for a figure that is not finite and above zero, too few of them, or three that contradict each other.
    """
    flops, params, tokens = (
        None if value is None else positive(f"{name} of the target", value)
        for name, value in (("flops", flops), ("params", params), ("tokens", tokens))
    )
    if flops is None:
        if params is None or tokens is None:
            raise UserError("--flops is missing: the compute to forecast for (or --params and --tokens).")
        return 6 * params * tokens, params, tokens
    if params is not None and tokens is not None:
        if not 1 / FAR <= flops / (6 * params * tokens) <= FAR:
            raise UserError(
                f"The target's flops are {flops:.4g} and 6 x params x tokens {6 * params * tokens:.4g}; give two of "
                "the three."
            )
    elif params is not None:
        tokens = flops / (6 * params)
    elif tokens is not None:
        params = flops / (6 * tokens)
    return flops, params, tokens


def positive(name: str, value: Any) -> float:
    """A number or a text of one as a float: whole numbers above 2^63 are usual here, and numpy takes no such.

    Raises:
        UserError: naming ``name`` and the value, where it is not finite and above zero.
    """
    number = number_of(value)
    if not (math.isfinite(number) and number > 0):
        raise UserError(f"{name} is {_said(value)}; a finite number above zero is expected.")
    return number


def positive_or_none(name: str, value: Any) -> float | None:
    """:func:`positive`, or ``None`` as it is."""
    return None if value is None else positive(name, value)


def level_of(level: Any) -> float:
    """The probability of an interval.

    Raises:
        UserError: where it is no number from 0.5 to 0.999.
    """
    number = number_of(level)
    if not 0.5 <= number <= 0.999:
        raise UserError(f"level is {_said(level)}; a probability from 0.5 to 0.999 is accepted.")
    return number


def number_of(value: Any) -> float:
    """A float; not a number where ``value`` is none."""
    try:
        return quantity(value) if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def text_or_none(name: str, value: Any) -> str | None:
    """The name of a column, a metric or a family.

    Raises:
        UserError: where it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise UserError(f"{name} is {_said(value)}; a name as text is expected.")
    return value


def _said(value: Any) -> str:
    return shown(value) if isinstance(value, str | int) else reprlib.repr(value)
