"""Foretell: forecast a training run before it is paid for, then train, examine and document it."""

__version__ = "0.1.0"
