"""``foretell.forecast``: the one call for people who have a table of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from foretell.laws.capability.accuracy import forecast_share_table
from foretell.laws.forecast import forecast_runs
from foretell.laws.records import Forecast
from foretell.laws.tables.runs import is_share, runs_of
from foretell.laws.tables.sources import read_source
from foretell.laws.target import target_of


def forecast(
    runs: str | Path | Iterable[Mapping[str, Any]] | Any,
    *,
    flops: float,
    metric: str | None = None,
    family: str | None = None,
    level: float = 0.9,
    max_flops: float | None = None,
    params: float | None = None,
    tokens: float | None = None,
) -> Forecast:
    """Forecast the loss, or an accuracy or another share, of a run of ``flops`` from smaller ones.

    Args:
        runs: a CSV, TSV, JSONL or Parquet file, a folder of trainings or of TensorBoard files, a data frame, or rows
            of named cells, with columns of the usual names: compute (flops, C) or parameters and tokens, and a loss.
        flops: training compute of the run that is foretold.
        metric: the column to forecast, or the metric of a table with the columns metric and value; its loss by default.
        family: which family, where the table holds several.
        level: probability of the interval, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, to test on the others.
        params, tokens: of the run that is foretold, where it has not the best shape for its compute.

    Returns:
        ``median``, ``low``, ``high``, ``findings``, ``refused``, ``sentence`` and more, see
        :class:`foretell.laws.records.Forecast`.

    Raises:
        UserError: naming the rows of a table that cannot be used, or the argument that is not accepted.
    """
    flops, params, tokens = target_of(flops, params, tokens)
    table = read_source(runs)
    found = runs_of(table, metric, family)
    if is_share(found.metric):
        return forecast_share_table(table, found, flops, family=family, level=level, max_flops=max_flops)
    return forecast_runs(found, flops, level=level, max_flops=max_flops, params=params, tokens=tokens)[0]
