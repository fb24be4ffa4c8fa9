"""What to train with a budget, from the law of the small runs: size, tokens, and what it costs to do otherwise.

The optimum is that of Hoffmann et al. 2022; that a smaller model read for longer pays once much is inferred with it is
the argument of Touvron et al. 2023 ("LLaMA"), with the sums of Sardana & Frankle 2023 ("Beyond Chinchilla-Optimal"):
training costs k N D FLOPs (k = 6 by the usual count) and inference 2 N a token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foretell.core.errors import UserError
from foretell.laws.records import Finding
from foretell.laws.sizing.chinchilla import LossLaw
from foretell.laws.sizing.loss_terms import Vector
from foretell.laws.sizing.next_run import Candidate, next_runs
from foretell.laws.sizing.plan_checks import check
from foretell.laws.sizing.reach import predicted_loss

SIZE_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
INFERENCE_VOLUMES = (1e9, 1e10, 1e11, 1e12, 1e13, 1e14)
INFERENCE_FLOPS = 2.0  # a parameter and token: a multiplication and an addition
SIZES = np.geomspace(1 / 64, 16, 1200)  # of the optimum's, where a best size is looked for
CURVE = np.geomspace(1 / 16, 16, 97)
HURTS = 0.005  # share of the loss that repetition may cost unnoticed: about what seeds differ by
FEWEST_TOKENS, MOST_TOKENS = 0.0, 120.0  # logarithms between which a number of tokens is looked for


@dataclass(frozen=True)
class Interval:
    """A figure and the range that holds the level's probability."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Deviation:
    """Another size at the same compute.

    Attributes:
        factor: size over the optimum's.
        params, tokens: at the budget.
        loss: there.
        penalty: loss over the optimum's, less one.
        tokens_to_match, extra_compute: what this size needs for the optimum's loss, and the share of the budget that
            this takes on top; ``None`` where no number of tokens gives that loss.
    """

    factor: float
    params: float
    tokens: float
    loss: float
    penalty: Interval
    tokens_to_match: float | None
    extra_compute: float | None


@dataclass(frozen=True)
class Inference:
    """The size that reaches the optimum's loss at the least FLOPs of training and inference together.

    Attributes:
        inference_tokens: read and written after training.
        params, tokens: of that size.
        training_flops, total_flops: its cost.
        saved: share of the total that the compute-optimal size would cost more.
    """

    inference_tokens: float
    params: float
    tokens: float
    training_flops: float
    total_flops: float
    saved: float


@dataclass(frozen=True)
class Data:
    """What limited text does to the plan; R_D and R_N as the law has them.

    Attributes:
        unique_tokens: there are.
        epochs: of the compute-optimal run, below 1 where the text is more than enough.
        loss, penalty: of that run with its repetition, and over the one without, less one.
        best_params, best_tokens, best_epochs, best_loss: of the best run at the budget with this text.
        half_worth_epochs: epochs after which reading the text once more is worth half of reading as much new text.
        enough: fewest unique tokens with which the compute-optimal run loses no more than :data:`HURTS`.
    """

    unique_tokens: float
    epochs: float
    loss: float
    penalty: Interval
    best_params: float
    best_tokens: float
    best_epochs: float
    best_loss: float
    half_worth_epochs: Interval
    enough: float


@dataclass(frozen=True)
class Plan:
    """A budget's plan.

    Attributes:
        flops: the budget.
        level: probability of the intervals.
        params, tokens, loss: of the compute-optimal run; the loss's interval is that of one new run.
        deviations: a row for each of :data:`SIZE_FACTORS`.
        inference: a row for each number of inference tokens.
        half_size_pays_from: inference tokens from which half the size is cheaper in all; ``None`` where it never is.
        data: where the text is limited.
        next_runs: for each affordable compute the run that narrows the loss's interval most, the advised one first.
        curve: ``params``, ``loss``, ``low``, ``high`` over sizes at the budget, the band that of the shape alone.
        findings: warnings, and refusals where the runs cannot carry the plan.
    """

    flops: float
    level: float
    params: Interval
    tokens: Interval
    loss: Interval
    deviations: tuple[Deviation, ...]
    inference: tuple[Inference, ...]
    half_size_pays_from: float | None
    data: Data | None
    next_runs: tuple[Candidate, ...]
    curve: dict[str, list[float]]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """True where the runs cannot carry the plan; the figures are then for the record only."""
        return any(finding.severity == "refusal" for finding in self.findings)


