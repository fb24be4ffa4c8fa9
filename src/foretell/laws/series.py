"""Logged series of runs (steps and values by name) as a tidy table: the last point of each metric of each run."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell.core.tables import Table, assemble
from foretell.laws.columns import find_columns

Series = Mapping[str, Sequence[tuple[float, Any]]]  # (place, value) by name, in the order of places
PROGRESS = ("flops", "params", "tokens", "unique_tokens", "epochs")


def last_points(path: Path, runs: Mapping[str, tuple[Series, Mapping[str, Any]]], notes: Sequence[str] = ()) -> Table:
    """One row for each run and metric.

    Args:
        path: what messages call the source.
        runs: by name the series that a run logged and its settings, which hold all along.
        notes: for the table.

    Returns:
        A table with the columns run, metric and value, a column for each series that says how far a run was (compute,
        tokens, ...) with its last value up to that of the metric, and the settings. A run without a metric that others
        have has a row without a value.

    Raises:
        UserError: where no run has a metric.
    """
    names = list(dict.fromkeys(name for series, _ in runs.values() for name in series))
    known = find_columns(names)
    progress = {name for key in PROGRESS for name in known.get(key, ())}
    metrics = [name for name in names if name not in progress]
    rows, labels = [], []
    for run, (series, settings) in runs.items():
        for metric in metrics:
            points = series.get(metric, ())
            place, value = points[-1] if points else (None, None)
            done = {name: _value_at(series[name], place) for name in progress if series.get(name)}
            rows.append({"run": run, "metric": metric, "value": value} | done | dict(settings))
            labels.append(run)
    return assemble(path, rows, labels=labels, notes=notes)


def _value_at(points: Sequence[tuple[float, Any]], place: float | None) -> Any:
    """The last value up to a place; the first where all come later."""
    if place is None:
        return points[-1][1]
    index = bisect.bisect_right(points, place, key=lambda point: point[0])
    return points[max(0, index - 1)][1]
