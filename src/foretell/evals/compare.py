"""Two evaluations of the same items, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from foretell.core.errors import UserError
from foretell.core.wording import listed
from foretell.evals.records import ItemRecord, read_items, read_results
from foretell.evals.scores import average_score

ASKED = ("shots", "chat", "seed", "samples", "temperature", "tokens", "start_tokens")  # should not differ, and may


@dataclass(frozen=True)
class Comparison:
    """One task's headline under two models.

    Attributes:
        task, metric: names.
        n: items of both.
        first, second: the averages.
        difference: second less first; ``stderr`` is that of the paired difference, ``None`` for one item.
        better, worse: items on which the second has the higher score, and the lower.
        p: two-sided probability of so uneven a split by chance: an exact sign test, which is McNemar's exact test for
            scores of 0 and 1.
        notes: sentences on what was asked in another way.
    """

    task: str
    metric: str
    n: int
    first: float
    second: float
    difference: float
    stderr: float | None
    better: int
    worse: int
    p: float
    notes: tuple[str, ...] = ()


def compare_folders(first: Path, second: Path, tasks: Sequence[str] | None = None) -> list[Comparison]:
    """Compare what two folders have of the same tasks.

    Args:
        first, second: folders of records.
        tasks: names; all that both have where left out.

    Raises:
        UserError: where a folder holds no records, there is no such task in both, or a task's versions, metrics or
            items differ.
    """
    results = read_results(first), read_results(second)
    names = [name for name in results[0] if name in results[1]] if tasks is None else list(tasks)
    for folder, found in zip((first, second), results, strict=True):
        missing = [name for name in names if name not in found]
        if missing or not names:
            had = listed(sorted(found)) if found else "none"
            raise UserError(
                f"{folder} has no results of {listed(missing) if missing else 'the same tasks'}; it has {had}."
            )
    items = read_items(first), read_items(second)
    return [
        compare_items(
            name, (results[0][name], results[1][name]),
            ([row for row in items[0] if row.task == name], [row for row in items[1] if row.task == name]),
        )
        for name in names
    ]  # fmt: skip


def compare_items(
    task: str, results: tuple[Mapping[str, Any], Mapping[str, Any]],
    rows: tuple[Sequence[ItemRecord], Sequence[ItemRecord]],
) -> Comparison:  # fmt: skip
    """Compare two results of one task by their items' headline scores.

    Raises:
        UserError: where versions, metrics or items differ.
    """
    one, other = results
    for field in ("version", "metric"):
        if one[field] != other[field]:
            raise UserError(
                f"{task} was scored by {field} {one[field]!r} and {other[field]!r}; results of one {field} can be "
                "compared."
            )
    pairs = _paired(task, *rows)
    groups = [row.group for row, _ in pairs]
    average = one.get("average", "items")
    differences = [b.score - a.score for a, b in pairs]
    paired = average_score(differences, groups, average)
    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return Comparison(
        task=task,
        metric=str(one["metric"]),
        n=len(pairs),
        first=average_score([a.score for a, _ in pairs], groups, average).value,
        second=average_score([b.score for _, b in pairs], groups, average).value,
        difference=paired.value,
        stderr=paired.stderr,
        better=better,
        worse=worse,
        p=float(binomtest(better, better + worse).pvalue) if better + worse else 1.0,
        notes=tuple(_notes(task, one, other)),
    )


def _paired(
    task: str, first: Sequence[ItemRecord], second: Sequence[ItemRecord]
) -> list[tuple[ItemRecord, ItemRecord]]:
    by_name = {row.item: row for row in second}
    for mine, theirs, which in ((first, by_name, "first"), (second, {row.item: row for row in first}, "second")):
        alone = [row.item for row in mine if row.item not in theirs]
        if alone:
            raise UserError(
                f"{task} has {len(alone):,} of {len(mine):,} items in the {which} results alone, such as '{alone[0]}'; "
                "results of the same items can be compared (the same data and --limit)."
            )
    changed = [row.item for row in first if row.digest != by_name[row.item].digest]
    if changed:
        raise UserError(
            f"{task} has {len(changed):,} items whose text or answer differs between the results, such as "
            f"'{changed[0]}'; results of the same data can be compared."
        )
    if not first:
        raise UserError(f"{task} has no items in the results.")
    return [(row, by_name[row.item]) for row in first]


def _notes(task: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        f"{task} was asked with {field.replace('_', ' ')} {one.get(field)} and {other.get(field)}."
        for field in ASKED
        if one.get(field) != other.get(field)
    ]
