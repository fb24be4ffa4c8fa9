"""Ladders cut out of public families of training runs, to test forecasts whose outcomes are known.

The tidy CSV form has one row per run and metric with the columns ``family, run, flops, params, params_total, tokens,
metric, value, stage``. Runs of one family share architecture recipe, optimiser recipe and data.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foretell.core.errors import UserError
from foretell.laws.frontier import frontier
from foretell.laws.records import Observation

LADDER_SPAN = 32.0  # a ladder covers at most this factor of compute
SHORTEST_SPAN = 5.0
FEWEST_SIZES, MOST_SIZES = 4, 7
GAPS = (10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class Family:
    """One family whose small runs foretell its large ones: where it is and which loss is read.

    ``fewest_tokens_per_parameter`` leaves out runs of a handful of steps, which no one would use as a rung.
    """

    file: str
    name: str
    metric: str
    fewest_tokens_per_parameter: float = 0.0


PUBLIC_FAMILIES = (
    Family("chinchilla_svg.csv", "chinchilla", "loss_nats_train"),
    Family("gadre.csv", "gadre-c4", "loss_nats_paloma_redpajama", 15.0),
    Family("gadre.csv", "gadre-rpj", "loss_nats_paloma_redpajama", 15.0),
    Family("gemstones.csv", "gemstones-constlr", "loss_nats_val"),
    Family("gemstones.csv", "gemstones-cooldown", "loss_nats_val"),
    Family("loss_to_loss.csv", "l2l-fineweb", "loss_nats_own_val"),
    Family("loss_to_loss.csv", "l2l-fineweb-edu", "loss_nats_own_val"),
    Family("loss_to_loss.csv", "l2l-proof-pile-2", "loss_nats_own_val"),
    Family("loss_to_loss.csv", "l2l-smollm-corpus", "loss_nats_own_val"),
    Family("porian.csv", "porian-rw-base-longwarm-kaplan", "loss_nats_val"),
    Family("porian.csv", "porian-rw-base-shortwarm-kaplan", "loss_nats_val"),
    Family("porian.csv", "porian-rw-base-shortwarm-chinchilla", "loss_nats_val"),
    Family("porian.csv", "porian-rw-tuned-shortwarm-const", "loss_nats_val"),
    Family("porian.csv", "porian-rw-base-longwarm-kaplan-kaplanN", "loss_nats_train"),
    Family("porian.csv", "porian-rw-tuned-longwarm-const-kaplanN", "loss_nats_train"),
    Family("steplaw.csv", "steplaw-dense", "loss_nats_train_smooth_best_over_lr_bs"),
)


@dataclass(frozen=True)
class Case:
    """A ladder of a family's small runs and a larger run of the same family that it is to foretell."""

    family: str
    ladder: tuple[Observation, ...]
    target: Observation

    @property
    def gap(self) -> float:
        """Compute of the target over that of the largest rung."""
        return self.target.flops / self.ladder[-1].flops


def read_family(folder: Path, family: Family) -> list[Observation]:
    """The runs of one family in a folder of tidy CSVs, in order of compute.

    Raises:
        UserError: where the file or a column is missing, or the family has no rows.
    """
    path = folder / family.file
    if not path.exists():
        raise UserError(f"{path} is missing; the folder of public training runs is expected to hold it.")
    runs = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                if (row["family"], row["metric"]) != (family.name, family.metric) or not row["flops"]:
                    continue
                params = float(row["params_total"] or row["params"])
                run = Observation(float(row["flops"]), float(row["value"]), params, float(row["tokens"]))
            except KeyError as error:
                raise UserError(f"{path} has no column {error}.") from error
            if float(row["tokens"]) >= family.fewest_tokens_per_parameter * params:
                runs.append(run)
    if not runs:
        raise UserError(f"{path} has no rows of family {family.name!r} with metric {family.metric!r}.")
    return sorted(runs, key=lambda run: run.flops)


def cut_cases(family: str, points: Sequence[Observation]) -> Iterator[Case]:
    """Every ladder of 4 to 7 sizes that the frontier holds, each with the targets nearest to :data:`GAPS`."""
    for start, smallest in enumerate(points):
        ladder = [point for point in points[start:] if point.flops <= LADDER_SPAN * smallest.flops][:MOST_SIZES]
        if len(ladder) < FEWEST_SIZES or ladder[-1].flops < SHORTEST_SPAN * smallest.flops:
            continue
        larger = [point for point in points if point.flops >= GAPS[0] * 0.7 * ladder[-1].flops]
        targets = set()
        for gap in GAPS:
            near = [point for point in larger if abs(math.log(point.flops / (gap * ladder[-1].flops))) < math.log(1.8)]
            if near:
                targets.add(min(near, key=lambda point: abs(math.log(point.flops / (gap * ladder[-1].flops)))))
        for target in sorted(targets, key=lambda point: point.flops):
            yield Case(family, tuple(ladder), target)


def public_cases(folder: Path) -> list[Case]:
    """All cases of all :data:`PUBLIC_FAMILIES` in a folder of tidy CSVs.

    Raises:
        UserError: where a file, a column or a family is missing.
    """
    return [
        case for family in PUBLIC_FAMILIES for case in cut_cases(family.name, frontier(read_family(folder, family)))
    ]
