"""Traits of held-out tokens against the same counted token by token in plain Python."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.data import ngrams
from foretell.data.ngrams import ngram_counts
from foretell.data.traits import SIZES, TRAITS, traits

VOCABULARY = 4  # few, so that much repeats
Rows = list[list[int]]


def rows_of(width: int, most: int) -> st.SearchStrategy[Rows]:
    row = st.lists(st.integers(0, VOCABULARY - 1), min_size=width, max_size=width)
    return st.lists(row, min_size=1, max_size=most)


def grams(rows: Rows, size: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(row[end - size : end]) for row in rows for end in range(size, len(row) + 1))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), rows_of(9, 6), rows_of(7, 3), st.integers(1, 40))
def test_counts_of_ngrams(size: int, train: Rows, asked: Rows, block: int) -> None:
    known = grams(train, size)
    expected = [[known[tuple(row[end - size : end])] if end >= size else 0 for end in range(1, len(row) + 1)]
                for row in asked]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_BLOCK", block)
        assert ngram_counts(np.array(train, np.uint16), size, np.array(asked)).tolist() == expected


def by_hand(train: Rows, row: list[int], place: int) -> list[float]:
    """The traits of ``row[place]``, in words' order."""
    token, before = row[place], row[:place]

    def count(end: int, size: int) -> int:
        return grams(train, size)[tuple(row[end - size + 1 : end + 1])] if end + 1 >= size else 0

    def match(earlier: int) -> int:
        """How many tokens up to ``earlier`` are those up to the token before."""
        length = 0
        while length <= earlier and row[earlier - length] == row[place - 1 - length]:
            length += 1
        return length

    firsts = [at for at in range(place - 1) if row[at] == row[place - 1]]
    places = [at for at in range(place) if row[at] == token]
    best = max(range(place - 1), key=lambda at: (match(at), at), default=None)
    numbers = [
        *(count(place, size) for size in SIZES),
        *(count(place - 1, size) for size in SIZES),
        before.count(token),
        sum(row[at + 1] == token for at in firsts),
        len(firsts),
        place - 1 - places[-1] if places else len(row),
    ]
    copied = best is not None and match(best) > 0 and row[best + 1] == token
    return [*(math.log1p(number) for number in numbers), float(copied)]


@settings(max_examples=50, deadline=None)
@given(rows_of(9, 4), rows_of(12, 3))
def test_traits_as_they_are_described(train: Rows, asked: Rows) -> None:
    found = traits(np.array(train), np.array(asked))
    expected = [by_hand(train, row, place) for row in asked for place in range(1, len(row))]
    assert found.shape == (len(expected), len(TRAITS))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_too_short_for_an_ngram() -> None:
    assert traits(np.array([[1, 2]]), np.array([[1, 2, 3]])).shape == (2, len(TRAITS))
