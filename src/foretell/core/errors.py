"""Errors that are meant for the person at the keyboard."""

from __future__ import annotations


class UserError(Exception):
    """Something only the user can put right.

    The message is one sentence (or a few) that names the field or file, the value found and what would be accepted.
    The command line prints it without a traceback and leaves with ``exit_code``.
    """

    exit_code = 2


class ForecastRefusedError(UserError):
    """The ladder cannot carry the forecast that was asked of it; nothing was spent on the target."""

    exit_code = 3


class InterruptedRunError(UserError):
    """SIGTERM or Ctrl-C arrived and the state was saved; the same command goes on from there."""

    exit_code = 130


class DivergedError(UserError):
    """Training lost its footing and could not be brought back; a smaller learning rate is the usual cure."""
