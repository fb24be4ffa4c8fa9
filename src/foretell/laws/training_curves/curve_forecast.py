"""A table of training curves and the run that is asked for: the forecast of its last loss, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foretell.core.errors import ForecastRefusedError, UserError
from foretell.core.tables import Table
from foretell.core.wording import plural
from foretell.laws.records import Finding
from foretell.laws.target import level_of, positive
from foretell.laws.training_curves.annealing import LONGEST, fit_curves
from foretell.laws.training_curves.curve_tables import curves_of, schedule_rates, warmup_of

FORMULA = "L = L0 + A * S1^-alpha - C * S2"


@dataclass(frozen=True)
class RunForecast:
    """The last loss of a run of one schedule, foretold from whole curves of runs of its size.

    Attributes:
        metric: the column of losses.
        tokens, steps, schedule: of the run.
        median, low, high: its last loss, with ``low`` and ``high`` enclosing ``level``; ``None`` where it is refused.
        level: probability of the interval, 0.5 to 0.999.
        constants: of the law by name.
        curves, points: how many it is fitted to.
        findings: the refusal, where it is refused.
    """

    metric: str
    tokens: float
    steps: int
    schedule: str
    median: float | None
    low: float | None
    high: float | None
    level: float
    constants: dict[str, float]
    curves: int
    points: int
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """True where the curves cannot carry the forecast; there are no figures then."""
        return bool(self.findings)

    @property
    def sentence(self) -> str:
        """The forecast, or its refusal, and what it is made from."""
        if self.refused:
            return self.findings[0].sentence
        constants = ", ".join(f"{name} {value:.4g}" for name, value in self.constants.items())
        found = (
            f"{self.median:.3f}, with {100 * self.level:.0f} % probability between {self.low:.3f} and {self.high:.3f}"
        )
        fitted = f"From {plural(self.points, 'point')} of {plural(self.curves, 'curve')}"
        return (
            f"A {self.schedule} run of {self.tokens:.3g} tokens ({plural(self.steps, 'step')}) is forecast to end at "
            f"{found} and {self.high:.3f}.\n{fitted}: L = L0 + A S1^-alpha - C S2 with {constants}."
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints; ``flops`` and ``params`` are not known from curves."""
        return {
            "metric": self.metric, "flops": None, "params": None, "tokens": self.tokens, "steps": self.steps,
            "schedule": self.schedule, "value": self.median, "low": self.low, "high": self.high, "level": self.level,
            "law": {"name": "learning rate annealing", "formula": FORMULA, **self.constants}, "n_runs": self.curves,
            "n_points": self.points, "refused": self.refused,
            "warnings": [f"{finding.severity}: {finding.sentence}" for finding in self.findings],
        }  # fmt: skip


def forecast_run(
    table: Table, tokens: Any, *, schedule: str = "cosine", metric: str | None = None, level: float = 0.9
) -> RunForecast:
    """Forecast the last loss of a run of ``tokens`` from the curves of runs of its size.

    Args:
        table: see :func:`foretell.laws.training_curves.curve_tables.curves_of`; with a column of tokens.
        tokens: of the run, > 0.
        schedule: cosine, linear, wsd or constant.
        metric: the column of losses, found by its usual names if left out.
        level: probability of the interval, 0.5 to 0.999.

    Raises:
        UserError: for tokens that are missing or that the table does not count, another schedule, a level out of range,
            and a table without what curves need.
    """
    level = level_of(level)
    curves = curves_of(table, metric)
    known = [curve.tokens_per_step for curve in curves if curve.tokens_per_step is not None]
    if tokens is None:
        raise UserError("--tokens is needed for a table of curves: the tokens of the run to forecast, above zero.")
    tokens = positive("tokens", tokens)
    if len(known) < len(curves) or max(known) > 1.01 * min(known):
        raise UserError(
            f"{table.path} needs a column of tokens, as many for each step in all runs, to count --tokens in."
        )
    law = fit_curves(curves)
    steps = max(1, round(tokens / known[0]))
    low = median = high = None
    findings: tuple[Finding, ...] = ()
    try:
        if steps > LONGEST * law.longest:  # before rates of so many steps are made
            raise law.too_long(steps)
        made = law.predict(schedule_rates(schedule, steps, law.peak, warmup_of(curves)), level=level)
        low, median, high = made.low, made.median, made.high
    except ForecastRefusedError as error:
        findings = (Finding("curves-cannot-tell", "refusal", str(error)),)
    return RunForecast(metric or "loss", tokens, steps, schedule, median, low, high, level, law.named, len(curves),
                       law.points, findings)  # fmt: skip
