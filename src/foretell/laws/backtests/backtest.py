"""How often forecasts hold: every ladder that public families of runs contain, against the larger runs they foretell.

``python -m foretell.laws.backtests.backtest FOLDER`` prints the coverage table of docs/ladder.md; with ``--calibrate``
it moves the constants of :class:`foretell.laws.prior.Prior` that say how far real curves leave the law. FOLDER holds
tidy CSVs (see :mod:`foretell.laws.backtests.public`).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foretell.core.errors import UserError
from foretell.laws.backtests.public import Case, public_cases
from foretell.laws.posterior import infer
from foretell.laws.prior import Prior
from foretell.laws.sizes import gather_sizes

GAP_GROUPS = ((0.0, 18.0), (18.0, 55.0), (55.0, 180.0), (180.0, 2000.0))
SEARCHED: dict[str, Sequence[float]] = {
    "kappa": (0.07, 0.14),
    "ell": (2.0, 8.0),
    "offset_share": (0.5, 0.66),
}


@dataclass(frozen=True)
class Outcome:
    """One case after the fact. Logarithms of the loss throughout, so 0.05 means about 5 %.

    Attributes:
        case: the ladder and the run it foretold.
        error: forecast median less outcome.
        half_width: half the interval.
        inside: whether the interval held the outcome.
        score: ln of the predictive density at the outcome; higher is better.
    """

    case: Case
    error: float
    half_width: float
    inside: bool
    score: float


@dataclass(frozen=True)
class Backtest:
    """All outcomes. Families count equally in the summary, for cases of one family share their runs."""

    outcomes: tuple[Outcome, ...]
    level: float

    def families(self) -> dict[str, list[Outcome]]:
        """Outcomes by family, in order of first appearance."""
        grouped: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            grouped.setdefault(outcome.case.family, []).append(outcome)
        return grouped

    @property
    def coverage(self) -> float:
        """Share of all cases whose interval held the outcome."""
        return float(np.mean([outcome.inside for outcome in self.outcomes]))

    @property
    def family_coverage(self) -> float:
        """The same with every family counted once."""
        return self._over_families(lambda outcome: float(outcome.inside))

    @property
    def family_score(self) -> float:
        """Mean predictive log density with every family counted once: what the constants are chosen by."""
        return self._over_families(lambda outcome: outcome.score)

    @property
    def median_half_width(self) -> float:
        """Median over cases of half the interval, in ln(loss)."""
        return float(np.median([outcome.half_width for outcome in self.outcomes]))

    def table(self) -> str:
        """Coverage, width and error by family and by gap, as Markdown."""
        level = f"{100 * self.level:.0f} %"
        lines = [
            f"| family or gap | cases | inside the {level} interval | half-width (median) | rms error | bias |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, group in self.families().items():
            lines.append(_row(name, group))
        for low, high in GAP_GROUPS:
            group = [outcome for outcome in self.outcomes if low < outcome.case.gap <= high]
            if group:
                lines.append(_row(f"gap {low:g} to {high:g}", group))
        lines.append(_row("all", self.outcomes))
        lines.append(
            f"\nEvery family counted once: coverage {100 * self.family_coverage:.0f} %, "
            f"log score {self.family_score:.2f}."
        )
        return "\n".join(lines)

    def _over_families(self, figure: Callable[[Outcome], float]) -> float:
        return float(np.mean([np.mean([figure(outcome) for outcome in group]) for group in self.families().values()]))


def _row(name: str, group: Sequence[Outcome]) -> str:
    errors = np.array([outcome.error for outcome in group])
    inside = 100 * np.mean([outcome.inside for outcome in group])
    width = 100 * np.median([outcome.half_width for outcome in group])
    return (
        f"| {name} | {len(group)} | {inside:.0f} % | {width:.1f} % | {100 * np.sqrt(np.mean(errors**2)):.1f} % | "
        f"{100 * errors.mean():+.1f} % |"
    )


def evaluate(case: Case, *, level: float = 0.9, prior: Prior | None = None) -> Outcome:
    """Forecast one case's target from its ladder and compare."""
    point = np.array([math.log(case.gap)])
    mixture = infer(gather_sizes(case.ladder), point, bits_per_byte=False, prior=prior)
    low, median, high = (float(mixture.quantiles(p)[0]) for p in ((1 - level) / 2, 0.5, (1 + level) / 2))
    outcome = math.log(case.target.loss)
    return Outcome(case, median - outcome, (high - low) / 2, low <= outcome <= high, mixture.log_density(0, outcome))


def backtest(folder: Path, *, level: float = 0.9, prior: Prior | None = None) -> Backtest:
    """Forecast every case that the public families in ``folder`` hold.

    Raises:
        UserError: where a file, a column or a family is missing.
    """
    return Backtest(tuple(evaluate(case, level=level, prior=prior) for case in public_cases(folder)), level)


def calibrate(folder: Path) -> list[tuple[float, float, Prior]]:
    """Move each constant of :data:`SEARCHED` down and up, the others as they are.

    Returns:
        Rows of (log score, coverage, prior), the best score first; the constants as they stand are among them.

    Raises:
        UserError: where a file, a column or a family is missing.
    """
    moved = [dataclasses.replace(Prior(), **{name: value}) for name, values in SEARCHED.items() for value in values]
    rows = []
    for prior in (Prior(), *moved):
        result = backtest(folder, prior=prior)
        rows.append((result.family_score, result.family_coverage, prior))
    return sorted(rows, key=lambda row: row[0], reverse=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the coverage table, or the calibration."""
    parser = argparse.ArgumentParser(prog="python -m foretell.laws.backtests.backtest", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="tidy CSVs of public training runs")
    parser.add_argument("--calibrate", action="store_true", help="move the constants (minutes)")
    options = parser.parse_args(arguments)
    try:
        if not options.calibrate:
            print(backtest(options.folder).table())
            return 0
        for family_score, coverage, prior in calibrate(options.folder):
            values = ", ".join(f"{name} {getattr(prior, name):g}" for name in SEARCHED)
            print(f"log score {family_score:.3f}, coverage {100 * coverage:.0f} %: {values}")
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
