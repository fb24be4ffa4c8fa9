"""Anyone's training runs: a table with columns of any usual name becomes runs, and nothing is dropped unsaid."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.tables import Table, read_table
from foretell.laws.records import Finding

# Usual column names, in lower case without what is not a letter or a digit; the first that a table has is taken.
ALIASES: dict[str, tuple[str, ...]] = {
    "flops": ("flops", "compute", "c", "trainingflops", "trainflops", "totalflops", "trainingcompute"),
    "params": ("params", "parameters", "n", "nparams", "numparams", "numparameters", "modelsize", "size"),
    "tokens": ("tokens", "d", "ntokens", "numtokens", "trainingtokens", "traintokens", "tokensseen", "totaltokens"),
    "family": ("family", "group", "suite"),
    "run": ("run", "name", "runname", "runid", "id", "model"),
    "stage": ("stage", "state"),
    "seed": ("seed", "randomseed"),
}
TIDY = ("metric", "value")
LOSS_NAMES = ("loss", "value", "finalloss", "valloss", "validationloss", "evalloss", "testloss", "trainloss", "bpb")
SHARE_WORDS = frozenset({"acc", "accuracy", "error", "err", "top1", "top5"})
FINISHED = ("final", "isoflop_point", "finished", "")  # stages whose value is a run's last
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
FAR, VERY_FAR = 3.0, 30.0  # flops over 6 N D: worth a word (a mixture of experts?), and a mistake of units
SHOWN = 5  # rows that a sentence names


@dataclass(frozen=True)
class Run:
    """One row: a finished run, or a point of one.

    Attributes:
        row: its line or position in the file.
        name, family: as the table says, empty where it does not.
        flops: training compute, > 0.
        params, tokens: > 0, or ``None`` where the table has none.
        seed: 0 where the table has none.
        value: of the metric.
    """

    row: int
    name: str
    family: str
    flops: float
    params: float | None
    tokens: float | None
    value: float
    seed: int = 0


@dataclass(frozen=True)
class Runs:
    """The runs of one family and metric, in order of compute, with what was said about the table on the way."""

    metric: str
    runs: tuple[Run, ...]
    findings: tuple[Finding, ...] = ()


def read_runs(path: Path, metric: str | None = None, family: str | None = None) -> Runs:
    """Read the runs of one family from a CSV, TSV, JSONL or Parquet table; see :func:`runs_of`.

    Raises:
        UserError: as :func:`foretell.core.tables.read_table` and :func:`runs_of`.
    """
    return runs_of(read_table(path), metric, family)


def runs_of(table: Table, metric: str | None = None, family: str | None = None) -> Runs:
    """Interpret a table: one row a run with a column for each metric, or tidy, with the columns metric and value.

    Compute that is missing is 6 N D. Rows of other metrics and families are other tables' business; a row that is left
    out for any other reason is named in a finding.

    Raises:
        UserError: for a column that cannot be found, several families without a choice, and rows whose cells are
            missing or not positive numbers, whose compute is far from 6 N D, which contradict each other, or which hold
            an accuracy above 1. The sentence names the rows.
    """
    columns = _columns(table)
    names, rows, metric = _metric_rows(table, metric)
    rows, family = _family_rows(table, columns, rows, family)
    findings: list[Finding] = []
    rows = _finished(table, columns, rows, findings)
    rows = _without_copies(table, rows, findings)
    runs = [_run(table, columns, names, index, metric) for index in rows]
    _check(table, metric, runs, findings)
    return Runs(metric, tuple(sorted(runs, key=lambda run: run.flops)), tuple(findings))


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _columns(table: Table) -> dict[str, str]:
    """The table's column for each of :data:`ALIASES`, where there is one."""
    by_plain = {_plain(column): column for column in reversed(table.columns)}
    found = {key: next((by_plain[a] for a in aliases if a in by_plain), None) for key, aliases in ALIASES.items()}
    columns = {key: column for key, column in found.items() if column is not None}
    if "flops" not in columns and not {"params", "tokens"} <= columns.keys():
        raise UserError(
            f"{table.path} has the columns {', '.join(table.columns)}; a column of compute (flops, compute or C) is "
            "needed, or one of parameters (params or N) and one of tokens (tokens or D)."
        )
    return columns


