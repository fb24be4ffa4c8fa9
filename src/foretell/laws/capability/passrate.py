"""Pass rates of a run that nobody has trained yet, from how often small runs solved each problem.

As in OpenAI 2023, "GPT-4 Technical Report", section 3.2: problems are put into buckets of difficulty by the small runs
alone, -E[ln(pass rate)] is forecast in each, and problems that no small run ever solved are set apart. The model of a
bucket is in :mod:`foretell.laws.capability.passrate_model`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.wording import plural
from foretell.laws.capability.passrate_model import (
    BucketPosterior,
    PassRatePrior,
    depth_likelihood,
    infer_bucket,
    interval,
    mean_depth,
    problem_depths,
)
from foretell.laws.capability.passrate_table import UNNAMED, CountedRun, Counts
from foretell.laws.capability.share_findings import share_reach
from foretell.laws.capability.share_model import Vector
from foretell.laws.diagnostics import by_severity
from foretell.laws.records import Finding
from foretell.laws.target import level_of, positive, positive_or_none

MOST_BUCKETS, SMALLEST_BUCKET = 5, 12  # buckets, and problems in each
POINTS = 7  # so many doublings of compute, the largest, carry the fit
LAW = "-E[ln(pass rate)] = alpha * C^-k"
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class BucketForecast:
    """One bucket of problems of like difficulty, or all that are not set apart.

    Attributes:
        problems: names.
        log_pass: low, median and high of the mean over problems of -ln(pass rate) at the target.
        pass_rate: the same of the mean pass rate, 0 to 1.
        exponent: k of the law, low, median and high; ``None`` for all buckets together, which follow no single law.
    """

    problems: tuple[str, ...]
    log_pass: Interval
    pass_rate: Interval
    exponent: Interval | None


@dataclass(frozen=True)
class PassRateForecast:
    """Pass rates of one training run, foretold with intervals.

    Attributes:
        benchmark: name.
        target_flops: compute of the run that is foretold.
        level: probability of the intervals.
        total: of all problems that are not set apart.
        buckets: the easiest first.
        set_apart: problems that no run solved once.
        fitted: names of the runs that the law is fitted to.
        n_runs: how many these were chosen from.
        findings: refusals first.
    """

    benchmark: str
    target_flops: float
    level: float
    total: BucketForecast
    buckets: tuple[BucketForecast, ...]
    set_apart: tuple[str, ...]
    fitted: tuple[str, ...]
    n_runs: int
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """True where the runs cannot carry the forecast; the figures are then for the record only."""
        return any(finding.severity == "refusal" for finding in self.findings)

    @property
    def sentence(self) -> str:
        """The forecast in two sentences, then a line a bucket."""
        low, median, high = self.total.log_pass
        rate = self.total.pass_rate
        problems = plural(len(self.total.problems), "problem")
        of = "" if self.benchmark == UNNAMED else f" of {self.benchmark}"
        lines = [
            f"At {self.target_flops:.3g} FLOPs the mean of -ln(pass rate) over {problems}"
            f"{of} is forecast at {median:.3f}, with {100 * self.level:.0f} % probability between "
            f"{low:.3f} and {high:.3f}; the mean pass rate at {rate[1]:.2%} ({rate[0]:.2%} to {rate[2]:.2%})."
        ]
        if self.refused:
            lines.insert(0, "These runs cannot carry the forecast; the figures are for the record only.")
        for number, bucket in enumerate(self.buckets, 1):
            low, median, high = bucket.log_pass
            lines.append(
                f"  bucket {number} of {len(self.buckets)} ({plural(len(bucket.problems), 'problem')}): {median:.3f} "
                f"({low:.3f} to {high:.3f}), pass rate {bucket.pass_rate[1]:.2%}"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints; ``value``, ``low`` and ``high`` are the mean of -ln(pass rate) of all buckets."""
        low, median, high = self.total.log_pass
        return {
            "metric": f"mean_neg_log_pass_rate_{self.benchmark}", "flops": self.target_flops, "params": None,
            "tokens": None, "value": median, "low": low, "high": high, "level": self.level,
            "law": {"name": "mean log pass rate in buckets of difficulty", "formula": LAW}, "n_runs": self.n_runs,
            "refused": self.refused,
            "pass_rate": dict(zip(("low", "median", "high"), self.total.pass_rate, strict=True)),
            "buckets": [asdict(bucket) for bucket in self.buckets], "set_apart": list(self.set_apart),
            "fitted": list(self.fitted),
            "warnings": [f"{finding.severity}: {finding.sentence}" for finding in self.findings],
        }  # fmt: skip


