"""Contradictions within and between the rows of a table of runs, each named with its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.core.wording import span
from foretell.laws.records import Finding
from foretell.laws.tables.cells import text_of
from foretell.laws.tables.columns import plain
from foretell.laws.tables.run_records import Run

FAR, VERY_FAR = 3.0, 30.0  # flops over 6 N D: worth a word (a mixture of experts?), and a mistake of units
# Columns in which runs that follow one law agree.
KINDS = frozenset({"unit", "units", "metrickind", "losskind", "paramskind", "tokenizer", "dataset", "evaldataset",
                   "evalset", "architecture", "optimizer"})  # fmt: skip


def without_copies(
    table: Table, rows: Sequence[int], findings: list[Finding], left_out: dict[str, tuple[int, ...]]
) -> list[int]:
    """Rows that repeat another in every cell are said and left out; a repetition would differ in its value."""
    seen: dict[str, int] = {}
    for index in rows:
        seen.setdefault(_key(table.rows[index]), index)
    kept = list(seen.values())
    copies = sorted(set(rows) - set(kept))
    if copies:
        left_out["copies"] = tuple(table.numbers[index] for index in copies)
        named = table.name_rows(left_out["copies"])
        findings.append(Finding("copies", "warning", f"Left out because they repeat another row exactly: {named}."))
    return kept


def _key(row: dict[str, Any]) -> str:
    try:
        return repr(row)
    except ValueError:  # an integer too long for Python to print
        return str(id(row))


def check_runs(table: Table, metric: str, runs: Sequence[Run], findings: list[Finding], *, share: bool) -> None:
    """Refuse what cannot be, and warn of what is doubtful.

    Raises:
        UserError: where one run has two values, a share is above 1, a loss is 0, or compute is far from 6 N D.
    """
    by_name: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.name:
            by_name.setdefault(
                (run.name, run.seed, run.flops, run.params, run.tokens, run.different_tokens), []
            ).append(run)
    twice = [run.row for group in by_name.values() if len({run.value for run in group}) > 1 for run in group]
    if twice:
        raise UserError(
            f"{table.path}, {table.name_rows(twice)}: one run with one compute has several values of {metric}; give "
            "repetitions names or seeds of their own."
        )
    if share:
        above = [run.row for run in runs if run.value > 1]
        if above:
            raise UserError(
                f"{table.path}, {table.name_rows(above)}: {metric} is above 1; shares from 0 to 1 are expected. If "
                "they are percentages, divide them by 100."
            )
    else:
        zero = [run.row for run in runs if run.value == 0]
        if zero:
            raise UserError(f"{table.path}, {table.name_rows(zero)}: {metric} is 0; a loss above zero is expected.")
    _check_units(table, runs, findings)
    _check_kinds(table, runs, findings)


def _check_units(table: Table, runs: Sequence[Run], findings: list[Finding]) -> None:
    """Compute against 6 N D: far off by the same factor in every row is a unit, in some rows a slip."""
    ratios = {
        run.row: run.flops / (6 * run.params) / run.tokens
        for run in runs
        if run.params is not None and run.tokens is not None
    }
    wrong = {row: ratio for row, ratio in ratios.items() if not 1 / VERY_FAR <= ratio <= VERY_FAR}
    if wrong:
        row, ratio = min(wrong.items())
        raise UserError(
            f"{table.path}, {table.name_rows(wrong)}: compute is far from 6 N D ({ratio:.2g} times it in "
            f"{table.name_rows([row])}); are the units FLOPs, parameters and tokens?"
        )
    odd = {row: ratio for row, ratio in ratios.items() if not 1 / FAR <= ratio <= FAR}
    if odd:
        factor = span(f"{min(odd.values()):.2g}", f"{max(odd.values()):.2g}")
        findings.append(
            Finding(
                "units",
                "warning",
                f"Compute is {factor} times 6 N D in {table.name_rows(odd)}; check the units.",
            )
        )


def _check_kinds(table: Table, runs: Sequence[Run], findings: list[Finding]) -> None:
    """Runs that differ in tokenizer, data or unit: their losses are not of one law."""
    index = {number: position for position, number in enumerate(table.numbers)}
    for column in table.columns:
        if plain(column.rpartition(".")[2]) not in KINDS:
            continue
        groups: dict[str, list[int]] = {}
        for run in runs:
            groups.setdefault(text_of(table.rows[index[run.row]][column]), []).append(run.row)
        if len(groups) < 2:
            continue
        named = [f"{kind or 'none'} ({table.name_rows(rows)})" for kind, rows in sorted(groups.items())]
        findings.append(
            Finding(
                "mixed-kinds",
                "warning",
                f"The runs differ in {column}: {', '.join(named[:3])}{', ...' if len(named) > 3 else ''}; losses of "
                "different kinds do not follow one law.",
            )
        )
