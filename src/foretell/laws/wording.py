"""Counts, lists and ranges in sentences, so that they read well for one and for many."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 10  # in one sentence


def counted(count: int, noun: str) -> str:
    """``1 run``, ``1,200 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def spanned(low: float, high: float, form: str = ".3g") -> str:
    """``3.4 to 7``, or ``3.4`` where both ends read the same."""
    first, last = format(low, form), format(high, form)
    return first if first == last else f"{first} to {last}"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; of more than ten the first ten and how many more there are."""
    shown = list(names) if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
