"""A forecast is registered first: sealed in a file before its target starts, scored against the outcome afterwards."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import content_hash, read_json, storage_errors, write_json
from foretell.core.wording import as_json
from foretell.laws.records import Forecast

KIND = "foretell forecast registration"
VERSION = 1


def register(path: Path, forecast: Forecast, context: Mapping[str, Any]) -> dict[str, Any]:
    """Seal a forecast in a new read-only JSON file.

    Args:
        path: the file, which must not exist.
        forecast: what is foretold, with the runs it was made from.
        context: anything JSON can hold that says where it came from: the ladder's records with their hashes, the
            recipe's digest, the git commit, versions. Figures that are not finite are recorded as missing.

    Returns:
        The registration as written: ``kind``, ``version``, ``created`` (ISO 8601, UTC), ``created_unix`` (seconds),
        ``forecast``, ``observations``, ``context`` and ``sha256`` of the canonical JSON of all the rest.

    Raises:
        UserError: where the file exists, the context holds what JSON cannot, or the folder is not writable.
    """
    return seal(path, KIND, VERSION, {"context": dict(context)} | _split(forecast))


def seal(path: Path, kind: str, version: int, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``content`` into a new read-only JSON file that shows when it was made and whether it was changed.

    Returns:
        What was written: ``kind``, ``version``, ``created`` (ISO 8601, UTC), ``created_unix`` (seconds), the content,
        and ``sha256`` of the canonical JSON of all the rest.

    Raises:
        UserError: where the file exists, the content holds what JSON cannot, or the folder is not writable.
    """
    if path.exists():
        raise UserError(f"{path} already holds a registered forecast; one is never overwritten. Choose another place.")
    now = time.time()
    body = {
        "kind": kind,
        "version": version,
        "created": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "created_unix": round(now, 3),
    } | dict(content)
    try:
        plain = json.loads(json.dumps(_without_non_finite(body), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UserError(f"The forecast's context cannot be written as JSON ({error}).") from error
    sealed: dict[str, Any] = plain | {"sha256": content_hash(plain)}
    write_json(path, sealed)
    with storage_errors(path):
        path.chmod(0o444)
    return sealed


def load_registered(path: Path) -> dict[str, Any]:
    """Read a registration and prove that nothing in it has changed since it was sealed.

    Raises:
        UserError: where the file is missing, is not a registration, or has been changed.
    """
    sealed = load_sealed(path, KIND, VERSION, ("forecast", "observations", "context"))
    try:
        registered_forecast(sealed)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return sealed


def load_sealed(path: Path, kind: str, version: int, fields: Sequence[str]) -> dict[str, Any]:
    """Read a file of :func:`seal` and prove that nothing in it has changed since.

    Args:
        path: the file.
        kind, version: as it was sealed.
        fields: what must be in it; ``context`` must be an object.

    Raises:
        UserError: where the file is missing, is not of this kind and version, or has been changed.
    """
    sealed = read_json(path)
    if not isinstance(sealed, dict) or sealed.get("kind") != kind or "sha256" not in sealed:
        raise UserError(f"{path} is not a registered forecast.")
    body = {key: value for key, value in sealed.items() if key != "sha256"}
    try:
        unchanged = content_hash(body) == sealed["sha256"]
    except ValueError:
        unchanged = False
    if not unchanged:
        raise UserError(
            f"{path} has been changed since it was sealed on {sealed.get('created')}; its hash does not match."
        )
    missing = [name for name in ("version", "created", *fields) if name not in sealed]
    if missing:
        raise UserError(f"{path} is sealed as a registered forecast, but its {missing[0]} is missing.")
    if not isinstance(sealed.get("context", {}), dict):
        raise UserError(f"{path}: context is {as_json(sealed['context'])}; an object is expected.")
    if sealed["version"] != version:
        raise UserError(
            f"{path} is a registration of version {sealed['version']}; this Foretell reads version {version}."
        )
    return sealed


def registered_forecast(registered: Mapping[str, Any]) -> Forecast:
    """The forecast inside a registration, with the runs it was made from."""
    forecast = registered["forecast"]
    if not isinstance(forecast, Mapping):
        raise UserError(f"This is not a forecast: {as_json(forecast)} is no object with named fields.")
    return Forecast.from_dict({**forecast, "observations": registered["observations"]})


def score(registered: Mapping[str, Any], outcome_loss: float, outcome_context: Mapping[str, Any]) -> dict[str, Any]:
    """Hold a registered forecast against what happened.

    Args:
        registered: from :func:`load_registered`.
        outcome_loss: the target's measured loss (or share), in the forecast's metric.
        outcome_context: where the outcome came from (the target's record); returned with the score.

    Returns:
        ``outcome``, ``median``, ``low``, ``high``, ``level``, ``inside`` (ends included), ``relative_error`` (outcome
        over median less one: negative where the target is better than foretold), ``refused``, ``sha256`` of the
        registration, ``context`` and a ``sentence``.

    Raises:
        UserError: as :func:`check_outcome`.
    """
    forecast = registered_forecast(registered)
    check_outcome(outcome_loss, share=forecast.is_share)
    inside = forecast.low <= outcome_loss <= forecast.high
    error = outcome_loss / forecast.median - 1
    place = "inside" if inside else "below" if outcome_loss < forecast.low else "above"
    refused = " The ladder had been refused beforehand." if forecast.refused else ""
    share = forecast.is_share
    off = f"{100 * abs(outcome_loss - forecast.median):.1f} points" if share else f"{100 * abs(error):.1f} %"
    named = " " not in forecast.metric  # the name of a column, not a unit in words
    reached = (
        f"'s {forecast.metric} is {outcome_loss:.3f}" if named else f" reached {outcome_loss:.3f} {forecast.metric}"
    )
    return {
        "outcome": float(outcome_loss),
        "median": forecast.median,
        "low": forecast.low,
        "high": forecast.high,
        "level": forecast.level,
        "inside": inside,
        "relative_error": error,
        "refused": forecast.refused,
        "sha256": registered["sha256"],
        "context": _without_non_finite(dict(outcome_context)),
        "sentence": (
            f"The target{reached}, {place} the {100 * forecast.level:.0f} % interval from {forecast.low:.3f} to "
            f"{forecast.high:.3f} and {off} "
            f"{'below' if error < 0 else 'above'} the forecast of {forecast.median:.3f}.{refused}"
        ),
    }


def check_outcome(outcome: Any, *, share: bool) -> None:
    """Refuse what no run can have reached.

    Raises:
        UserError: where a loss is not a finite number above zero, or a share none from 0 to 1.
    """
    if not isinstance(outcome, int | float) or not math.isfinite(outcome):
        valid = False
    elif share:
        valid = 0 <= outcome <= 1
    else:
        valid = outcome > 0
    if not valid:
        kind, accepted = ("value", "a share from 0 to 1") if share else ("loss", "a finite number above zero")
        raise UserError(f"The outcome's {kind} is {outcome}; {accepted} is needed.")


def _split(forecast: Forecast) -> dict[str, Any]:
    values = forecast.to_dict()
    return {"observations": values.pop("observations"), "forecast": values}


def _without_non_finite(value: Any) -> Any:
    """The same values with NaN and infinities as None: JSON has no such numbers, and missing is missing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(item) for item in value]
    return value
