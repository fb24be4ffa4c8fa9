"""Foretell: forecast a training run before it is paid for, then train, examine and document it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foretell.laws.api import forecast

__version__ = "0.1.0"
__all__ = ["forecast"]


def __getattr__(name: str) -> Any:
    """``foretell.forecast`` is found when it is asked for, so that importing the package costs nothing."""
    if name == "forecast":
        from foretell.laws.api import forecast

        return forecast
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
