"""Tables of training curves, a row a logged step, and the schedules of runs that are not trained yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.core.wording import plural
from foretell.laws.sizes import Vector
from foretell.laws.tables.columns import ALIASES, LOSS_NAMES, plain
from foretell.laws.training_curves.annealing import Curve

# Usual column names, in lower case without what is not a letter or a digit; the first that a table has is taken.
RATES = ("lr", "learningrate", "trainlr", "trainlearningrate")
STEPS = ("step", "steps", "globalstep", "iteration", "iter")
SCHEDULES = ("cosine", "linear", "wsd", "constant")
WSD_DECAY = 0.2  # share of the steps over which a wsd schedule falls (Hu et al. 2024)


def is_curve_table(columns: Sequence[str]) -> bool:
    """Whether a table holds curves, not finished runs: learning rate, loss, and step or tokens without compute."""
    names = {plain(column) for column in columns}
    finished = names & {*ALIASES["flops"], *ALIASES["params"]}
    along = bool(names & set(STEPS)) or (bool(names & set(ALIASES["tokens"])) and not finished)
    return bool(names & set(RATES)) and bool(names & {*LOSS_NAMES, "trainloss"}) and along


def curves_of(table: Table, metric: str | None = None) -> list[Curve]:
    """The curves of a table with columns for learning rate, step or tokens, loss and, of several runs, run.

    Where there are tokens and no steps, a run is read in as many steps as it has points.

    Raises:
        UserError: for a column that is missing, a cell that is no number (with its row), or runs of several sizes.
    """
    by_plain = {plain(column): column for column in reversed(table.columns)}

    def column(aliases: Sequence[str]) -> str | None:
        return next((by_plain[alias] for alias in aliases if alias in by_plain), None)

    rate, step, tokens = column(RATES), column(STEPS), column(ALIASES["tokens"])
    loss = column((plain(metric),)) if metric else column((*LOSS_NAMES, "trainloss"))
    if rate is None or loss is None or (step is None and tokens is None):
        raise UserError(
            f"{table.path} has the columns {', '.join(table.columns)}; curves need lr, step or tokens, and "
            f"{metric or 'loss'}."
        )
    params = column(ALIASES["params"])
    if params is not None and len({str(row[params]) for row in table.rows}) > 1:
        raise UserError(f"{table.path} holds runs of several sizes ({params}); one law holds for one size.")
    name = column(ALIASES["run"])
    runs: dict[str, list[tuple[float, ...]]] = {}
    for row, number in zip(table.rows, table.numbers, strict=True):
        cells = [_number(table, row[one], one, number) for one in (step or tokens, rate, loss, tokens) if one]
        if not any(math.isnan(cell) for cell in cells):
            runs.setdefault(str(row[name]) if name else "run", []).append(tuple(cells))
    return [_curve(run, np.array(sorted(points)), step is not None) for run, points in runs.items()]


def schedule_rates(schedule: str, steps: int, peak: float, warmup: int) -> Vector:
    """Learning rate of every step: a linear rise, then ``constant``, ``linear`` or ``cosine`` to zero, or ``wsd``.

    Args:
        schedule: one of :data:`SCHEDULES`.
        steps: of the whole run, >= 1.
        peak: largest learning rate, > 0.
        warmup: steps of the rise, below ``steps``.

    Raises:
        UserError: for another schedule, or a run that ends within its warm-up.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"--schedule is {schedule!r}; one of {', '.join(SCHEDULES)} is accepted.")
    if steps <= warmup:
        raise UserError(f"The run has {plural(steps, 'step')} and its warm-up {warmup:,}; a longer one is expected.")
    done = np.arange(steps - warmup) / (steps - warmup)
    falling = {
        "constant": np.ones_like(done),
        "linear": 1 - done,
        "cosine": 0.5 * (1 + np.cos(np.pi * done)),
        "wsd": np.minimum(1.0, (1 - done) / WSD_DECAY),
    }[schedule]
    return peak * np.concatenate([np.arange(1, warmup + 1) / (warmup + 1), falling])


def warmup_of(curves: Sequence[Curve]) -> int:
    """Steps until the learning rate is at 99 % of its peak, in the curve that is there first."""
    return min(int(curve.steps[int(np.argmax(curve.rates >= 0.99 * curve.rates.max()))]) for curve in curves) - 1


def _curve(name: str, points: Vector, has_steps: bool) -> Curve:
    done, rates, losses = points.T[:3]
    steps = done if has_steps else np.round(done / done[-1] * len(done))
    tokens = points[-1, 3] / steps[-1] if points.shape[1] > 3 else None
    return Curve(name, steps, rates, losses, tokens)


def _number(table: Table, cell: object, column: str, number: int) -> float:
    """A cell's number; not a number where it is empty, as where a row logs something else."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    try:
        value = float(str(cell))
    except ValueError as error:
        raise UserError(f"{table.path}, row {number}: {column} is {cell!r}; a number is expected.") from error
    if not math.isfinite(value):
        raise UserError(f"{table.path}, row {number}: {column} is {cell}; a finite number is expected.")
    return value