def _metric_rows(table: Table, metric: str | None) -> tuple[str, list[int], str]:
    """The column that holds the values, the rows of the metric, and its name."""
    by_plain = {_plain(column): column for column in reversed(table.columns)}
    if all(name in by_plain for name in TIDY):
        column = by_plain["metric"]
        known = list(dict.fromkeys(str(row[column]) for row in table.rows))
        if metric is None and len(known) == 1:
            metric = known[0]
        if metric not in known:
            said = "has several metrics" if metric is None else f"has no metric '{metric}'"
            raise UserError(f"{table.path} {said}; --metric takes one of {', '.join(sorted(known)[:20])}.")
        rows = [index for index, row in enumerate(table.rows) if str(row[column]) == metric]
        return by_plain["value"], rows, str(metric)
    if metric is None:
        found = next((by_plain[name] for name in LOSS_NAMES if name in by_plain), None)
    else:
        found = metric if metric in table.columns else by_plain.get(_plain(metric))
    if found is None:
        wanted = "loss" if metric is None else metric
        raise UserError(f"{table.path} has no column '{wanted}'; --metric takes one of {', '.join(table.columns)}.")
    return found, list(range(len(table.rows))), metric or found


def _family_rows(
    table: Table, columns: dict[str, str], rows: list[int], family: str | None
) -> tuple[list[int], str | None]:
    column = columns.get("family")
    if column is None:
        if family is not None:
            raise UserError(f"{table.path} has no column 'family', so --family {family} chooses nothing.")
        return rows, None
    known = list(dict.fromkeys(str(table.rows[index][column]) for index in rows))
    if family is None and len(known) > 1:
        raise UserError(
            f"{table.path} holds {len(known)} families, whose losses do not follow one law; --family takes one of "
            f"{', '.join(sorted(known)[:20])}{', ...' if len(known) > 20 else ''}."
        )
    if family is not None and family not in known:
        raise UserError(
            f"{table.path} has no family '{family}'; --family takes one of {', '.join(sorted(known)[:20])}."
        )
    return [index for index in rows if family is None or str(table.rows[index][column]) == family], family


def _finished(table: Table, columns: dict[str, str], rows: list[int], findings: list[Finding]) -> list[int]:
    """Rows of finished runs; checkpoints on the way of a schedule are worse than runs that end there, and left out."""
    column = columns.get("stage")
    if column is None:
        return rows
    kept = [index for index in rows if str(table.rows[index][column] or "").lower() in FINISHED]
    out = [table.numbers[index] for index in rows if index not in set(kept)]
    if not kept:
        raise UserError(
            f"{table.path} holds no finished run: every {column} is another than {', '.join(FINISHED[:-1])}."
        )
    if out:
        findings.append(
            Finding("checkpoints", "note", f"Left out because they are not the end of a run: {_rows(out)}.")
        )
    return kept


def _rows(numbers: Iterable[int]) -> str:
    """``row 7``, ``rows 7 and 9``, or the first few and how many there are."""
    found = sorted(numbers)
    if len(found) == 1:
        return f"row {found[0]}"
    if len(found) <= SHOWN:
        return f"rows {', '.join(map(str, found[:-1]))} and {found[-1]}"
    return f"rows {', '.join(map(str, found[:SHOWN]))} and {len(found) - SHOWN} more"


def quantity(text: Any) -> float:
    """A number as people write it: ``1.2e21``, ``1,300,000``, ``70M``, ``1.3B``.

    Raises:
        ValueError: for what is not a number.
    """
    if isinstance(text, bool):
        raise ValueError(f"{text} is not a number")
    if isinstance(text, int | float):
        return float(text)
    plain = str(text).strip().replace("_", "")
    if "," in plain:
        # 2,876 may be a decimal comma; with a suffix or two groups it cannot
        if not re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?[kmbgtKMBGT]|\d{1,3}(,\d{3}){2,}(\.\d+)?", plain):
            raise ValueError(f"{text} has a comma that may be a decimal one")
        plain = plain.replace(",", "")
    if plain[-1:].lower() in SUFFIXES and plain[:-1].strip():
        return float(plain[:-1]) * SUFFIXES[plain[-1].lower()]
    return float(plain)


