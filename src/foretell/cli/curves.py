"""``foretell forecast CURVES.csv --tokens D``: from whole training curves to another schedule or a longer run."""

from __future__ import annotations

import argparse
import json

from foretell.cli.output import out
from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.training_curves.annealing import fit_curves
from foretell.laws.training_curves.curve_tables import curves_of, schedule_rates, warmup_of


def forecast_curves(table: Table, arguments: argparse.Namespace) -> int:
    """Fit the annealing law, print the forecast of one run's last loss.

    Raises:
        UserError: for tokens that are missing, or that the table does not count.
        ForecastRefusedError: where the curves cannot tell.
    """
    curves = curves_of(table, arguments.metric)
    known = [curve.tokens_per_step for curve in curves if curve.tokens_per_step is not None]
    if arguments.tokens is None or not 0 < arguments.tokens < float("inf"):
        raise UserError("--tokens is needed for a table of curves: the tokens of the run to forecast, above zero.")
    if len(known) < len(curves) or max(known) > 1.01 * min(known):
        raise UserError(
            f"{table.path} needs a column of tokens, as many for each step in all runs, to count --tokens in."
        )
    law = fit_curves(curves)
    steps = max(1, round(arguments.tokens / known[0]))
    schedule = arguments.schedule or "cosine"
    made = law.predict(
        schedule_rates(schedule, steps, law.peak, warmup_of(curves)),
        level=0.9 if arguments.level is None else arguments.level,
    )
    record = {
        "metric": arguments.metric or "loss", "tokens": arguments.tokens, "steps": steps, "schedule": schedule,
        "value": made.median, "low": made.low, "high": made.high, "level": made.level,
        "law": {"name": "learning rate annealing", "formula": "L = L0 + A * S1^-alpha - C * S2", **law.named},
        "n_runs": len(curves), "n_points": law.points,
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(record, allow_nan=False))
        return 0
    constants = ", ".join(f"{name} {value:.4g}" for name, value in law.named.items())
    out.print(
        f"A {schedule} run of {arguments.tokens:.3g} tokens ({steps:,} steps) is forecast to end at {made.median:.3f}, "
        f"with {100 * made.level:.0f} % probability between {made.low:.3f} and {made.high:.3f}."
    )
    out.print(f"From {law.points} points of {len(curves)} curves: L = L0 + A S1^-alpha - C S2 with {constants}.")
    return 0
