"""Anyone's training runs: a table with columns of any usual name becomes runs, and nothing is dropped unsaid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.records import Finding
from foretell.laws.tables.cells import is_missing, number_or_none, quantity, shown, text_of
from foretell.laws.tables.checkpoints import finished_rows, last_of_curves
from foretell.laws.tables.columns import Kind, find_columns, is_share, loss_columns, plain, share_asked
from foretell.laws.tables.run_checks import check_runs, without_copies
from foretell.laws.tables.run_records import Run, Runs
from foretell.laws.tables.sources import read_source

__all__ = ["Run", "Runs", "is_share", "quantity", "read_runs", "runs_of"]

TIDY = ("metric", "value")
LISTED = 20  # names that a sentence lists


def read_runs(path: Path, metric: str | None = None, family: str | None = None, kind: Kind | None = None) -> Runs:
    """Read the runs of one family from a file or folder; see :func:`runs_of`.

    Raises:
        UserError: as :func:`foretell.laws.tables.sources.read_source` and :func:`runs_of`.
    """
    return runs_of(read_source(path), metric, family, kind)


def runs_of(table: Table, metric: str | None = None, family: str | None = None, kind: Kind | None = None) -> Runs:
    """Interpret a table: one row a run with a column for each metric, or tidy, with the columns metric and value.

    Compute that is missing is 6 N D. Rows of other metrics and families are other tables' business; a row that is left
    out for any other reason is named in a finding. Without ``metric`` it is the loss, a held-out one before others.
    ``kind`` says whether its values are losses or shares from 0 to 1, where its name does not.

    Raises:
        UserError: for a column that cannot be found, several families without a choice, and rows whose cells are
            missing or not positive numbers, whose compute is far from 6 N D, which contradict each other, or which hold
            an accuracy above 1. The sentence names the rows.
    """
    findings = [Finding("source", "note", note) for note in table.notes]
    left_out: dict[str, tuple[int, ...]] = {}
    columns = _columns(table, findings)
    value_column, rows, metric = _metric_rows(table, metric, findings, left_out)
    rows = _family_rows(table, columns.get("family"), rows, family, left_out)
    rows = finished_rows(table, columns.get("stage"), rows, findings, left_out)
    rows = without_copies(table, rows, findings, left_out)
    rows = last_of_curves(table, columns, value_column, rows, findings, left_out, share=share_asked(metric, kind))
    if table.labels:
        rows = _with_a_value(table, value_column, rows, metric, findings, left_out)
    runs = [_run(table, columns, value_column, index) for index in rows]
    check_runs(table, metric, runs, findings, share=share_asked(metric, kind))
    return Runs(metric, tuple(sorted(runs, key=lambda run: run.flops)), tuple(findings), left_out, kind)


def _columns(table: Table, findings: list[Finding]) -> dict[str, str]:
    """The table's column for each usual quantity, where there is one."""
    found = find_columns(table.columns)
    if "flops" not in found and not {"params", "tokens"} <= found.keys():
        raise UserError(
            f"{table.path} has the columns {_listed(table.columns)}; a column of compute (flops, compute or C) is "
            "needed, or one of parameters (params or N) and one of tokens (tokens or D)."
        )
    for key, (first, *others) in found.items():
        if others and key in ("flops", "params", "tokens"):
            findings.append(
                Finding("columns", "note", f"{key.capitalize()} are the column '{first}', not {_quoted(others)}.")
            )
    return {key: names[0] for key, names in found.items()}


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:LISTED])}{', ...' if len(names) > LISTED else ''}"


def _quoted(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names[:LISTED])


def _metric_rows(
    table: Table, metric: str | None, findings: list[Finding], left_out: dict[str, tuple[int, ...]]
) -> tuple[str, list[int], str]:
    """The column that holds the values, the rows of the metric, and its name."""
    by_plain = {plain(column): column for column in reversed(table.columns)}
    if all(name in by_plain for name in TIDY):
        names = [text_of(row[by_plain["metric"]]) for row in table.rows]
        metric = _chosen_metric(table, names, metric, findings)
        rows = [index for index, name in enumerate(names) if name == metric]
        others = tuple(table.numbers[index] for index, name in enumerate(names) if name and name != metric)
        blank = tuple(table.numbers[index] for index, name in enumerate(names) if not name)
        if others:
            left_out["other-metric"] = others
        if blank and metric:
            left_out["no-metric"] = blank
            findings.append(
                Finding("no-metric", "warning", f"Left out because they name no metric: {table.name_rows(blank)}.")
            )
        return by_plain["value"], rows, metric
    if metric is None:
        candidates = loss_columns(table.columns)
        found = candidates[0] if candidates else None
        if found is not None and len(candidates) > 1:
            findings.append(_choice(found, candidates[1:]))
    else:
        found = metric if metric in table.columns else by_plain.get(plain(metric))
    if found is None:
        wanted = "loss" if metric is None else metric
        raise UserError(f"{table.path} has no column '{wanted}'; --metric takes one of {_listed(table.columns)}.")
    return found, list(range(len(table.rows))), metric or found


