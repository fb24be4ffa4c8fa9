"""What the figures show, as plain numbers: pure functions from records to plotted series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.core.errors import UserError
from foretell.report.records import Record

POINTS_DRAWN = 400


@dataclass(frozen=True)
class Band:
    """The law over compute: ``compute`` relative to the target, the other three in the figure's unit, equally long."""

    compute: tuple[float, ...]
    low: tuple[float, ...]
    median: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class RungPoint:
    """One rung: compute relative to the target (below 1), mean loss over its seeds, standard error if measured."""

    compute: float
    loss: float
    error: float | None


@dataclass(frozen=True)
class ForecastSeries:
    """The forecast figure in numbers; losses are in ``unit``, compute is relative to the target (target = 1)."""

    unit: str
    level: float | None
    band: Band | None
    rungs: tuple[RungPoint, ...]
    low: float | None
    median: float | None
    high: float | None
    outcome: float | None


def unit_name(words_factor: float | None) -> str:
    """The unit losses are shown in: bits per word where bytes per word are known."""
    return "bits per byte" if words_factor is None else "bits per word"


def forecast_series(
    registered: Mapping[str, Any], outcome: Mapping[str, Any] | None, words_factor: float | None
) -> ForecastSeries:
    """Series of the forecast figure.

    Args:
        registered: the content of ``forecast.json`` (losses in its ``metric``, compute in FLOPs).
        outcome: the content of ``score.json`` (``outcome`` in the same), or ``None`` before there is one.
        words_factor: bytes per word of the held-out split, of losses in bits per byte; ``None`` keeps the metric.

    Raises:
        UserError: where the target's FLOPs are missing or the band's lists differ in length.
    """
    forecast = Record("forecast.json", registered).record("forecast")
    target = forecast.number("target_flops")
    if target is None or target <= 0:
        raise UserError(f"forecast.json: forecast.target_flops is {target!r}; a number above 0 is expected.")
    factor = words_factor or 1.0

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * factor

    rungs = []
    for rung in forecast.records("rungs"):
        flops, loss = rung.number("flops"), rung.number("mean_loss")
        if flops is not None and loss is not None:
            error = rung.number("standard_error")
            if error is not None and error < 0:
                raise UserError(
                    f"forecast.json: the standard error of {rung.prefix[:-1]} is {error}; 0 or more is expected."
                )
            rungs.append(RungPoint(flops / target, loss * factor, scaled(error)))
    return ForecastSeries(
        unit=unit_name(words_factor) if words_factor else forecast.text("metric") or unit_name(None),
        level=forecast.number("level"),
        band=_band(forecast, target, factor),
        rungs=tuple(sorted(rungs, key=lambda point: point.compute)),
        low=scaled(forecast.number("low")),
        median=scaled(forecast.number("median")),
        high=scaled(forecast.number("high")),
        outcome=scaled(Record("score.json", outcome or {}).number("outcome")),
    )


def _band(forecast: Record, target: float, factor: float) -> Band | None:
    columns = {name: forecast.numbers(f"band.{name}") for name in ("flops", "low", "median", "high")}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise UserError(f"forecast.json: the lists of forecast.band have lengths {lengths}; equal ones are expected.")
    if not columns["flops"]:
        return None
    compute = tuple(flops / target for flops in columns["flops"])
    low, median, high = (tuple(v * factor for v in columns[name]) for name in ("low", "median", "high"))
    return Band(compute, low, median, high)


@dataclass(frozen=True)
class LossSeries:
    """The target's loss in bits per byte over tokens seen: training (smoothed), held-out evaluations, guard events."""

    tokens: tuple[float, ...]
    training: tuple[float, ...]
    heldout_tokens: tuple[float, ...]
    heldout: tuple[float, ...]
    guard_tokens: tuple[float, ...]


