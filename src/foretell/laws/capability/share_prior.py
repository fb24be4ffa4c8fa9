"""What is believed about an accuracy before a family's runs are seen: the chance of known tasks, and what was learned.

The learned constants are in ``share_constants.json`` beside this file. ``python -m
foretell.laws.capability.share_learning FOLDER --write`` learns them again, once from all sources of public runs and
once without each of them, so that a backtest can score every source with constants that never saw it.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

REFERENCE_FLOPS = 1e21  # where tasks are compared across families

# Share of right answers of someone who guesses; tasks with free answers have none to guess.
CHANCE: dict[str, float] = {
    "mmlu": 0.25, "arc": 0.25, "hellaswag": 0.25, "sciq": 0.25, "openbookqa": 0.25, "logiqa": 0.25, "race": 0.25,
    "commonsenseqa": 0.2, "csqa": 0.2, "piqa": 0.5, "siqa": 1 / 3, "winogrande": 0.5, "winograd": 0.5, "xwinograd": 0.5,
    "boolq": 0.5, "copa": 0.5, "wsc": 0.5, "rte": 0.5,
    "lambada": 0.0, "squad": 0.0, "coqa": 0.0, "triviaqa": 0.0, "wikidata": 0.0, "gsm8k": 0.0, "math": 0.0,
    "humaneval": 0.0, "mbpp": 0.0, "imagenet": 0.0, "imagenet1k": 0.0, "vtabplus": 0.0, "retrieval": 0.0,
    "centered": 0.0,
}  # fmt: skip
# Words that tell two forms of a task apart; a metric's task is its known name with these.
VARIANTS = ("easy", "challenge")
WITHOUT_CHANCE = ("pass_rate", "pass_at")
LOWER_IS_BETTER = ("error", "err", "unsolved")


@dataclass(frozen=True)
class TaskPrior:
    """How a task of this name went in other sources.

    Attributes:
        level: h at :data:`REFERENCE_FLOPS` (see :mod:`foretell.laws.capability.share_model`).
        slope: dh / d ln C there.
    """

    level: float
    slope: float


@dataclass(frozen=True)
class SharePrior:
    """What is believed before a family is seen. Factors are one standard deviation of a log-normal.

    Attributes:
        level, level_spread: of h at the reference compute over all tasks, mean and standard deviation.
        slope, slope_factor: of h per unit of ln(compute), at the reference compute.
        task_level_spread, task_slope_factor: the same around a known task's own values.
        outlier: probability that the level has nothing to do with other sources.
        noise, noise_factor: standard deviation of a measured share about its curve.
        drift, drift_factor: how far the local slope leaves the curve's, relative to it.
        memory: of the drift, in units of ln(compute).
        chance_spread: a measured floor's distance from the chance of guessing.
        curvatures: of h, equally likely: the slope falls by exp(-curvature) per unit of ln(compute).
        loss_curvatures: the same where h is a function of the loss instead (negative: the slope rises as losses fall).
        loss_weight: of the two-stage forecast, where the runs have losses.
        ceilings: (ceiling, log weight).
        points: so many doublings of compute, the largest, carry the fit.
        tasks: what is known of single tasks.
    """

    level: float = 0.0
    level_spread: float = 1.2
    slope: float = 0.18
    slope_factor: float = 1.5
    task_level_spread: float = 0.4
    task_slope_factor: float = 1.3
    outlier: float = 0.1
    noise: float = 0.01
    noise_factor: float = 1.8
    drift: float = 0.3
    drift_factor: float = 2.0
    memory: float = 4.0
    chance_spread: float = 0.02
    curvatures: tuple[float, ...] = (0.0, 0.06)
    loss_curvatures: tuple[float, ...] = (-0.12,)
    loss_weight: float = 0.3
    ceilings: tuple[tuple[float, float], ...] = ((1.0, 0.0), (0.85, -1.5))
    points: int = 7
    tasks: dict[str, TaskPrior] = field(default_factory=dict)


def _words(metric: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", metric.lower()) if word]


def known_chance(metric: str) -> float | None:
    """Share of right answers by guessing, 0 to 0.5, of a metric whose task is known by name; else ``None``."""
    words = _words(metric)
    if "centered" in words or metric.lower().startswith(WITHOUT_CHANCE):
        return 0.0
    return next((CHANCE[word] for word in words if word in CHANCE), None)


def task_of(metric: str) -> str | None:
    """A name that is the same for one task in every table, as ``arc_easy``; ``None`` for tasks that are not known."""
    words = _words(metric)
    found = next((word for word in words if word in CHANCE and word != "centered"), None)
    if found is None or "retrieval" in words:
        return None
    kind = next((word for word in words if word in VARIANTS), None)
    # one attempt at a task and the best of many are not the same level
    many = next((f"at_{words[i + 1]}" for i, word in enumerate(words[:-1]) if word == "at"), None)
    return "_".join(part for part in (found, kind, many) if part)


def lower_is_better(metric: str) -> bool:
    """Whether a share counts failures: an error rate."""
    return bool(set(LOWER_IS_BETTER) & set(_words(metric)))


@dataclass(frozen=True)
class ShareTask:
    """What is known of a metric before its runs.

    Attributes:
        metric: its name.
        falling: whether it counts failures.
        chance: share of right answers by guessing; ``None`` where it must be estimated.
        prior: learned constants.
        known: the task's own level and slope, where other sources have it.
    """

    metric: str
    falling: bool
    chance: float | None
    prior: SharePrior
    known: TaskPrior | None


def share_task(metric: str, prior: SharePrior | None = None, chance: float | None = None) -> ShareTask:
    """What is known of a metric, with the learned constants and the chance by its name where none are given."""
    prior = learned_prior() if prior is None else prior
    chance = known_chance(metric) if chance is None else chance
    return ShareTask(metric, lower_is_better(metric), chance, prior, prior.tasks.get(task_of(metric) or ""))


def prior_from(values: dict[str, Any]) -> SharePrior:
    """A prior from its JSON form."""
    given = dict(values)
    for name in ("curvatures", "loss_curvatures"):
        given[name] = tuple(given[name])
    given["ceilings"] = tuple((pair[0], pair[1]) for pair in given["ceilings"])
    given["tasks"] = {name: TaskPrior(**task) for name, task in given["tasks"].items()}
    return SharePrior(**given)


@functools.cache
def _learned() -> dict[str, Any]:
    text = resources.files("foretell.laws.capability").joinpath("share_constants.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record


def learned_prior(without: str | None = None) -> SharePrior:
    """The constants in use: from all sources, or from all but the one that is called ``without`` (its file's stem)."""
    record = _learned()
    return prior_from(record["without"].get(without, record["all"]))
