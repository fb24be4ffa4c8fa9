"""``foretell forecast COUNTS.csv``: from how often each run solved each problem to the pass rate of a larger one."""

from __future__ import annotations

import argparse
import json

from foretell.cli.output import out, print_findings
from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.capability.passrate import forecast_pass_rates
from foretell.laws.capability.passrate_table import counts_of


def forecast_counts(table: Table, arguments: argparse.Namespace) -> int:
    """Forecast the pass rates and print them.

    Raises:
        UserError: where ``--flops`` is missing, and as :func:`foretell.laws.capability.passrate_table.counts_of`.
    """
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