def make_plan(
    law: LossLaw,
    ahead: LossLaw,
    flops: float,
    *,
    level: float = 0.9,
    inference_tokens: Sequence[float] = INFERENCE_VOLUMES,
    unique_tokens: float | None = None,
    next_share: float = 0.01,
) -> Plan:
    """Plan the run of ``flops``.

    Args:
        law: of the runs so far, which says what sizes and tokens are worth against each other.
        ahead: of the same runs with :data:`foretell.laws.sizing.chinchilla.EXTRAPOLATION_EVIDENCE`, which says what
            loss to expect.
        flops: training compute of the run to plan.
        level: probability of the intervals, 0.5 to 0.999.
        inference_tokens: volumes to weigh training against.
        unique_tokens: how much text there is, where it is limited.
        next_share: of ``flops``, the most that one further small run may take, below 1.

    Raises:
        UserError: for an argument out of range.
    """
    if not 0.5 <= level <= 0.999:
        raise UserError(f"level is {level}; a probability from 0.5 to 0.999 is accepted.")
    if not 0 < next_share < 1:
        raise UserError(f"next_share is {next_share:g}; a share of the budget between 0 and 1 is expected.")
    for name, amount in [("flops", flops), ("unique_tokens", unique_tokens),
                         *(("inference_tokens", volume) for volume in inference_tokens)]:  # fmt: skip
        if amount is not None and not 0 < amount < math.inf:
            raise UserError(f"{name} is {amount:g}; a finite number above zero is expected.")
    params, tokens = (float(value) for value in law.optimum(flops))
    sampled_params, sampled_tokens = law.sampled_optimum(flops)
    low, middle, high = predicted_loss(ahead, params, tokens, level)
    intervals = _interval(params, sampled_params, level), _interval(tokens, sampled_tokens, level)
    return Plan(
        flops=float(flops),
        level=level,
        params=intervals[0],
        tokens=intervals[1],
        loss=Interval(middle, low, high),
        deviations=deviations(law, params, tokens, middle, level),
        inference=tuple(cheapest(law, params, tokens, volume) for volume in inference_tokens),
        half_size_pays_from=_half_size_pays_from(law, params, tokens),
        data=None if unique_tokens is None else limited_data(law, params, tokens, unique_tokens, middle, level),
        next_runs=next_runs(ahead, params, tokens, next_share * flops),
        curve=_curve(law, params, tokens, middle, level),
        findings=check(law, params, tokens, intervals[0].high / intervals[0].low),
    )


def _curve(law: LossLaw, params: float, tokens: float, loss: float, level: float) -> dict[str, list[float]]:
    """Loss over sizes about the optimum, where it is ``loss``, with the band of the law's shape."""
    sizes, seen = params * CURVE, tokens / CURVE
    shape = law.loss(sizes, seen) / law.loss(params, tokens)
    sampled = law.sampled_loss(sizes, seen) / law.sampled_loss(params, tokens)[:, None]
    low, high = np.quantile(sampled, _tails(level), axis=0)
    curve = {"params": sizes, "loss": loss * shape, "low": loss * low, "high": loss * high}
    return {name: values.tolist() for name, values in curve.items()}


def deviations(law: LossLaw, params: float, tokens: float, loss: float, level: float) -> tuple[Deviation, ...]:
    """What it costs to train another size than the optimum (``params``, ``tokens``), whose loss is ``loss``."""
    factors = np.array(SIZE_FACTORS)
    sizes, seen = params * factors, tokens / factors
    best = float(law.loss(params, tokens))
    penalties, sampled = law.loss(sizes, seen) / best - 1, law.sampled_penalty(sizes, seen)
    matching = tokens_for(law, sizes, best)
    matching[factors == 1.0] = tokens
    extra = sizes * matching / (params * tokens) - 1
    rows = []
    for index, factor in enumerate(SIZE_FACTORS):
        reached = math.isfinite(matching[index])
        rows.append(
            Deviation(
                factor, float(sizes[index]), float(seen[index]), loss * float(1 + penalties[index]),
                _interval(float(penalties[index]), sampled[:, index], level),
                float(matching[index]) if reached else None, float(extra[index]) if reached else None,
            )
        )  # fmt: skip
    return tuple(rows)


