"""Accuracy of visual questions with ten human answers (Antol et al. 2015; Goyal et al. 2017, VQA v2).

An answer is as right as people agree with it: min(1, people / 3), averaged over leaving out each person in turn.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

_NUMBER_WORDS = {word: str(number) for number, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
)} | {"none": "0"}  # fmt: skip
_ARTICLES = {"a", "an", "the"}
_CONTRACTIONS = [
    "ain't",
    "aren't",
    "can't",
    "could've",
    "couldn't",
    "couldn't've",
    "didn't",
    "doesn't",
    "don't",
    "hadn't",
    "hadn't've",
    "hasn't",
    "haven't",
    "he'd",
    "he'd've",
    "he's",
    "how'd",
    "how'll",
    "how's",
    "I'd've",
    "I'm",
    "I've",
    "isn't",
    "it'd",
    "it'd've",
    "it'll",
    "let's",
    "ma'am",
    "mightn't",
    "mightn't've",
    "might've",
    "mustn't",
    "must've",
    "needn't",
    "not've",
    "o'clock",
    "oughtn't",
    "shan't",
    "she'd've",
    "should've",
    "shouldn't",
    "shouldn't've",
    "somebody'd",
    "somebody'd've",
    "somebody'll",
    "somebody's",
    "someone'd",
    "someone'd've",
    "someone'll",
    "someone's",
    "something'd",
    "something'd've",
    "something'll",
    "that's",
    "there'd",
    "there'd've",
    "there're",
    "there's",
    "they'd",
    "they'd've",
    "they'll",
    "they're",
    "they've",
    "wasn't",
    "we'd've",
    "we've",
    "weren't",
    "what'll",
    "what're",
    "what's",
    "what've",
    "when's",
    "where'd",
    "where's",
    "where've",
    "who'd",
    "who'd've",
    "who'll",
    "who's",
    "who've",
    "why'll",
    "why're",
    "why's",
    "won't",
    "would've",
    "wouldn't",
    "wouldn't've",
    "y'all",
    "you'd",
    "you'd've",
    "you'll",
    "you're",
    "you've",
]
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DECIMAL_COMMA = re.compile(r"(\d)(,)(\d)")
_FULL_STOP = re.compile(r"(?!<=\d)\.(?!\d)")  # as in the published code, whose lookbehind is written so


def _without_some_marks(word: str) -> set[str]:
    """The word with one or more of its apostrophes left out."""
    parts = word.split("'")
    ways = itertools.product(("'", ""), repeat=len(parts) - 1)
    return {"".join(itertools.chain.from_iterable(zip(parts, (*way, ""), strict=True))) for way in ways} - {word}


_RESTORED = {bare.lower(): word.lower() for word in _CONTRACTIONS for bare in _without_some_marks(word)}


def normalised(text: str) -> str:
    """An answer as VQA's evaluation compares it: lower case, no punctuation or article, number words as digits."""
    given = text.replace("\n", " ").replace("\t", " ").strip()
    text, comma = given, _DECIMAL_COMMA.search(given) is not None
    for mark in _MARKS:
        beside_space = f"{mark} " in given or f" {mark}" in given
        text = text.replace(mark, "" if beside_space or comma else " ")
    words = [_NUMBER_WORDS.get(word, word) for word in _FULL_STOP.sub("", text).lower().split()]
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """Accuracy of an answer, 0 to 1.

    Args:
        answer: what the model said.
        people: answers of N >= 2 people, ten in VQA v2.
    """
    given = normalised(answer)
    agree = [normalised(one) == given for one in people]
    total = sum(agree)
    return sum(min(1.0, (total - one) / 3) for one in agree) / len(agree)
