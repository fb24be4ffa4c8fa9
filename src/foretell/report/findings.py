"""What the records say, in sentences with numbers: the state of the run, its key findings, its summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foretell.report.records import Record, Run
from foretell.report.series import unit_name
from foretell.report.wording import (
    bits,
    count,
    energy,
    fraction,
    moment,
    percent,
    plural,
    scientific,
    seconds,
    size,
    whole,
)


@dataclass(frozen=True)
class Finding:
    """One sentence (or a few) from the record at ``source``; ``severity`` is good, note, warning or missing."""

    sentence: str
    source: str
    severity: str = "note"


def total(records: Sequence[Record], key: str) -> float | None:
    """The sum of a field over records; ``None`` where there are none or any of them lacks it."""
    values = [record.number(key) for record in records]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def training_began(run: Run) -> float | None:
    """When the target's log opened, at or before its first step or its encoder's; seconds since 1970."""
    return min((time for record in (*run.looking, *run.log) if (time := record.number("time"))), default=None)


def tokens_seen(run: Run) -> float | None:
    """Tokens the target had trained on at its last recorded step."""
    return max((tokens for record in run.of_kind("step") if (tokens := record.number("tokens"))), default=None)


def unfinished_rungs(run: Run) -> list[tuple[Record, int]]:
    """Planned rungs and seeds without a result, as (rung of the plan, seed)."""
    results = run.rungs()

    def finished(rung: Record, seed: int) -> bool:
        flops = rung.number("flops") or 0.0
        return any(
            result.number("width") == rung.number("width")
            and result.number("seed") == seed
            and abs((result.number("flops") or 0.0) - flops) <= 0.02 * flops
            for result in results
        )

    return [
        (rung, int(seed))
        for rung in run.plan.records("rungs")
        for seed in rung.numbers("seeds")
        if not finished(rung, int(seed))
    ]


def state(run: Run) -> Finding:
    """How far the run came."""
    last = run.timeline[-1] if run.timeline else None
    stopped = last is not None and "interrupted" in (last.get("kind"), last.get("status"))
    interrupted = " The run was interrupted; the same command goes on from there." if stopped else ""
    if run.target:
        return Finding("Complete: the target was trained to its planned end.", "target/result.json", "good")
    if run.refusal and not run.refusal.flag("anyway"):
        return Finding(
            "Refused: the ladder cannot carry this forecast, so the target was not trained.", "refusal.json", "warning"
        )
    seen, planned = tokens_seen(run), run.plan.number("target.tokens")
    if seen is not None:
        share = f" of {count(planned)} ({percent(seen / planned)})" if planned else ""
        return Finding(
            f"The target is unfinished: {count(seen)}{share} tokens trained.{interrupted}", "target/log.jsonl"
        )
    if run.forecast:
        return Finding(f"The forecast is registered; the target has not started.{interrupted}", "forecast.json")
    if run.ladder:
        left = len(unfinished_rungs(run))
        todo = f", {plural(left, 'rung run')} of the plan to go" if left else ""
        return Finding(
            f"Ladder only: {plural(len(run.rungs()), 'rung run')} finished{todo}. There is no forecast and no target "
            f"yet.{interrupted}",
            "plan.json",
        )
    return Finding(f"No model has been trained yet.{interrupted}", "run.jsonl")


def findings(run: Run) -> list[Finding]:
    """The key findings, most important first."""
    found: list[Finding] = []
    for part in (_refusal, _outcome, _code, _registration, _gap, _ladder_cost, _warnings, _model, _data, _resources):
        found.extend(part(run))
    return found


def _refusal(run: Run) -> Iterator[Finding]:
    for sentence in run.refusal.items("sentences"):
        yield Finding(str(sentence), "refusal.json", "warning")
    if run.refusal and run.refusal.flag("anyway"):
        yield Finding("The target was trained all the same, as --anyway or the recipe asks.", "refusal.json", "warning")


def _both_units(value: float | None, factor: float | None) -> str:
    """A loss given in bits per byte, in bits per word where bytes per word are known and in bits per byte."""
    if value is None or factor is None:
        return f"{bits(value)} bits per byte"
    return f"{bits(value * factor)} bits per word ({bits(value)} bits per byte)"


def outcome_bits_per_byte(run: Run) -> float | None:
    """The target's held-out loss in bits per byte: from the score, else from the target's own result."""
    scored = run.score.number("outcome")
    return scored if scored is not None else run.target.number("heldout.bits_per_byte")


def _outcome(run: Run) -> Iterator[Finding]:
    forecast, factor = run.forecast.record("forecast"), run.bytes_per_word()
    median, low, high = (forecast.number(name) for name in ("median", "low", "high"))
    outcome = outcome_bits_per_byte(run)
    if median is not None:
        level = forecast.number("level")
        sentence = f"The forecast was {_both_units(median, factor)}"
        if low is not None and high is not None:
            scale = factor or 1.0
            name = "interval" if level is None else f"{100 * level:g} % interval"
            sentence += f", {name} {bits(low * scale)} to {bits(high * scale)} {unit_name(factor)}"
        source = "forecast.json"
        if outcome is None:
            refused = run.refusal and not run.refusal.flag("anyway")
            open_end = "It is for the record only." if refused else "The outcome is not measured yet."
            yield Finding(f"{sentence}. {open_end}", source, "missing")
            return
        inside, error = run.score.flag("inside"), run.score.number("relative_error")
        sentence += f"; the trained model reached {_both_units(outcome, factor)}"
        if inside is None or error is None:
            yield Finding(f"{sentence}. It is not scored yet.", "target/result.json", "missing")
            return
        where = "inside" if inside else "outside"
        sentence += f": {where} the interval, {percent(abs(error))} {'above' if error > 0 else 'below'} the median."
        yield Finding(sentence, "score.json", "good" if inside else "warning")
    elif outcome is not None:
        yield Finding(
            f"The trained model reached {_both_units(outcome, factor)}; there is no forecast to compare it with.",
            "target/result.json",
            "missing",
        )


def _code(run: Run) -> Iterator[Finding]:
    """How far off the forecast of pass rates was, beside the largest rung's."""
    sentence, inside = run.code_score.text("sentence"), run.code_score.flag("inside")
    if sentence is not None:
        yield Finding(sentence, "score-code.json", "missing" if inside is None else "good" if inside else "warning")


