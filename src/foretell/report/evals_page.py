"""The page of an evaluation, from ``results.json`` and ``items.parquet`` alone: ``write_evals_report``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from foretell.core.errors import UserError
from foretell.core.files import write_atomic
from foretell.evals.calibration import Calibration, calibrate, option_confidences, verbal_confidences
from foretell.evals.compare import Comparison, compare_folders
from foretell.evals.records import ITEMS, RESULTS, ItemRecord, read_items, read_results
from foretell.report.evals_figures import ForestRow, Z, forest_svg, reliability_svg
from foretell.report.summary import Tile
from foretell.report.tables import Cell, Table, cell, make_table
from foretell.report.templating import render_page
from foretell.report.wording import plural, whole

PAGE = "report.html"
FEWEST_STATED = 10  # answers that say how sure they are, for a diagram of them


@dataclass(frozen=True)
class Results:
    """What a folder holds, and what to call its model."""

    folder: Path
    tasks: Mapping[str, Any]
    items: Sequence[ItemRecord]

    @property
    def name(self) -> str:
        """Names of the models, mostly one."""
        return ", ".join(dict.fromkeys(str(entry.get("model", "")) for entry in self.tasks.values()))

    def rows(self, task: str) -> list[ItemRecord]:
        """Items of a task."""
        return [row for row in self.items if row.task == task]


def write_evals_report(folder: Path, other: Path | None = None, tasks: Sequence[str] | None = None) -> Path:
    """Write ``report.html`` into a folder of results.

    Args:
        folder: of the results that are shown.
        other: of results that they are compared with, item by item.
        tasks: that are compared; all that both have where left out.

    Returns:
        The path of the page.

    Raises:
        UserError: where a folder holds no results, they cannot be compared, or the page cannot be written.
    """
    write_atomic(folder / PAGE, render_evals(folder, other, tasks))
    return folder / PAGE


def render_evals(folder: Path, other: Path | None = None, tasks: Sequence[str] | None = None) -> str:
    """The page as HTML text; equal records give the same page. Errors are those of :func:`write_evals_report`."""
    shown = _read(folder)
    if not shown.tasks:
        raise UserError(f"{folder / RESULTS} holds no task's results.")
    before = None if other is None else _read(other)
    compared = [] if other is None else compare_folders(other, folder, tasks)
    names = _names(shown, before)
    return render_page(
        "evals.html.j2",
        {
            "title": shown.name,
            "compared_with": None if before is None else names[0],
            "tiles": _tiles(shown),
            "scores": scores_table(shown),
            "forest": [Markup(forest_svg(_forest_rows(shown, before), names, narrow, f"forest-{narrow}".lower()))
                       for narrow in (False, True)],
            "comparison": comparison_table(compared, names) if compared else None,
            "comparison_notes": [note for one in compared for note in one.notes],
            "calibrations": _calibrations(shown, before, names),
            "groups": [groups_table(name, entry) for name, entry in shown.tasks.items()
                       if len(entry.get("groups", {})) > 1],
            "tasks": [_task(name, entry) for name, entry in shown.tasks.items()],
            "records": (RESULTS, ITEMS),
        },
        {"plural": plural},
    )  # fmt: skip


def _read(folder: Path) -> Results:
    return Results(folder, read_results(folder), read_items(folder))


def _names(shown: Results, before: Results | None) -> list[str]:
    """The models' names, told apart where they are the same, by their folders; the one compared with comes first."""
    if before is None:
        return [shown.name]
    if before.name != shown.name:
        return [before.name, shown.name]
    named = [f"{one.name} ({one.folder.resolve().name})" for one in (before, shown)]
    return named if named[0] != named[1] else [f"{shown.name} (first)", f"{shown.name} (second)"]


def _tiles(shown: Results) -> list[Tile]:
    entries = list(shown.tasks.values())
    hashes = dict.fromkeys(str(entry.get("model_hash", ""))[:12] for entry in entries)
    of = dict.fromkeys(str(entry.get("model_hash_of", "")) for entry in entries)
    return [
        Tile("tasks", f"{len(entries):,}"),
        Tile("items", f"{sum(entry['n'] for entry in entries):,}"),
        Tile("model hash", ", ".join(hashes) or None, f"SHA-256 of its {' and '.join(of)}"),
    ]


def scores_table(shown: Results) -> Table:
    """Every metric of every task, the headline first."""
    columns = {"task": False, "metric": False, "score, %": True, "standard error": True, "95 % interval": True,
               "items": True, "shots": True, "chat": False, "version": True}  # fmt: skip
    rows = []
    for name, entry in shown.tasks.items():
        for metric in _metrics(entry):
            score = entry["metrics"][metric] if "metrics" in entry else entry
            head = metric == entry["metric"]
            rows.append([
                Cell(name), Cell(metric + (" (headline)" if head and len(_metrics(entry)) > 1 else "")),
                Cell(f"{100 * score['value']:.2f}"), _points(score.get("stderr")), Cell(_interval(score), missing="-"),
                cell(score["n"], whole), Cell(str(entry.get("shots", "")) or None),
                Cell("yes" if entry.get("chat") else "no"), Cell(str(entry["version"])),
            ])  # fmt: skip
    return make_table("Scores", columns, rows)