def tokens_for(law: LossLaw, params: ArrayLike, loss: float) -> Vector:
    """Tokens with which sizes ``params`` reach ``loss``, infinite where none do; by bisection."""
    sizes = np.asarray(params, float)
    low, high = np.full(sizes.shape, FEWEST_TOKENS), np.full(sizes.shape, MOST_TOKENS)
    reached = law.loss(sizes, np.exp(high)) < loss
    for _ in range(60):
        middle = (low + high) / 2
        enough = law.loss(sizes, np.exp(middle)) <= loss
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(reached, np.exp(high), np.inf)


def cheapest(law: LossLaw, params: float, tokens: float, inference_tokens: float) -> Inference:
    """The size that reaches the loss of (``params``, ``tokens``) at the least training and inference FLOPs."""
    sizes = params * SIZES[SIZES <= 1.0]
    matching = tokens_for(law, sizes, float(law.loss(params, tokens)))
    training = law.compute(sizes, matching)
    total = training + INFERENCE_FLOPS * sizes * inference_tokens
    optimum = float(law.compute(params, tokens)) + INFERENCE_FLOPS * params * inference_tokens
    best = int(np.argmin(total))
    if total[best] >= optimum:
        return Inference(inference_tokens, params, tokens, float(law.compute(params, tokens)), optimum, 0.0)
    return Inference(inference_tokens, float(sizes[best]), float(matching[best]), float(training[best]),
                     float(total[best]), 1 - float(total[best]) / optimum)  # fmt: skip


def _half_size_pays_from(law: LossLaw, params: float, tokens: float) -> float | None:
    matching = float(tokens_for(law, params / 2, float(law.loss(params, tokens))))
    more = float(law.compute(params / 2, matching) - law.compute(params, tokens))
    return more / (INFERENCE_FLOPS * params / 2) if math.isfinite(more) else None


def limited_data(law: LossLaw, params: float, tokens: float, unique: float, loss: float, level: float) -> Data:
    """The compute-optimal run, of ``loss``, and the best one where only ``unique`` different tokens are at hand."""
    plain, repeated = float(law.loss(params, tokens)), float(law.loss(params, tokens, unique))
    sampled = law.sampled_loss(params, tokens, unique) / law.sampled_loss(params, tokens, tokens) - 1
    sizes = params * SIZES
    seen = tokens / SIZES
    losses = law.loss(sizes, seen, unique)
    best = int(np.argmin(losses))
    half = 1 + math.log(2) * np.exp(law.samples[:, 5])
    costs = max(repeated / plain - 1, 0.0)
    return Data(
        unique, tokens / unique, loss * (1 + costs), _interval(costs, np.maximum(sampled, 0.0), level),
        float(sizes[best]), float(seen[best]), float(seen[best] / unique), loss * float(losses[best]) / plain,
        _interval(1 + math.log(2) * math.exp(law.estimate[5]), half, level), _enough(law, params, tokens),
    )  # fmt: skip


def _enough(law: LossLaw, params: float, tokens: float) -> float:
    """Fewest unique tokens that cost the run no more than :data:`HURTS` of its loss."""
    plain = float(law.loss(params, tokens))
    unique = tokens * np.geomspace(1e-4, 1.0, 2000)
    fine = law.loss(params, tokens, unique) <= plain * (1 + HURTS)
    return float(unique[int(np.argmax(fine))])


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


def _interval(value: float, samples: Vector, level: float) -> Interval:
    low, high = np.quantile(samples, _tails(level))
    return Interval(value, min(float(low), value), max(float(high), value))
