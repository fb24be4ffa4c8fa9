"""The table that a registered forecast was made from: whether it has changed since, and the outcome it has got."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import content_hash, sha256_file, storage_errors
from foretell.laws.forecast import as_observation
from foretell.laws.records import Observation
from foretell.laws.registry import registered_forecast
from foretell.laws.tables.columns import Kind, share_asked
from foretell.laws.tables.run_folders import LOG, RECIPE, RESULT, SETTINGS
from foretell.laws.tables.runs import Run, read_runs

NEAR = 1.1  # an outcome has the forecast's compute, or up to so many times it
ROUNDING = 1e-3  # and may have fallen short of it by this share: budgets are rounded to whole steps


@dataclass(frozen=True)
class SourceCheck:
    """A table against the one of the registration.

    Attributes:
        path, sha256: of the table now.
        unchanged: whether it is the same, byte for byte.
        used: runs that the forecast was made from.
        there: how many of them are still in the table, as they were.
    """

    path: str
    sha256: str
    unchanged: bool
    used: int
    there: int

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        if self.unchanged:
            return f"{self.path} is unchanged: its SHA-256 is the registered one."
        kept = f"all {self.used} runs" if self.there == self.used else f"{self.there} of {self.used} runs"
        tail = "" if self.there == self.used else "; the others are gone or were changed"
        return f"{self.path} has changed since; {kept} that the forecast was made from are in it as they were{tail}."


@dataclass(frozen=True)
class TableOutcome:
    """What a table says the target reached: the mean over the seeds of one size, in rows ``rows``."""

    value: float
    flops: float
    rows: tuple[int, ...]
    names: tuple[str, ...]


def source_of(path: Path) -> dict[str, Any]:
    """What a registration says of its source: ``path`` as given, ``kind``, ``sha256``.

    The hash is that of a file's content; of a folder it is taken over the names and hashes of the records in it.
    """
    return {"path": str(path), "kind": "folder" if path.is_dir() else "table", "sha256": source_hash(path)}


def source_hash(path: Path) -> str:
    """SHA-256 of a table, or over the records of a folder of runs.

    Raises:
        UserError: where it cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist.")
    with storage_errors(path):
        if path.is_file():
            return sha256_file(path)
        records = [file for file in sorted(path.rglob("*")) if file.is_file() and _is_record(file)]
        return content_hash({file.relative_to(path).as_posix(): sha256_file(file) for file in records})


def _is_record(file: Path) -> bool:
    return file.name in (LOG, RESULT, SETTINGS, RECIPE) or "tfevents" in file.name


def check_source(registered: Mapping[str, Any], path: Path) -> tuple[SourceCheck, TableOutcome | None]:
    """Hold a table against a registration, and look for the outcome in it.

    The outcome is the run of the registered metric and family with the least compute from the forecast's up to
    :data:`NEAR` times it; of several sizes there the one nearest to the target's shape, or without one the best.

    Returns:
        What became of the table, and the outcome, ``None`` where no run of that compute is in it.

    Raises:
        UserError: where the registration is not of a table, or the table cannot be read.
    """
    context = registered["context"]
    source, options = context.get("source"), context.get("options")
    if not isinstance(source, Mapping) or not isinstance(options, Mapping):
        raise UserError(
            "This forecast was not registered from a table of runs, so --table says nothing; give --outcome."
        )
    forecast = registered_forecast(registered)
    sha256 = source_hash(path)
    read = read_runs(path, forecast.metric, options.get("family"), forecast.kind)
    runs = read.runs
    check = SourceCheck(
        path=str(path),
        sha256=sha256,
        unchanged=sha256 == source.get("sha256"),
        used=len(forecast.observations),
        there=(
            Counter(map(_figures, forecast.observations)) & Counter(_figures(as_observation(run)) for run in runs)
        ).total(),
    )
    asked = options.get("params"), options.get("tokens")
    return check, outcome_among(runs, forecast.target_flops, forecast.metric, *asked, kind=read.kind)


def _figures(run: Observation) -> tuple[Any, ...]:
    return run.flops, run.loss, run.params, run.tokens, run.seed, run.label


def outcome_among(
    runs: tuple[Run, ...], flops: float, metric: str, params: float | None = None, tokens: float | None = None,
    kind: Kind | None = None,
) -> TableOutcome | None:  # fmt: skip
    """The outcome at ``flops`` among finished runs; see :func:`check_source`."""
    near = [run for run in runs if flops * (1 - ROUNDING) <= run.flops <= flops * NEAR]
    if not near:
        return None
    nearest = min(near, key=lambda run: abs(math.log(run.flops / flops))).flops
    sizes: dict[tuple[float | None, float | None], list[Run]] = {}
    for run in near:
        if run.flops == nearest:
            sizes.setdefault((run.params, run.tokens), []).append(run)
    worse = -1.0 if share_asked(metric, kind) else 1.0
    value, shape = min(
        ((_mean(group), shape) for shape, group in sizes.items()),
        key=lambda found: (_distance(found[1], (params, tokens)), worse * found[0]),
    )
    chosen = sizes[shape]
    return TableOutcome(value, nearest, tuple(run.row for run in chosen), tuple(run.name for run in chosen if run.name))


def _mean(runs: list[Run]) -> float:
    return sum(run.value for run in runs) / len(runs)


def _distance(shape: tuple[float | None, float | None], asked: tuple[float | None, float | None]) -> float:
    """How far a shape is from the one asked for, in ln(tokens per parameter); 0 where either is unknown."""
    if None in shape or None in asked:
        return 0.0
    (params, tokens), (wanted_params, wanted_tokens) = shape, asked
    assert params is not None and tokens is not None and wanted_params is not None and wanted_tokens is not None
    return abs(math.log((tokens / params) / (wanted_tokens / wanted_params)))
