"""How often the watch cries wolf, and how early it is right: real runs with known outcomes, watched from their start.

``python -m foretell.laws.training_curves.watch_backtest docs/forecasts [FOLDER]`` prints the tables of
``docs/watch.md``. FOLDER holds the tidy tables of public checkpoints; see docs/forecast.md.

In each case the smaller runs of a family are the ladder whose curves are learned from, and a larger one is the job.
The forecast is the hardest there is for false alarms, an interval of no width at the very outcome: any real one is
wider, and an alarm about a run that ends inside it is rarer. A run that ends 10 % beyond the interval's end is the same
run with its losses raised by a tenth.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.wording import span
from foretell.laws.records import Forecast, Observation
from foretell.laws.registry import load_registered, registered_forecast
from foretell.laws.sizes import group_sizes
from foretell.laws.training_curves.watch import Verdict, Watch

FEWEST_SIZES, MOST_SIZES = 3, 6  # that a job is watched with
EXCESSES = (0.05, 0.1, 0.2)  # of the loss at the end, beyond the interval's end


@dataclass(frozen=True)
class Checkpoints:
    """One public family of runs with losses on the way: where it is and which loss is read."""

    file: str
    family: str
    metric: str


PUBLIC = (
    Checkpoints("gemstones.csv", "gemstones-constlr", "loss_nats_val"),
    Checkpoints("gemstones.csv", "gemstones-constlr-halflr", "loss_nats_val"),
    Checkpoints("gemstones.csv", "gemstones-cooldown", "loss_nats_val"),
    Checkpoints("pythia_lmeval.csv", "pythia-std", "nll_per_word_lambada"),
    Checkpoints("pythia_lmeval.csv", "pythia-deduped", "nll_per_word_lambada"),
)


@dataclass(frozen=True)
class WatchCase:
    """A finished run to be watched again, and the smaller runs of its family."""

    family: str
    ladder: tuple[Observation, ...]
    job: Observation

    def replay(self, worse: float = 0.0, forecast: Forecast | None = None) -> Verdict:
        """The last verdict about the job with losses raised by the share ``worse``.

        Without a forecast its interval is the outcome itself.
        """
        made = forecast or self._at_the_outcome()
        watch = Watch(made)
        verdicts = [watch.update(min(done / self.job.flops, 1.0), loss * (1 + worse)) for done, loss in self.job.curve]
        return verdicts[-1]

    def _at_the_outcome(self) -> Forecast:
        loss = self.job.loss
        return Forecast({}, self.job.flops, loss, loss, loss, observations=self.ladder)


def sealed_rungs(folder: Path) -> Iterator[WatchCase]:
    """The rungs of each sealed forecast but the smallest, each watched with the smaller ones as its ladder."""
    for path in sorted(folder.glob("*/forecast.json")):
        sizes = group_sizes(registered_forecast(load_registered(path)).observations)
        for index in range(FEWEST_SIZES, len(sizes)):
            ladder = tuple(run for size in sizes[:index] for run in size)
            yield from (WatchCase(path.parent.name, ladder, job) for job in sizes[index])


def sealed_targets(folder: Path) -> Iterator[tuple[WatchCase, Forecast]]:
    """The targets of the sealed forecasts whose training curve is kept, with those forecasts."""
    for path in sorted(folder.glob("*/target.csv")):
        made = registered_forecast(load_registered(path.with_name("forecast.json")))
        outcome = read_json(path.with_name("score.json"))["outcome"]
        with path.open(encoding="utf-8", newline="") as file:
            curve = tuple((float(row["flops"]), float(row["bits_per_byte"])) for row in csv.DictReader(file))
        yield WatchCase(path.parent.name, made.observations, Observation(made.target_flops, outcome, curve=curve)), made


def public_checkpoints(folder: Path, checkpoints: Checkpoints, *, curves: bool = True) -> Iterator[WatchCase]:
    """The larger runs of a public family, each watched with up to six next smaller ones; without ``curves``, unaided.

    Raises:
        UserError: where the table or the family is missing.
    """
    path = folder / checkpoints.file
    if not path.exists():
        raise UserError(f"{path} is missing; the folder of public training runs is expected to hold it.")
    points: dict[str, list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["family"], row["metric"]) == (checkpoints.family, checkpoints.metric):
                points.setdefault(row["run"].rpartition("-")[0], []).append((float(row["flops"]), float(row["value"])))
    if not points:
        raise UserError(f"{path} has no rows of family {checkpoints.family!r} with metric {checkpoints.metric!r}.")
    runs = sorted(
        (
            Observation(max(curve)[0], max(curve)[1], label=name, curve=tuple(sorted(curve)))
            for name, curve in points.items()
        ),
        key=lambda run: run.flops,
    )
    for index in range(FEWEST_SIZES, len(runs)):
        for most in range(FEWEST_SIZES, min(index, MOST_SIZES) + 1) if curves else (FEWEST_SIZES,):
            ladder = tuple(run if curves else replace(run, curve=()) for run in runs[index - most : index])
            yield WatchCase(checkpoints.family, ladder, runs[index])


def _factor(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def row(name: str, cases: Sequence[WatchCase]) -> str:
    """One line of the table: false alarms, and for each excess the share found and the median progress then."""
    gaps = [case.job.flops / max(run.flops for run in case.ladder) for case in cases]
    alarms = [case.replay() for case in cases]
    above, below = (sum(verdict.status == status for verdict in alarms) for status in ("above", "below"))
    cells = [name, str(len(cases)), span(_factor(min(gaps)), _factor(max(gaps))), f"{above} + {below}",
             f"{(above + below) / len(cases):.1%}"]  # fmt: skip
    for worse in EXCESSES:
        since = [verdict.since for case in cases if (verdict := case.replay(worse)).status == "above"]
        found = [share for share in since if share is not None]
        cells.append(f"{len(found) / len(cases):.0%}" + (f" at {np.median(found):.0%}" if found else ""))
    return f"| {' | '.join(cells)} |"


HEADER = [
    "| jobs | cases | target over rung | false alarms, above + below | rate | "
    + " | ".join(f"{worse:.0%} beyond" for worse in EXCESSES)
    + " |",
    "|" + " --- |" * (5 + len(EXCESSES)),
]


def own_table(folder: Path) -> list[str]:
    """The table of this project's sealed forecasts."""
    rungs, targets = list(sealed_rungs(folder)), list(sealed_targets(folder))
    return [*HEADER, row("rungs, from smaller ones", rungs), row("sealed targets", [case for case, _ in targets])]


