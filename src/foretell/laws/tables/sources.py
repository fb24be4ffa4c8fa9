"""Where runs come from: files of tables and charts, folders of trainings, and what a program has in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.eventfiles import event_files
from foretell.core.tables import SUFFIXES, Table, read_records, read_table
from foretell.laws.tables.chart_export import chart_runs, is_chart
from foretell.laws.tables.run_folders import event_table, training_folders, training_table

RUN_DIRECTORY = ("recipe.yaml", "plan.json", "forecast.json")  # what the pipeline writes at its top


def source_path(named: str | Path) -> Path:
    """The path that a source is named by.

    Raises:
        UserError: for an empty name, a variable of a shell that was not set most often: not the folder one is in.
    """
    if not str(named):
        raise UserError("The path of the runs is empty; a table, a folder of runs, or . for this folder is expected.")
    return Path(named)


def is_source(path: Path) -> bool:
    """Whether runs are read from a path as a table: any file, or a folder of runs that is no run directory itself."""
    if not path.is_dir():
        return path.is_file() or path.suffix.lower() in SUFFIXES
    if any((path / name).exists() for name in RUN_DIRECTORY):
        return False
    return bool(training_folders(path) or event_files(path))


def read_source(source: Any) -> Table:
    """Read runs from wherever they are.

    Args:
        source: the path of a CSV, TSV, JSONL or Parquet table, of a W&B export (a table of runs, or a chart), of a
            folder of Foretell's trainings or of TensorBoard files, a run a folder; or rows in memory, see
            :func:`foretell.core.tables.read_records`.

    Raises:
        UserError: where there is nothing of the kind, or it cannot be read.
    """
    if not isinstance(source, str | Path):
        table = read_records(source)
    elif (path := source_path(source)).is_dir():
        return _read_folder(path)
    else:
        table = read_table(path)
    return chart_runs(table) if is_chart(table) else table


def _read_folder(folder: Path) -> Table:
    if training_folders(folder):
        return training_table(folder)
    if event_files(folder):
        return event_table(folder)
    raise UserError(
        f"{folder} holds no runs; a folder with trainings of foretell (log.jsonl) or TensorBoard files in it, or a "
        f"table in one of {', '.join(SUFFIXES)}, is expected."
    )
