"""``foretell forecast``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from foretell.cli.output import out, print_findings
from foretell.core.config import build, merge
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.ladder.records import ladder_observations
from foretell.laws.forecast import forecast as make_forecast
from foretell.laws.registry import load_registered, registered_forecast
from foretell.recipes.config import Recipe
from foretell.recipes.workspace import open_run


def registered_flops(folder: Path) -> float:
    """Compute of the run's target: the registered one, else the planned one."""
    if (folder / "forecast.json").exists():
        return registered_forecast(load_registered(folder / "forecast.json")).target_flops
    if not (folder / "plan.json").exists():
        raise UserError(f"{folder} has no plan.json yet, so no target to forecast; give --flops.")
    return float(read_json(folder / "plan.json")["target"]["flops"])


def forecast(arguments: argparse.Namespace) -> int:
    """The registered forecast, or a fresh one where other compute or another level is asked for."""
    folder = Path(arguments.run)
    registered: dict[str, Any]
    sealed = folder / "forecast.json"
    fresh = arguments.flops is not None or arguments.level is not None or not sealed.exists()
    if fresh:
        recipe = build(Recipe, merge(open_run(folder), {"output": str(folder)}))
        flops = registered_flops(folder) if arguments.flops is None else arguments.flops
        level = recipe.forecast.level if arguments.level is None else arguments.level
        made = make_forecast(ladder_observations(folder), flops, level=level)
        registered = {"forecast": made.to_dict()}
        out.print("Made now from the ladder's records and not registered.")
    else:
        registered = load_registered(sealed)
        made = registered_forecast(registered)
        out.print(f"Registered {registered['created']} as {registered['sha256'][:16]} (hash verified).")
    out.print(made.sentence)
    print_findings(made.findings)
    if arguments.svg:
        from foretell.report.figures import write_forecast_svg

        index = folder / "tokens" / "index.json"
        if not index.exists():
            raise UserError(f"{index} is missing, which --svg reads the bytes of a word from.")
        counts = read_json(index)["splits"]["heldout"]
        scored = not fresh and (folder / "score.json").exists()
        outcome = read_json(folder / "score.json") if scored else None
        write_forecast_svg(Path(arguments.svg), registered, outcome, counts["bytes"] / counts["words"])
    return 3 if made.refused else 0
