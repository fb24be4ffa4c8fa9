"""The loss of a run that nobody has trained yet, from a ladder of small ones, with an interval and its caveats.

The laws that are averaged are in :mod:`foretell.laws.power_laws`, the model around them in
:mod:`foretell.laws.posterior`, what is checked in :mod:`foretell.laws.diagnostics`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.laws.averaging import held_out_probabilities
from foretell.laws.diagnostics import by_severity, diagnose
from foretell.laws.frontier import Ladder, ladder_of, upper_part
from foretell.laws.ladder_shape import law_residuals, noise_of_sizes
from foretell.laws.posterior import Mixture, infer
from foretell.laws.prior import Prior, prior_for
from foretell.laws.records import Finding, Forecast, Observation
from foretell.laws.shape import NEAR_LOSS, Shape
from foretell.laws.sizes import Sizes, Vector, gather_sizes, group_sizes
from foretell.laws.tables.runs import Run, Runs, is_share

__all__ = ["Finding", "Forecast", "Observation", "forecast", "forecast_runs"]

BAND_POINTS = 60
LARGEST_SEED_SPREAD = 1.05
FAR = 3.0  # factor between compute and 6 N D that conventions of counting explain
PENALTY_DOUBT = 0.4  # of what the target owes to its shape: curvatures of public families scatter by so much
BITS_PER_BYTE = "bits per byte"


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
    sizes = gather_sizes(observations)
    prior = prior_for(float(sizes.flops[-1]))
    return _forecast_sizes(sizes, observations, _Question(target_flops, level, metric), prior)


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
    if not 0.5 <= level <= 0.999:
        raise UserError(f"level is {level}; a probability from 0.5 to 0.999 is accepted.")
    _check_target(target_flops, float(sizes.flops[-1]))
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
    return Forecast(
        law=_law(mixture, level),
        target_flops=float(target_flops),
        median=interval[1],
        low=interval[0],
        high=interval[2],
        level=level,
        metric=asked.metric,
        findings=diagnose(sizes, observations, residuals, target_flops, interval, prior=prior),
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
    if is_share(runs.metric):
        raise UserError(
            f"{runs.metric} is a share, not a loss; foretell.laws.capability.accuracy.forecast_share forecasts those."
        )
    target_flops, params, tokens = target_of(target_flops, params, tokens)
    used = [run for run in runs.runs if max_flops is None or run.flops <= max_flops]
    if not used:
        raise UserError(f"max_flops is {max_flops:.4g} and the smallest run has {runs.runs[0].flops:.4g} FLOPs.")
    ladder = ladder_of([as_observation(run) for run in used])
    prior = prior_for(float(ladder.sizes.flops[-1]), without)
    sizes = upper_part(ladder.sizes)
    asked = _Question(target_flops, level, runs.unit, _penalty(ladder.shape, target_flops, params, tokens))
    made = _forecast_sizes(sizes, ladder.used, asked, prior, every=ladder.sizes)
    notes = [*runs.findings, *_choice(ladder, sizes, len(used)), *_sweep(ladder)]
    if ladder.shape is None and params is not None and tokens is not None:
        notes += _untold_shape(used, tokens / params)
    if asked.penalty:
        notes.append(_shape_note(ladder.shape, target_flops, params, tokens, asked.penalty))
    findings = by_severity([*made.findings, *notes])
    return dataclasses.replace(made, metric=runs.metric, findings=findings), len(used)


def target_of(
    flops: float | None, params: float | None, tokens: float | None
) -> tuple[float, float | None, float | None]:
    """What run is asked for: compute from a shape, or the missing half of a shape from compute, by C = 6 N D.

    Raises:
        UserError: for a figure that is not finite and above zero, too few of them, or three that contradict each other.
    """
    flops, params, tokens = _figure("flops", flops), _figure("params", params), _figure("tokens", tokens)
    if flops is None:
        if params is None or tokens is None:
            raise UserError("--flops is missing: the compute to forecast for (or --params and --tokens).")
        return 6 * params * tokens, params, tokens
    if params is not None and tokens is not None:
        if not 1 / FAR <= flops / (6 * params * tokens) <= FAR:
            raise UserError(
                f"The target's flops are {flops:.4g} and 6 x params x tokens {6 * params * tokens:.4g}; give two of "
                "the three."
            )
    elif params is not None:
        tokens = flops / (6 * params)
    elif tokens is not None:
        params = flops / (6 * tokens)
    return flops, params, tokens


def _figure(name: str, value: Any) -> float | None:
    """A figure of the target as a float: whole numbers above 2^63 are usual here, and numpy takes no such."""
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if number is not None and not (math.isfinite(number) and number > 0):
        raise UserError(f"{name} of the target is {value}; a finite number above zero is expected.")
    return number


def as_observation(run: Run) -> Observation:
    """A table's run as the laws take it."""
    return Observation(run.flops, run.value, run.params, run.tokens, run.seed, run.name)