def sealed_verdicts(folder: Path) -> list[str]:
    """What the watch would have said about each sealed target half-way, and whether it ever raised an alarm."""
    lines = ["| run | half-way | outcome | forecast | alarm |", "|" + " --- |" * 5]
    for case, made in sealed_targets(folder):
        half = replace(case.job, curve=tuple(point for point in case.job.curve if point[0] <= case.job.flops / 2))
        verdict = replace(case, job=half).replay(forecast=made)
        alarm = case.replay(forecast=made).since
        end = "none" if alarm is None else f"{alarm:.0%}"
        lines.append(
            f"| {case.family} | {verdict.projected:.3f} ({verdict.low:.3f} to {verdict.high:.3f}) "
            f"| {case.job.loss:.3f} | {made.median:.3f} ({made.low:.3f} to {made.high:.3f}) | {end} |"
        )
    return lines


def public_table(folder: Path) -> list[str]:
    """The table of public checkpoints, with the ladder's curves and without."""
    lines = list(HEADER)
    for curves, words in ((True, ""), (False, ", no curves")):
        lines += [row(f"{one.family}{words}", list(public_checkpoints(folder, one, curves=curves))) for one in PUBLIC]
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m foretell.laws.training_curves.watch_backtest", description="Measure the watch."
    )
    parser.add_argument("forecasts", type=Path, help="folder of sealed forecasts, docs/forecasts")
    parser.add_argument("public", type=Path, nargs="?", help="folder of tidy tables of public checkpoints")
    arguments = parser.parse_args(argv)
    tables: list[Iterable[str]] = [own_table(arguments.forecasts), sealed_verdicts(arguments.forecasts)]
    if arguments.public:
        tables.append(public_table(arguments.public))
    print("\n\n".join("\n".join(table) for table in tables))


if __name__ == "__main__":
    main()
