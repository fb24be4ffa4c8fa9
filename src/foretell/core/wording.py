"""Counts and ranges in sentences, so that one of a thing reads as well as many."""

from __future__ import annotations


def plural(number: float, singular: str, many: str | None = None) -> str:
    """``1 run``, ``12 runs``, ``1.5 hours``; ``many`` where an s is not enough."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {singular if number == 1 else many or singular + 's'}"


def span(low: str, high: str) -> str:
    """``1.2 to 3.4``, and ``3.4`` where both ends are written alike."""
    return low if low == high else f"{low} to {high}"


def with_range(value: str, low: str, high: str) -> str:
    """``2.1 (1.2 to 3.4)``, and ``2.1`` where the range shows nothing more."""
    return value if value == low == high else f"{value} ({span(low, high)})"
