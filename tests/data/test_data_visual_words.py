"""Printed words: answers found again from the page, held-out words that training never prints, legible text."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from foretell.data.visual.generator import GeneratorConfig, plan
from foretell.data.visual.generator.fonts import FONTS
from foretell.data.visual.generator.vocabulary import split_of, words

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]


def plans(level, count, split="train", **settings):
    config = GeneratorConfig(families={"words": 1}, levels=level, **settings)
    return [plan(config, index, split) for index in range(count)]


def expected(page, question):
    lines = page.lines
    alphabetic = [line for line in lines if line.isalpha()]
    if question.form == "line":
        return lines[ORDINALS.index(question.slots["nth"])]
    if question.form == "which":
        return ORDINALS[lines.index(question.slots["text"].strip('"'))]
    if question.form == "says":
        return "yes" if question.slots["text"].strip('"') in " ".join(lines) else "no"
    (text,) = [line for line in lines if line.isdigit()] if question.form == "number" else alphabetic
    if question.form == "letter":
        return text[-1 if question.slots["nth"] == "last" else ORDINALS.index(question.slots["nth"])]
    return str(len(text)) if question.form == "letters" else text


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_answers_are_what_the_lines_say(level, split):
    kinds, answers = Counter(), defaultdict(Counter)
    for planned in plans(level, 800, split):
        page = planned.description
        assert page.font in FONTS[split] and len(set(page.lines)) == len(page.lines)
        assert all(split_of(line) == split for line in page.lines)
        for question, exchange in zip(planned.questions, planned.exchanges, strict=True):
            assert question.answer == expected(page, question)
            assert all(split_of(choice) == split for choice in exchange.choices if question.form in ("word", "line"))
            assert exchange.spelled == (question.kind in ("word", "number", "line"))
            kinds[question.kind] += 1
            if question.form in ("which", "says", "letters"):
                answers[question.form][question.answer] += 1
    assert len(kinds) == (5 if level == 1 else 6) and min(kinds.values()) > 50
    for form, counts in answers.items():
        total = sum(counts.values())
        assert max(counts.values()) / total < 1 / len(counts) + 2.5 / total**0.5, (form, counts)


def test_words_of_the_splits_differ_and_there_are_many():
    for letters in range(2, 9):
        train, heldout = words("train", letters), words("heldout", letters)
        assert not set(train) & set(heldout) and all(word.isalpha() and word.islower() for word in train + heldout)
        assert len(heldout) >= 5 and len(train) >= 2 * len(heldout)
    assert sum(len(words("train", letters)) for letters in range(2, 9)) > 1500
    assert not {"red", "circle", "two", "left", "yes"} & {w for n in range(2, 9) for w in words("train", n)}


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("size", [(96, 64), (64, 24), (200, 32)])
def test_text_is_whole_and_stands_out(level, size):
    """Ink keeps off the edges of the picture, and there are as many rows of it as lines."""
    width, height = size
    for planned in plans(level, 60, size={"words": {"width": width, "height": height}}):
        page, (image,) = planned.description, planned.document().images
        ink = (
            np.abs(np.asarray(image, int) - page.ink).sum(-1)
            < np.abs(np.subtract(page.ink, page.ground.colour)).sum() / 2
        )
        edge = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
        assert edge.sum() <= 3 and 0.005 < ink.mean() < 0.5, (planned.identity, page)
        if not page.turn:
            rows = np.diff(np.concatenate([[0], ink.any(axis=1), [0]]))
            assert (rows == 1).sum() >= len(page.lines) or page.size <= 11
