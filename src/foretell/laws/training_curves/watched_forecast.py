"""The forecast that a job is held against: a registration, or what ``foretell forecast --json`` printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.wording import as_json
from foretell.laws.records import Finding, Forecast
from foretell.laws.registry import KIND, load_registered, registered_forecast
from foretell.laws.training_curves.readings import Totals
from foretell.laws.training_curves.watch import check_watchable

FIGURES = ("value", "low", "high", "level")  # what a printed forecast must have, with its metric
ENDS = ("flops", "tokens", "steps")  # what it may have: where the run ends


def read_forecast(path: Path) -> tuple[Forecast, Totals]:
    """Read a forecast to watch by.

    Args:
        path: a registration, whose seal is proven, the object that ``foretell forecast --json`` prints of runs or of
            training curves, or the folder whose ``forecast.json`` is one of these.

    Returns:
        The forecast, and where the run ends as far as it says. A printed one has no observations to learn from, and a
        compute that is not a number where none is printed.

    Raises:
        UserError: where the file cannot be read, was changed, lacks something, or foretells no loss.
    """
    if path.is_dir():
        path = path / "forecast.json"
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(
            f"{path} holds {as_json(record)}; a registered forecast or the object that `foretell forecast --json` "
            "prints is expected."
        )
    registered = record.get("kind") == KIND
    made, totals = _registered(path) if registered else _printed(record, path)
    try:
        check_watchable(made)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return made, totals


def _registered(path: Path) -> tuple[Forecast, Totals]:
    registered = load_registered(path)
    made = registered_forecast(registered)
    # a run directory's context has the plan of its target, a table's the options of the command
    ends = _inside(registered["context"], "plan", "target") | _inside(registered["context"], "options")
    return made, Totals(made.target_flops, *(_end(ends, name, path) for name in ("tokens", "steps")))


def _printed(record: Mapping[str, Any], path: Path) -> tuple[Forecast, Totals]:
    missing = [name for name in ("metric", *FIGURES) if record.get(name) is None]
    if missing:
        raise UserError(
            f"{path} is neither a registered forecast nor what `foretell forecast --json` prints: {_and(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing."
        )
    metric = record["metric"]
    if not isinstance(metric, str) or not metric.strip():
        raise UserError(f"{path}: metric is {as_json(metric)}; the name of what is foretold is expected.")
    value, low, high, level = (_figure(record, name, path) for name in FIGURES)
    if not 0 < level < 1:
        raise UserError(f"{path}: level is {level:g}; a probability between 0 and 1 is expected.")
    flops, tokens, steps = (_end(record, name, path) for name in ENDS)
    made = Forecast({}, math.nan if flops is None else flops, value, low, high, level, metric, _refusals(record))
    return made, Totals(flops, tokens, steps)


def _refusals(record: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Why a printed forecast was refused, if it was."""
    warnings = record.get("warnings")
    said = [str(warning) for warning in warnings] if isinstance(warnings, list) else []
    reasons = [warning.removeprefix("refusal:").strip() for warning in said if warning.startswith("refusal:")]
    if record.get("refused") is True and not reasons:
        reasons = ["The forecast was refused."]
    return tuple(Finding("printed", "refusal", reason) for reason in reasons)


def _figure(record: Mapping[str, Any], name: str, path: Path) -> float:
    value = record[name]
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UserError(f"{path}: {name} is {as_json(value)}; a finite number is expected.")
    return number


def _end(record: Mapping[str, Any], name: str, path: Path) -> float | None:
    """Where the run ends by one of :data:`ENDS`, ``None`` where that is not said."""
    if record.get(name) is None:
        return None
    number = _figure(record, name, path)
    if number <= 0:
        raise UserError(f"{path}: {name} is {number:g}; a number above zero is expected.")
    return number


def _inside(record: Any, *names: str) -> dict[str, Any]:
    """An object within objects, empty where it is not there."""
    for name in names:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
