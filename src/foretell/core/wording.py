"""Counts and ranges in sentences, so that one of a thing reads as well as many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

NAMED = 10  # in one sentence
LONGEST_VALUE = 60  # characters of a value that a sentence shows


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


def with_range(value: str, low: str, high: str) -> str:
    """``2.1 (1.2 to 3.4)``, and ``2.1`` where the range shows nothing more."""
    return value if value == low == high else f"{value} ({span(low, high)})"


def as_json(value: Any) -> str:
    """A value from a JSON file as it stands there (``null``, ``"text"``), cut to :data:`LONGEST_VALUE` characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
