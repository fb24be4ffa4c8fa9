"""Logged series of runs (steps and values by name) as a tidy table: the last point of each metric of each run."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell.core.tables import Table, assemble
from foretell.laws.tables.columns import find_columns

Series = Mapping[str, Sequence[tuple[float, Any]]]  # (place, value) by name, in the order of places
PROGRESS = ("flops", "params", "tokens", "unique_tokens", "epochs")


def last_points(path: Path, runs: Mapping[str, tuple[Series, Mapping[str, Any]]], notes: Sequence[str] = ()) -> Table:
    """One row for each run and metric.

    Args:
        path: what messages call the source.
        runs: by name the series that a run logged and its settings, which hold all along.
        notes: for the table.

    Returns:
        A table with the columns run, metric and value, those of :data:`PROGRESS` that a run logged under any usual name
        (the last value up to that of the metric) or has among its settings, and the other settings. A run without a
        metric that others have has a row without a value.

    Raises:
        UserError: where no run has a metric.
    """
    chosen = {run: _progress(series, settings) for run, (series, settings) in runs.items()}
    spent = {name for found in chosen.values() for names in found.values() for name in names}
    metrics = [
        name for name in dict.fromkeys(name for series, _ in runs.values() for name in series) if name not in spent
    ]
    rows, labels = [], []
    for run, (series, settings) in runs.items():
        for metric in metrics:
            points = series.get(metric, ())
            place, value = points[-1] if points else (None, None)
            done = {
                key: _value_at(series[name], place) if name in series else settings[name]
                for key, (name, *_) in chosen[run].items()
            }
            others = {name: setting for name, setting in settings.items() if name not in spent}
            rows.append(done | others | {"run": run, "metric": metric, "value": value})
            labels.append(run)
    return assemble(path, rows, labels=labels, notes=[*notes, *_choices(chosen)])


def _progress(series: Series, settings: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What of a run says how far it was, by :data:`PROGRESS`: the name to take, and those as good after it."""
    found = find_columns(
        [*(name for name in series if series[name]), *(name for name in settings if name not in series)]
    )
    return {key: found[key] for key in PROGRESS if key in found}


def _choices(chosen: Mapping[str, Mapping[str, tuple[str, ...]]]) -> list[str]:
    """A sentence for each choice between names that are as good."""
    several = {(key, names): None for found in chosen.values() for key, names in found.items() if len(names) > 1}
    return [f"{key} is taken from '{names[0]}', not from {' or '.join(names[1:])}." for key, names in several]


def _value_at(points: Sequence[tuple[float, Any]], place: float | None) -> Any:
    """The last value up to a place; the first where all come later."""
    if place is None:
        return points[-1][1]
    index = bisect.bisect_right(points, place, key=lambda point: point[0])
    return points[max(0, index - 1)][1]
