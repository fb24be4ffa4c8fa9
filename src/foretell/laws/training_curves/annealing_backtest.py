"""How well the annealing law foretells a run it has not seen: each curve of a table from the others.

``python -m foretell.laws.training_curves.annealing_backtest docs/examples/curves.csv`` prints the table of
``docs/annealing.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from foretell.core.errors import ForecastRefusedError
from foretell.core.tables import read_table
from foretell.laws.training_curves.annealing import Curve, fit_curves
from foretell.laws.training_curves.curve_tables import curves_of

END = 0.95  # the outcome is the mean loss from here on


def leave_one_out(curves: Sequence[Curve]) -> list[str]:
    """Each curve's end from the others, as lines of a Markdown table."""
    lines = ["| run | forecast | 90 % interval | outcome | error | |", "|" + " --- |" * 6]
    for left in curves:
        outcome = float(left.losses[left.steps > END * left.steps[-1]].mean())
        try:
            made = fit_curves([curve for curve in curves if curve is not left]).predict(left.every_rate())
        except ForecastRefusedError as error:
            lines.append(f"| {left.name} | refused: {error} | | {outcome:.3f} | | |")
            continue
        place = "inside" if made.low <= outcome <= made.high else "outside"
        lines.append(
            f"| {left.name} | {made.median:.3f} | {made.low:.3f} to {made.high:.3f} | {outcome:.3f} | "
            f"{made.median / outcome - 1:+.1%} | {place} |"
        )
    return lines


if __name__ == "__main__":
    print("\n".join(leave_one_out(curves_of(read_table(Path(sys.argv[1]))))))
