"""From the rows of a log or a growing table to readings of one run: how far it is, and its loss there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.core.errors import UserError
from foretell.laws.tables.cells import quantity, shown
from foretell.laws.tables.columns import (
    ALIASES,
    BITS_PER_BYTE_NAMES,
    LOSS_NAMES,
    is_bits_per_byte,
    names_a_loss,
    plain,
)

# Usual column names, in lower case without what is not a letter or a digit; the first that a table has is taken.
SHARES = ("progress", "fraction", "fractiondone")
STEPS = ("step", "steps", "globalstep", "iteration", "iter", "trainerglobalstep")
TOTAL_STEPS = ("totalsteps", "maxsteps", "numtrainingsteps")
SHOWN = 12  # columns that a sentence names
STEP_RECORD = "step"  # of this project's logs, whose other records are no readings


@dataclass(frozen=True)
class Reading:
    """One row: progress from 0 up, and the loss, not finite where training diverged."""

    progress: float
    loss: float


@dataclass(frozen=True)
class Totals:
    """Where the run ends, in each unit in which it is known.

    Attributes:
        flops, tokens, steps: as the forecast says.
        given: as a person says, in the file's own unit; it goes before the others.
    """

    flops: float | None = None
    tokens: float | None = None
    steps: float | None = None
    given: float | None = None


class Columns:
    """Which columns of a file hold progress and loss.

    Attributes:
        loss: the column of the loss.
        stands_in: whether that is another loss than the forecast's metric, by its name.

    Args:
        names: the file's columns.
        metric: what the forecast is of; a column of that name is taken first. Where it is the loss of training or of
            held-out text another column of such a loss may stand for it, for any other measure none does.
        totals: where the run ends.
        source: the file, for sentences.

    Raises:
        UserError: where no column of loss is found, or none of progress whose end is known.
    """

    def __init__(self, names: Sequence[str], metric: str, totals: Totals, source: str) -> None:
        self.source = source
        by_plain = {plain(name): name for name in reversed(names)}
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        said = f"{source} has the columns {', '.join(map(shown, names[:SHOWN]))}{more}"
        others = LOSS_NAMES if names_a_loss(metric) else ()
        loss = _first(by_plain, (plain(metric), *(BITS_PER_BYTE_NAMES if is_bits_per_byte(metric) else ()), *others))
        if loss is None:
            called = f"{shown(metric)}, loss or val_loss" if others else f"{shown(metric)}, as what is forecast"
            raise UserError(f"{said}; a column is needed that is called {called}.")
        self.loss = loss
        self.stands_in = not (plain(loss) == plain(metric) or (is_bits_per_byte(metric) and is_bits_per_byte(loss)))
        self.progress, self.total, self.total_column = self._progress(by_plain, totals, said)

    def _progress(self, by_plain: Mapping[str, str], totals: Totals, said: str) -> tuple[str, float, str | None]:
        share, steps, tokens, flops = (
            _first(by_plain, aliases) for aliases in (SHARES, STEPS, ALIASES["tokens"], ALIASES["flops"])
        )
        total_steps = _first(by_plain, TOTAL_STEPS)
        if share is not None:
            return share, 1.0, None
        if steps is not None and total_steps is not None and totals.given is None:
            return steps, math.nan, total_steps
        for column, total in ((steps, totals.steps), (tokens, totals.tokens), (flops, totals.flops)):
            total = total if totals.given is None else totals.given
            if column is not None and total is not None:
                return column, total, None
        raise UserError(
            f"{said}; how far the run is needs a column of flops, tokens or "
            "steps (or progress, from 0 to 1), and where it ends: in the forecast, in a column total_steps, or --total."
        )

    def reading(self, row: Mapping[str, Any]) -> Reading | None:
        """The reading of a row, or ``None`` for a row without one (an empty cell, another kind of record).

        Raises:
            UserError: where a cell is no number, or below zero.
        """
        ours = row.get("kind") is not None
        if ours and row["kind"] != STEP_RECORD:
            return None
        progress, loss = self._cell(row, self.progress), self._cell(row, self.loss)
        if progress is None or (loss is None and not ours):
            return None
        total = self.total if self.total_column is None else self._cell(row, self.total_column)
        if total is None:
            return None
        if not 0 <= progress < math.inf or not 0 < total < math.inf:
            raise UserError(f"{self.source}: {self.progress} is {progress:g} of {total:g}; 0 or more is expected.")
        loss = math.nan if loss is None else loss  # this project's logs have null for what is not finite
        if loss <= 0 and not math.isinf(loss):
            raise UserError(f"{self.source}: {self.loss} is {loss:g}; a loss above zero is expected.")
        return Reading(progress / total, loss)

    def _cell(self, row: Mapping[str, Any], column: str) -> float | None:
        value = row.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            return quantity(value)
        except (ValueError, OverflowError, RecursionError) as error:
            raise UserError(f"{self.source}: {column} is {shown(value)}; a number is expected.") from error


def _first(by_plain: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((by_plain[name] for name in names if name in by_plain), None)