def _chosen_metric(table: Table, names: Sequence[str], metric: str | None, findings: list[Finding]) -> str:
    """The metric of a tidy table that is meant: as asked, or the only one, or its loss."""
    known = list(dict.fromkeys(name for name in names if name)) or [""]
    if metric is None:
        candidates = loss_columns(known)
        if len(known) > 1 and not candidates:
            raise UserError(f"{table.path} has several metrics; --metric takes one of {_listed(sorted(known))}.")
        if len(candidates) > 1:
            findings.append(_choice(candidates[0], candidates[1:]))
        return candidates[0] if candidates else known[0]
    if metric in known:
        return metric
    alike = [name for name in known if plain(name) == plain(metric)]
    if not alike:
        raise UserError(f"{table.path} has no metric '{metric}'; --metric takes one of {_listed(sorted(known))}.")
    return alike[0]


def _choice(taken: str, others: Sequence[str]) -> Finding:
    return Finding("metric", "note", f"The loss is '{taken}'; --metric takes {_quoted(others)} as well.")


def _family_rows(
    table: Table, column: str | None, rows: list[int], family: str | None, left_out: dict[str, tuple[int, ...]]
) -> list[int]:
    if column is None:
        if family is not None:
            raise UserError(f"{table.path} has no column 'family', so --family {family} chooses nothing.")
        return rows
    names = {index: text_of(table.rows[index][column]) for index in rows}
    known = list(dict.fromkeys(names.values()))
    if family is None and len(known) > 1:
        without = [table.numbers[index] for index in rows if not names[index]]
        said = f" ({table.name_rows(without)} name none)" if without else ""
        raise UserError(
            f"{table.path} holds {len(known)} families{said}, whose losses do not follow one law; --family takes one "
            f"of {_listed(sorted(filter(None, known)))}."
        )
    if family is not None and family not in known:
        raise UserError(
            f"{table.path} has no family '{family}'; --family takes one of {_listed(sorted(filter(None, known)))}."
        )
    kept = [index for index in rows if family is None or names[index] == family]
    others = tuple(table.numbers[index] for index in rows if family is not None and names[index] != family)
    if others:
        left_out["other-family"] = others
    return kept


def _with_a_value(
    table: Table,
    column: str,
    rows: Sequence[int],
    metric: str,
    findings: list[Finding],
    left_out: dict[str, tuple[int, ...]],
) -> list[int]:
    """Runs of a folder or chart that logged the metric; in a table of a row a run it would be a missing cell."""
    without = tuple(table.numbers[index] for index in rows if is_missing(table.rows[index][column]))
    if without:
        named = table.name_rows(without)
        if len(without) == len(rows):
            raise UserError(f"{table.path}: no finished run has a value of {metric} ({named}).")
        left_out["no-value"] = without
        findings.append(Finding("no-value", "warning", f"Left out because they have no {metric}: {named}."))
    return [index for index in rows if not is_missing(table.rows[index][column])]


def _number(
    table: Table, index: int, column: str | None, key: str, *, needed: bool = False, zero: bool = False
) -> float | None:
    """A cell as a finite number above zero (or, with ``zero``, from it), ``None`` where it is missing and may be."""
    text = None if column is None else table.rows[index][column]
    place = table.name_rows([table.numbers[index]])
    if is_missing(text):
        if needed:
            said = "" if text is None or text == "" else f" ({text})"
            raise UserError(f"{table.path}, {place}: {column or key} is missing{said}.")
        return None
    try:
        value = quantity(text)
    except (ValueError, OverflowError, TypeError, RecursionError):
        value = math.nan
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise UserError(
            f"{table.path}, {place}: {column} is {shown(text)}; a finite number above zero is expected, with a decimal "
            f"point.{_of_percent(text)}"
        )
    return value


def _of_percent(cell: Any) -> str:
    """What to do about ``63.2%``, of which nobody can tell whether the column means shares or percentages."""
    percent = isinstance(cell, str) and cell.strip().endswith("%")
    found = number_or_none(cell.strip().removesuffix("%")) if percent else None
    return "" if found is None else f" Percentages are to be divided by 100: {found / 100:g} for {found:g}%."


def _run(table: Table, columns: Mapping[str, str], value_column: str, index: int) -> Run:
    params, tokens, unique = (
        _number(table, index, columns.get(key), key) for key in ("params", "tokens", "unique_tokens")
    )
    epochs = _number(table, index, columns.get("epochs"), "epochs", zero=True)  # some trainers count passes from 0
    flops = _number(table, index, columns.get("flops"), "flops", needed=params is None or tokens is None)
    value = _number(table, index, value_column, "value", needed=True, zero=True)
    assert value is not None
    if flops is None:
        assert params is not None and tokens is not None
        flops = 6 * params * tokens
        if not 0 < flops < math.inf:
            place = table.name_rows([table.numbers[index]])
            raise UserError(f"{table.path}, {place}: 6 x {params:.3g} x {tokens:.3g} is no compute of a run.")
    name, family = (text_of(table.rows[index][columns[key]]) if key in columns else "" for key in ("run", "family"))
    return Run(
        table.numbers[index], name, family, flops, params, tokens, value, _seed(table, columns, index),
        unique_tokens=unique, epochs=epochs or None,
    )  # fmt: skip


def _seed(table: Table, columns: Mapping[str, str], index: int) -> int:
    text: Any = table.rows[index][columns["seed"]] if "seed" in columns else None
    if is_missing(text):
        return 0
    try:
        return int(float(text))
    except (ValueError, OverflowError, TypeError) as error:
        place = table.name_rows([table.numbers[index]])
        raise UserError(
            f"{table.path}, {place}: {columns['seed']} is {shown(text)}; a whole number is expected."
        ) from error
