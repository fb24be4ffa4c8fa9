"""Foretell: forecast a training run before it is paid for, then train, examine and document it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foretell.laws.api import forecast, forecast_curves, forecast_pass_rates

__version__ = "0.1.0"
__all__ = ["forecast", "forecast_curves", "forecast_pass_rates"]


def __getattr__(name: str) -> Any:
    """``foretell.forecast`` and its siblings are found when asked for, so that importing the package costs nothing."""
    if name in __all__:
        from foretell.laws import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
