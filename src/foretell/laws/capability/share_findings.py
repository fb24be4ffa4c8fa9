"""What can be wrong with the runs that an accuracy is forecast from, each said in one sentence with its figures."""

from __future__ import annotations

import math

from foretell.core.wording import factor, plural
from foretell.laws.capability.share_frontier import ShareFrontier, trend
from foretell.laws.capability.share_prior import ShareTask
from foretell.laws.diagnostics import EXTREME_GAP, gap_of
from foretell.laws.records import Finding, Forecast
from foretell.laws.tables.runs import Runs

LONG_GAP = 1000.0  # beyond which the public families of the backtest hold two sources only
FEWEST, FEW = 2, 3  # doublings of compute that a law needs, and that it is at ease with
WIDE, USELESS = 0.25, 0.8  # of an interval, in share
NEAR_CHANCE = 0.05


def share_findings(
    task: ShareTask, frontier: ShareFrontier, target_flops: float, interval: tuple[float, float, float], count: int,
    loss: Forecast | None, losses: Runs | None,
) -> list[Finding]:  # fmt: skip
    """Findings about the runs and the forecast made from them, in no order.

    Args:
        task: the metric and its chance.
        frontier: the fitted points.
        target_flops: compute of the target.
        interval: low, median and high of the target.
        count: runs that the frontier was chosen from.
        loss: the first stage of a two-stage forecast.
        losses: the losses that told which runs are best for their compute.
    """
    points, findings = frontier.points, []
    how, start, end = trend(points)
    if how in ("falls", "u-shape"):
        shown = (1 - start, 1 - end) if task.falling else (start, end)
        shape = "gets worse with compute" if how == "falls" else "gets worse before it gets better"
        findings.append(
            Finding(
                "inverse-scaling",
                "refusal",
                f"{task.metric} {shape}, from {shown[0]:.3f} to {shown[1]:.3f}, beyond noise; no law of rising skill "
                "holds for it.",
            )
        )
    elif how == "flat":
        near = task.chance is not None and end < task.chance + NEAR_CHANCE
        what = f"are at chance ({task.chance:g})" if near else "do not change beyond noise"
        findings.append(
            Finding(
                "at-chance" if near else "flat",
                "warning",
                f"The runs {what}, so when {task.metric} will rise rests on what other sources showed.",
            )
        )
    findings += share_reach(len(points.x), target_flops, math.exp(float(points.x[-1])))
    width = 100 * (interval[2] - interval[0])
    if width > 100 * USELESS:
        findings.append(
            Finding("interval-too-wide", "refusal", f"The interval is {width:.0f} points wide, which decides nothing.")
        )
    elif width > 100 * WIDE:
        findings.append(Finding("interval-wide", "warning", f"The interval is {width:.0f} points wide."))
    averaged = sum(len(group) for group in frontier.chosen)
    if averaged < count:
        by = f"by {losses.metric}" if frontier.log_loss is not None and losses is not None else "by this metric"
        findings.append(
            Finding(
                "frontier",
                "note",
                f"The law is fitted to {averaged} of {plural(count, 'run')} in "
                f"{plural(len(points.x), 'doubling')} of compute, the best of each {by}, averaged.",
            )
        )
    if loss is not None and losses is not None:
        findings.append(
            Finding(
                "two-stage",
                "note",
                f"{task.prior.loss_weight:.0%} of the forecast goes by way of {losses.metric}, foretold at "
                f"{loss.median:.3f} ({loss.low:.3f} to {loss.high:.3f}).",
            )
        )
    return findings


def share_reach(doublings: int, target_flops: float, largest: float) -> list[Finding]:
    """Too few doublings of compute to see a trend, and targets further beyond them than any public family tells."""
    findings = []
    gap = gap_of(target_flops, largest)
    fitted = f"The law is fitted to {plural(doublings, 'doubling')} of compute"
    if doublings < FEWEST:
        findings.append(
            Finding("too-few-sizes", "refusal", f"{fitted}; whether and how fast skill rises takes two at least.")
        )
    elif doublings < FEW:
        findings.append(Finding("few-sizes", "warning", f"{fitted} only."))
    if gap > EXTREME_GAP:
        findings.append(
            Finding(
                "gap",
                "refusal",
                f"The target is {factor(gap)} times beyond the runs; above {EXTREME_GAP:,.0f} nothing is promised.",
            )
        )
    elif gap > LONG_GAP:
        findings.append(
            Finding(
                "gap", "warning", f"The target is {factor(gap)} times beyond the runs; few public families are so long."
            )
        )
    return findings
