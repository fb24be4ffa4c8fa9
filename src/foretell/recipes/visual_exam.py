"""How well a run answers held-out questions about images, and how well that can be done without looking."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.core.wording import plural
from foretell.data.tokenizer import Tokenizer
from foretell.data.visual.store import VisualSet
from foretell.laws.records import Finding
from foretell.model.decoder import Decoder
from foretell.train.config import RunSettings
from foretell.train.display import Display
from foretell.train.loop import Trainer, recorded_result, trained_model
from foretell.train.multimodal import exact_matches, greedy_answers

SWAP_SEED = 0
NUMBER_TOKENS = 6  # of an answer that is a number, its end included
Scores = NDArray[np.bool_] | NDArray[np.float64]  # a score for each question; nan where it has none
Decode = Callable[[Sequence[int]], str]
BEYOND_CHANCE = 2.0  # standard errors between answers by the right images and by others


def question_only(settings: RunSettings, share: float) -> RunSettings:
    """The target's twin that sees blank images, trained for ``share`` of its steps."""
    assert settings.visual is not None
    as_blank = {"blank": True, "look_steps": 0, "lead_steps": 0, "only_looked_at": ()}
    return settings.model_copy(
        update={
            "label": "question-only", "role": "run", "steps": max(1, round(share * settings.steps)),
            "visual": settings.visual.model_copy(update=as_blank),
        }
    )  # fmt: skip


def examine(
    settings: RunSettings, data: Path, run: Path, blind: Path | None = None, share: float = 0.0
) -> dict[str, Any]:
    """Score a trained run; train its question-only twin in ``blind`` first, for ``share`` of its steps, where given.

    Returns:
        for ``all`` and each kind of question (:func:`kinds_of`): ``n``; ``exact``, the share that is answered exactly,
        and ``stderr``, its standard error; ``swapped``, the same with another document's images; ``question_only``, the
        twin's share. Where numbers are read off a scale, ``near``, ``near_swapped`` and ``near_question_only`` besides:
        the shares that are right within a tick of it.
    """
    assert settings.visual is not None
    room, heldout = settings.visual.room, VisualSet(data / "visual", "heldout")
    decode = Tokenizer.from_file(data / "tokenizer" / "tokenizer.json").decode
    scores = with_and_without(trained_model(run, settings), heldout, room, decode)
    if blind is not None:
        twin = _trained(question_only(settings, share), data, blind)
        scores["question_only"] = exact_matches(twin, heldout.blank(), room)
        scores |= _near(twin, heldout.blank(), room, decode, "near_question_only")
    return by_kind(scores, kinds_of(heldout))


def with_and_without(model: Decoder, questions: VisualSet, room: int, decode: Decode) -> dict[str, Scores]:
    """Which questions are answered exactly, by their own images (``exact``) and by another document's (``swapped``).

    ``near`` and ``near_swapped`` are nan but for numbers with a tolerance, and are not there without such.
    """
    swapped = questions.swapped(SWAP_SEED)
    return {
        "exact": exact_matches(model, questions, room),
        "swapped": exact_matches(model, swapped, room),
        **_near(model, questions, room, decode, "near"),
        **_near(model, swapped, room, decode, "near_swapped"),
    }


def _near(model: Decoder, questions: VisualSet, room: int, decode: Decode, name: str) -> dict[str, Scores]:
    """Which numbers read off a scale are right within their tolerance; nothing where none are asked for."""
    if not any(question.get("tolerance") for question in questions.questions):
        return {}
    answers = greedy_answers(model, questions, room, NUMBER_TOKENS)
    near = [
        _off(decode(_said(*answer)), question["answer"]) <= question["tolerance"]
        if question.get("tolerance")
        else math.nan
        for answer, question in zip(answers, questions.questions, strict=True)
    ]
    return {name: np.asarray(near, dtype=float)}


def _said(written: list[int], stored: list[int]) -> list[int]:
    """What a model writes before it ends its answer; what comes after has never been learned."""
    end = stored[-1]
    return written[: written.index(end)] if end in written else written


def _off(written: str, answer: str) -> float:
    """How far a number is off; infinitely, where none is written."""
    try:
        return abs(float(written) - float(answer))
    except ValueError:
        return math.inf


def not_begun(record: Mapping[str, Any]) -> tuple[Finding, ...]:
    """A refusal to foretell the loss on answers where the largest rung does not look at the images for some of them.

    What sets in between the largest rung and the target is in none of the rungs' losses.

    Args:
        record: of :func:`examine`, of that rung.
    """
    kinds = {kind: row for kind, row in record.items() if kind != "all"}
    blind = [
        kind for kind, row in kinds.items()
        if row["exact"] - row["swapped"] <= BEYOND_CHANCE * math.hypot(row["stderr"], stderr(row["swapped"], row["n"]))
    ]  # fmt: skip
    if not blind:
        return ()
    return (Finding(
        "not-begun", "refusal",
        f"The largest rung answers {len(blind)} of {plural(len(kinds), 'kind')} of questions no better by their images "
        f"than by others ({', '.join(blind)}): it has not begun to look there, and what a target that does will lose "
        "is not in the rungs.",
    ),)  # fmt: skip


def _trained(settings: RunSettings, data: Path, folder: Path) -> Decoder:
    if recorded_result(folder, settings) is None:
        Trainer(settings, data, folder, display=Display("question-only")).run()
    return trained_model(folder, settings)


def kinds_of(questions: VisualSet) -> list[str]:
    """What each question asks for: ``shape``, or ``scenes: shape`` where there are several sources."""
    kinds = [question["kind"] for question in questions.questions]
    if len(questions.sources) < 2:
        return kinds
    names = [Path(source["label"]).name for source in questions.sources]
    sources = questions.source_of[[question["document"] for question in questions.questions]]
    return [f"{names[source]}: {kind}" for source, kind in zip(sources, kinds, strict=True)]


def by_kind(scores: Mapping[str, Scores], kinds: list[str]) -> dict[str, Any]:
    """Means of each score over all questions, and over those of each kind that have it.

    What only some questions can have (``near``) is not a score of all.
    """
    groups = {"all": np.ones(len(kinds), bool)} | {kind: np.asarray(kinds) == kind for kind in sorted(set(kinds))}
    found = {}
    for name, chosen in groups.items():
        count = int(chosen.sum())
        row: dict[str, Any] = {"n": count}
        for score, hits in scores.items():
            known = hits[chosen][~np.isnan(hits[chosen])]
            if len(known) == count or (len(known) and name != "all"):
                row[score] = float(known.mean())
        row["stderr"] = stderr(row["exact"], count)
        found[name] = row
    return found


def stderr(share: float, count: int) -> float:
    """Standard error of a share of ``count`` questions."""
    return math.sqrt(share * (1 - share) / count)


def in_words(record: Mapping[str, Any]) -> list[str]:
    """A line for each kind."""
    lines = []
    for kind, row in record.items():
        blind = f", from the question alone {row['question_only']:.1%}" if "question_only" in row else ""
        near = f"; within a tick {row['near']:.1%} ({row['near_swapped']:.1%})" if "near" in row else ""
        lines.append(
            f"{kind}: {row['exact']:.1%} ± {row['stderr']:.1%} of {row['n']:,} answered exactly; with another image "
            f"{row['swapped']:.1%}{blind}{near}"
        )
    return lines
