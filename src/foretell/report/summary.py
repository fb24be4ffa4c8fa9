"""The head of the page: one paragraph and the figures one looks for first."""

from __future__ import annotations

from dataclasses import dataclass

from foretell.report.findings import outcome_bits_per_byte, target_flops, total
from foretell.report.records import Run
from foretell.report.series import unit_name
from foretell.report.wording import bits, count, fraction, percent, plural, scientific


@dataclass(frozen=True)
class Tile:
    """One figure of the head: ``value`` is ``None`` where there is none yet."""

    label: str
    value: str | None
    detail: str = ""


def tiles(run: Run) -> list[Tile]:
    """Forecast, outcome, gap, price, model and data in six figures."""
    forecast, factor = run.forecast.record("forecast"), run.bytes_per_word()
    scale, unit = factor or 1.0, unit_name(factor)
    median, low, high = (forecast.number(name) for name in ("median", "low", "high"))
    outcome, error, inside = outcome_bits_per_byte(run), run.score.number("relative_error"), run.score.flag("inside")
    target, spent = target_flops(run), total(run.ladder, "flops")
    largest = max((flops for rung in run.rungs() if (flops := rung.number("flops"))), default=None)
    parameters = run.target.number("parameters.total") or run.plan.number("target.parameters.total")
    tokens = run.target.number("tokens") or run.plan.number("target.tokens")
    level = forecast.number("level")
    interval = "" if level is None else f"{100 * level:g} % interval "
    verdict = "" if inside is None else f"{'inside' if inside else 'outside'} the interval"
    verdict += "" if error is None else f", {percent(abs(error))} {'above' if error > 0 else 'below'} the median"
    return [
        Tile(
            f"forecast, {unit}",
            None if median is None else bits(median * scale),
            "" if low is None or high is None else f"{interval}{bits(low * scale)} to {bits(high * scale)}",
        ),
        Tile(f"outcome, {unit}", None if outcome is None else bits(outcome * scale), verdict),
        Tile(
            "largest rung against the target",
            fraction(largest / target) if largest and target else None,
            f"target: {scientific(target)} FLOPs" if target else "",
        ),
        Tile(
            "price of the ladder",
            percent(spent / target) if spent is not None and target else None,
            f"of the target's compute, {plural(len(run.ladder), 'run')}" if run.ladder else "",
        ),
        Tile("parameters", None if parameters is None else count(parameters), "embeddings counted"),
        Tile("training tokens", None if tokens is None else count(tokens), _tokens_each(tokens, run)),
    ]


def _tokens_each(tokens: float | None, run: Run) -> str:
    """By the convention that the plan uses: the head counts, the embedding does not."""
    with_head = run.target.number("parameters.with_head") or run.plan.number("target.parameters.with_head")
    return f"{tokens / with_head:.1f} a parameter with the head counted" if tokens and with_head else ""


def summary(run: Run) -> str:
    """What this page is about, in one paragraph that holds for a run at any stage."""
    rungs, target = run.rungs(), target_flops(run)
    if run.forecast:
        text = "This page reports a forecast of a language model's loss, made before the model was trained. "
    else:
        text = "This page reports a run meant to forecast a language model's loss before the model is trained. "
    if rungs:
        widths = sorted({width for rung in rungs if (width := rung.number("width"))})
        seeds = {seed for rung in rungs if (seed := rung.number("seed")) is not None}
        text += f"{plural(len(rungs), 'small model')} of {plural(len(widths), 'width')}"
        text += f" ({widths[0]:.0f} to {widths[-1]:.0f}) " if len(widths) > 1 else " "
        text += f"and {plural(len(seeds), 'seed')} were trained. "
    if run.forecast:
        by_references = bool(run.forecast.record("forecast.references"))
        what = "What runs on other corpora taught about it" if by_references else "A law fitted to their losses"
        text += f"{what} was written down and sealed as the forecast for the target"
        text += f", a model trained with {scientific(target)} FLOPs. " if target else ". "
    if run.target:
        text += "The target was then trained and scored against it. " if run.score else "The target was then trained. "
    return text + "Every number is read from a record of the run, which each section links to."
