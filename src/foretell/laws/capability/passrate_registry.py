"""Pass rates foretold by a ladder: sealed before their target starts, scored beside "the same as the largest rung"."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.wording import plural
from foretell.laws.capability.passrate import (
    SMALLEST_BUCKET,
    PassRateForecast,
    counts_on,
    forecast_pass_rates,
    split_solved,
)
from foretell.laws.capability.passrate_model import mean_depth
from foretell.laws.capability.passrate_table import CountedRun, Counts
from foretell.laws.capability.share_findings import FEW, FEWEST
from foretell.laws.diagnostics import by_severity
from foretell.laws.records import Finding
from foretell.laws.registry import load_sealed, seal

KIND = "foretell pass rate forecast registration"
VERSION = 1
FIELDS = ("benchmark", "target_flops", "level", "findings", "forecast", "baseline", "counts", "context")


def register_pass_rates(
    path: Path, counts: Counts, target_flops: float, level: float, context: Mapping[str, Any]
) -> dict[str, Any]:
    """Forecast pass rates and seal the forecast in a new read-only file.

    A run that solved nothing has no pass rate. It is a missing measurement and no part of the fit: the law has a floor
    below which it does not hold, and nothing tells such a run's place on it.

    Args:
        path: the file, which must not exist.
        counts: of the ladder's runs, one a size.
        target_flops: compute of the run that is foretold.
        level: probability of the intervals.
        context: anything JSON can hold that says where the counts came from.

    Returns:
        The registration: ``benchmark``, ``target_flops``, ``level``; ``findings``, refusals first; ``forecast``, the
        fields of :class:`foretell.laws.capability.passrate.PassRateForecast` and its ``sentence``, or ``None`` where no
        run solved anything; ``baseline``, what the largest run's own counts say of the same problems, or ``None``;
        ``counts``; ``context``; and what :func:`foretell.laws.registry.seal` adds.

    Raises:
        UserError: as :func:`foretell.laws.registry.seal` and
            :func:`foretell.laws.capability.passrate.forecast_pass_rates`.
    """
    solved, _ = split_solved(counts.runs)
    passing = dataclasses.replace(counts, runs=tuple(run for run in counts.runs if run.correct.sum() > 0))
    made = forecast_pass_rates(passing, target_flops, level=level) if solved else None
    findings = by_severity([*_passing(counts), *_problems(counts, solved), *(made.findings if made else ())])
    if made:
        made = dataclasses.replace(made, findings=findings)
    return seal(path, KIND, VERSION, {
        "benchmark": counts.benchmark, "target_flops": float(target_flops), "level": level,
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "forecast": dataclasses.asdict(made) | {"sentence": made.sentence} if made else None,
        "baseline": _baseline(counts.runs[-1], made) if made else None,
        "counts": [run_record(run) for run in counts.runs],
        "context": dict(context),
    })  # fmt: skip


def load_pass_rates(path: Path) -> dict[str, Any]:
    """Read a registration and prove that nothing in it has changed since it was sealed.

    Raises:
        UserError: where the file is missing, is not a registration of pass rates, or has been changed.
    """
    return load_sealed(path, KIND, VERSION, FIELDS)


def findings_of(registered: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What a registration says that its reader must know, refusals first."""
    return tuple(Finding(**finding) for finding in registered["findings"])


def run_record(run: CountedRun) -> dict[str, Any]:
    """A run's counts as JSON has them."""
    return {
        "name": run.name, "flops": run.flops, "problems": list(run.problems),
        "samples": [int(value) for value in run.samples], "correct": [int(value) for value in run.correct],
    }  # fmt: skip


def run_of(record: Mapping[str, Any]) -> CountedRun:
    """The run of :func:`run_record`."""
    samples, correct = (np.array(record[key], dtype=float) for key in ("samples", "correct"))
    return CountedRun(record["name"], record["flops"], tuple(record["problems"]), samples, correct)


def measured(run: CountedRun, buckets: Sequence[Sequence[str]]) -> dict[str, Any] | None:
    """A run's mean of -ln(pass rate) by its own counts, without a law, as :mod:`passrate_backtest` takes it.

    Returns:
        ``log_pass``, the mean over the problems of all buckets, and ``log_pass_error``, its standard deviation from the
        finite number of samples; ``bucket_log_pass``; ``pass_rate``, the share of all samples that are right. ``None``
        where none is: such a rate was not measured.
    """
    problems = [problem for bucket in buckets for problem in bucket]
    samples, correct = counts_on(run, problems)
    if not correct.sum():
        return None
    depths = [mean_depth(*counts_on(run, bucket)) for bucket in buckets]
    means = np.exp([mean for mean, _ in depths])
    errors = means * np.array([deviation for _, deviation in depths])
    share = np.array([len(bucket) for bucket in buckets]) / len(problems)
    return {
        "log_pass": float(share @ means),
        "log_pass_error": math.sqrt(float(share**2 @ errors**2)),
        "bucket_log_pass": [float(mean) for mean in means],
        "pass_rate": float(np.mean(correct / samples)),
    }