def _metrics(entry: Mapping[str, Any]) -> list[str]:
    others = [name for name in entry.get("metrics", {}) if name != entry["metric"]]
    return [entry["metric"], *others]


def _points(stderr: float | None) -> Cell:
    return Cell(None if stderr is None else f"{100 * stderr:.2f}", missing="-")


def _interval(score: Mapping[str, Any]) -> str | None:
    if score.get("stderr") is None:
        return None
    low, high = (100 * (score["value"] + sign * Z * score["stderr"]) for sign in (-1, 1))
    return f"{max(0.0, low):.1f} to {min(100.0, high):.1f}"


def groups_table(name: str, entry: Mapping[str, Any]) -> Table:
    """The headline in each group (subject) of a task, the lowest first."""
    metric = entry["metric"]
    found = [(group, scores[metric]) for group, scores in entry["groups"].items() if metric in scores]
    rows = [
        [Cell(group), Cell(f"{100 * score['value']:.1f}"), _points(score["stderr"]), cell(score["n"], whole)]
        for group, score in sorted(found, key=lambda pair: (pair[1]["value"], pair[0]))
    ]
    columns = {"group": False, f"{metric}, %": True, "standard error": True, "items": True}
    return make_table(f"Groups of {name}", columns, rows)


def _forest_rows(shown: Results, before: Results | None) -> list[ForestRow]:
    sources = [shown] if before is None else [before, shown]
    return [
        ForestRow(f"{name} {entry['metric']}", tuple(_score(one.tasks.get(name), entry["metric"]) for one in sources))
        for name, entry in shown.tasks.items()
    ]


def _score(entry: Mapping[str, Any] | None, metric: str) -> tuple[float, float | None] | None:
    if entry is None or entry["metric"] != metric:
        return None
    return entry["value"], entry.get("stderr")


def comparison_table(compared: Sequence[Comparison], names: Sequence[str]) -> Table:
    """Paired differences, the shown results less the others."""
    columns = {"task": False, "metric": False, names[0]: True, names[1]: True, "difference, points": True,
               "its standard error": True, "better": True, "worse": True, "p (sign test)": True}  # fmt: skip
    rows = [
        [
            Cell(one.task), Cell(one.metric), Cell(f"{100 * one.first:.2f}"), Cell(f"{100 * one.second:.2f}"),
            Cell(f"{100 * one.difference:+.2f}"), _points(one.stderr), cell(one.better, whole), cell(one.worse, whole),
            Cell(f"{one.p:.2g}"),
        ]
        for one in compared
    ]  # fmt: skip
    return make_table("Item by item", columns, rows)


def _calibrations(shown: Results, before: Results | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """A diagram for each task whose answers carry a confidence, of both models where both have it."""
    sources = [shown] if before is None else [before, shown]
    found = []
    for number, task in enumerate(shown.tasks):
        kinds = [(name, _calibrated(one.rows(task))) for name, one in zip(names, sources, strict=True)]
        drawn = [(name, one[1]) for name, one in kinds if one is not None]
        if not drawn or kinds[-1][1] is None:
            continue
        found.append({
            "task": task,
            "of": kinds[-1][1][0],
            "figure": Markup(reliability_svg(drawn, f"reliability-{number}")),
            "table": calibration_table(task, drawn),
        })  # fmt: skip
    return found


def _calibrated(rows: Sequence[ItemRecord]) -> tuple[str, Calibration] | None:
    if any(len(row.loglikelihoods) > 1 for row in rows):
        return "the probabilities of options", calibrate(option_confidences(rows))
    try:
        stated = verbal_confidences(rows)
    except UserError:
        return None
    return ("what answers say", calibrate(stated)) if len(stated.probability) >= FEWEST_STATED else None


def calibration_table(task: str, found: Sequence[tuple[str, Calibration]]) -> Table:
    """Expected calibration error and Brier score, with their intervals."""
    columns = {"model": False, "ECE": True, "its 95 % interval": True, "Brier score": True, "its interval": True,
               "items": True}  # fmt: skip
    rows = [
        [
            Cell(name), Cell(f"{one.ece:.4f}"), Cell(f"{one.ece_low:.4f} to {one.ece_high:.4f}"),
            Cell(f"{one.brier:.4f}"), Cell(f"{one.brier_low:.4f} to {one.brier_high:.4f}"), cell(one.items, whole),
        ]
        for name, one in found
    ]  # fmt: skip
    return make_table(f"Calibration on {task}", columns, rows)


def _task(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of how a task was asked."""
    prompt = entry.get("prompt")
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, indent=2, ensure_ascii=False)
    hidden = ("prompt", "options", "metrics", "groups", "metric", "value", "stderr", "n")
    facts = {
        key.replace("_", " "): str(value) for key, value in entry.items() if key not in hidden and value is not None
    }
    return {"name": name, "prompt": text, "options": entry.get("options", []), "facts": facts}
