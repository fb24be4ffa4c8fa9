"""``foretell.forecast`` and its siblings: one call each for people who have a table of runs, of counts or of curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.capability.accuracy import forecast_share_table
from foretell.laws.capability.passrate import PassRateForecast
from foretell.laws.capability.passrate import forecast_pass_rates as forecast_counts
from foretell.laws.capability.passrate_table import counts_of, is_count_table
from foretell.laws.forecast import forecast_runs
from foretell.laws.records import Forecast
from foretell.laws.tables.columns import kind_of
from foretell.laws.tables.runs import Runs, runs_of
from foretell.laws.tables.sources import read_source
from foretell.laws.target import level_of, positive, positive_or_none, target_of, text_or_none
from foretell.laws.training_curves.curve_forecast import RunForecast, forecast_run
from foretell.laws.training_curves.curve_tables import is_curve_table

Source = str | Path | Iterable[Mapping[str, Any]] | Any


def forecast(
    runs: Source,
    *,
    flops: float | None = None,
    metric: str | None = None,
    family: str | None = None,
    level: float = 0.9,
    max_flops: float | None = None,
    params: float | None = None,
    tokens: float | None = None,
    kind: str | None = None,
    chance: float | None = None,
    items: int | None = None,
) -> Forecast:
    """Forecast the loss, or an accuracy or another share, of a run from smaller ones.

    Args:
        runs: a CSV, TSV, JSONL or Parquet file, a folder of trainings or of TensorBoard files, a data frame, or rows
            of named cells, with columns of the usual names: compute (flops, C) or parameters and tokens, and a loss.
        flops: training compute of the run that is foretold, > 0; numbers may be texts such as "1e22" or "7B".
        metric: the column to forecast, or the metric of a table with the columns metric and value; its loss by default.
        family: which family, where the table holds several.
        level: probability of the interval, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, to test on the others.
        params, tokens: of the run that is foretold, where it has not the best shape for its compute; of a loss only.
            With both, flops may be left out.
        kind: "loss" or "share" (an accuracy, error or pass rate from 0 to 1), where the metric's name does not say it.
        chance: of a share, its value by guessing, 0 to 0.9; by the task's name where it is known.
        items: of a share, how many questions it was measured on.

    Returns:
        ``median``, ``low``, ``high``, ``findings``, ``refused``, ``sentence`` and more, see
        :class:`foretell.laws.records.Forecast`.

    Raises:
        UserError: naming the rows of a table that cannot be used, or the argument that is not accepted.
    """
    table = read_source(runs)
    if is_count_table(table):
        raise UserError("These are counts of samples per problem; foretell.forecast_pass_rates forecasts from them.")
    if is_curve_table(table.columns):
        raise UserError("These are training curves; foretell.forecast_curves forecasts from them.")
    return forecast_table(
        table, flops=flops, metric=metric, family=family, level=level, max_flops=max_flops, params=params,
        tokens=tokens, kind=kind, chance=chance, items=items,
    )[0]  # fmt: skip


def forecast_table(
    table: Table, *, flops: float | None, metric: str | None, family: str | None, level: float,
    max_flops: float | None, params: float | None, tokens: float | None, kind: str | None, chance: float | None,
    items: int | None,
) -> tuple[Forecast, Runs]:  # fmt: skip
    """:func:`forecast` of a table that has been read, and the runs that were found in it.

    Raises:
        UserError: as :func:`forecast`.
    """
    target = target_of(flops, params, tokens)
    level, max_flops = level_of(level), positive_or_none("max_flops", max_flops)
    found = runs_of(table, text_or_none("metric", metric), text_or_none("family", family), kind_of(kind))
    if not found.is_share:
        for name, value in (("chance", chance), ("items", items)):
            if value is not None:
                raise UserError(f"--{name} is for accuracies and other shares; {found.metric} is a loss.")
        made, _ = forecast_runs(found, target[0], level=level, max_flops=max_flops, params=target[1], tokens=target[2])
        return made, found
    if params is not None or tokens is not None:
        raise UserError(
            f"{found.metric} is forecast from compute alone, for a run of about the best shape, so --params and "
            f"--tokens would change nothing; give --flops {target[0]:.6g} instead (6 x params x tokens)."
        )
    share = forecast_share_table(
        table, found, target[0], family=family, level=level, chance=chance, items=items, max_flops=max_flops
    )
    return share, found


def forecast_pass_rates(
    runs: Source, *, flops: float, benchmark: str | None = None, level: float = 0.9, max_flops: float | None = None
) -> PassRateForecast:
    """Forecast pass rates from how often smaller runs solved each problem.

    Args:
        runs: as :func:`forecast`, with the columns run, flops, problem, n_samples and n_correct, and benchmark if there
            are several.
        flops: training compute of the run that is foretold, > 0.
        benchmark: which of the table's benchmarks.
        level: probability of the intervals, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, to test on the others.

    Returns:
        ``total`` and ``buckets``, each with ``log_pass`` and ``pass_rate`` (low, median, high); ``findings``,
        ``refused``, ``sentence`` and more.

    Raises:
        UserError: naming the rows of a table that cannot be used, or the argument that is not accepted.
    """
    flops, level, max_flops = positive("flops", flops), level_of(level), positive_or_none("max_flops", max_flops)
    counts = counts_of(read_source(runs), text_or_none("benchmark", benchmark))
    return forecast_counts(counts, flops, level=level, max_flops=max_flops)


def forecast_curves(
    runs: Source, *, tokens: float, schedule: str = "cosine", metric: str | None = None, level: float = 0.9
) -> RunForecast:
    """Forecast the last loss of another schedule or a longer run from whole training curves of runs of its size.

    Args:
        runs: as :func:`forecast`, a row a logged step, with the columns lr, tokens, loss and, of several runs, run.
        tokens: of the run that is foretold, > 0.
        schedule: cosine, linear, wsd or constant.
        metric: the column of losses, found by its usual names if left out.
        level: probability of the interval, 0.5 to 0.999.

    Returns:
        ``median``, ``low`` and ``high`` (``None`` where it is refused), ``findings``, ``refused``, ``sentence``, more.

    Raises:
        UserError: naming the rows of a table that cannot be used, or the argument that is not accepted.
    """
    return forecast_run(
        read_source(runs), tokens, schedule=schedule, metric=text_or_none("metric", metric), level=level
    )
