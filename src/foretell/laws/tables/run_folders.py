"""Folders of runs: Foretell's own trainings by their records, or anyone's by their TensorBoard files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.eventfiles import EventRun, event_files, read_events
from foretell.core.files import read_json
from foretell.core.runlog import read_log
from foretell.core.tables import Table, assemble
from foretell.laws.tables.columns import find_columns
from foretell.laws.tables.series import last_points

LOG, RESULT, SETTINGS, RECIPE = "log.jsonl", "result.json", "settings.json", "recipe.yaml"
LOSSES = ("bits_per_byte", "nats_per_token", "bits_per_word")
NAMED = 5  # damaged files that notes name


def training_folders(folder: Path) -> list[Path]:
    """Folders of single trainings, by the records that a training writes."""
    return sorted(
        log.parent for log in folder.rglob(LOG) if (log.parent / RESULT).is_file() or (log.parent / SETTINGS).is_file()
    )


def training_table(folder: Path) -> Table:
    """One row for each training below a folder, with the held-out losses of its end.

    Runs of several recipes are families of their own; runs that only tuned the learning rate say so as their state.

    Raises:
        UserError: where a record cannot be read.
    """
    folders = training_folders(folder)
    rows = [_training_row(folder, training) for training in folders]
    return assemble(folder, rows, labels=[row["run"] for row in rows])


def _training_row(root: Path, folder: Path) -> dict[str, Any]:
    recipe = next((above for above in (folder, *folder.parents) if (above / RECIPE).is_file()), None)
    row: dict[str, Any] = {
        "run": _name(root, folder),
        "family": _name(root, recipe) if recipe is not None and recipe.is_relative_to(root) else "",
    }
    if (folder / RESULT).is_file():
        result = read_json(folder / RESULT)
        try:
            return row | {
                "state": "tuning" if result.get("role") == "tuning" else "finished",
                "seed": result["seed"],
                "flops": result["flops"],
                "params": result["parameters"]["with_head"],
                "tokens": result["tokens"],
                **{f"heldout/{name}": result["heldout"][name] for name in LOSSES},
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{folder / RESULT} is no record of a finished training ({error}).") from error
    return row | {"state": "unfinished"} | _last_evaluation(folder)


def _last_evaluation(folder: Path) -> dict[str, Any]:
    """How far a training came that has no result yet."""
    last: dict[str, Any] = {}
    for record in read_log(folder / LOG, "eval"):
        last = record
    return {name: last.get(name) for name in ("flops", "tokens")} | {
        f"heldout/{name}": last.get(name) for name in LOSSES
    }


def _name(root: Path, folder: Path) -> str:
    relative = folder.relative_to(root).as_posix()
    return folder.resolve().name if relative == "." else relative


def event_table(folder: Path) -> Table:
    """One row for each run and scalar in the TensorBoard files below a folder, each folder a run.

    Raises:
        UserError: where a file cannot be opened, and where no compute, or parameters and tokens, were logged.
    """
    files: dict[Path, list[Path]] = {}
    for path in event_files(folder):
        files.setdefault(path.parent, []).append(path)
    runs = {parent: read_events(paths) for parent, paths in files.items()}
    _merge_settings(runs)
    notes = ["TensorBoard files do not say which runs are finished; the last value of each is taken as its final one."]
    damage = [sentence for run in runs.values() for sentence in run.damage]
    notes += damage[:NAMED] + ([f"{len(damage) - NAMED} more files are damaged."] if len(damage) > NAMED else [])
    empty = [_name(folder, parent) for parent, run in runs.items() if not run.scalars]
    if empty:
        notes.append(f"Left out because they hold no scalars: {', '.join(empty[:NAMED])}"
                     f"{f' and {len(empty) - NAMED} more' if len(empty) > NAMED else ''}.")  # fmt: skip
    found = {
        _name(folder, parent): (run.scalars, {f"hparams/{key}": value for key, value in run.settings.items()})
        for parent, run in runs.items()
        if run.scalars
    }
    if not found:
        raise UserError(f"{folder} has TensorBoard files, and none of them holds a scalar.")
    names = dict.fromkeys(name for scalars, settings in found.values() for name in (*scalars, *settings))
    known = find_columns(list(names))
    if "flops" not in known and not {"params", "tokens"} <= known.keys():
        raise UserError(
            f"The TensorBoard files in {folder} hold {', '.join(list(names)[:20])}; compute is needed as a scalar or "
            "hyper-parameter called flops, or params and tokens."
        )
    return last_points(folder, found, notes)


def _merge_settings(runs: dict[Path, EventRun]) -> None:
    """Writers put hyper-parameters into a folder of their own inside the run's, named after the time."""
    for parent in [path for path in runs if path.parent in runs and _is_time(path.name)]:
        inner = runs[parent]
        if not inner.settings:
            continue
        outer = runs[parent.parent]
        outer.settings |= inner.settings
        outer.damage += inner.damage
        outer.scalars = inner.scalars | outer.scalars
        del runs[parent]


def _is_time(name: str) -> bool:
    return name.replace(".", "", 1).isdigit()
