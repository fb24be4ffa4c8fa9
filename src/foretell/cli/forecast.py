"""``foretell forecast``: from a run directory's ladder, or from anyone's table of runs. Never imports torch."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from foretell.cli.curves import forecast_curves
from foretell.cli.output import out, print_findings
from foretell.core.config import build, merge
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.tables import SUFFIXES, Table
from foretell.laws.accuracy import forecast_share_table
from foretell.laws.backtest_page import backtest_page
from foretell.laws.curve_tables import is_curve_table
from foretell.laws.forecast import forecast as make_forecast
from foretell.laws.forecast import forecast_runs
from foretell.laws.passrate import forecast_pass_rates
from foretell.laws.passrate_table import counts_of, is_count_table
from foretell.laws.protocol import gap_backtest
from foretell.laws.records import Forecast
from foretell.laws.registry import load_registered, registered_forecast
from foretell.laws.runs import is_share, runs_of
from foretell.laws.sources import is_source, read_source

TABLE_ONLY = ("metric", "family", "max_flops", "params", "tokens", "chance", "items")
SHARES_ONLY = ("chance", "items")


def forecast(arguments: argparse.Namespace) -> int:
    """Forecast, print it, and say by the exit code whether the runs can carry it."""
    first, *rest = arguments.runs
    if first in ("backtest", "verify") and len(rest) == 1:
        return (backtest if first == "backtest" else verify)(Path(rest[0]), arguments)
    if rest:
        raise UserError(
            f"One table or run directory is expected, not {len(arguments.runs)}: {', '.join(arguments.runs)}."
        )
    path = Path(first)
    table = read_source(path) if is_source(path) else None
    if table is not None and is_curve_table(table.columns):
        return forecast_curves(table, arguments)
    if arguments.schedule is not None:
        raise UserError(f"--schedule is for tables of training curves (lr, step or tokens, loss); {path} is none.")
    if table is not None and is_count_table(table):
        return _pass_rates(table, arguments)
    made, record = _from_folder(path, arguments) if table is None else _from_table(table, arguments)
    if arguments.json:
        print(json.dumps(record, allow_nan=False))
    else:
        out.print(made.sentence)
        print_findings(made.findings)
    return 3 if made.refused else 0


def _pass_rates(table: Table, arguments: argparse.Namespace) -> int:
    """From a table that counts how often each run solved each problem."""
    for name in ("family", "params", "tokens", "svg", *SHARES_ONLY):
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name} is not for tables of samples per problem, which {table.path} is.")
    if arguments.flops is None:
        raise UserError("--flops is missing: the compute to forecast for.")
    level = 0.9 if arguments.level is None else arguments.level
    counts = counts_of(table, arguments.metric)
    made = forecast_pass_rates(counts, arguments.flops, level=level, max_flops=arguments.max_flops)
    if arguments.json:
        print(json.dumps(made.to_dict(), allow_nan=False))
    else:
        out.print(made.sentence)
        print_findings(made.findings)
    return 3 if made.refused else 0


def verify(path: Path, arguments: argparse.Namespace) -> int:
    """Say whether a registered forecast is as it was sealed."""
    registered = load_registered(path)
    if arguments.json:
        print(json.dumps({"sha256": registered["sha256"], "created": registered["created"], "verified": True}))
    else:
        out.print(f"Unchanged since it was registered at {registered['created']}: {registered['sha256']}.")
    return 0


def backtest(folder: Path, arguments: argparse.Namespace) -> int:
    """Forecast what the tables of a folder already know, and print how far off the forecasts were."""
    try:
        gaps = [float(gap) for gap in arguments.gaps.split(",")]
    except ValueError:
        gaps = []
    if not gaps or any(not 1 < gap < math.inf for gap in gaps):
        raise UserError(f"--gaps is {arguments.gaps!r}; numbers above 1 with commas between them are expected.")
    record = gap_backtest(folder, gaps, 0.9 if arguments.level is None else arguments.level)
    print(json.dumps(record, allow_nan=False) if arguments.json else backtest_page(record))
    return 0


def _record(made: Forecast, count: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "metric": made.metric, "flops": made.target_flops, "params": arguments.params, "tokens": arguments.tokens,
        "value": made.median, "low": made.low, "high": made.high, "level": made.level, "law": made.law, "n_runs": count,
        "refused": made.refused, "warnings": [f"{finding.severity}: {finding.sentence}" for finding in made.findings],
    }  # fmt: skip


def _from_table(table: Table, arguments: argparse.Namespace) -> tuple[Forecast, dict[str, Any]]:
    flops = arguments.flops
    if flops is None and arguments.params is not None and arguments.tokens is not None:
        flops = 6 * arguments.params * arguments.tokens
    if flops is None:
        raise UserError("--flops is missing: the compute to forecast for (or --params and --tokens).")
    if arguments.svg:
        raise UserError("--svg draws the forecast of a run directory; of a table it is not drawn yet.")
    runs = runs_of(table, arguments.metric, arguments.family)
    level = 0.9 if arguments.level is None else arguments.level
    if is_share(runs.metric):
        share = forecast_share_table(
            table, runs, flops, family=arguments.family, level=level, chance=arguments.chance, items=arguments.items,
            max_flops=arguments.max_flops,
        )  # fmt: skip
        return share, _record(share, len(share.observations), arguments)
    for name in SHARES_ONLY:
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name} is for accuracies and other shares; {runs.metric} is a loss.")
    made, count = forecast_runs(
        runs,
        flops,
        level=level,
        max_flops=arguments.max_flops,
        params=arguments.params,
        tokens=arguments.tokens,
    )
    return made, _record(made, count, arguments)


def _from_folder(folder: Path, arguments: argparse.Namespace) -> tuple[Forecast, dict[str, Any]]:
    """The registered forecast, or a fresh one where other compute or another level is asked for."""
    for name in TABLE_ONLY:
        if getattr(arguments, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} is for tables of runs ({', '.join(SUFFIXES)}); {folder} is none."
            )
    sealed = folder / "forecast.json"
    registered: dict[str, Any]
    fresh = arguments.flops is not None or arguments.level is not None or not sealed.exists()
    if fresh:
        made = _fresh(folder, arguments)
        registered = {"forecast": made.to_dict()}
        said = "Made now from the ladder's records and not registered."
    else:
        registered = load_registered(sealed)
        made = registered_forecast(registered)
        said = f"Registered {registered['created']} as {registered['sha256'][:16]} (hash verified)."
    if not arguments.json:
        out.print(said)
    if arguments.svg:
        _draw(Path(arguments.svg), folder, registered, scored=not fresh)
    return made, _record(made, len(made.observations), arguments)


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


def _draw(path: Path, folder: Path, registered: dict[str, Any], *, scored: bool) -> None:
    from foretell.report.figures import write_forecast_svg

    index = folder / "tokens" / "index.json"
    if not index.exists():
        raise UserError(f"{index} is missing, which --svg reads the bytes of a word from.")
    counts = read_json(index)["splits"]["heldout"]
    outcome = read_json(folder / "score.json") if scored and (folder / "score.json").exists() else None
    write_forecast_svg(path, registered, outcome, counts["bytes"] / counts["words"])