def _registration(run: Run) -> Iterator[Finding]:
    created, first = run.forecast.number("created_unix"), training_began(run)
    if created is None or first is None:
        return
    if created <= first:
        yield Finding(
            f"The forecast was registered at {moment(created)}, {seconds(first - created)} before the target's "
            "training began.",
            "forecast.json",
        )
    else:
        yield Finding(
            f"The forecast is dated {moment(created)}, {seconds(created - first)} after the target's training "
            "began: it does not count as a forecast.",
            "forecast.json",
            "warning",
        )


def target_flops(run: Run) -> float | None:
    """The target's training compute: as spent, else as forecast, else as planned."""
    for record, key in ((run.target, "flops"), (run.forecast, "forecast.target_flops"), (run.plan, "target.flops")):
        if (value := record.number(key)) is not None:
            return value
    return None


def _gap(run: Run) -> Iterator[Finding]:
    target = target_flops(run)
    spent = [flops for result in run.rungs() if (flops := result.number("flops"))]
    if target and spent:
        yield Finding(
            f"The largest rung used {fraction(max(spent) / target)} of the target's compute ({scientific(max(spent))} "
            f"against {scientific(target)} FLOPs), the smallest {fraction(min(spent) / target)}.",
            "ladder/runs",
        )


def _ladder_cost(run: Run) -> Iterator[Finding]:
    target, spent = target_flops(run), total(run.ladder, "flops")
    if not target or spent is None:
        return
    sentence = (
        f"The whole ladder, {plural(len(run.ladder), 'run')}, cost {percent(spent / target)} of the target's compute"
    )
    wall = stage_seconds(run, "ladder")
    # A killed process logs no stage; the seconds of its steps are in the checkpoint it went on from.
    own = max(stage_seconds(run, "target") or 0.0, run.target.number("seconds") or 0.0)
    if wall is not None and own:
        sentence += f" and {seconds(wall)} of time, {percent(wall / own)} of the target's {seconds(own)}"
    yield Finding(sentence + ".", "ladder/runs")


