"""``foretell forecast CURVES.csv --tokens D``: from whole training curves to another schedule or a longer run."""

from __future__ import annotations

import argparse
import json

from foretell.cli.output import out
from foretell.core.errors import ForecastRefusedError
from foretell.core.tables import Table
from foretell.laws.training_curves.curve_forecast import forecast_run


def forecast_curves(table: Table, arguments: argparse.Namespace) -> int:
    """Fit the annealing law and print the forecast of one run's last loss.

    Raises:
        UserError: as :func:`foretell.laws.training_curves.curve_forecast.forecast_run`.
        ForecastRefusedError: where the curves cannot tell and no JSON object says so.
    """
    made = forecast_run(
        table,
        arguments.tokens,
        schedule=arguments.schedule or "cosine",
        metric=arguments.metric,
        level=0.9 if arguments.level is None else arguments.level,
    )
    if arguments.json:
        print(json.dumps(made.to_dict(), allow_nan=False))
        return 3 if made.refused else 0
    if made.refused:
        raise ForecastRefusedError(made.sentence)
    out.print(made.sentence)
    return 0
