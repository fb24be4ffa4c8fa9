"""Scores on all, clean and contaminated items, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.evals.contamination.check import Verdict

NEEDED = ("task", "item", "correct")


@dataclass(frozen=True)
class Score:
    """A mean over ``n`` items with its standard error; each None where there are too few items."""

    n: int
    mean: float | None
    stderr: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        """Mean, and standard error from the sample's variance, which two items are the fewest for."""
        n = len(values)
        if not n:
            return cls(0, None, None)
        mean = math.fsum(values) / n
        if n == 1:
            return cls(1, mean, None)
        return cls(n, mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n))


@dataclass(frozen=True)
class SplitScore:
    """Scores of a task by one method.

    ``headline`` is the lower of the scores on all and on clean items, as in the report (section 4: a variant without
    the contaminated questions is run, and the lower score of the two reported); that on all where no item is clean.
    """

    task: str
    method: str
    all: Score
    clean: Score
    contaminated: Score
    unknown: int

    @property
    def headline(self) -> float | None:
        """The lower one."""
        known = [score.mean for score in (self.all, self.clean) if score.mean is not None]
        return min(known) if known else None

    def record(self) -> dict[str, Any]:
        """As JSON."""
        cells = {name: vars(getattr(self, name)) for name in ("all", "clean", "contaminated")}
        return {"task": self.task, "method": self.method, **cells, "unknown": self.unknown, "headline": self.headline}


def read_scores(path: Path) -> dict[tuple[str, str], float]:
    """Scores of items by task and item: a .parquet, .jsonl or .csv with the columns task, item and correct.

    Raises:
        UserError: where a column is missing, a score is not a number from 0 to 1, or an item is there twice.
    """
    table = read_table(path)
    missing = next((name for name in NEEDED if name not in table.columns), None)
    if missing is not None:
        raise UserError(f"{path} has no column '{missing}'; task, item and correct (0 to 1) are expected.")
    found: dict[tuple[str, str], float] = {}
    for number, row in zip(table.numbers, table.rows, strict=True):
        key = str(row["task"]), str(row["item"])
        try:
            value = {"true": 1.0, "false": 0.0}.get(str(row["correct"]).lower())
            value = float(row["correct"]) if value is None else value
        except (TypeError, ValueError):
            value = math.nan
        if not 0.0 <= value <= 1.0:
            raise UserError(f"{path} row {number}: correct is {row['correct']!r}; a number from 0 to 1 is expected.")
        if key in found:
            raise UserError(f"{path} row {number} is a second score of item '{key[1]}' of the task '{key[0]}'.")
        found[key] = value
    return found


def split_scores(
    scores: dict[tuple[str, str], float], verdicts: Sequence[Verdict], methods: Sequence[str]
) -> list[SplitScore]:
    """Scores of each task by each method, over the items that were scored.

    An item without a verdict (it has no text, or was not among those checked) counts among all and is ``unknown``.

    Raises:
        UserError: where no scored item was checked.
    """
    known = {(verdict.task, verdict.item): verdict for verdict in verdicts}
    if not scores.keys() & known.keys():
        task, item = next(iter(scores), ("", ""))
        checked = verdicts[0]
        raise UserError(
            f"No scored item was checked: the scores name item '{item}' of the task '{task}', the items are such as "
            f"'{checked.item}' of '{checked.task}'."
        )
    return [
        _split(task, method, scores, known) for task in dict.fromkeys(task for task, _ in scores) for method in methods
    ]


def _split(
    task: str, method: str, scores: dict[tuple[str, str], float], known: dict[tuple[str, str], Verdict]
) -> SplitScore:
    values: dict[bool | None, list[float]] = {True: [], False: [], None: []}
    for key, score in scores.items():
        if key[0] == task:
            values[known[key].by(method) if key in known else None].append(score)
    every = [score for part in values.values() for score in part]
    return SplitScore(task, method, Score.of(every), Score.of(values[False]), Score.of(values[True]), len(values[None]))