def stage_seconds(run: Run, name: str) -> float | None:
    """Wall time recorded for a stage with its parts (``ladder/tuning``), summed over interruptions."""
    spent = [
        record
        for record in run.timeline
        if record.get("kind") == "stage" and str(record.get("name")).split("/")[0] == name
    ]
    return total(spent, "seconds")


def _warnings(run: Run) -> Iterator[Finding]:
    for finding in run.forecast.record("forecast").records("findings"):
        sentence = finding.text("sentence") or finding.text("code") or ""
        if sentence not in run.refusal.items("sentences"):
            yield Finding(sentence, "forecast.json", "note" if finding.get("severity") == "note" else "warning")


def _model(run: Run) -> Iterator[Finding]:
    shape = run.plan.record("target")
    parameters = run.target.record("parameters") or shape.record("parameters")
    everything, inner = parameters.number("total"), parameters.number("non_embedding")
    if everything is None:
        return
    sentence = f"The target {'has' if run.target else 'is planned with'} {whole(everything)} parameters"
    if inner is not None:
        sentence += f" ({whole(inner)} without embedding and output layer)"
    width, depth = shape.number("width"), shape.number("depth")
    if width and depth:
        sentence += f", width {width:.0f} and {plural(int(depth), 'layer')}"
    tokens = run.target.number("tokens") or shape.number("tokens")
    if tokens:
        verb = "was trained on" if run.target else "is to be trained on"
        sentence += f", and {verb} {count(tokens)} tokens"
    yield Finding(sentence + ".", "target/result.json" if run.target else "plan.json")


def _data(run: Run) -> Iterator[Finding]:
    train, heldout = run.corpus.record("splits.train"), run.corpus.record("splits.heldout")
    documents, volume = train.number("documents"), train.number("bytes")
    if documents is None or volume is None:
        return
    names = ", ".join(source.text("name") or "unnamed" for source in run.corpus.records("sources"))
    sentence = f"It learns from {whole(documents)} documents, {size(volume)}"
    sentence += f" ({names})" if names else ""
    held, held_bytes = heldout.number("documents"), heldout.number("bytes")
    if held is not None and held_bytes is not None:
        sentence += f"; the loss is measured on {whole(held)} documents, {size(held_bytes)}"
        projects = heldout.number("projects")
        if run.corpus.get("split_by") == "project" and projects:
            sentence += (
                f", of {plural(int(projects), 'project')} that {'is' if projects == 1 else 'are'} held out whole"
            )
    yield Finding(sentence + ".", "corpus/summary.json")


def _resources(run: Run) -> Iterator[Finding]:
    time, rate, share = (run.target.number(key) for key in ("seconds", "tokens_per_second", "peak_share"))
    if time is None:
        return
    sentence = f"Training the target took {seconds(time)}"
    if rate is not None:
        sentence += f" at {whole(rate)} tokens/s"
    if share is not None:
        sentence += f", {percent(share)} of the machine's measured matrix-product rate"
    looked = run.target.record("looking").number("seconds")
    if looked is not None:
        sentence += f", after its encoder had looked at images for {seconds(looked)}"
    joules = total([*run.ladder, run.target], "joules")
    if joules is not None:
        sentence += f"; ladder and target together took about {energy(joules)}"
    yield Finding(sentence + ".", "target/result.json")
