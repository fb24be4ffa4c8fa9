"""What a run foretells of its target, one forecast a measure: made, sealed, shown, scored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import read_json, write_json
from foretell.core.progress import say
from foretell.core.runlog import read_log
from foretell.ladder.records import ladder_observations
from foretell.laws.diagnostics import by_severity
from foretell.laws.forecast import BITS_PER_BYTE, forecast
from foretell.laws.records import Finding, Forecast
from foretell.laws.registry import load_registered, register, registered_forecast, score
from foretell.laws.token_law import TokenForecast, by_references
from foretell.recipes.code_forecast import CodeForecast
from foretell.report.figures import write_forecast_figure
from foretell.train.looking import FOLDER as LOOKING
from foretell.train.multimodal import ANSWERS


@dataclass(frozen=True)
class Measure:
    """A held-out loss that is foretold.

    Attributes:
        key: of a result's held-out figures.
        unit: in words.
        suffix: of its files: ``forecast.json``, ``forecast-answers.json``.
        title: before what is to be said of it, where there is another.
    """

    key: str
    unit: str
    suffix: str = ""
    title: str = ""


TEXT = Measure("bits_per_byte", BITS_PER_BYTE)
IMAGES = Measure(ANSWERS, "nats per answer token", "-answers", "Answers about images: ")


class Forecasts:
    """The forecasts of one run directory.

    Args:
        folder: the run directory.
        images: share of answers about images in the target's loss, which are then foretold too; 0 without images.
        with_code: whether rungs and target are asked micro-code's problems, so that the pass rate is foretold too.
    """

    def __init__(self, folder: Path, images: float = 0.0, with_code: bool = False) -> None:
        self.folder = folder
        self.code = CodeForecast(folder) if with_code else None
        self.measures = (TEXT, IMAGES) if images else (TEXT,)
        self.main = IMAGES if images > 0.5 else TEXT

    def record(self, measure: Measure) -> Path:
        """Where a measure's forecast is sealed."""
        return self.folder / f"forecast{measure.suffix}.json"

    def register(
        self, target_flops: float, level: float, context: Mapping[str, Any], known: Mapping[str, Sequence[Finding]],
        told: TokenForecast | None = None,
    ) -> None:  # fmt: skip
        """Make and seal every forecast, the text's last: with it the stage is done.

        Args:
            target_flops: of the target.
            level: probability of the intervals.
            context: sealed with each.
            known: what is to be said of a measure, by its key, beside what its losses say.
            told: of the text's loss, in nats a token, by references where there are some.

        Raises:
            UserError: when the target has already started, because a forecast made then would not be one.
        """
        target = self.folder / "target"
        if any(any(read_log(part / "log.jsonl", "start")) for part in (target, target / LOOKING)):
            raise UserError(
                f"{self.record(TEXT)} is missing and the target has already started: a forecast can only be "
                "registered before. Put the file back, or start afresh with another --output."
            )
        if self.code:
            self.code.register(target_flops, level, context)
        for measure in reversed(self.measures):
            observations = ladder_observations(self.folder, measure.key)
            made = forecast(observations, target_flops, level=level, metric=measure.unit)
            if told is not None and measure is TEXT:
                index = read_json(self.folder / "tokens" / "index.json")["splits"]["heldout"]
                made = by_references(made, told, index["tokens"] / index["bytes"] / math.log(2))
            made = replace(made, findings=by_severity([*made.findings, *known.get(measure.key, ())]))
            register(self.record(measure), made, dict(context))

    def registered(self, measure: Measure) -> dict[str, Any]:
        """A sealed forecast, its seal checked."""
        return load_registered(self.record(measure))

    def targets(self) -> set[str]:
        """Digests of the settings of the targets that they were sealed for; one, unless somebody mixed them up."""
        sealed = [self.registered(measure) for measure in self.measures]
        sealed += [self.code.registered()] if self.code else []
        return {registered["context"]["target_config_hash"] for registered in sealed}

    def made(self, measure: Measure = TEXT) -> Forecast:
        """A sealed forecast's content."""
        return registered_forecast(self.registered(measure))

    def findings(self) -> tuple[Finding, ...]:
        """What is to be said of all of them.

        A refusal is one here where it is of the larger part of the loss, or of code. Of the smaller part it is a
        warning: it is sealed and scored as a refusal, and the run goes on.
        """
        return tuple(chain.from_iterable(map(self._findings, self.measures))) + (
            self.code.findings() if self.code else ()
        )

    def _findings(self, measure: Measure) -> Iterator[Finding]:
        for finding in self.made(measure).findings:
            said = replace(finding, sentence=f"{measure.title}{finding.sentence}")
            goes_on = finding.severity == "refusal" and measure is not self.main
            yield replace(said, severity="warning") if goes_on else said

    def show(self) -> None:
        """Say what is foretold."""
        for measure in self.measures:
            registered = self.registered(measure)
            made = registered_forecast(registered)
            say(f"  {made.sentence}")
            for finding in made.findings:
                say(f"  {finding.severity}: {finding.sentence}", "yellow")
            say(f"  sealed as {registered['sha256'][:16]} at {registered['created']} in {self.record(measure)}")

        if self.code:
            self.code.show()

    def score(self, result: Mapping[str, Any]) -> None:
        """Hold the target's result against every forecast, the text's last."""
        if self.code:
            self.code.score()
        for measure in reversed(self.measures):
            outcome = result["heldout"][measure.key]
            scored = score(self.registered(measure), outcome, {"target": result["config_hash"]})
            write_json(self.folder / f"score{measure.suffix}.json", scored)
            say(f"  {scored['sentence']}")
        self.draw()

    def draw(self) -> None:
        """Draw every forecast, with the outcome where there is one."""
        counts = read_json(self.folder / "tokens" / "index.json")["splits"]["heldout"]
        for measure in self.measures:
            scored = self.folder / f"score{measure.suffix}.json"
            outcome = read_json(scored) if scored.exists() else None
            words = counts["bytes"] / counts["words"] if measure is TEXT else None
            write_forecast_figure(
                self.folder / f"forecast{measure.suffix}.svg", self.registered(measure), outcome, words
            )
        if self.code:
            self.code.draw()
