"""What can be wrong with a ladder, each said in one sentence with its figures.

A warning means that the interval, which already widens with what the ladder shows, should be read with care. A refusal
means that the ladder cannot carry the forecast: a right answer, where a narrow interval would be a wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from foretell.core.wording import factor, plural
from foretell.laws.ladder_shape import RISE_NOTICED, noise_of_sizes, slope_rise, weighted_polynomial
from foretell.laws.prior import PUBLIC_FLOPS, Prior, learned
from foretell.laws.records import Finding, Observation
from foretell.laws.sizes import Sizes, Vector

FEWEST_SIZES = 3
SUPPORTED_GAP = 1000.0  # the widest extrapolation that the public families of the backtest can check
EXTREME_GAP = 30_000.0
LONG_REACH, EXTREME_REACH = 2.5, 6.0  # ln(gap) over ln(span of the ladder); the backtest's cases end at 2.5
RISE_EFFECT = 0.2  # change of ln(loss) at the target, were the rise to last, that a refusal needs
PATTERN_CHI_SQUARE = 4.0  # reduced chi-square of the residuals
WIDE, USELESS = 0.2, 0.35  # half-widths relative to the median
LATE_DROP_RATIO, LATE_DROP_EXCESS = 3.0, 0.05
CURVE_MIDDLE, CURVE_END = (0.12, 0.45), (0.6, 1.0)  # shares of a run; decay of the learning rate steepens the end
TRACK_FACTOR, FEWEST_TRACKED, TRACK_WARNING = 2.0, 8, 100.0  # of gaps that are alike; of records that are said
FEWEST_CURVE_POINTS = 4  # in each of the two stretches


def diagnose(
    sizes: Sizes,
    observations: Sequence[Observation],
    residuals: Vector,
    target_flops: float,
    interval: tuple[float, float, float],
    *,
    prior: Prior,
) -> tuple[Finding, ...]:
    """All findings about a ladder and the forecast made from it, refusals first.

    Args:
        sizes: the ladder's sizes.
        observations: its runs, for their training curves.
        residuals: of ln(loss) from the law, shape (sizes,).
        target_flops: compute of the target.
        interval: low, median and high of the target's loss.
        prior: where noise comes from when the seeds do not tell.
    """
    noise = noise_of_sizes(sizes, prior)
    gap = gap_of(target_flops, float(sizes.flops[-1]))
    findings = [
        *_count(len(sizes.flops)),
        *_seeds(sizes, prior),
        *_falls(sizes, noise),
        *_rises(sizes, gap, prior),
        *_pattern(sizes, residuals, noise),
        *_reach(sizes.flops, gap),
        *_track_record(sizes.flops, gap),
        *_late_drops(observations),
        *interval_findings(interval),
    ]
    return by_severity(findings)


def foreseeable(flops: Sequence[float], target_flops: float) -> tuple[Finding, ...]:
    """What is certain from the compute of a ladder's sizes alone, before one of them is trained; refusals first."""
    rungs = np.sort(np.asarray(flops, dtype=float))
    return by_severity([*_count(len(rungs)), *_reach(rungs, gap_of(target_flops, float(rungs[-1])))])


