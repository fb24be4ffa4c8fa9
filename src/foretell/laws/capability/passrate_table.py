"""Tables of samples per problem: how often each run solved each problem, as counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.records import Finding
from foretell.laws.tables.runs import quantity

ALIASES: dict[str, tuple[str, ...]] = {
    "run": ("run", "model", "name"),
    "problem": ("problem", "problem_id", "task_id", "question"),
    "n_samples": ("n_samples", "samples", "num_samples", "attempts"),
    "n_correct": ("n_correct", "correct", "num_correct", "passed"),
    "flops": ("flops", "compute", "c"),
}
SHOWN = 5
UNNAMED = "problems"  # what a benchmark is called that the table gives no name


@dataclass(frozen=True)
class CountedRun:
    """One run's counts.

    Attributes:
        name: as the table says.
        flops: training compute, > 0.
        problems: names of the problems it was tried on.
        samples, correct: how often it tried and solved each of them, whole numbers, shape (problems,).
    """

    name: str
    flops: float
    problems: tuple[str, ...]
    samples: NDArray[np.float64]
    correct: NDArray[np.float64]

    @property
    def pass_rate(self) -> float:
        """Mean over problems of the share of samples that are right, 0 to 1."""
        return float(np.mean(self.correct / self.samples))


@dataclass(frozen=True)
class Counts:
    """The runs of one benchmark in order of compute, with what was said about the table on the way."""

    benchmark: str
    runs: tuple[CountedRun, ...]
    findings: tuple[Finding, ...] = ()


def is_count_table(table: Table) -> bool:
    """Whether a table has the columns of samples per problem."""
    names = {column.lower() for column in table.columns}
    return all(any(alias in names for alias in ALIASES[key]) for key in ("problem", "n_samples", "n_correct"))


def counts_of(table: Table, benchmark: str | None = None) -> Counts:
    """The counts of a table with the columns run, problem, n_samples, n_correct and flops, and benchmark if it has one.

    Raises:
        UserError: naming the rows whose cells are missing, no whole numbers, or solved more often than tried; for a run
            with two computes, a problem that a run has twice, and several benchmarks without a choice.
    """
    by_name = {column.lower(): column for column in reversed(table.columns)}
    columns = {key: next((by_name[a] for a in names if a in by_name), None) for key, names in ALIASES.items()}
    absent = [key for key, column in columns.items() if column is None]
    if absent:
        raise UserError(
            f"{table.path} counts samples per problem but has no column {absent[0]!r}; {', '.join(ALIASES)} are needed."
        )
    rows, benchmark = _of_benchmark(table, by_name.get("benchmark"), benchmark)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    flops: dict[str, float] = {}
    for index in rows:
        run, problem = (_text(table, index, str(columns[key])) for key in ("run", "problem"))
        samples, correct = (_whole(table, index, str(columns[key])) for key in ("n_samples", "n_correct"))
        where = f"{table.path}, row {table.numbers[index]}"
        if samples < 1 or correct > samples:
            raise UserError(
                f"{where}: {correct:.0f} of {samples:.0f} samples are right; at least one sample, and no more right "
                "ones than samples, are expected."
            )
        compute = _number(table, index, str(columns["flops"]))
        if not compute > 0:
            raise UserError(f"{where}: {columns['flops']} is {compute:g}; training compute above zero is expected.")
        if flops.setdefault(run, compute) != compute:
            raise UserError(f"{where}: run {run} has {compute:g} FLOPs here and {flops[run]:g} in an earlier row.")
        if problem in found.setdefault(run, {}):
            raise UserError(f"{where}: run {run} has problem {problem} twice; add its samples up in one row.")
        found[run][problem] = samples, correct
    runs = []
    for name in sorted(found, key=lambda run: flops[run]):
        problems = tuple(sorted(found[name]))
        cells = np.array([found[name][problem] for problem in problems])
        runs.append(CountedRun(name, flops[name], problems, cells[:, 0], cells[:, 1]))
    return Counts(benchmark or UNNAMED, tuple(runs), _incomplete(runs))


def _incomplete(runs: list[CountedRun]) -> tuple[Finding, ...]:
    most = max(len(run.problems) for run in runs)
    short = [run.name for run in runs if len(run.problems) < most / 2]
    if not short:
        return ()
    named = ", ".join(short[:SHOWN]) + (f" and {len(short) - SHOWN} more" if len(short) > SHOWN else "")
    return (
        Finding("incomplete", "warning", f"Fewer than half of the {most} problems were tried by {named}; left out."),
    )


def _of_benchmark(table: Table, column: str | None, benchmark: str | None) -> tuple[list[int], str | None]:
    if column is None:
        return list(range(len(table.rows))), benchmark
    known = list(dict.fromkeys(str(row[column]) for row in table.rows))
    if benchmark is None and len(known) == 1:
        benchmark = known[0]
    if benchmark not in known:
        said = "holds several benchmarks" if benchmark is None else f"has no benchmark '{benchmark}'"
        raise UserError(f"{table.path} {said}; --metric takes one of {', '.join(sorted(known)[:20])}.")
    return [index for index, row in enumerate(table.rows) if str(row[column]) == benchmark], benchmark


def _cell(table: Table, index: int, column: str) -> Any:
    cell = table.rows[index][column]
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise UserError(f"{table.path}, row {table.numbers[index]}: {column} is missing.")
    return cell


def _text(table: Table, index: int, column: str) -> str:
    return str(_cell(table, index, column)).strip()


def _number(table: Table, index: int, column: str) -> float:
    cell = _cell(table, index, column)
    try:
        value = quantity(cell)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{table.path}, row {table.numbers[index]}: {column} is {cell!r}; a finite number is expected.")
    return value


def _whole(table: Table, index: int, column: str) -> float:
    value = _number(table, index, column)
    if value < 0 or value != round(value):
        raise UserError(
            f"{table.path}, row {table.numbers[index]}: {column} is {value:g}; a whole number of samples is expected."
        )
    return value
