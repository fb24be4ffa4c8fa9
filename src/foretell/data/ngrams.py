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


_BLOCK = 2**22  # tokens whose n-grams are in memory at once


def ngram_counts(train: Tokens, size: int, asked: Tokens) -> NDArray[np.int64]:
    """How often the n-grams of ``asked`` occur in ``train``; none goes over the end of a row.

    Args:
        train: [R', T'], integers from 0.
        size: n, at least 1.
        asked: [R, T].

    Returns:
        [R, T], of the n-gram that ends at each place; 0 where none ends.
    """
    found = np.zeros(asked.shape, np.int64)
    wanted, places = np.unique(_hashed(asked, size)[:, size - 1 :], return_inverse=True)
    if not len(wanted):
        return found
    counts, rows = np.zeros(len(wanted), np.int64), max(1, _BLOCK // max(1, train.shape[1]))
    for first in range(0, len(train), rows):
        grams = _hashed(train[first : first + rows], size)[:, size - 1 :].ravel()
        nearest = np.minimum(np.searchsorted(wanted, grams), len(wanted) - 1)
        counts += np.bincount(nearest[wanted[nearest] == grams], minlength=len(wanted))
    found[:, size - 1 :] = counts[places].reshape(len(asked), -1)
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