def loss_series(log: Sequence[Record]) -> LossSeries:
    """Series of the loss figure from the records of ``target/log.jsonl``; at most ``POINTS_DRAWN`` training points."""
    steps = _pairs(log, "step")
    evaluations = _pairs(log, "eval")
    smoothed = smooth([loss for _, loss in steps], span=max(1, len(steps) // 100))
    stride = -(-len(steps) // POINTS_DRAWN) or 1
    # Counted from the end, so that the last step is always drawn.
    kept = sorted(range(len(steps) - 1, -1, -stride))
    guard = [step for record in log if record.get("kind") == "guard" and (step := record.number("step")) is not None]
    per_step = _tokens_per_step(log)
    return LossSeries(
        tokens=tuple(steps[index][0] for index in kept),
        training=tuple(smoothed[index] for index in kept),
        heldout_tokens=tuple(tokens for tokens, _ in evaluations),
        heldout=tuple(loss for _, loss in evaluations),
        guard_tokens=tuple(step * per_step for step in guard),
    )


def _tokens_per_step(log: Sequence[Record]) -> float:
    """Tokens of one optimizer step, from any record that has both counts; 0 where none has."""
    for record in log:
        step, tokens = record.number("step"), record.number("tokens")
        if step and tokens:
            return tokens / step
    return 0.0


def _pairs(log: Sequence[Record], kind: str) -> list[tuple[float, float]]:
    """(tokens, bits per byte) of one kind of record, in order of tokens; incomplete records are left out."""
    pairs = []
    for record in log:
        if record.get("kind") == kind:
            tokens, loss = record.number("tokens"), record.number("bits_per_byte")
            if tokens is not None and loss is not None:
                pairs.append((tokens, loss))
    return sorted(pairs)


def smooth(values: Sequence[float], span: int) -> list[float]:
    """Exponential moving average with a half-life of ``span`` values, corrected for its start; ``span`` >= 1."""
    keep = 0.5 ** (1 / span)
    average = weight = 0.0
    smoothed = []
    for value in values:
        average = keep * average + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        smoothed.append(average / weight)
    return smoothed


@dataclass(frozen=True)
class TuningSeries:
    """The search for the learning rate: one entry a rate that no run diverged at, rates ascending.

    ``excess`` holds, for each rate and each run (size and seed), how far the run's loss lies above the same run's best
    over all rates, as a share (0.01 is 1 %); ``mean`` is the geometric mean over runs; ``curve`` the fitted parabola
    as (rate, share) pairs, empty where none was fitted.
    """

    learning_rates: tuple[float, ...]
    excess: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]
    chosen: float | None
    diverged: tuple[float, ...]


def tuning_series(tuning: Record) -> TuningSeries:
    """Series of the tuning figure.

    Raises:
        UserError: where the candidates were not tried on equally many runs, or a figure is not above zero.
    """
    finished: list[tuple[float, list[float]]] = []
    diverged = []
    for candidate in tuning.records("candidates"):
        rate, losses = candidate.number("learning_rate"), candidate.items("losses")
        if rate is None or not losses:
            continue
        if None in losses:
            diverged.append(rate)
        else:
            finished.append((rate, candidate.numbers("losses")))
    finished.sort()
    if len({len(losses) for _, losses in finished}) > 1 or any(min(rate, *losses) <= 0 for rate, losses in finished):
        raise UserError(
            f"{tuning.path}: candidates with equally many losses, and rates and losses above 0, are expected."
        )
    best = [min(column) for column in zip(*(losses for _, losses in finished), strict=True)]
    excess = [tuple(loss / least - 1 for loss, least in zip(losses, best, strict=True)) for _, losses in finished]
    return TuningSeries(
        learning_rates=tuple(rate for rate, _ in finished),
        excess=tuple(excess),
        mean=tuple(math.exp(sum(math.log1p(value) for value in values) / len(values)) - 1 for values in excess),
        curve=_parabola(tuning.record("curve"), [rate for rate, _ in finished], tuning.number("chosen")),
        chosen=tuning.number("chosen"),
        diverged=tuple(diverged),
    )


def _parabola(curve: Record, rates: Sequence[float], chosen: float | None) -> tuple[tuple[float, float], ...]:
    """The recorded parabola, log relative loss over log rate, between the tried rates around the chosen one."""
    second, first, constant = (curve.number(key) for key in ("second", "first", "constant"))
    if second is None or first is None or constant is None or not chosen:
        return ()
    # The parabola went through three neighbours; the two nearest steps on each side of the choice are shown.
    near = sorted(sorted(rates, key=lambda rate: abs(math.log(rate / chosen)))[:3])
    start, end = math.log(near[0]), math.log(near[-1])
    places = [start + (end - start) * index / 40 for index in range(41)]
    return tuple((math.exp(x), math.exp(second * x * x + first * x + constant) - 1) for x in places)
