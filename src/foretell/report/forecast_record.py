"""All that can be said of one forecast: what is foretold, what became of every row of its table, where it is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from foretell.core.tables import Table
from foretell.laws.forecast import as_observation
from foretell.laws.records import Forecast
from foretell.laws.tables.runs import Run, Runs

Use = Literal["used", "far from the frontier", "stray", "kept back"]
# Rows that other forecasts are made from; there may be thousands, and nothing is wrong with them.
ELSEWHERE = {"other-metric": "Rows of other metrics.", "other-family": "Rows of other families."}


@dataclass(frozen=True)
class ShownRun:
    """A run and what it was to the forecast: behind the law's points, inefficient, far off all others, or kept back.

    Runs are kept back by a limit of compute (``--max-flops``).
    """

    run: Run
    use: Use


@dataclass(frozen=True)
class LeftOut:
    """Rows of the table that are no run of the forecast's: why, how many, and which where something is the matter."""

    reason: str
    count: int
    rows: str | None


@dataclass(frozen=True)
class ForecastRecord:
    """A forecast with what a reader may ask of it.

    Attributes:
        forecast: the forecast itself.
        runs: all runs of its metric and family, in order of compute.
        left_out: all other rows of the table.
        context: where it came from, as it is registered: ``foretell`` (version), ``command``, ``source``, ``options``,
            ``git_commit``, ``created``.
    """

    forecast: Forecast
    runs: tuple[ShownRun, ...]
    left_out: tuple[LeftOut, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)

    def of_use(self, use: Use) -> list[Run]:
        """The runs that were this to the forecast."""
        return [shown.run for shown in self.runs if shown.use == use]


def record_of_table(
    forecast: Forecast, table: Table, runs: Runs, max_flops: float | None, context: Mapping[str, Any]
) -> ForecastRecord:
    """The record of a forecast from a table of runs; runs and rows left out are together all rows of the table."""
    shown = sort_runs(forecast, runs.runs, max_flops)
    return ForecastRecord(forecast, shown, tuple(_left_out(table, runs)), context)


def record_of_folder(forecast: Forecast, context: Mapping[str, Any]) -> ForecastRecord:
    """The record of a forecast from a run directory, whose ladder is used as it is."""
    runs = (
        Run(row, run.label, "", run.flops, run.params, run.tokens, run.loss, run.seed)
        for row, run in enumerate(forecast.observations, start=1)
    )
    shown = tuple(ShownRun(run, "used") for run in sorted(runs, key=lambda run: run.flops))
    return ForecastRecord(forecast, shown, (), context)


def sort_runs(forecast: Forecast, runs: Iterable[Run], max_flops: float | None) -> tuple[ShownRun, ...]:
    """Each run with what it was to the forecast; of runs that agree in everything as many are used as it used."""
    behind = Counter(forecast.observations)
    strays = set(forecast.left_out.get("stray", ()))
    shown = []
    for run in runs:
        observation = as_observation(run)
        use: Use = "far from the frontier"
        if max_flops is not None and run.flops > max_flops:
            use = "kept back"
        elif behind[observation]:
            behind[observation] -= 1
            use = "used"
        elif run.called in strays:
            use = "stray"
        shown.append(ShownRun(run, use))
    return tuple(shown)


def _left_out(table: Table, runs: Runs) -> Iterable[LeftOut]:
    said = {finding.code: finding.sentence for finding in runs.findings}
    for code, rows in runs.left_out.items():
        reason = ELSEWHERE.get(code) or said.get(code, code.replace("-", " ").capitalize() + ".")
        yield LeftOut(reason, len(rows), None if code in ELSEWHERE else _names(table, rows))


def _names(table: Table, rows: Iterable[int]) -> str:
    """Every row by its line, ranges together; runs of a folder or chart by their names."""
    if table.labels:
        names = dict(zip(table.numbers, table.labels, strict=True))
        return ", ".join(dict.fromkeys(names[row] for row in sorted(rows)))
    return ranges(rows)


def ranges(numbers: Iterable[int]) -> str:
    """``2 to 15, 17``: whole numbers in order, three or more in a row as a range."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ", ".join((", " if span[-1] - span[0] == 1 else " to ").join(map(str, span)) for span in spans)
