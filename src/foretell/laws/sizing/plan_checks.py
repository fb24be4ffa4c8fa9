"""What can be wrong with a plan, each in one sentence with its figures; refusals where the runs cannot carry it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from foretell.core.wording import plural, span
from foretell.laws.diagnostics import EXTREME_GAP, SUPPORTED_GAP, by_severity
from foretell.laws.records import Finding, Severity
from foretell.laws.sizing.chinchilla import LossLaw
from foretell.laws.sizing.loss_terms import Vector

FEWEST_RUNS, FEW_RUNS = 6, 12  # the law has five constants
FEWEST_SIZES = 3
SAME_SIZE = 1.05
# Tokens per parameter must vary, or what a size is worth cannot be told from what its tokens are.
FEWEST_SHAPES_SPAN, FEW_SHAPES_SPAN = 2.0, 6.0
OUTSIDE, FAR_OUTSIDE = 1.5, 8.0  # factors by which the optimum's tokens per parameter may leave those that were tried
WIDE, USELESS = 3.0, 20.0  # upper end of the size's interval over the lower
USUAL_FACTOR = 6.0
SHOWN = 8
# Both commands are scored on the same families: docs/plan.md and docs/forecast.md have the tables.
WHICH_LOSS = Finding(
    "which-loss",
    "note",
    "For the loss itself trust foretell forecast at the same compute: on public families it was off by 0.4 % ten times "
    "beyond the runs and 1.3 % a hundred times, the law of a plan by 2.1 and 3.6 %; a plan is for weighing sizes.",
)


def check(law: LossLaw, params: float, tokens: float, size_width: float) -> tuple[Finding, ...]:
    """All findings about a law and its optimum (``params``, ``tokens``), refusals first.

    Args:
        law: of the runs so far.
        params, tokens: of the optimum.
        size_width: upper end of the interval of ``params`` over its lower end.
    """
    ratios = law.tokens / law.params
    found = [
        *_count(law),
        *_shapes(ratios),
        *_range(ratios, tokens / params),
        *_gap(law, float(law.compute(params, tokens))),
        *_width(size_width),
        *_table(law),
        WHICH_LOSS,
    ]
    return by_severity(found)


def distinct(values: Vector) -> int:
    """How many values, > 0, differ: those within :data:`SAME_SIZE` of the smallest are one, and so on with the rest.

    A sweep in steps of one per cent therefore counts as many sizes, not as one long chain.
    """
    rest, count = np.sort(values), 0
    while len(rest):
        rest, count = rest[rest > SAME_SIZE * rest[0]], count + 1
    return count


def _count(law: LossLaw) -> Iterator[Finding]:
    runs, sizes = len(law.params), distinct(law.params)
    if runs < FEWEST_RUNS or sizes < FEWEST_SIZES:
        few = f"There are {runs} runs of {plural(sizes, 'size')}"
        yield Finding("few-runs", "refusal", f"{few}; at least {FEWEST_RUNS} runs of {FEWEST_SIZES} sizes are needed "
                      "for a law of parameters and tokens.")  # fmt: skip
    elif runs < FEW_RUNS:
        yield Finding("few-runs", "warning", f"The law's constants rest on {runs} runs and on what is believed before "
                      "any; a dozen runs or more say it themselves.")  # fmt: skip


def _shapes(ratios: Vector) -> Iterator[Finding]:
    span = float(ratios.max() / ratios.min())
    said = f"Tokens per parameter vary by a factor {span:.3g} only ({_span(ratios)})"
    if span < FEWEST_SHAPES_SPAN:
        yield Finding("one-shape", "refusal", f"{said}, so what a size is worth cannot be told from what tokens are; "
                      "add runs of the same compute with a smaller and a larger model.")  # fmt: skip
    elif span < FEW_SHAPES_SPAN:
        yield Finding("few-shapes", "warning", f"{said}; the best size rests on little.")


def _span(values: Vector) -> str:
    return span(f"{values.min():.3g}", f"{values.max():.3g}")


def _range(ratios: Vector, optimal: float) -> Iterator[Finding]:
    outside = max(float(ratios.min()) / optimal, optimal / float(ratios.max()))
    if outside > OUTSIDE:
        severity: Severity = "refusal" if outside > FAR_OUTSIDE else "warning"
        yield Finding("outside", severity, f"The optimum has {optimal:.3g} tokens per parameter, {outside:.2g} times "
                      f"outside of what was tried ({_span(ratios)}); it is trustworthy only "
                      "near the range of the runs.")  # fmt: skip


def _gap(law: LossLaw, flops: float) -> Iterator[Finding]:
    gap = flops / float(law.flops.max())
    if gap > SUPPORTED_GAP:
        severity: Severity = "refusal" if gap > EXTREME_GAP else "warning"
        yield Finding("gap", severity, f"The budget is {gap:,.0f} times the largest run ({law.flops.max():.3g} FLOPs); "
                      f"beyond {SUPPORTED_GAP:,.0f} times no public family can check the law.")  # fmt: skip
    elif flops < float(law.flops.min()):
        yield Finding("below", "warning", f"The budget is below the smallest run ({law.flops.min():.3g} FLOPs), where "
                      "laws usually bend.")  # fmt: skip


def _width(width: float) -> Iterator[Finding]:
    if width > WIDE:
        severity: Severity = "refusal" if width > USELESS else "warning"
        yield Finding("size-uncertain", severity, f"The best size is known within a factor {width:.3g} only; runs of "
                      "more sizes at each compute narrow it.")  # fmt: skip


def _table(law: LossLaw) -> Iterator[Finding]:
    if law.outliers:
        rows = ", ".join(str(run.row) for run in law.outliers[:SHOWN])
        more = f" and {len(law.outliers) - SHOWN} more" if len(law.outliers) > SHOWN else ""
        yield Finding("outliers", "warning", f"Set aside because they are far from the law of the others: rows "
                      f"{rows}{more}.")  # fmt: skip
    if abs(law.flops_factor / USUAL_FACTOR - 1) > 0.1:
        yield Finding("count", "note", f"Compute in the table is {law.flops_factor:.3g} N D, not 6 N D; the plan "
                      "counts as the table does.")  # fmt: skip
