"""Which runs a forecast rests on, which not and why, and what the target's shape costs, each in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from foretell.core.wording import NAMED, listed, plural, span
from foretell.laws.frontier import Ladder
from foretell.laws.records import Finding, Observation
from foretell.laws.shape import NEAR_LOSS
from foretell.laws.sizes import Sizes, group_sizes

LARGEST_SEED_SPREAD = 1.05
LIKE = 1.5  # factor of tokens per parameter within which shapes are alike


def choice_findings(
    ladder: Ladder,
    fitted: Sizes,
    strays: Sequence[str],
    others: Sequence[str],
    target: tuple[float, float | None, float | None],
    owed: float,
) -> Iterator[Finding]:
    """Findings about the runs that were chosen and the target's shape.

    Args:
        ladder: what of the runs a law could be fitted to.
        fitted: the sizes that it is fitted to.
        strays, others: names of the ladder's strays and of the other runs left out, in their order.
        target: compute of the target, its parameters and tokens.
        owed: ln(loss) that the target's shape costs it.
    """
    flops, params, tokens = target
    if ladder.strays:
        yield stray_finding([(name, run.loss, near) for name, (run, near) in zip(strays, ladder.strays, strict=True)])
    yield from _choice(ladder, fitted, others)
    yield from _repeats(ladder)
    yield from _sweep(ladder)
    if params is None or tokens is None:
        return
    if ladder.shape is None:
        yield from _untold_shape((*ladder.used, *ladder.left_out), tokens / params)
    elif owed:
        yield _shape_note(ladder, flops, tokens / params, owed)


def names_of(run: Observation) -> str:
    """What to call a run of which no row is known."""
    return run.label or f"the run of {run.flops:.3g} FLOPs"


def stray_finding(strays: Sequence[tuple[str, float, float]]) -> Finding:
    """Runs set aside because of their losses: name, loss and the loss that the others lead to expect."""
    said = listed([f"{name} with {loss:.4g} where about {near:.3g} is expected" for name, loss, near in strays])
    asked = "did it diverge, or is it" if len(strays) == 1 else "did they diverge, or are they"
    return Finding(
        "stray",
        "warning",
        f"Set aside because of losses far off those of the other runs: {said}; {asked} in another unit?",
    )


def _choice(ladder: Ladder, fitted: Sizes, others: Sequence[str]) -> Iterator[Finding]:
    """Which runs the law rests on, and why the others do not count; these by name where they are few."""
    reach = f"{span(f'{fitted.flops[0]:.2g}', f'{fitted.flops[-1]:.2g}')} FLOPs"
    far = len(ladder.left_out)
    count = len(ladder.used) + far + len(ladder.strays)
    named = f" ({listed(others)})" if 0 < far <= NAMED else ""
    if ladder.shape is not None:
        over = "an average over" if len(fitted.flops) == 1 else "averages over"
        left = f"; {plural(far, 'run')} more than {100 * NEAR_LOSS:.0f} % above the frontier or far from its shape "
        left += f"{'is' if far == 1 else 'are'} left out{named}."
        yield Finding(
            "frontier",
            "note",
            f"The law is fitted to {plural(len(fitted.flops), 'point')} of {reach}, {over} "
            f"{len(ladder.used)} of {plural(count, 'run')} corrected for their tokens per parameter"
            f"{left if far else '.'}{_below(ladder.sizes, fitted)}",
        )
    elif len(fitted.flops) < len(ladder.sizes.flops) or far:
        worse = f"; {far} of {plural(count, 'run')} {'is' if far == 1 else 'are'} not the best of "
        worse += f"{'its' if far == 1 else 'their'} doubling of compute{named}."
        yield Finding(
            "frontier",
            "note",
            f"The law is fitted to {plural(len(fitted.flops), 'size')} of {reach}, the best for "
            f"{'its' if len(fitted.flops) == 1 else 'their'} compute{worse if far else '.'}"
            f"{_below(ladder.sizes, fitted)}",
        )


def _range(values: Sequence[float], form: str = ".3g") -> str:
    return span(format(min(values), form), format(max(values), form))


def _below(every: Sizes, kept: Sizes) -> str:
    count = len(every.flops) - len(kept.flops)
    if count == 1:
        return " A smaller one is left out: it bends the law more than it supports it."
    return f" {count} smaller ones are left out: they bend the law more than they support it." if count else ""


def _repeats(ladder: Ladder) -> Iterator[Finding]:
    """Runs that read text more than once are runs of their own, never seeds of those that did not."""
    passes = [run.tokens / run.unique_tokens for run in ladder.used if run.tokens and run.unique_tokens]
    if passes:
        every = len(passes) == len(ladder.used)
        yield Finding(
            "repeated-data",
            "note" if every else "warning",
            f"{'All' if every else f'{len(passes)} of {len(ladder.used)}'} runs read their text more than once "
            f"({_range(passes, '.2g')} times)"
            + (
                ": the forecast is of a run that repeats as they do."
                if every
                else "; they count as runs of their own, not as seeds, and their losses are higher than new text's."
            ),
        )


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


def _shape_note(ladder: Ladder, flops: float, ratio: float, owed: float) -> Finding:
    shape = ladder.shape
    assert shape is not None
    low, high = shape.tried
    outside = not low / LIKE <= ratio <= high * LIKE
    tail = f"; the runs have {_range(shape.tried)}, so this is beyond what they show." if outside else "."
    return Finding(
        "target-shape",
        "warning" if outside else "note",
        f"The target's {ratio:.3g} tokens per parameter cost {100 * math.expm1(owed):.1f} % of loss against the best "
        f"{float(shape.best_ratio(flops)):.3g} at its compute{tail}",
    )


def _untold_shape(runs: Sequence[Observation], ratio: float) -> Iterator[Finding]:
    """A target unlike runs that do not tell what their shape costs: the forecast is then of a run like them."""
    known = [run.tokens / run.params for run in runs if run.params is not None and run.tokens is not None]
    if len(known) < len(runs) or not min(known) / LIKE <= ratio <= max(known) * LIKE:
        have = _range(known) if known else "an unknown number"
        yield Finding(
            "target-shape",
            "warning",
            f"The target has {ratio:.3g} tokens per parameter and the runs {have}, which do not tell what that costs: "
            "the forecast is of a run shaped like them, and another shape may do worse by 10 % and more.",
        )
