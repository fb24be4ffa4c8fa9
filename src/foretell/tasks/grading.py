"""Grades of responses: options by their likelihoods, and generated answers by what is extracted from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from foretell.tasks.task import Grade, Item, Response

Answer = TypeVar("Answer")
NEXT_QUESTION = ("\nQ:", "\nQuestion:")  # what a model goes on with that asks itself the next one


def option_length(text: str) -> int:
    """UTF-8 bytes of an option without the space that joins it to its prompt, at least one."""
    return max(1, len(text.removeprefix(" ").encode()))


def grade_choice(item: Item, response: Response) -> Grade:
    """Whether the likeliest option is right: ``acc``, ``acc_norm``, and ``acc_unconditional`` where it is measured.

    ``acc_norm`` divides log-likelihoods by :func:`option_length`, as lm-evaluation-harness does by characters
    (``acc_bytes`` there, and equal to its ``acc_norm`` where options are ASCII). ``acc_unconditional`` subtracts those
    after ``Item.bare`` (Brown et al. 2020, section 2.4). Of equal options the first counts as chosen.

    Raises:
        ValueError: where there is not one likelihood for each option.
    """
    likelihoods = _checked(item, response.likelihoods)
    chosen = _best(likelihoods)
    scores = {"acc": float(chosen in item.gold)}
    lengths = [option_length(option.text) for option in item.options]
    normalised = [value / length for value, length in zip(likelihoods, lengths, strict=True)]
    scores["acc_norm"] = float(_best(normalised) in item.gold)
    if item.bare is not None and response.bare:
        bare = _checked(item, response.bare)
        gained = [value - alone for value, alone in zip(likelihoods, bare, strict=True)]
        scores["acc_unconditional"] = float(_best(gained) in item.gold)
    return Grade(scores, item.options[chosen].text.strip())


def grade_mc1(item: Item, response: Response) -> Grade:
    """TruthfulQA's MC1: whether the likeliest answer is the one best answer (Lin et al. 2021)."""
    grade = grade_choice(item, response)
    return Grade({"mc1": grade.scores["acc"]}, grade.answer)


def grade_mc2(item: Item, response: Response) -> Grade:
    """TruthfulQA's MC2: the share of probability that true answers have, of all reference answers (Lin et al. 2021)."""
    likelihoods = _checked(item, response.likelihoods)
    highest = max(likelihoods)
    if not math.isfinite(highest):
        return Grade({"mc2": 0.0})
    shares = [math.exp(value - highest) for value in likelihoods]
    return Grade({"mc2": sum(shares[place] for place in item.gold if isinstance(place, int)) / sum(shares)})


def _checked(item: Item, likelihoods: Sequence[float]) -> Sequence[float]:
    if len(likelihoods) != len(item.options):
        raise ValueError(f"{item.identity} has {len(item.options)} options; {len(likelihoods)} likelihoods were given")
    return likelihoods


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def majority(answers: Sequence[Answer | None]) -> Answer | None:
    """The answer given most often, of equally frequent ones the earliest; None where there is none.

    Over sampled chains of thought this is self-consistency (Wang et al. 2022).
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts, key=lambda answer: counts[answer]) if counts else None


def grade_samples(
    response: Response, metric: str, extract: Callable[[str], Answer | None], right: Callable[[Answer], float]
) -> Grade:
    """Grade the majority of the answers in the samples.

    Args:
        response: with one text a sample.
        metric: name of the score. With more than one sample, ``metric`` + ``_mean`` is their mean score besides.
        extract: the answer in a text; it must be hashable, and equal where it means the same.
        right: score of an answer, 0 to 1.
    """
    answers = [extract(text) for text in response.texts]
    chosen = majority(answers)
    scores = {metric: 0.0 if chosen is None else float(right(chosen))}
    if len(answers) > 1:
        scores[f"{metric}_mean"] = sum(0.0 if one is None else float(right(one)) for one in answers) / len(answers)
    return Grade(scores, None if chosen is None else str(chosen))


def cut(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of ``stop``; servers that do not know a stop text go on past it."""
    ends = [place for sign in stop if (place := text.find(sign)) >= 0]
    return text[: min(ends)] if ends else text
