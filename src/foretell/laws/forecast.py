"""The loss of a run that nobody has trained yet, from a ladder of small ones, with an interval and its caveats.

The laws that are averaged are in :mod:`foretell.laws.power_laws`, the model around them in
:mod:`foretell.laws.posterior`, what is checked in :mod:`foretell.laws.diagnostics`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.laws.averaging import held_out_probabilities
from foretell.laws.choice_findings import choice_findings, names_of, stray_finding
from foretell.laws.diagnostics import by_severity, diagnose
from foretell.laws.frontier import ladder_of, upper_part, without_strays
from foretell.laws.ladder_shape import law_residuals, noise_of_sizes
from foretell.laws.posterior import Mixture, infer
from foretell.laws.prior import Prior, prior_for
from foretell.laws.records import Finding, Forecast, Observation
from foretell.laws.shape import Shape
from foretell.laws.sizes import Sizes, Vector, check_observations, check_range, gather_sizes
from foretell.laws.tables.runs import Run, Runs
from foretell.laws.target import level_of, positive_or_none, target_of
from foretell.laws.unlike import unlike_public

__all__ = ["Finding", "Forecast", "Observation", "forecast", "forecast_runs"]

BAND_POINTS = 60
PENALTY_DOUBT = 0.4  # of what the target owes to its shape: curvatures of public families scatter by so much
BITS_PER_BYTE = "bits per byte"
FEWEST_RISING, RISING_RANKS, RISE = 3, 0.6, 0.02  # computes, rank correlation, and share of itself, of a rising metric
STRAIGHT = 0.3  # probability of a straight line, before it is tested, where a ladder is one as no public family is


def forecast(
    observations: Sequence[Observation],
    target_flops: float,
    *,
    level: float = 0.9,
    metric: str = BITS_PER_BYTE,
) -> Forecast:
    """Forecast the held-out loss at ``target_flops`` from finished smaller runs.

    Args:
        observations: the ladder's runs, any order, any number of seeds a size.
        target_flops: compute of the target; more than the largest rung's.
        level: probability of the interval, 0.5 to 0.999.
        metric: the losses' unit. For "bits per byte" the prior of the offset ``c`` is absolute (the entropy of text and
            code); for any other unit it is relative to the losses, so scaling them scales the forecast.

    Returns:
        A forecast whose figures are always finite; ``refused`` says that the ladder cannot carry it.

    Raises:
        UserError: for no runs, a value that is missing or not above zero, a level out of range, or a target that is not
            above the ladder.
    """
    check_observations(observations)
    used, strays = without_strays(observations, one_recipe=True)
    check_range(used)
    sizes = gather_sizes(used)
    prior = prior_for(float(sizes.flops[-1]))
    made = _forecast_sizes(sizes, used, _Question(target_flops, level_of(level), metric), prior)
    if not strays:
        return made
    findings = by_severity([*made.findings, stray_finding([(names_of(run), run.loss, near) for run, near in strays])])
    return dataclasses.replace(made, findings=findings, left_out={"stray": [names_of(run) for run, _ in strays]})


@dataclass(frozen=True)
class _Question:
    """What is asked: the target's compute, the interval's level, the unit; and what the target owes to its shape."""

    target_flops: float
    level: float
    metric: str
    penalty: float = 0.0  # ln(loss) above that of the best shape


def _forecast_sizes(
    sizes: Sizes, observations: Sequence[Observation], asked: _Question, prior: Prior, *, every: Sizes | None = None
) -> Forecast:
    """Forecast from the sizes that laws are fitted to; laws are weighed on ``every`` size, some of them held out."""
    level, target_flops = asked.level, asked.target_flops
    _check_target(target_flops, float(sizes.flops[-1]))
    unlike = unlike_public(every or sizes, sizes)
    if unlike is not None and unlike.straight is not None:
        prior = dataclasses.replace(prior, straight=STRAIGHT)
    bits_per_byte = asked.metric == BITS_PER_BYTE
    flops = np.geomspace(sizes.flops[0] / 2, target_flops, BAND_POINTS)
    flops[-1] = target_flops
    mixture = infer(
        sizes,
        np.log(flops / sizes.flops[-1]),
        bits_per_byte=bits_per_byte,
        prior=prior,
        probabilities=held_out_probabilities(every or sizes, bits_per_byte=bits_per_byte, prior=prior),
    )
    if asked.penalty:
        mixture = mixture.shifted(-1, asked.penalty, PENALTY_DOUBT * asked.penalty)
    low, median, high = (np.exp(mixture.quantiles(p)) for p in ((1 - level) / 2, 0.5, (1 + level) / 2))
    residuals = law_residuals(sizes, prior)
    interval = float(low[-1]), float(median[-1]), float(high[-1])
    findings = diagnose(sizes, observations, residuals, target_flops, interval, prior=prior)
    if unlike is not None:
        findings = by_severity([*findings, Finding("unlike-public", "warning", unlike.sentence)])
    return Forecast(
        law=_law(mixture, level),
        target_flops=float(target_flops),
        median=interval[1],
        low=interval[0],
        high=interval[2],
        level=level,
        metric=asked.metric,
        findings=findings,
        band={"flops": flops.tolist(), "low": low.tolist(), "median": median.tolist(), "high": high.tolist()},
        rungs=_summaries(sizes, residuals, prior),
        observations=tuple(observations),
    )


def forecast_runs(
    runs: Runs,
    target_flops: float,
    *,
    level: float = 0.9,
    max_flops: float | None = None,
    params: float | None = None,
    tokens: float | None = None,
    without: str | None = None,
) -> tuple[Forecast, int]:
    """Forecast from anyone's runs: a few sizes are the ladder as they are, of many the efficient frontier is.

    Args:
        runs: of one family and metric, any number.
        target_flops: compute of the run that is foretold.
        level: probability of the interval, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, as if the others had not been trained.
        params, tokens: of the run that is foretold; without both it is taken to have the best shape for its compute.
        without: a public source whose lessons are not used, where its own runs are the test.

    Returns:
        The forecast, whose findings say what was left out, and how many runs it was chosen from.

    Raises:
        UserError: as :func:`forecast`, and where ``max_flops`` leaves no run.
    """
    if runs.is_share:
        raise UserError(
            f"{runs.metric} is a share, not a loss; foretell.laws.capability.accuracy.forecast_share forecasts those."
        )
    target = target_of(target_flops, params, tokens)
    max_flops = positive_or_none("max_flops", max_flops)
    used = [run for run in runs.runs if max_flops is None or run.flops <= max_flops]
    if not used:
        raise UserError(f"max_flops is {max_flops:.4g} and the smallest run has {runs.runs[0].flops:.4g} FLOPs.")
    if runs.kind is None:
        _check_direction(runs.metric, used)
    observations = [as_observation(run) for run in used]
    names = {id(observation): run.called for observation, run in zip(observations, used, strict=True)}
    ladder = ladder_of(observations)
    prior = prior_for(float(ladder.sizes.flops[-1]), without)
    sizes = upper_part(ladder.sizes)
    asked = _Question(target[0], level_of(level), runs.unit, _penalty(ladder.shape, *target))
    made = _forecast_sizes(sizes, ladder.used, asked, prior, every=ladder.sizes)
    strays, others = ([names[id(run)] for run in runs_out] for runs_out in
                      ([run for run, _ in ladder.strays], ladder.left_out))  # fmt: skip
    notes = [*runs.findings, *choice_findings(ladder, sizes, strays, others, target, asked.penalty)]
    findings = by_severity([*made.findings, *notes])
    left_out = {reason: out for reason, out in (("stray", strays), ("frontier", others)) if out}
    return dataclasses.replace(made, metric=runs.metric, findings=findings, left_out=left_out, kind=runs.kind), len(
        used
    )


def as_observation(run: Run) -> Observation:
    """A table's run as the laws take it."""
    return Observation(
        run.flops, run.value, run.params, run.tokens, run.seed, run.name, unique_tokens=run.different_tokens
    )


