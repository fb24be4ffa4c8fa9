"""``foretell forecast``: from a run directory's ladder, or from anyone's table of runs. Never imports torch."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from foretell.cli.curves import forecast_curves
from foretell.cli.forecast_files import Made, check_free, register_forecast, write_files
from foretell.cli.forecast_options import OF_THE_FORECAST, check_options
from foretell.cli.forecast_verify import verify
from foretell.cli.output import out, print_findings
from foretell.cli.pass_rates import forecast_counts
from foretell.core.config import build, merge
from foretell.core.errors import UserError
from foretell.core.files import read_json, write_atomic, write_json
from foretell.core.tables import Table
from foretell.laws.api import forecast_table
from foretell.laws.backtests.backtest_page import backtest_page
from foretell.laws.backtests.protocol import GAPS, gap_backtest
from foretell.laws.capability.capability_protocol import capability_backtest, capability_page
from foretell.laws.capability.passrate_table import is_count_table
from foretell.laws.forecast import forecast as make_forecast
from foretell.laws.records import Forecast
from foretell.laws.registry import load_registered, registered_forecast
from foretell.laws.tables.sources import is_source, read_source, source_path
from foretell.laws.target import target_of
from foretell.laws.training_curves.curve_tables import is_curve_table

USUAL_LEVEL = 0.9


def forecast(arguments: argparse.Namespace) -> int:
    """Forecast, print it, and say by the exit code whether the runs can carry it."""
    first, *rest = arguments.runs
    if first in ("backtest", "verify") and (rest or not Path(first).exists()):
        if len(rest) != 1:
            raise UserError(
                f"{first} takes one {'folder of tables' if first == 'backtest' else 'file'}, not {len(rest)}."
            )
        check_options(first, arguments)
        return (backtest if first == "backtest" else verify)(Path(rest[0]), arguments)
    if rest:
        raise UserError(
            f"One table or run directory is expected, not {len(arguments.runs)}: {', '.join(arguments.runs)}."
        )
    path = source_path(first)
    if not is_source(path):
        check_options("folder", arguments)
        return _show(_from_folder(path, arguments), arguments)
    table = read_source(path)
    if is_curve_table(table.columns):
        check_options("curves", arguments)
        return forecast_curves(table, arguments)
    if is_count_table(table):
        check_options("counts", arguments)
        return forecast_counts(table, arguments)
    check_options("table", arguments)
    check_free(arguments)
    return _show(_from_table(path, table, arguments), arguments)


def _show(made: Made, arguments: argparse.Namespace) -> int:
    """Register the forecast and write its files where that is asked, and print it."""
    seal = register_forecast(made, arguments)
    written = write_files(made, seal, arguments)
    if arguments.json:
        print(json.dumps(_record(made, seal), allow_nan=False))
    else:
        if made.said:
            out.print(made.said)
        out.print(made.forecast.sentence)
        print_findings(made.forecast.findings)
        if seal:
            out.print(f"Registered in {arguments.register} as {seal['sha256']}.")
        for path in written:
            out.print(f"Wrote {path}.")
    if arguments.register and seal is None:
        raise made.refusal()
    return 3 if made.forecast.refused else 0


def backtest(folder: Path, arguments: argparse.Namespace) -> int:
    """Forecast what the tables of a folder already know, and say how far off the forecasts were."""
    gaps, level = _gaps(arguments.gaps), USUAL_LEVEL if arguments.level is None else arguments.level
    record = gap_backtest(folder, gaps, level) | {"shares": capability_backtest(folder, gaps, level)}
    page = backtest_document(record)
    if arguments.output is not None:
        target = Path(arguments.output)
        write_json(target / "backtest.json", record)
        write_atomic(target / "backtest.md", page)
    print(json.dumps(record, allow_nan=False) if arguments.json else page)
    return 0


def backtest_document(record: dict[str, Any]) -> str:
    """The page of a backtest of losses and shares, as docs/backtest.md has it."""
    return f"{backtest_page(record)}\n## Accuracies and other shares\n\n{capability_page(record['shares'])}\n"


def _gaps(text: str | None) -> list[float]:
    if text is None:
        return list(GAPS)
    try:
        gaps = [float(gap) for gap in text.split(",")]
    except ValueError:
        gaps = []
    if not gaps or any(not 1 < gap < math.inf for gap in gaps):
        raise UserError(f"--gaps is {text!r}; numbers above 1 with commas between them are expected.")
    return gaps


def _record(made: Made, seal: dict[str, Any] | None) -> dict[str, Any]:
    """What ``--json`` prints."""
    told = made.forecast
    record = {
        "metric": told.metric, "flops": told.target_flops, "params": made.shape[0], "tokens": made.shape[1],
        "value": told.median, "low": told.low, "high": told.high, "level": told.level, "law": told.law,
        "n_runs": made.count, "left_out": told.left_out, "refused": told.refused,
        "warnings": [f"{finding.severity}: {finding.sentence}" for finding in told.findings],
    }  # fmt: skip
    return record | ({"registered": seal["sha256"]} if seal else {})


def _from_table(path: Path, table: Table, arguments: argparse.Namespace) -> Made:
    asked = {name: getattr(arguments, name) for name in OF_THE_FORECAST if name != "level"}
    level = USUAL_LEVEL if arguments.level is None else arguments.level
    made, runs = forecast_table(table, level=level, **asked)
    count = len(made.observations) + sum(len(names) for names in made.left_out.values())
    shape = (None, None) if made.is_share else target_of(arguments.flops, arguments.params, arguments.tokens)[1:]
    return Made(made, path, count, table=table, runs=runs, shape=shape)


def _from_folder(folder: Path, arguments: argparse.Namespace) -> Made:
    """The registered forecast, or a fresh one where other compute or another level is asked for."""
    sealed = folder / "forecast.json"
    if arguments.flops is not None or arguments.level is not None or not sealed.exists():
        made = _fresh(folder, arguments)
        said = "Made now from the ladder's records and not registered."
        return Made(made, folder, len(made.observations), said=said)
    registered = load_registered(sealed)
    made = registered_forecast(registered)
    said = f"Registered {registered['created']} as {registered['sha256'][:16]} (hash verified)."
    return Made(made, folder, len(made.observations), said=said, registered=registered)


def _fresh(folder: Path, arguments: argparse.Namespace) -> Forecast:
    # The recipe's classes take half a second that a table's forecast need not wait for.
    from foretell.ladder.records import ladder_observations
    from foretell.recipes.config import Recipe
    from foretell.recipes.workspace import open_run

    recipe = build(Recipe, merge(open_run(folder), {"output": str(folder)}))
    flops = registered_flops(folder) if arguments.flops is None else arguments.flops
    level = recipe.forecast.level if arguments.level is None else arguments.level
    return make_forecast(ladder_observations(folder), flops, level=level)


def registered_flops(folder: Path) -> float:
    """Compute of the run's target: the registered one, else the planned one."""
    if (folder / "forecast.json").exists():
        return registered_forecast(load_registered(folder / "forecast.json")).target_flops
    if not (folder / "plan.json").exists():
        raise UserError(f"{folder} has no plan.json yet, so no target to forecast; give --flops.")
    return float(read_json(folder / "plan.json")["target"]["flops"])
