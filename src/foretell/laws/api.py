"""``foretell.forecast``: the one call for people who have a table of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from foretell.core.tables import Table, read_table
from foretell.laws.accuracy import forecast_share_table
from foretell.laws.forecast import forecast_runs
from foretell.laws.records import Forecast
from foretell.laws.runs import is_share, runs_of


def forecast(
    runs: str | Path | Iterable[Mapping[str, Any]],
    *,
    flops: float,
    metric: str | None = None,
    family: str | None = None,
    level: float = 0.9,
    max_flops: float | None = None,
) -> Forecast:
    """Forecast the loss, or an accuracy or another share, of a run of ``flops`` from smaller ones.

    Args:
        runs: a CSV, TSV, JSONL or Parquet file, or rows of named cells (``frame.to_dict("records")`` of a pandas
            frame), with columns of the usual names: compute (flops, C) or parameters and tokens, and a loss.
        flops: training compute of the run that is foretold.
        metric: the column to forecast, or the metric of a table with the columns metric and value; its loss by default.
        family: which family, where the table holds several.
        level: probability of the interval, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, to test on the others.

    Returns:
        ``median``, ``low``, ``high``, ``findings``, ``refused``, ``sentence`` and more, see
        :class:`foretell.laws.records.Forecast`.

    Raises:
        UserError: naming the rows of a table that cannot be used, or the argument that is not accepted.
    """
    table = _table(runs)
    chosen = runs_of(table, metric, family)
    if is_share(chosen.metric):
        return forecast_share_table(table, chosen, flops, family=family, level=level, max_flops=max_flops)
    return forecast_runs(chosen, flops, level=level, max_flops=max_flops)[0]


def _table(runs: str | Path | Iterable[Mapping[str, Any]]) -> Table:
    if isinstance(runs, str | Path):
        return read_table(Path(runs))
    rows = [dict(row) for row in runs]
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    filled = tuple({name: row.get(name) for name in columns} for row in rows)
    return Table(Path("runs"), columns, filled, tuple(range(1, len(rows) + 1)))