def _check_direction(metric: str, runs: Sequence[Run]) -> None:
    """Refuse what rises with compute as no loss can: it is most often a score whose name does not say so.

    Raises:
        UserError: naming the metric, how far it rises and the option that says what it is.
    """
    if len(runs) < FEWEST_RISING or len({run.flops for run in runs}) < FEWEST_RISING:
        return
    flops, values = (np.array(column) for column in zip(*((run.flops, run.value) for run in runs), strict=True))
    ranks = np.array([np.searchsorted(np.sort(column), column) for column in (flops, values)])
    half = len(values) // 2
    first, last = float(np.median(values[:half])), float(np.median(values[-half:]))
    if np.ptp(values) == 0 or np.corrcoef(ranks)[0, 1] < RISING_RANKS or last < (1 + RISE) * first:
        return
    said = f"{metric} rises with compute, from about {first:.3g} to {last:.3g}, where a loss falls"
    if values.max() <= 1:
        raise UserError(
            f"{said}; if it is an accuracy or another share from 0 to 1, say --kind share, and if it is a loss, "
            "--kind loss."
        )
    raise UserError(
        f"{said}; if it is an accuracy or another share in percent, divide it by 100 and say --kind share, and if it "
        "is a loss, --kind loss."
    )


def _penalty(shape: Shape | None, flops: float, params: float | None, tokens: float | None) -> float:
    if shape is None or params is None or tokens is None:
        return 0.0
    return float(shape.penalty(flops, params, tokens))


def _check_target(target_flops: float, largest: float) -> None:
    if not math.isfinite(target_flops) or target_flops <= largest:
        raise UserError(
            f"target_flops is {target_flops:.4g}; a finite number above the largest rung's {largest:.4g} FLOPs is "
            "needed, for inside the ladder there is nothing to forecast."
        )


def _law(mixture: Mixture, level: float) -> dict[str, Any]:
    """Every law that was averaged with its share, and posterior medians and ranges of its constants."""

    def spread(values: Vector) -> dict[str, float]:
        low, median, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
        return {"median": float(median), "low": float(low), "high": float(high)}

    members = [
        {"name": member.name, "formula": member.formula, "probability": round(member.probability, 4)}
        | {name: spread(values) for name, values in member.constants.items()}
        for member in mixture.members
    ]
    first = {key: value for key, value in members[0].items() if key != "probability"}
    law = first | {"seed_noise": spread(mixture.seed_noise)}
    if len(members) > 1:
        law["averaged_with"] = members[1:]
        law["probability"] = members[0]["probability"]
    return law


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _summaries(sizes: Sizes, residuals: Vector, prior: Prior) -> list[dict[str, Any]]:
    """One record a size; the standard error is that of the mean loss, in the losses' unit."""
    losses = np.exp(sizes.log_loss)
    errors = losses * noise_of_sizes(sizes, prior)
    return [
        {
            "label": sizes.labels[index],
            "flops": float(sizes.flops[index]),
            "params": _known(sizes.params[index]),
            "tokens": _known(sizes.tokens[index]),
            "seeds": int(sizes.seeds[index]),
            "mean_loss": float(losses[index]),
            "standard_error": float(errors[index]),
            "residual": float(residuals[index]),
        }
        for index in range(len(losses))
    ]
