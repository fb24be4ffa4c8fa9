"""From single runs to the ladder's sizes: seeds averaged, their scatter pooled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.laws.records import Observation

Vector = NDArray[np.float64]

LEAST_LOSS, LARGEST_LOSS = 1e-9, 1e9
# Sizes within this factor of the smallest are alternatives at one budget; the best of them is the frontier.
SAME_COMPUTE = 1.05


@dataclass(frozen=True)
class Sizes:
    """The ladder, one entry a size, in order of compute.

    Attributes:
        flops, log_loss, seeds, params, tokens: arrays over sizes; ``log_loss`` is the mean over seeds of ln(loss);
            parameters and tokens are not a number where they are not known.
        labels: names for sentences.
        squares, freedom: pooled sum of squared deviations of ln(loss) between seeds, and its degrees of freedom.
        set_aside: sizes left out because another of the same compute did better.
    """

    flops: Vector
    log_loss: Vector
    seeds: Vector
    params: Vector
    tokens: Vector
    labels: tuple[str, ...]
    squares: float
    freedom: int
    set_aside: tuple[str, ...] = ()

    @property
    def x(self) -> Vector:
        """ln(compute) relative to the largest rung: 0 at the top, negative below."""
        return np.asarray(np.log(self.flops / self.flops[-1]))

    @property
    def seed_noise(self) -> float | None:
        """Relative standard deviation between seeds, pooled over sizes; None where no size has two."""
        return math.sqrt(self.squares / self.freedom) if self.freedom else None


def check_observations(observations: Sequence[Observation]) -> None:
    """Refuse rows that no law can use; :func:`check_range` goes on from there.

    Raises:
        UserError: naming the row (counted from 1), the field and the value.
    """
    if not observations:
        raise UserError("There are no runs to forecast from; give at least three sizes with their flops and loss.")
    for row, observation in enumerate(observations, start=1):
        for field in ("flops", "loss", "params", "tokens"):
            value = getattr(observation, field)
            if value is None and field in ("params", "tokens"):
                continue
            if value is None or not math.isfinite(value) or value <= 0:
                name = f" ({observation.label})" if observation.label else ""
                raise UserError(f"Run {row}{name}: {field} is {value}; a finite number above zero is needed.")


def check_range(observations: Sequence[Observation]) -> None:
    """Refuse losses whose forecast would leave the numbers that a computer has, once strays have been set aside.

    Raises:
        UserError: naming the run and its loss.
    """
    for row, observation in enumerate(observations, start=1):
        if not LEAST_LOSS <= observation.loss <= LARGEST_LOSS:
            raise UserError(
                f"The loss of {observation.label or f'run {row}'} is {observation.loss:.4g}; a loss from "
                f"{LEAST_LOSS:g} to {LARGEST_LOSS:g} is expected."
            )


def group_sizes(observations: Sequence[Observation]) -> list[list[Observation]]:
    """Runs of one size together, in order of compute.

    One size is one compute with the same parameters, tokens and different tokens: a run that reads half the text twice
    is no seed of one that reads all of it once. Where shapes are not known, runs of equal compute may be seeds or a
    sweep over shapes; they are one size only as far as their seeds differ.
    """
    groups: dict[tuple[float, ...], list[Observation]] = {}
    repeats: Counter[tuple[float, ...]] = Counter()
    for run in observations:
        key: tuple[float, ...] = (run.flops, run.params or 0.0, run.tokens or 0.0, _different(run))
        if run.params is None or run.tokens is None:
            repeats[*key, run.seed] += 1
            key = (*key, repeats[*key, run.seed])
        groups.setdefault(key, []).append(run)
    return [groups[key] for key in sorted(groups)]


def gather_sizes(observations: Sequence[Observation]) -> Sizes:
    """Average the seeds of each size and keep, of several sizes at one compute, the best.

    Raises:
        UserError: for the rows :func:`check_observations` names.
    """
    check_observations(observations)
    ordered = group_sizes(observations)
    kept: list[list[Observation]] = []
    set_aside: list[str] = []
    budget = 0.0  # of the alternatives: the smallest's compute, or sizes in small steps would all be one budget's
    for group in ordered:
        if group[0].flops < SAME_COMPUTE * budget:
            worse, better = sorted((kept.pop(), group), key=_mean_log_loss, reverse=True)
            set_aside.append(_name(worse))
            kept.append(better)
        else:
            budget = group[0].flops
            kept.append(group)
    means = [_mean_log_loss(group) for group in kept]
    squares = sum((math.log(run.loss) - mean) ** 2 for group, mean in zip(kept, means, strict=True) for run in group)
    return Sizes(
        flops=np.array([group[0].flops for group in kept], dtype=float),
        log_loss=np.array(means),
        seeds=np.array([len(group) for group in kept], dtype=float),
        params=np.array([group[0].params for group in kept], dtype=float),
        tokens=np.array([group[0].tokens for group in kept], dtype=float),
        labels=tuple(_name(group) for group in kept),
        squares=squares,
        freedom=sum(len(group) - 1 for group in kept),
        set_aside=tuple(set_aside),
    )


def _different(run: Observation) -> float:
    """Different tokens to three digits, for trainers count epochs with a remainder; 0 where they are all different."""
    return float(f"{run.unique_tokens:.3g}") if run.unique_tokens is not None else 0.0


def _mean_log_loss(group: Sequence[Observation]) -> float:
    return sum(math.log(run.loss) for run in group) / len(group)


def _name(group: Sequence[Observation]) -> str:
    return group[0].label or f"{group[0].flops:.2g} FLOPs"
