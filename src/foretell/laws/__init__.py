"""Scaling laws: forecasts with intervals, their registration, the backtest that calibrates them (numpy and scipy)."""
