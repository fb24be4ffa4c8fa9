"""How often n-grams occur in token rows.

Letters: R rows of T tokens. An n-gram is known by a 64-bit hash of its tokens: a collision among the n-grams of 1e8
tokens has a probability of 1e-3, and would change one count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.integer]
Hashes = NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd and without a pattern: the golden ratio's bits


class NGramCounts:
    """The n-grams of one size in [R, T] rows; none goes over the end of a row.

    Args:
        rows: tokens, integers from 0.
        size: n, at least 1.
    """

    def __init__(self, rows: Tokens, size: int) -> None:
        self.size = size
        self._known, self._counts = np.unique(_hashed(rows, size)[:, size - 1 :], return_counts=True)

    def of(self, rows: Tokens) -> NDArray[np.int64]:
        """How often the n-gram that ends at each place of [R, T] rows was there; 0 where none ends."""
        wanted = _hashed(rows, self.size)
        if not len(self._known):
            return np.zeros(rows.shape, np.int64)
        places = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        found = np.where(self._known[places] == wanted, self._counts[places], 0)
        found[:, : self.size - 1] = 0
        return found


def _hashed(rows: Tokens, size: int) -> Hashes:
    """For each place the hash of the ``size`` tokens up to it, uint64 [R, T]; the first ``size`` - 1 mean nothing."""
    tokens = rows.astype(np.uint64) + np.uint64(1)
    grams = np.zeros_like(tokens)
    for _ in range(size):
        before = np.zeros_like(grams)
        before[:, 1:] = grams[:, :-1]
        mixed = (before + tokens) * _FACTOR
        grams = mixed ^ (mixed >> np.uint64(31))
    return grams
