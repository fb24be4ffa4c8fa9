"""How many different tokens each run of a table has read: a column, or a metric of a tidy table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.tables.runs import Run, quantity, runs_of

# In lower case without what is not a letter or a digit. Epochs are preferred where there are both.
EPOCHS = ("epochs", "nepochs", "numepochs")
UNIQUE = ("uniquetokens", "nuniquetokens", "datasettokens")


def unique_tokens_of(table: Table, runs: Sequence[Run], family: str | None = None) -> list[float] | None:
    """Different tokens of each run, in their order; ``None`` where the table says nothing of it.

    Raises:
        UserError: naming the row whose epochs or unique tokens are missing or not above zero.
    """
    for names, of_epochs in ((EPOCHS, True), (UNIQUE, False)):
        found = _column(table, runs, names) or _metric(table, runs, names, family)
        if found is not None:
            tokens = [float(run.tokens or math.nan) for run in runs]
            return [all_of_them / value if of_epochs else value
                    for all_of_them, value in zip(tokens, found, strict=True)]  # fmt: skip
    return None


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _column(table: Table, runs: Sequence[Run], names: tuple[str, ...]) -> list[float] | None:
    column = next((name for name in table.columns if _plain(name) in names), None)
    if column is None:
        return None
    cells = dict(zip(table.numbers, (row[column] for row in table.rows), strict=True))
    return [_positive(table, run.row, column, cells[run.row]) for run in runs]


def _positive(table: Table, number: int, column: str, cell: object) -> float:
    try:
        value = quantity(cell)
    except (ValueError, OverflowError):
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"{table.path}, row {number}: {column} is {cell!r}; a finite number above zero is expected.")
    return value


def _metric(table: Table, runs: Sequence[Run], names: tuple[str, ...], family: str | None) -> list[float] | None:
    column = next((name for name in table.columns if _plain(name) == "metric"), None)
    known = {str(row[column]) for row in table.rows} if column is not None else set()
    metric = next((name for name in sorted(known) if _plain(name) in names), None)
    if metric is None:
        return None
    values = {(run.name, run.seed): run.value for run in runs_of(table, metric, family).runs}
    missing = [run.row for run in runs if not values.get((run.name, run.seed))]
    if missing:
        raise UserError(f"{table.path}, row {missing[0]}: its run has no {metric}.")
    return [values[run.name, run.seed] for run in runs]
