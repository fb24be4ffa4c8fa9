"""How far off forecasts of pass rates are: from the runs up to F_max / R of a table of counts, its largest run.

``python -m foretell.laws.capability.passrate_backtest FILE`` prints the table of docs/capabilities.md. The outcome's
mean of -ln(pass rate) is itself estimated from counts, by the same likelihood in the same buckets but without a law.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.laws.capability.passrate import PassRateForecast, counts_on, forecast_pass_rates
from foretell.laws.capability.passrate_model import mean_depth
from foretell.laws.capability.passrate_table import CountedRun, Counts, counts_of

GAPS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class PassRateOutcome:
    """One gap after the fact.

    Attributes:
        gap: compute of the target over that of the runs it was foretold from, at least.
        made: the forecast.
        log_pass: mean of -ln(pass rate) over the problems not set apart, as the target's counts tell it.
        log_pass_error: its standard deviation from the finite number of samples.
        pass_rate: mean pass rate over the same problems.
        bucket_log_pass: the first, of every bucket.
    """

    gap: float
    made: PassRateForecast
    log_pass: float
    log_pass_error: float
    pass_rate: float
    bucket_log_pass: tuple[float, ...]


def passrate_backtest(counts: Counts, gaps: Sequence[float] = GAPS, level: float = 0.9) -> list[PassRateOutcome]:
    """Forecast the largest run at every gap that leaves three runs or more.

    Raises:
        UserError: where no gap does.
    """
    target = counts.runs[-1]
    outcomes = []
    for gap in gaps:
        limit = target.flops / gap
        if sum(run.flops <= limit for run in counts.runs) < 3:
            continue
        made = forecast_pass_rates(counts, target.flops, level=level, max_flops=limit)
        measured = [_measured(target, bucket.problems) for bucket in made.buckets]
        share = np.array([len(bucket.problems) for bucket in made.buckets]) / len(made.total.problems)
        samples, correct = counts_on(target, made.total.problems)
        outcomes.append(
            PassRateOutcome(
                gap,
                made,
                float(share @ np.array([value for value, _ in measured])),
                math.sqrt(float(share**2 @ np.array([error**2 for _, error in measured]))),
                float(np.mean(correct / samples)),
                tuple(value for value, _ in measured),
            )
        )
    if not outcomes:
        raise UserError(f"No gap of {', '.join(f'{gap:g}' for gap in gaps)} leaves three runs of {counts.benchmark}.")
    return outcomes


def _measured(run: CountedRun, problems: Sequence[str]) -> tuple[float, float]:
    mean, deviation = mean_depth(*counts_on(run, problems))
    return math.exp(mean), math.exp(mean) * deviation


def passrate_page(outcomes: Sequence[PassRateOutcome]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "| gap | runs | set apart | -E ln(pass rate): forecast | interval | measured | error | "
        "mean pass rate: forecast | interval | measured | buckets inside |",
        "|" + " --- |" * 11,
    ]
    for outcome in outcomes:
        made = outcome.made
        low, median, high = made.total.log_pass
        rate = made.total.pass_rate
        inside = sum(
            bucket.log_pass[0] <= value <= bucket.log_pass[2]
            for bucket, value in zip(made.buckets, outcome.bucket_log_pass, strict=True)
        )
        lines.append(
            f"| {outcome.gap:,.0f} | {made.n_runs} | {len(made.set_apart)} | {median:.2f} | {low:.2f} to {high:.2f} | "
            f"{outcome.log_pass:.2f} ± {outcome.log_pass_error:.2f} | {median / outcome.log_pass - 1:+.1%} | "
            f"{rate[1]:.2%} | {rate[0]:.2%} to {rate[2]:.2%} | {outcome.pass_rate:.2%} | {inside} of "
            f"{len(made.buckets)}{' (refused)' if made.refused else ''} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how far off forecasts of the largest run's pass rates are."""
    parser = argparse.ArgumentParser(
        prog="python -m foretell.laws.capability.passrate_backtest", description=main.__doc__
    )
    parser.add_argument("file", type=Path, help="a table with the columns run, flops, problem, n_samples, n_correct")
    options = parser.parse_args(arguments)
    try:
        print(passrate_page(passrate_backtest(counts_of(read_table(options.file)))))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
