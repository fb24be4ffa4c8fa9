"""Counts and ranges in sentences, so that one of a thing reads as well as many."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 10  # in one sentence


def plural(number: float, singular: str, many: str | None = None) -> str:
    """``1 run``, ``12 runs``, ``1.5 hours``; ``many`` where an s is not enough."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {singular if number == 1 else many or singular + 's'}"


def span(low: str, high: str) -> str:
    """``1.2 to 3.4``, and ``3.4`` where both ends are written alike."""
    return low if low == high else f"{low} to {high}"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; of more than ten the first ten and how many more there are."""
    shown = list(names) if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def factor(value: float) -> str:
    """A factor between two sizes: ``1.2``, ``30``, ``1,000``."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"
