"""From the rows of a log or a growing table to readings of one run: how far it is, and its loss there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.core.errors import UserError
from foretell.laws.tables.columns import ALIASES, LOSS_NAMES, plain

# Usual column names, in lower case without what is not a letter or a digit; the first that a table has is taken.
SHARES = ("progress", "fraction", "fractiondone")
STEPS = ("step", "steps", "globalstep", "iteration", "iter", "trainerglobalstep")
TOTAL_STEPS = ("totalsteps", "maxsteps", "numtrainingsteps")
BITS_PER_BYTE = ("bitsperbyte", "bpb")
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

    Args:
        names: the file's columns.
        metric: what the forecast is of; a column of that name is taken first.
        totals: where the run ends.
        source: the file, for sentences.

    Raises:
        UserError: where no column of loss is found, or none of progress whose end is known.
    """

    def __init__(self, names: Sequence[str], metric: str, totals: Totals, source: str) -> None:
        self.source = source
        by_plain = {plain(name): name for name in reversed(names)}
        wanted = BITS_PER_BYTE if metric == "bits per byte" else ()
        self.loss = _first(by_plain, (plain(metric), *wanted, *LOSS_NAMES, "trainloss", "trainingloss"))
        if self.loss is None:
            raise UserError(
                f"{source} has the columns {', '.join(names)}; a loss is needed, called {metric}, loss or val_loss."
            )
        self.progress, self.total, self.total_column = self._progress(by_plain, totals, names)

    def _progress(
        self, by_plain: Mapping[str, str], totals: Totals, names: Sequence[str]
    ) -> tuple[str, float, str | None]:
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
            f"{self.source} has the columns {', '.join(names)}; how far the run is needs a column of flops, tokens or "
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
        assert self.loss is not None
        progress, loss = self._cell(row, self.progress), self._cell(row, self.loss)
        if progress is None or (loss is None and not ours):
            return None
        total = self.total if self.total_column is None else self._cell(row, self.total_column)
        if total is None:
            return None
        if not progress >= 0 or not total > 0 or math.isinf(progress):
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
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{self.source}: {column} is {value!r}; a number is expected.") from error


def _first(by_plain: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((by_plain[name] for name in names if name in by_plain), None)
