"""Learn a forecast's prior from public families: what foretells larger runs of a family best from its smaller ones.

A lesson is a family's runs up to some compute and the frontier at several larger ones. Constants are moved one at a
time over a grid to the highest mean log score (Gneiting & Raftery 2007), every source counting once, as far as the
gain is worth it. This is done for all sources and for all but each one, so that a test on a source can use constants
that have never seen it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.files import write_atomic
from foretell.core.progress import say
from foretell.laws.backtests.protocol import FEWEST_RUNS, GapCase, gap_cases
from foretell.laws.forecast import as_observation
from foretell.laws.frontier import ladder_of, upper_part
from foretell.laws.posterior import infer
from foretell.laws.prior import LEARNED, Prior
from foretell.laws.sizes import Sizes, Vector

GAPS = (10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)  # of a lesson's targets over its largest run
STEP = 6.0  # factor of compute between one lesson of a family and the next
NEAR = 1.6  # a frontier point within this factor of a gap stands for it
# Transitions are for ladders below the scale of these families, none of which shows one that its slopes do not. How
# far to doubt a law (kappa and the factors) is not searched: so few families reward too little doubt. It is set so
# that nine of ten families drawn from fits to one source are held by what the others teach (test_laws_simulation.py).
START = Prior(
    relaxing=0.5, exponent=0.15, exponent_factor=1.5, offset_flops=3e17, offset_share_factor=1.2, floor_factor=1.35,
    kappa=0.08, transition_small=0.0,
)  # fmt: skip
SEARCHED: dict[str, tuple[float, ...]] = {
    "floor": (0.03, 0.034, 0.037, 0.041),
    "rate": (0.18, 0.25, 0.35),
    "slope": (0.045, 0.055, 0.065),
    "exponent": (0.12, 0.15, 0.18),
    "offset_flops": (3e16, 1e17, 3e17, 1e18),
    "relaxing": (0.35, 0.5, 0.65),
}
GAIN = 0.02  # of the mean log score, below which a constant stays where it is: sources are few
LEAST_SCORE = 0.0  # a miss counts for no worse, or one odd family would decide every constant
SWEEPS = 2

Scores = dict[str, float]


@dataclass(frozen=True)
class Lesson:
    """The upper part of a small ladder, and ln(loss) of the frontier at ln(compute) beyond it."""

    source: str
    family: str
    sizes: Sizes
    points: Vector
    outcomes: Vector


def lessons(folder: Path) -> list[Lesson]:
    """The lessons that the clean families of a folder of tidy tables hold.

    Raises:
        UserError: where the folder holds none.
    """
    found: dict[tuple[str, str], GapCase] = {}
    for case in gap_cases(folder, gaps=(1.0,)):
        if case.clean:
            found[case.family, case.metric] = case
    taught = [lesson for case in found.values() for lesson in _cut(case)]
    if not taught:
        raise UserError(f"{folder} holds no clean family to learn from.")
    return taught


def _cut(case: GapCase) -> Iterator[Lesson]:
    runs = [as_observation(run) for run in case.runs.runs]
    points = ladder_of(runs).sizes
    largest = runs[-1].flops / GAPS[0]
    while (small := [run for run in runs if run.flops <= largest])[FEWEST_RUNS - 1 :]:
        targets = _targets(points, small[-1].flops)
        if targets:
            sizes = upper_part(ladder_of(small).sizes)
            beyond = np.log(points.flops[targets] / sizes.flops[-1])
            yield Lesson(case.source, case.family, sizes, beyond, points.log_loss[targets])
        largest /= STEP


def _targets(points: Sizes, largest: float) -> list[int]:
    """Indices of the points nearest to each gap."""
    nearest = [int(np.argmin(np.abs(np.log(points.flops / (largest * gap))))) for gap in GAPS]
    close = [i for i, gap in zip(nearest, GAPS, strict=True)
             if 1 / NEAR < points.flops[i] / (largest * gap) < NEAR]  # fmt: skip
    return sorted(set(close))


def log_scores(prior: Prior, taught: Iterable[Lesson]) -> Scores:
    """Mean log predictive density of the outcomes by source, none below :data:`LEAST_SCORE`."""
    by_source: dict[str, list[float]] = {}
    for lesson in taught:
        mixture = infer(lesson.sizes, lesson.points, bits_per_byte=False, prior=prior)
        scores = [max(mixture.log_density(i, float(outcome)), LEAST_SCORE) for i, outcome in enumerate(lesson.outcomes)]
        by_source.setdefault(lesson.source, []).extend(scores)
    return {source: float(np.mean(scores)) for source, scores in by_source.items()}


class Search:
    """Coordinate ascent that remembers every prior it has scored, as the searches without each source share most."""

    def __init__(self, taught: Sequence[Lesson]) -> None:
        self.taught = taught
        self._known: dict[Prior, Scores] = {}

    def score(self, prior: Prior, without: str | None) -> float:
        """Mean over sources, one of them left out."""
        if prior not in self._known:
            self._known[prior] = log_scores(prior, self.taught)
        return float(np.mean([score for source, score in self._known[prior].items() if source != without]))

    def best(self, without: str | None = None) -> Prior:
        """The best prior that coordinate ascent from :data:`START` finds."""
        best = START
        for _ in range(SWEEPS):
            before = best
            for name, values in SEARCHED.items():
                tried = [dataclasses.replace(best, **{name: value}) for value in values]
                better = max(tried, key=lambda prior: self.score(prior, without))
                if self.score(better, without) > self.score(best, without) + GAIN:
                    best = better
            if best == before:
                break
        return best


def learn(folder: Path) -> dict[str, Any]:
    """The record of learned constants: from all sources, and without each one.

    Raises:
        UserError: as :func:`lessons`.
    """
    taught = lessons(folder)
    search = Search(taught)
    sources = sorted({lesson.source for lesson in taught})
    record: dict[str, Any] = {"lessons": len(taught), "sources": sources, "without": {}}
    for source in [None, *sources]:
        best = search.best(source)
        constants = {field.name: getattr(best, field.name) for field in dataclasses.fields(best)
                     if getattr(best, field.name) != getattr(Prior(), field.name)}  # fmt: skip
        say(f"{'all sources' if source is None else f'without {source}'}: {search.score(best, source):.3f} {constants}")
        if source is None:
            record |= {"constants": constants, "log_score": round(search.score(best, None), 3)}
        else:
            record["without"][source] = constants
    return record | {"track_record": track_record(taught, record["without"])}


def track_record(taught: Iterable[Lesson], without: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """How far off each lesson's targets are forecast by constants learned from the other sources.

    Returns:
        Records of ``source``, ``family``, ``gap`` (over the largest size), ``error`` (relative) and ``inside`` (the
        90 % interval).
    """
    records = []
    for lesson in taught:
        mixture = infer(lesson.sizes, lesson.points, bits_per_byte=False, prior=Prior(**without[lesson.source]))
        low, median, high = (mixture.quantiles(probability) for probability in (0.05, 0.5, 0.95))
        for i, outcome in enumerate(lesson.outcomes):
            records.append({
                "source": lesson.source, "family": lesson.family, "gap": round(float(np.exp(lesson.points[i])), 1),
                "error": round(float(np.expm1(median[i] - outcome)), 4), "inside": bool(low[i] <= outcome <= high[i]),
            })  # fmt: skip
    return records


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn the constants and write them where forecasts read them."""
    parser = argparse.ArgumentParser(prog="python -m foretell.laws.backtests.learn", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="tidy CSVs of public training runs")
    parser.add_argument("--output", type=Path, default=LEARNED)
    options = parser.parse_args(arguments)
    try:
        write_atomic(options.output, json.dumps(learn(options.folder), indent=1) + "\n")
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