def _run(table: Table, columns: dict[str, str], value_column: str, index: int, metric: str) -> Run:
    row, number = table.rows[index], table.numbers[index]

    def cell(key: str, column: str | None, *, needed: bool) -> float | None:
        text = None if column is None else row[column]
        if text is None or (isinstance(text, str) and not text.strip()):
            if needed:
                raise UserError(f"{table.path}, row {number}: {column or key} is missing.")
            return None
        try:
            value = quantity(text)
        except (ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value) or value < 0 or (value == 0 and key != "value"):
            raise UserError(
                f"{table.path}, row {number}: {column} is {text!r}; a finite number above zero is expected, "
                "with a decimal point."
            )
        return value

    params, tokens = (cell(key, columns.get(key), needed=False) for key in ("params", "tokens"))
    flops = cell("flops", columns.get("flops"), needed=params is None or tokens is None)
    value = cell("value", value_column, needed=True)
    assert value is not None
    if flops is None:
        assert params is not None and tokens is not None
        flops = 6 * params * tokens
    texts = {key: str(row[columns[key]] or "") if key in columns else "" for key in ("run", "family")}
    return Run(number, texts["run"], texts["family"], flops, params, tokens, value, _seed(table, columns, index))


def _seed(table: Table, columns: dict[str, str], index: int) -> int:
    text = table.rows[index][columns["seed"]] if "seed" in columns else None
    if text is None or text == "":
        return 0
    try:
        return int(float(text))
    except (ValueError, OverflowError, TypeError) as error:
        raise UserError(
            f"{table.path}, row {table.numbers[index]}: {columns['seed']} is {text!r}; a whole number is expected."
        ) from error


def _without_copies(table: Table, rows: list[int], findings: list[Finding]) -> list[int]:
    """Rows that repeat another in every cell are said and left out; a repetition would differ in its value."""
    seen: dict[str, int] = {}
    for index in rows:
        seen.setdefault(repr(table.rows[index]), index)
    kept = list(seen.values())
    copies = sorted(set(rows) - set(kept))
    if copies:
        named = _rows(table.numbers[index] for index in copies)
        findings.append(Finding("copies", "warning", f"Left out because they repeat another row exactly: {named}."))
    return kept


def is_share(metric: str) -> bool:
    """Whether a metric's name says that it is an accuracy or another share, not a loss."""
    words = re.split(r"[^a-z0-9]+", metric.lower())
    return bool(SHARE_WORDS & set(words)) or any(name in metric.lower() for name in ("pass_rate", "pass_at", "pass@"))


def _check(table: Table, metric: str, runs: Sequence[Run], findings: list[Finding]) -> None:
    """Contradictions within and between rows."""
    by_name: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.name:
            by_name.setdefault((run.name, run.seed, run.flops, run.params, run.tokens), []).append(run)
    twice = [run.row for group in by_name.values() if len({run.value for run in group}) > 1 for run in group]
    if twice:
        raise UserError(
            f"{table.path}, {_rows(twice)}: one run with one compute has several values of {metric}; give repetitions "
            "names or seeds of their own."
        )
    if is_share(metric):
        above = [run.row for run in runs if run.value > 1]
        if above:
            raise UserError(f"{table.path}, {_rows(above)}: {metric} is above 1; shares from 0 to 1 are expected.")
    else:
        zero = [run.row for run in runs if run.value == 0]
        if zero:
            raise UserError(f"{table.path}, {_rows(zero)}: {metric} is 0; a loss above zero is expected.")
    _check_units(table, runs, findings)


def _check_units(table: Table, runs: Sequence[Run], findings: list[Finding]) -> None:
    """Compute against 6 N D: far off by the same factor in every row is a unit, in some rows a slip."""
    ratios = {
        run.row: run.flops / (6 * run.params * run.tokens)
        for run in runs
        if run.params is not None and run.tokens is not None
    }
    wrong = {row: ratio for row, ratio in ratios.items() if not 1 / VERY_FAR <= ratio <= VERY_FAR}
    if wrong:
        row, ratio = min(wrong.items())
        raise UserError(
            f"{table.path}, {_rows(wrong)}: compute is far from 6 N D ({ratio:.2g} times it in row {row}); are the "
            "units FLOPs, parameters and tokens?"
        )
    odd = {row: ratio for row, ratio in ratios.items() if not 1 / FAR <= ratio <= FAR}
    if odd:
        low, high = min(odd.values()), max(odd.values())
        findings.append(
            Finding(
                "units", "warning", f"Compute is {low:.2g} to {high:.2g} times 6 N D in {_rows(odd)}; check the units."
            )
        )