def gap_of(target_flops: float, largest: float) -> float:
    """How many times the largest run's compute a target has, to five digits: tables round, and 100 is not above 100."""
    return float(f"{target_flops / largest:.5g}")


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Refusals first, then warnings, then notes."""
    return tuple(sorted(findings, key=lambda finding: ("refusal", "warning", "note").index(finding.severity)))


def _count(count: int) -> Iterator[Finding]:
    if count < FEWEST_SIZES:
        yield Finding("too-few-sizes", "refusal", f"The ladder has {plural(count, 'size')}; a law needs three.")
    elif count == FEWEST_SIZES:
        yield Finding("few-sizes", "warning", "The ladder has three sizes, so its curvature rests on one of them.")


def _seeds(sizes: Sizes, prior: Prior) -> Iterator[Finding]:
    if sizes.freedom == 0:
        yield Finding(
            "one-seed",
            "warning",
            f"No size was trained with two seeds; the seed noise of {100 * prior.seed_noise:.1f} % is assumed.",
        )
    if sizes.set_aside:
        yield Finding(
            "set-aside",
            "note",
            f"Left out because another size of the same compute did better: {', '.join(sizes.set_aside)}.",
        )


def _falls(sizes: Sizes, noise: Vector) -> Iterator[Finding]:
    """Losses must fall with compute, by more than noise, or there is nothing to extrapolate."""
    if len(sizes.flops) < 2:
        return
    coefficients, errors = weighted_polynomial(sizes.x, sizes.log_loss, noise, 1)
    slope, error = -coefficients[1], errors[1]
    if slope < 2 * error:
        yield Finding(
            "does-not-fall",
            "refusal",
            f"The loss does not fall with compute beyond noise: its log-log slope is {-slope:+.4f}, standard error "
            f"{error:.4f}.",
        )
        return
    for index, step in enumerate(np.diff(sizes.log_loss)):
        if step > 2 * math.hypot(noise[index], noise[index + 1]):
            yield Finding(
                "out-of-order",
                "warning",
                f"{sizes.labels[index + 1]} has a loss {100 * math.expm1(step):.1f} % above that of the smaller "
                f"{sizes.labels[index]}, more than noise explains; it may be badly tuned.",
            )


def _rises(sizes: Sizes, gap: float, prior: Prior) -> Iterator[Finding]:
    """Under a power law with an offset the log-log slope falls; a rise says that something is still setting in."""
    rise = slope_rise(sizes, prior)
    if rise is None or rise.evidence < RISE_NOTICED:
        return
    effect = (rise.top - rise.bottom) * math.log(gap)
    seen = (
        f"Local slopes rise along the ladder, from {rise.bottom:.3f} to {rise.top:.3f} "
        f"({rise.evidence:.1f} standard errors)"
    )
    if rise.certainty == 1 and effect > RISE_EFFECT:
        yield Finding(
            "slopes-rise",
            "refusal",
            f"{seen}: a transition is under way that could change the target's loss by {100 * effect:.0f} %, so larger "
            "rungs, past it, are needed.",
        )
    else:
        yield Finding("slopes-rise", "warning", f"{seen}: the target may turn out better than the law says.")


def _pattern(sizes: Sizes, residuals: Vector, noise: Vector) -> Iterator[Finding]:
    """Residuals larger than noise, or in long runs of one sign, mean that the law does not describe the ladder."""
    count = len(sizes.flops)
    if count < 4:
        return
    reduced = float(((residuals / noise) ** 2).sum() / (count - 3))
    if reduced > PATTERN_CHI_SQUARE:
        signs = np.sign(residuals)
        runs = 1 + int((signs[1:] != signs[:-1]).sum())
        yield Finding(
            "residual-pattern",
            "warning",
            f"The law misses the rungs by more than noise explains: reduced chi-square {reduced:.1f}, largest residual "
            f"{100 * float(np.abs(residuals).max()):.1f} %, {plural(runs, 'run')} of sign over {count} "
            "sizes.",
        )


def _reach(flops: Vector, gap: float) -> Iterator[Finding]:
    """How far the target lies beyond the ladder, against what has been tested and against the ladder's own span."""
    if gap > SUPPORTED_GAP:
        extreme = gap > EXTREME_GAP
        yield Finding(
            "gap",
            "refusal" if extreme else "warning",
            f"The target has {factor(gap)} times the compute of the largest rung; public families check at most "
            f"{SUPPORTED_GAP:,.0f} times"
            + (f", and beyond {EXTREME_GAP:,.0f} nothing is promised." if extreme else "."),
        )
    wide = float(flops[-1] / flops[0])
    reach = math.log(gap) / math.log(wide) if wide > 1 else math.inf
    if len(flops) > 1 and reach > LONG_REACH:
        yield Finding(
            "span",
            "refusal" if reach > EXTREME_REACH else "warning",
            f"The rungs span a factor {wide:.3g} of compute and the target lies a factor {factor(gap)} beyond: "
            f"{reach:.1f} times as far in the logarithm, where {LONG_REACH:g} is tested.",
        )
    if flops[-1] < PUBLIC_FLOPS:
        yield Finding(
            "below-public-scale",
            "note",
            f"The rungs lie below {PUBLIC_FLOPS:.0e} FLOPs, where no public family speaks; the interval leaves room "
            "for a transition between them and the target.",
        )


def _track_record(flops: Vector, gap: float) -> Iterator[Finding]:
    """How far off forecasts of public families were at this distance, by constants that had not seen the family."""
    if flops[-1] < PUBLIC_FLOPS:
        return
    alike = [one for one in learned()["track_record"] if 1 / TRACK_FACTOR <= one["gap"] / gap <= TRACK_FACTOR]
    if len(alike) < FEWEST_TRACKED:
        return
    error = float(np.median([abs(one["error"]) for one in alike]))
    held = float(np.mean([one["inside"] for one in alike]))
    yield Finding(
        "track-record",
        "warning" if gap > TRACK_WARNING else "note",
        f"The target is {factor(gap)} times beyond the largest point; on public families the median error at about "
        f"that distance was {100 * error:.1f} %, and the 90 % interval held {100 * held:.0f} % of {len(alike)} "
        "outcomes.",
    )


def _late_drops(observations: Sequence[Observation]) -> Iterator[Finding]:
    found = []
    for run in observations:
        slopes = _curve_slopes(run.curve)
        if slopes is None:
            continue
        middle, end = slopes
        excess = (end - max(middle, 0.0)) * math.log(CURVE_END[1] / CURVE_END[0])
        if end > LATE_DROP_RATIO * max(middle, 0.0) and excess > LATE_DROP_EXCESS:
            found.append((excess, run.label or f"{run.flops:.2g} FLOPs"))
    if found:
        excess, label = max(found)
        yield Finding(
            "late-drop",
            "warning",
            f"The training curve drops late in {plural(len(found), 'run')}, most in {label} "
            f"({100 * excess:.0f} % beyond its earlier slope): something is learnt only at the end of the rungs.",
        )


def _curve_slopes(curve: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Slope of -ln(loss) over ln(progress) in the middle and at the end of a run; None where points are too few."""
    points = np.array([(when, loss) for when, loss in curve if when > 0 and loss > 0 and math.isfinite(loss)])
    if len(points) < 2 * FEWEST_CURVE_POINTS:
        return None
    progress = points[:, 0] / points[:, 0].max()
    slopes = []
    for start, end in (CURVE_MIDDLE, CURVE_END):
        inside = (progress >= start) & (progress <= end)
        if inside.sum() < FEWEST_CURVE_POINTS:
            return None
        slopes.append(-float(np.polyfit(np.log(progress[inside]), np.log(points[inside, 1]), 1)[0]))
    return slopes[0], slopes[1]


def interval_findings(interval: tuple[float, float, float]) -> Iterator[Finding]:
    """What is to be said of the width of (low, median, high)."""
    low, median, high = interval
    half = (high - low) / (2 * median)
    if half > USELESS:
        yield Finding(
            "interval-too-wide",
            "refusal",
            f"The interval is plus or minus {100 * half:.0f} %, which decides nothing (above {100 * USELESS:.0f} %).",
        )
    elif half > WIDE:
        yield Finding("interval-wide", "warning", f"The interval is wide: plus or minus {100 * half:.0f} %.")
