"""Passages of any length, found by reading a segment's text once (Aho and Corasick 1975)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ahocorasick_rs import BytesAhoCorasick

from foretell.data.overlap.segments import Segment

FIRST_BYTES, MOST_BYTES = 1 << 14, 1 << 22  # read at once: little while passages that are everywhere are still sought
CROWDED = 32  # bytes for each match, on average, below which what is found is no longer looked for


SPACE = ord(" ")
View = Literal["letters", "words"]


@dataclass(frozen=True)
class Hit:
    """A passage by its number, and a byte of the segment's text within it."""

    passage: int
    position: int


def scan(segment: Segment, view: View, passages: Mapping[int, str], owners: Sequence[int]) -> list[Hit]:
    """The first hit of each owner in a segment.

    Args:
        segment: whose text is read.
        view: see :func:`~foretell.data.overlap.search.search`.
        passages: texts by their numbers.
        owners: of the passages, in the same order; a second passage of an owner that is found is not looked for.
    """
    left = dict(zip(passages, owners, strict=True))
    hits: list[Hit] = []
    found: set[int] = set()
    text, start, size = segment.text, 0, FIRST_BYTES
    numbers, automaton = _automaton(left, passages, view)
    while left and start < len(text):
        # pieces are not parted, so that nothing lies across the end
        end = text.find(b"\n", min(start + size, len(text) - 1)) + 1
        data = text[start:end]
        read = data.replace(b" ", b"") if view == "letters" else _lower(data)
        matches = automaton.find_matches_as_indexes(read, overlapping=True)
        fresh: list[tuple[int, int]] = []
        for which, place, _ in matches:
            owner = left.get(numbers[which])
            if owner is not None and owner not in found:
                found.add(owner)
                fresh.append((numbers[which], place))
        if fresh:
            places = _positions(data, read, [place for _, place in fresh], view)
            hits += [Hit(number, start + place) for (number, _), place in zip(fresh, places, strict=True)]
            left = {number: owner for number, owner in left.items() if owner not in found}
            if len(matches) * CROWDED > len(read) or 2 * len(left) < len(numbers):
                numbers, automaton = _automaton(left, passages, view)
        start, size = end, min(2 * size, MOST_BYTES)
    return hits


def _lower(data: bytes) -> bytes:
    return data.lower() if data.isascii() else data.decode().lower().encode()


def _automaton(left: Mapping[int, int], passages: Mapping[int, str], view: View) -> tuple[list[int], BytesAhoCorasick]:
    numbers = list(left)
    texts = [passages[number] if view == "letters" else f" {passages[number]} " for number in numbers]
    return numbers, BytesAhoCorasick([text.encode() for text in texts])


def _positions(data: bytes, read: bytes, places: list[int], view: View) -> list[int]:
    """Where in ``data`` that is which is at ``places`` of what was read of it."""
    spaces = np.frombuffer(data, np.uint8) == SPACE
    if view == "letters":
        return np.flatnonzero(~spaces)[places].tolist()
    # lower case has other lengths here and there, and the same words
    before = np.searchsorted(np.flatnonzero(np.frombuffer(read, np.uint8) == SPACE), places)
    return (np.flatnonzero(spaces)[before] + 1).tolist()
