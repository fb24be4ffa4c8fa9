"""Which rows are the end of a run: by a column that says so, or because they are the last of one run's curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.records import Finding
from foretell.laws.tables.cells import number_or_none, text_of
from foretell.laws.tables.columns import plain

# Stages and states whose value is a run's last
FINISHED = ("final", "isoflop_point", "finished", "finish", "completed", "complete", "done", "success", "succeeded", "")
RUN_NAMES = frozenset({"run", "name", "runname", "runid", "id"})  # of a run, where "model" may be that of many
SAME_SIZE = 1.02  # parameters of one run's checkpoints, which some trainers count anew or round
RISE = 1.05  # of a loss above its lowest so far, which a noisy curve may show


@dataclass(frozen=True)
class Point:
    """What a row says of where its run was: how far along, its size (as far as known) and its value."""

    index: int
    step: float | None
    tokens: float | None
    flops: float | None
    params: float | None
    value: float | None


def finished_rows(
    table: Table, column: str | None, rows: Sequence[int], findings: list[Finding], left_out: dict[str, tuple[int, ...]]
) -> list[int]:
    """Rows of finished runs; checkpoints on the way of a schedule are worse than runs that end there, and left out.

    Raises:
        UserError: where no run is finished.
    """
    if column is None:
        return list(rows)
    states = {index: text_of(table.rows[index][column]) for index in rows}
    kept = [index for index in rows if states[index].lower() in FINISHED]
    ended = set(kept)
    out = [index for index in rows if index not in ended]
    seen = sorted({states[index] for index in out})[:5]
    if not kept:
        raise UserError(
            f"{table.path} holds no finished run: every {column} is another than {', '.join(FINISHED[:-1])} "
            f"({', '.join(seen)})."
        )
    if out:
        numbers = tuple(table.numbers[index] for index in out)
        left_out["checkpoints"] = numbers
        findings.append(
            Finding(
                "checkpoints",
                "note",
                f"Left out because their {column} ({', '.join(seen)}) is not the end of a run: "
                f"{table.name_rows(numbers)}.",
            )
        )
    return kept


def last_of_curves(
    table: Table,
    columns: Mapping[str, str],
    value_column: str,
    rows: Sequence[int],
    findings: list[Finding],
    left_out: dict[str, tuple[int, ...]],
    *,
    share: bool,
) -> list[int]:
    """Of rows that are one run's curve the last with a value; rows of one name that may be such are warned of.

    A run's curve has one name, seed and size, and steps that grow, or else tokens that grow while the loss falls (or,
    for a ``share``, rises).
    """
    step = columns.get("step")
    if "stage" in columns or ("run" not in columns and step is None):
        return list(rows)
    groups: dict[tuple[str, str], list[int]] = {}
    for index in rows:
        cells = table.rows[index]
        name, seed = (text_of(cells[columns[key]]) if key in columns else "" for key in ("run", "seed"))
        groups.setdefault((name, seed), []).append(index)
    dropped: list[int] = []
    doubtful: list[int] = []
    names: list[str] = []
    for (name, _), indices in groups.items():
        if len(indices) < 2 or (not name and step is None):
            continue
        points = [_point(table, columns, value_column, index, share=share) for index in indices]
        order = _curve(points, named=_names_a_run(columns, name))
        if order is None:
            continue
        if order and name:
            last = next((point for point in reversed(order) if point.value is not None), order[-1])
            dropped += [point.index for point in order if point is not last]
            names.append(name)
        else:
            doubtful += indices
    if dropped:
        numbers = left_out["curves"] = tuple(table.numbers[index] for index in dropped)
        findings.append(
            Finding(
                "curves",
                "warning",
                f"Taken for earlier points of {'the runs' if len(names) > 1 else 'the run'} {', '.join(names[:5])}"
                f"{', ...' if len(names) > 5 else ''} and left out: {table.name_rows(numbers)}; if they are runs of "
                "their own, give them names of their own or a column stage that says final.",
            )
        )
    if doubtful:
        named = table.name_rows(table.numbers[index] for index in doubtful)
        findings.append(
            Finding(
                "one-name",
                "warning",
                f"One name, or none, stands for several computes in {named}; if they are checkpoints of one run, keep "
                "its last or give a column stage.",
            )
        )
    gone = set(dropped)
    return [index for index in rows if index not in gone]


def _names_a_run(columns: Mapping[str, str], name: str) -> bool:
    """Whether a name is a single run's: not that of an architecture, nor a size such as 70M."""
    return "run" in columns and plain(columns["run"]) in RUN_NAMES and number_or_none(name) is None


def _point(table: Table, columns: Mapping[str, str], value_column: str, index: int, *, share: bool) -> Point:
    cells = table.rows[index]
    step, tokens, flops, params = (
        number_or_none(cells[columns[key]]) if key in columns else None for key in ("step", "tokens", "flops", "params")
    )
    if params is None and tokens and flops:
        params = flops / (6 * tokens)
    value = number_or_none(cells[value_column])
    return Point(index, step, tokens, flops, params, 1 - value if share and value is not None else value)


def _curve(points: Sequence[Point], *, named: bool) -> list[Point] | None:
    """The points in order where they are one run's; empty where that cannot be told; ``None`` where they are not."""
    sizes = [point.params for point in points if point.params is not None]
    if sizes and (min(sizes) <= 0 or max(sizes) > SAME_SIZE * min(sizes)):
        return None
    for key in ("step", "tokens", "flops"):
        places = {point.index: getattr(point, key) for point in points}
        if None in places.values():
            continue
        if len(set(places.values())) < len(points):
            return None
        order = sorted(points, key=lambda point: places[point.index])
        if key == "step":
            return order
        if not named or not _falls([point.value for point in order]):
            return None
        return order if key == "tokens" and len(sizes) == len(points) else []
    return None


def _falls(values: Sequence[float | None]) -> bool:
    known = [value for value in values if value is not None]
    if len(known) < 2 or known[-1] >= known[0]:
        return False
    lowest = known[0]
    for value in known[1:]:
        if value > RISE * lowest:
            return False
        lowest = min(lowest, value)
    return True