def _penalty(shape: Shape | None, flops: float, params: float | None, tokens: float | None) -> float:
    if shape is None or params is None or tokens is None:
        return 0.0
    return float(shape.penalty(flops, params, tokens))


def _shape_note(shape: Shape | None, flops: float, params: float | None, tokens: float | None, owed: float) -> Finding:
    assert shape is not None and params is not None and tokens is not None
    ratio, low, high = tokens / params, *shape.tried
    outside = not low / 1.5 <= ratio <= high * 1.5
    tail = f"; the runs have {low:.3g} to {high:.3g}, so this is beyond what they show." if outside else "."
    return Finding(
        "target-shape",
        "warning" if outside else "note",
        f"The target's {ratio:.3g} tokens per parameter cost {100 * math.expm1(owed):.1f} % of loss against the best "
        f"{float(shape.best_ratio(flops)):.3g} at its compute{tail}",
    )


def _untold_shape(runs: Sequence[Run], ratio: float) -> Iterator[Finding]:
    """A target unlike runs that do not tell what their shape costs: the forecast is then of a run like them."""
    known = [run.tokens / run.params for run in runs if run.params is not None and run.tokens is not None]
    if len(known) < len(runs) or not min(known) / 1.5 <= ratio <= max(known) * 1.5:
        have = f"{min(known):.3g} to {max(known):.3g}" if known else "an unknown number"
        yield Finding(
            "target-shape",
            "warning",
            f"The target has {ratio:.3g} tokens per parameter and the runs {have}, which do not tell what that costs: "
            "the forecast is of a run shaped like them, and another shape may do worse by 10 % and more.",
        )


def _choice(ladder: Ladder, sizes: Sizes, count: int) -> Iterator[Finding]:
    """Which runs the law rests on, and why the others do not count."""
    span = f"{sizes.flops[0]:.2g} to {sizes.flops[-1]:.2g} FLOPs"
    if ladder.shape is not None:
        far = len(ladder.left_out)
        yield Finding(
            "frontier",
            "note",
            f"The law is fitted to {len(sizes.flops)} points of {span}, averages over {len(ladder.used)} of {count} "
            "runs corrected for their tokens per parameter"
            + (
                f"; left out: {far} more than {100 * NEAR_LOSS:.0f} % above the frontier or far from its shape."
                if far
                else "."
            )
            + _below(ladder.sizes, sizes),
        )
    elif len(sizes.flops) < len(ladder.sizes.flops) or ladder.left_out:
        worse = (
            f"; {len(ladder.left_out)} of {count} runs are not the best of their doubling of compute."
            if ladder.left_out
            else "."
        )
        yield Finding(
            "frontier",
            "note",
            f"The law is fitted to {len(sizes.flops)} sizes of {span}, the best for their compute{worse}"
            + _below(ladder.sizes, sizes),
        )


def _below(every: Sizes, kept: Sizes) -> str:
    count = len(every.flops) - len(kept.flops)
    if count == 1:
        return " A smaller one is left out: it bends the law more than it supports it."
    return f" {count} smaller ones are left out: they bend the law more than they support it." if count else ""


def _sweep(ladder: Ladder) -> Iterator[Finding]:
    if ladder.shape is not None:
        return
    spread = max(max(run.loss for run in size) / min(run.loss for run in size) for size in group_sizes(ladder.used))
    if spread > LARGEST_SEED_SPREAD:
        yield Finding(
            "sweep",
            "warning",
            f"Runs of one size differ by up to {100 * (spread - 1):.0f} % and are averaged as its seeds; if they "
            "are a sweep over settings, keep the best of each size.",
        )


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
