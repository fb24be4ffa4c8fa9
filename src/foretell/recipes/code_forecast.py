"""What a run foretells of its target's pass rates on micro-code: sealed, shown and scored beside its losses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.core.files import read_json, write_json
from foretell.core.progress import say
from foretell.laws.capability.passrate_registry import (
    findings_of,
    load_pass_rates,
    register_pass_rates,
    run_record,
    score_pass_rates,
)
from foretell.laws.records import Finding
from foretell.recipes.code_exam import counted_run, counts_of_sizes
from foretell.report.code_figure import write_code_figure

RUNGS, TARGET = Path("ladder") / "code.json", Path("code.json")


class CodeForecast:
    """The forecast of pass rates of one run directory.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "forecast-code.json"
        self.scored = folder / "score-code.json"

    def register(self, target_flops: float, level: float, context: Mapping[str, Any]) -> None:
        """Make it from the rungs' counts and seal it; one that is sealed stays."""
        if self.record.exists():
            self.registered()
            return
        counts = counts_of_sizes(read_json(self.folder / RUNGS))
        register_pass_rates(self.record, counts, target_flops, level, context)

    def registered(self) -> dict[str, Any]:
        """The sealed forecast, its seal checked."""
        return load_pass_rates(self.record)

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of it."""
        return findings_of(self.registered())

    def show(self) -> None:
        """Say what is foretold."""
        registered = self.registered()
        if registered["forecast"]:
            for line in registered["forecast"]["sentence"].split("\n"):
                say(f"  {line}")
        for finding in findings_of(registered):
            say(f"  {finding.severity}: {finding.sentence}", "yellow")
        say(f"  sealed as {registered['sha256'][:16]} at {registered['created']} in {self.record}")

    def score(self) -> None:
        """Hold what the target solved against it, and against what the largest rung did."""
        answered = read_json(self.folder / TARGET)
        target = counted_run(answered)
        scored = score_pass_rates(self.registered(), target, {"target": answered["config_hash"]})
        write_json(self.scored, scored | {"counts": run_record(target)})
        say(f"  {scored['sentence']}")

    def draw(self) -> None:
        """Draw it, with the outcome where there is one."""
        scored = read_json(self.scored) if self.scored.exists() else None
        if self.registered()["forecast"]:
            write_code_figure(self.folder / "forecast-code.svg", self.registered(), scored)
