"""Words that are printed in pictures, and which of them the held-out split keeps to itself.

``words.txt`` has some two thousand common English words of 2 to 8 letters; names of colours, shapes, numbers and places
are left out, since questions are about those.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Split

HELD_OUT = 5  # one in so many words, and numbers


def split_of(text: str) -> Split:
    """The split that alone prints this text, by its hash."""
    hashed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return "train" if hashed % HELD_OUT else "heldout"


@cache
def words(split: Split, letters: int) -> tuple[str, ...]:
    """A split's words of so many letters (2 to 8), in alphabetical order."""
    listed = (files(__package__) / "words.txt").read_text(encoding="utf-8").split()
    return tuple(sorted(word for word in listed if len(word) == letters and split_of(word) == split))


def draw_words(draws: Draws, split: Split, count: int, shortest: int, longest: int) -> list[str]:
    """Different words; each length is as likely, and each word of a length."""
    found: list[str] = []
    while len(found) < count:
        word = draws.choose(words(split, draws.between(shortest, longest)))
        if word not in found:
            found.append(word)
    return found


def draw_number(draws: Draws, split: Split, digits: int) -> str:
    """A number of so many digits, 2 or more, without a zero in front."""
    while True:
        number = str(draws.between(10 ** (digits - 1), 10**digits - 1))
        if split_of(number) == split:
            return number


def alike(text: str) -> tuple[str, ...]:
    """Words, or some numbers, of a text's length and split, itself among them: each might stand in its place."""
    split = split_of(text)
    if text.isalpha():
        return words(split, len(text))
    draws = Draws("alike", text)
    return (text, *(draw_number(draws, split, len(text)) for _ in range(8)))
