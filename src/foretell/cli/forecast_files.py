"""The files that ``foretell forecast`` leaves: the registration, the figure, the page."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import foretell
from foretell.cli.forecast_options import command_of, options_of
from foretell.core.errors import ForecastRefusedError, UserError
from foretell.core.files import read_json
from foretell.core.git import git_commit
from foretell.core.tables import Table
from foretell.laws.records import Forecast
from foretell.laws.registered_source import source_of
from foretell.laws.registry import register
from foretell.laws.tables.runs import Runs

if TYPE_CHECKING:
    from foretell.report.forecast_record import ForecastRecord


@dataclass(frozen=True)
class Made:
    """A forecast and what it was made from.

    Attributes:
        forecast: the forecast.
        path: the table or folder of runs, or the run directory.
        count: runs that it was chosen from.
        table, runs: what was read; ``None`` for a run directory.
        said: what to print before it.
        registered: the seal of a run directory, where it is the forecast that is shown.
        shape: parameters and tokens of the run that is foretold, where they are known and count.
    """

    forecast: Forecast
    path: Path
    count: int
    table: Table | None = None
    runs: Runs | None = None
    said: str = ""
    registered: dict[str, Any] | None = None
    shape: tuple[float | None, float | None] = (None, None)

    def refusal(self) -> ForecastRefusedError:
        """Why it is not registered."""
        return ForecastRefusedError(
            "Not registered: the forecast is refused; with --anyway it is registered with its refusal in it."
        )


def check_free(arguments: argparse.Namespace) -> None:
    """Refuse to register over anything, before time is spent.

    Raises:
        UserError: where the file exists.
    """
    if arguments.register is not None and Path(arguments.register).exists():
        raise UserError(f"{arguments.register} is there already; a registration never overwrites a file. Name another.")


def register_forecast(made: Made, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Seal the forecast where ``--register`` asks for it; ``None`` where not, or where it is refused."""
    if arguments.register is None or (made.forecast.refused and not arguments.anyway):
        return None
    context = _context(made, arguments) | {"anyway": made.forecast.refused, "runs_read": made.count}
    return register(Path(arguments.register), made.forecast, context)


def _context(made: Made, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "foretell": foretell.__version__,
        "command": command_of(arguments),
        "source": source_of(made.path),
        "options": options_of(arguments),
        "git_commit": git_commit(Path.cwd()),
    }


def write_files(made: Made, seal: dict[str, Any] | None, arguments: argparse.Namespace) -> list[str]:
    """Write the figure and the page where they are asked for; their paths."""
    if arguments.figure is None and arguments.page is None:
        return []
    record = _record(made, seal, arguments)
    if arguments.figure is not None:
        _write_figure(Path(arguments.figure), made, record)
    if arguments.page is not None:
        from foretell.report.forecast_page import write_forecast_page

        write_forecast_page(Path(arguments.page), record)
    return [path for path in (arguments.figure, arguments.page) if path is not None]


def _record(made: Made, seal: dict[str, Any] | None, arguments: argparse.Namespace) -> ForecastRecord:
    # matplotlib takes half a second that a forecast without pictures need not wait for
    from foretell.report.forecast_record import record_of_folder, record_of_table

    now = datetime.now(UTC).isoformat(timespec="seconds")
    seal, path = (made.registered, made.path / "forecast.json") if seal is None else (seal, Path(arguments.register))
    context = _context(made, arguments) | {"created": now if seal is None else seal["created"]}
    if seal is not None:
        context["registered"] = {"path": str(path), "sha256": seal["sha256"]}
    if made.table is None or made.runs is None:
        return record_of_folder(made.forecast, context)
    return record_of_table(made.forecast, made.table, made.runs, arguments.max_flops, context)


def _write_figure(path: Path, made: Made, record: ForecastRecord) -> None:
    if made.table is not None:
        from foretell.report.forecast_figure import write_table_figure

        write_table_figure(path, record)
        return
    from foretell.report.figures import write_forecast_figure

    outcome, index = made.path / "score.json", made.path / "tokens" / "index.json"
    counts = read_json(index)["splits"]["heldout"] if index.exists() else None
    words_factor = None if counts is None else counts["bytes"] / counts["words"]
    scored = read_json(outcome) if made.registered is not None and outcome.exists() else None
    registered = made.registered or {"forecast": made.forecast.to_dict()}
    write_forecast_figure(path, registered, scored, words_factor)