def score_pass_rates(
    registered: Mapping[str, Any], target: CountedRun, outcome_context: Mapping[str, Any]
) -> dict[str, Any]:
    """Hold a registered forecast, and "the same as the largest run", against the target's counts.

    Args:
        registered: from :func:`load_pass_rates`.
        target: its counts, on the problems that the runs were tried on.
        outcome_context: where they came from; returned with the score.

    Returns:
        ``outcome`` (see :func:`measured`; ``None`` where the target solved none of the problems that are foretold, or
        none is), ``median``, ``low``, ``high``, ``inside``; ``error``, outcome less median of the mean of -ln(pass
        rate), and ``baseline_error``, the same of the baseline; ``newly_solved``, problems that were set apart and the
        target solved, of ``set_apart``; ``refused``, ``sha256``, ``context`` and a ``sentence``. What was not measured
        is ``None``.

    Raises:
        UserError: where the target was tried on other problems.
    """
    asked = set(registered["counts"][-1]["problems"])
    if set(target.problems) != asked:
        raise UserError(
            f"The target was tried on {plural(len(target.problems), 'problem')}, which are not the {len(asked)} that "
            "its pass rates were foretold for."
        )
    forecast, baseline = registered["forecast"], registered["baseline"]
    apart = forecast["set_apart"] if forecast else sorted(asked)
    outcome = measured(target, [bucket["problems"] for bucket in forecast["buckets"]]) if forecast else None
    low, median, high = forecast["total"]["log_pass"] if forecast else (None, None, None)
    found: dict[str, Any] = {
        "outcome": outcome, "low": low, "median": median, "high": high, "level": registered["level"],
        "inside": low <= outcome["log_pass"] <= high if outcome else None,
        "error": outcome["log_pass"] - median if outcome else None,
        "baseline": baseline,
        "baseline_error": outcome["log_pass"] - baseline["log_pass"] if outcome and baseline else None,
        "set_apart": len(apart), "newly_solved": int((counts_on(target, apart)[1] > 0).sum()) if apart else 0,
        "refused": any(finding.severity == "refusal" for finding in findings_of(registered)),
        "sha256": registered["sha256"], "context": dict(outcome_context),
    }  # fmt: skip
    return found | {"sentence": " ".join(_sentences(registered["benchmark"], found))}


def _sentences(benchmark: str, found: Mapping[str, Any]) -> Iterator[str]:
    outcome, baseline = found["outcome"], found["baseline"]
    if found["median"] is None:
        yield f"No pass rate on {benchmark} was foretold, because no rung solved a problem."
    elif outcome is None:
        yield f"The target solved none of the problems of {benchmark} that were foretold; its rate was not measured."
    else:
        place = "inside" if found["inside"] else "below" if outcome["log_pass"] < found["low"] else "above"
        yield (
            f"The target's mean of -ln(pass rate) on {benchmark} is {outcome['log_pass']:.3f} ± "
            f"{outcome['log_pass_error']:.3f}, {place} the {100 * found['level']:.0f} % interval from "
            f"{found['low']:.3f} to {found['high']:.3f}: {abs(found['error']):.3f} "
            f"{'below' if found['error'] < 0 else 'above'} the forecast of {found['median']:.3f}"
            + (f", and {abs(found['baseline_error']):.3f} {'below' if found['baseline_error'] < 0 else 'above'} the "
               f"{baseline['log_pass']:.3f} of the largest rung." if baseline else ".")
        )  # fmt: skip
        yield f"It solves these problems in {outcome['pass_rate']:.1%} of samples."
    if found["set_apart"]:
        yield f"Of {plural(found['set_apart'], 'problem')} that no rung solved, it solved {found['newly_solved']}."
    if found["refused"]:
        yield "The forecast had been refused beforehand."


def _baseline(largest: CountedRun, made: PassRateForecast) -> dict[str, Any] | None:
    """What the target would reach if it were as good as the largest run; ``None`` where that solved nothing."""
    found = measured(largest, [bucket.problems for bucket in made.buckets])
    return {"run": largest.name, **found} if found else None


def _passing(counts: Counts) -> list[Finding]:
    """Too few runs with a pass rate to see how it rises."""
    passed = [run for run in counts.runs if run.correct.sum() > 0]
    said = f"{len(passed)} of {plural(len(counts.runs), 'rung')} solved a problem of {counts.benchmark}"
    if len(passed) < FEWEST:
        return [Finding("too-few-passing", "refusal", f"{said}; how the pass rate rises takes {FEWEST} at least.")]
    without = ", ".join(run.name for run in counts.runs if not run.correct.sum())
    missing = f"; there is no pass rate of {without}" if without else ""
    if counts.runs[-1] is not passed[-1]:
        return [Finding(
            "largest-not-passing", "refusal",
            f"{said}, the largest not among them{missing}; a rate that falls with compute is not forecast.",
        )]  # fmt: skip
    if len(passed) < FEW:
        return [Finding("few-passing", "warning", f"{said} only{missing}.")]
    return [Finding("not-passing", "note", f"{said}{missing}.")] if without else []


def _problems(counts: Counts, solved: Sequence[str]) -> list[Finding]:
    """Too few problems to carry a mean over them."""
    if 0 < len(solved) < SMALLEST_BUCKET:
        return [Finding(
            "too-few-problems", "refusal",
            f"The rungs solved {plural(len(solved), 'problem')} of {counts.benchmark} in all; a mean over fewer than "
            f"{SMALLEST_BUCKET} is chance.",
        )]  # fmt: skip
    return []
