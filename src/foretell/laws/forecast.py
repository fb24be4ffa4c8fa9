"""The loss of a run that nobody has trained yet, from a ladder of small ones, with an interval and its caveats.

The law is L(C) = a C^-b + c (OpenAI 2023, "GPT-4 Technical Report", section 3.1); the model around it is in
:mod:`foretell.laws.posterior`, what is checked in :mod:`foretell.laws.diagnostics`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.laws.diagnostics import by_severity, diagnose
from foretell.laws.frontier import ladder_of
from foretell.laws.ladder_shape import law_residuals, noise_of_sizes
from foretell.laws.posterior import Mixture, infer
from foretell.laws.prior import Prior
from foretell.laws.records import Finding, Forecast, Observation
from foretell.laws.runs import Runs, is_share
from foretell.laws.sizes import Sizes, Vector, gather_sizes, group_sizes

__all__ = ["Finding", "Forecast", "Observation", "forecast", "forecast_runs"]

BAND_POINTS = 60
LARGEST_SEED_SPREAD = 1.05
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
    if not 0.5 <= level <= 0.999:
        raise UserError(f"level is {level}; a probability from 0.5 to 0.999 is accepted.")
    sizes = gather_sizes(observations)
    _check_target(target_flops, float(sizes.flops[-1]))
    flops = np.geomspace(sizes.flops[0] / 2, target_flops, BAND_POINTS)
    flops[-1] = target_flops
    prior = Prior()
    mixture = infer(sizes, np.log(flops / sizes.flops[-1]), bits_per_byte=metric == BITS_PER_BYTE, prior=prior)
    low, median, high = (np.exp(mixture.quantiles(p)) for p in ((1 - level) / 2, 0.5, (1 + level) / 2))
    residuals = law_residuals(sizes, prior)
    interval = float(low[-1]), float(median[-1]), float(high[-1])
    return Forecast(
        law=_law(mixture, sizes, level),
        target_flops=float(target_flops),
        median=interval[1],
        low=interval[0],
        high=interval[2],
        level=level,
        metric=metric,
        findings=diagnose(sizes, observations, residuals, target_flops, interval, prior=prior),
        band={"flops": flops.tolist(), "low": low.tolist(), "median": median.tolist(), "high": high.tolist()},
        rungs=_summaries(sizes, residuals, prior),
        observations=tuple(observations),
    )


def forecast_runs(
    runs: Runs, target_flops: float, *, level: float = 0.9, max_flops: float | None = None
) -> tuple[Forecast, int]:
    """Forecast from anyone's runs: a few sizes are the ladder as they are, of many the efficient frontier is.

    Args:
        runs: of one family and metric, any number.
        target_flops: compute of the run that is foretold, best for its compute as the frontier's runs are.
        level: probability of the interval, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, as if the others had not been trained.

    Returns:
        The forecast, whose findings say what was left out, and how many runs it was chosen from.

    Raises:
        UserError: as :func:`forecast`, and where ``max_flops`` leaves no run.
    """
    if is_share(runs.metric):
        raise UserError(
            f"{runs.metric} is a share, not a loss; only losses, where lower is better, are forecast so far."
        )
    used = [run for run in runs.runs if max_flops is None or run.flops <= max_flops]
    if not used:
        raise UserError(f"max_flops is {max_flops:.4g} and the smallest run has {runs.runs[0].flops:.4g} FLOPs.")
    observations = [Observation(run.flops, run.value, run.params, run.tokens, run.seed, run.name) for run in used]
    ladder = ladder_of(observations)
    sizes = sorted({run.flops for run in ladder})
    made = forecast(ladder, target_flops, level=level, metric=runs.unit)
    notes = list(runs.findings)
    if len(used) > len(ladder):
        notes.append(
            Finding(
                "frontier",
                "note",
                f"The law is fitted to {len(sizes)} sizes of {sizes[0]:.2g} to {sizes[-1]:.2g} FLOPs, the best for "
                f"their compute; {len(used) - len(ladder)} of {len(used)} runs are less efficient or smaller.",
            )
        )
    spread = max(max(run.loss for run in size) / min(run.loss for run in size) for size in group_sizes(ladder))
    if spread > LARGEST_SEED_SPREAD:
        notes.append(
            Finding(
                "sweep",
                "warning",
                f"Runs of one size differ by up to {100 * (spread - 1):.0f} % and are averaged as its seeds; if they "
                "are a sweep over settings, keep the best of each size.",
            )
        )
    findings = by_severity([*made.findings, *notes])
    return dataclasses.replace(made, metric=runs.metric, findings=findings), len(used)


def _check_target(target_flops: float, largest: float) -> None:
    if not math.isfinite(target_flops) or target_flops <= largest:
        raise UserError(
            f"target_flops is {target_flops:.4g}; a finite number above the largest rung's {largest:.4g} FLOPs is "
            "needed, for inside the ladder there is nothing to forecast."
        )


def _law(mixture: Mixture, sizes: Sizes, level: float) -> dict[str, Any]:
    """Posterior medians and ranges of the law's constants."""
    scale = np.exp(mixture.level)
    exponent, share = mixture.exponent, mixture.share

    def spread(values: Vector) -> dict[str, float]:
        low, median, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
        return {"median": float(median), "low": float(low), "high": float(high)}

    return {
        "name": "power law with offset",
        "formula": "L(C) = a * C^-b + c",
        "a": spread(scale * (1 - share) * sizes.flops[-1] ** exponent),
        "b": spread(exponent),
        "c": spread(scale * share),
        "seed_noise": spread(mixture.seed_noise),
    }


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
