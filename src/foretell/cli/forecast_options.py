"""The options of ``foretell forecast``: where each means something, the command they make, the files they name."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from foretell.core.errors import UserError

Kind = Literal["table", "counts", "curves", "folder", "verify", "backtest"]
NAMES: dict[Kind, str] = {
    "table": "tables of runs",
    "counts": "tables of samples per problem",
    "curves": "tables of training curves",
    "folder": "run directories",
    "verify": "foretell forecast verify",
    "backtest": "foretell forecast backtest",
}
# What each option is for; given elsewhere it would do nothing, which is an error.
MEANING: dict[str, tuple[Kind, ...]] = {
    "flops": ("table", "counts", "folder"),
    "params": ("table",),
    "tokens": ("table", "curves"),
    "metric": ("table", "counts", "curves"),
    "family": ("table",),
    "kind": ("table",),
    "max_flops": ("table", "counts"),
    "chance": ("table",),
    "items": ("table",),
    "schedule": ("curves",),
    "level": ("table", "counts", "curves", "folder", "backtest"),
    "figure": ("table", "folder"),
    "page": ("table", "folder"),
    "register": ("table",),
    "anyway": ("table",),
    "outcome": ("verify",),
    "table": ("verify",),
    "gaps": ("backtest",),
    "output": ("backtest",),
}
OF_THE_FORECAST = ("flops", "params", "tokens", "metric", "family", "kind", "max_flops", "level", "chance", "items")
SUFFIXES = {"figure": (".svg", ".png"), "page": (".html", ".htm"), "register": (".json",)}


def check_options(kind: Kind, arguments: argparse.Namespace) -> None:
    """Refuse options that mean nothing for what is asked, and files that cannot be written as asked.

    Raises:
        UserError: naming the option and what it is for.
    """
    for name in _given(arguments):
        if kind not in MEANING[name]:
            *others, last = (NAMES[other] for other in MEANING[name])
            meant = f"{', '.join(others)} and {last}" if others else last
            raise UserError(f"{_option(name)} is for {meant}, not for {NAMES[kind]} ({' '.join(arguments.runs)}).")
    for name, suffixes in SUFFIXES.items():
        path = getattr(arguments, name)
        if path is not None and Path(path).suffix.lower() not in suffixes:
            raise UserError(f"{_option(name)} is {path!r}; a file that ends in {' or '.join(suffixes)} is expected.")
    if arguments.anyway and arguments.register is None:
        raise UserError("--anyway lets --register take a forecast that is refused; without --register it does nothing.")


def command_of(arguments: argparse.Namespace) -> str:
    """The command that these arguments make, quoted for a shell."""
    words = ["foretell", "forecast", *arguments.runs]
    for name in _given(arguments):
        value = getattr(arguments, name)
        words += [_option(name)] if value is True else [_option(name), _number(value)]
    return shlex.join(words + (["--json"] if arguments.json else []))


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that a forecast depends on, ``None`` where they were not given."""
    return {name: getattr(arguments, name) for name in OF_THE_FORECAST}


def _given(arguments: argparse.Namespace) -> Iterator[str]:
    return (name for name in MEANING if getattr(arguments, name) not in (None, False))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _number(value: Any) -> str:
    """As short as it can be and still the same number."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