def forecast_pass_rates(
    counts: Counts, target_flops: float, *, level: float = 0.9, max_flops: float | None = None,
    prior: PassRatePrior | None = None,
) -> PassRateForecast:  # fmt: skip
    """Forecast the pass rates of a run of ``target_flops`` on the problems that the runs were tried on.

    Args:
        counts: of one benchmark.
        target_flops: compute of the run that is foretold; more than the largest run's.
        level: probability of the intervals, 0.5 to 0.999.
        max_flops: only runs up to this compute are used, as if the others had not been trained.
        prior: constants other than the ones in use.

    Raises:
        UserError: for no runs, a level out of range, a target that is not above the runs, or if no problem was solved.
    """
    target_flops, level = positive("target_flops", target_flops), level_of(level)
    max_flops = positive_or_none("max_flops", max_flops)
    used = [run for run in counts.runs if max_flops is None or run.flops <= max_flops]
    if not used:
        raise UserError(f"No run of {counts.benchmark} is left to forecast from; at least one is needed.")
    if target_flops <= used[-1].flops:
        raise UserError(
            f"target_flops is {target_flops:.4g}; a finite number above the largest run's {used[-1].flops:.4g} FLOPs "
            "is needed."
        )
    solved, apart = split_solved(used)
    if not solved:
        raise UserError(f"No run solved any problem of {counts.benchmark} once, so there is nothing to forecast from.")
    fitted = frontier_of(used, solved)
    groups = difficulty_buckets(fitted, solved)
    ahead = math.log(target_flops / fitted[-1].flops)
    depths, rates, buckets = [], [], []
    for group in groups:
        posterior = _fit(fitted, group, prior or PassRatePrior())
        depth, rate = posterior.depths(ahead)
        depths.append(np.sort(depth))
        rates.append(np.sort(rate))
        sides = interval(depth, level), interval(rate, level), interval(posterior.exponent, level)
        buckets.append(BucketForecast(tuple(group), *sides))
    # one run is behind all buckets, so their errors are taken to go together: the wider of the two simple choices
    share = np.array([len(group) for group in groups]) / len(solved)
    total = BucketForecast(tuple(solved), interval(share @ np.array(depths), level),
                           interval(share @ np.array(rates), level), None)  # fmt: skip
    findings = [
        *counts.findings,
        *_findings(used, fitted, solved, apart),
        *share_reach(len(fitted), target_flops, fitted[-1].flops),
    ]
    return PassRateForecast(counts.benchmark, float(target_flops), level, total, tuple(buckets), tuple(apart),
                            tuple(run.name for run in fitted), len(used), by_severity(findings))  # fmt: skip


def split_solved(runs: Sequence[CountedRun]) -> tuple[list[str], list[str]]:
    """Problems that some run solved once, and those that none did, by name."""
    tried = {problem for run in runs for problem in run.problems}
    solved = {problem for run in runs for problem, right in zip(run.problems, run.correct, strict=True) if right > 0}
    return sorted(solved), sorted(tried - solved)


def counts_on(run: CountedRun, problems: Sequence[str]) -> tuple[Vector, Vector]:
    """A run's samples and right samples on those of ``problems`` that it was tried on."""
    wanted = set(problems)
    chosen = np.array([problem in wanted for problem in run.problems])
    return run.samples[chosen], run.correct[chosen]


def frontier_of(runs: Sequence[CountedRun], problems: Sequence[str]) -> list[CountedRun]:
    """The best run of each doubling of compute by its own likelihood, the largest doublings, in order of compute."""
    most = max(len(run.problems) for run in runs)
    best: dict[int, tuple[float, CountedRun]] = {}
    for run in runs:
        if len(run.problems) < most / 2:
            continue
        doubling = round(math.log2(run.flops))
        depth = mean_depth(*counts_on(run, problems))[0]
        if doubling not in best or depth < best[doubling][0]:
            best[doubling] = depth, run
    return [best[doubling][1] for doubling in sorted(best)[-POINTS:]]


def difficulty_buckets(runs: Sequence[CountedRun], problems: Sequence[str]) -> list[list[str]]:
    """Problems in groups of equal size, the easiest first, by their mean -ln(pass rate) over these runs alone."""
    found: dict[str, list[float]] = {problem: [] for problem in problems}
    for run in runs:
        depths: Mapping[str, float] = dict(zip(run.problems, problem_depths(run.samples, run.correct), strict=True))
        for problem in problems:
            if problem in depths:
                found[problem].append(depths[problem])
    hardest = max((float(np.mean(values)) for values in found.values() if values), default=0.0)
    order = sorted(problems, key=lambda problem: (np.mean(found[problem]) if found[problem] else hardest, problem))
    count = min(max(len(order) // SMALLEST_BUCKET, 1), MOST_BUCKETS)
    return [list(part) for part in np.array_split(np.array(order, dtype=object), count)]


def _fit(runs: Sequence[CountedRun], problems: Sequence[str], prior: PassRatePrior) -> BucketPosterior:
    top = runs[-1].flops
    x = np.array([math.log(run.flops / top) for run in runs])
    return infer_bucket(x, [depth_likelihood(*counts_on(run, problems)) for run in runs], prior)


def _findings(
    used: Sequence[CountedRun], fitted: Sequence[CountedRun], solved: Sequence[str], apart: Sequence[str]
) -> list[Finding]:
    """What a reader must know."""
    findings = []
    if apart:
        findings.append(
            Finding(
                "never-solved",
                "warning",
                f"No run solved {len(apart)} of {plural(len(solved) + len(apart), 'problem')} once; "
                f"{'it is' if len(apart) == 1 else 'they are'} set apart, and the forecast is of the others.",
            )
        )
    if len(fitted) >= 3 and (worse := _worsening(fitted, solved)):
        findings.append(worse)
    if len(fitted) < len(used):
        findings.append(
            Finding(
                "frontier",
                "note",
                f"The law is fitted to {len(fitted)} of {plural(len(used), 'run')}, the best of each doubling of "
                f"compute: {', '.join(run.name for run in fitted)}.",
            )
        )
    return findings


def _worsening(fitted: Sequence[CountedRun], solved: Sequence[str]) -> Finding | None:
    """A refusal where the pass rate falls with compute by more than noise."""
    scatter = PassRatePrior().scatter
    depths = [mean_depth(*counts_on(run, solved)) for run in fitted]
    first, last = min(depths[:-1]), depths[-1]
    rise = last[0] - first[0]
    if rise < 4 * math.sqrt(first[1] ** 2 + last[1] ** 2 + 2 * scatter**2):
        return None
    return Finding(
        "inverse-scaling",
        "refusal",
        f"The mean of -ln(pass rate) rises with compute, from {math.exp(first[0]):.2f} to {math.exp(last[0]):.2f} at "
        f"{fitted[-1].name}, beyond noise.",
    )
