"""What can be known of each held-out token without a model: how often its n-grams occur, and what its row holds of it.

A token whose n-grams were often read in training costs a trained model little; so does one that its row has copied from
further up, to a model that copies. :mod:`foretell.ladder.learning` learns how little.

Letters: R rows of T + 1 tokens, of which all but the first are asked about; N such tokens, row by row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foretell.data.ngrams import Tokens, ngram_counts

SIZES = (1, 2, 3, 4, 6, 8, 12)  # of the n-grams
TRAITS = (
    *(f"count of {size}-gram" for size in SIZES),
    *(f"count of {size}-gram before" for size in SIZES),
    "in row", "pair in row", "pair's first in row", "since", "copied",
)  # fmt: skip
"""Names of the columns of :func:`traits`. All but the last are ln(1 + a number)."""


def traits(train: Tokens, heldout: Tokens) -> NDArray[np.float32]:
    """The traits of held-out tokens.

    Args:
        train: [R', T'] rows of training tokens, as many as the model reads that is foretold.
        heldout: [R, T + 1].

    Returns:
        float32 [N, F], columns as :data:`TRAITS`: how often the n-grams that end with the token occur in training, and
        those that end before it; how often it stands in the row before; how often the token before it does with it
        next, and at all; how many tokens ago it last stood there, T + 1 where it did not; and whether it is the token
        that followed the longest earlier match of the tokens before it, the latest such match (0 or 1).
    """
    ending = [ngram_counts(train, size, heldout) for size in SIZES]
    counted = [*(counts[:, 1:] for counts in ending), *(counts[:, :-1] for counts in ending), *_in_row(heldout)]
    columns = [*(np.log1p(counts) for counts in counted), _copied(heldout)]
    return np.stack([column.ravel() for column in columns], axis=1).astype(np.float32)


def _copied(rows: Tokens) -> NDArray[np.bool_]:
    """[R, T]; see :func:`traits`."""
    count, length = rows.shape
    right = np.zeros((count, length - 1), dtype=bool)
    matched = np.zeros((count, length - 1), np.int32)  # of each earlier place: how many tokens up to it match
    for place in range(length - 1):
        longer = np.zeros_like(matched)
        longer[:, 1:] = matched[:, :-1]
        matched = np.where(rows[:, :-1] == rows[:, place, None], longer + 1, 0)
        earlier = matched[:, :place]
        if not place:
            continue
        latest = place - 1 - earlier[:, ::-1].argmax(axis=1)  # of the longest
        following = np.take_along_axis(rows, latest[:, None] + 1, axis=1)[:, 0]
        right[:, place] = (earlier.max(axis=1) > 0) & (following == rows[:, place + 1])
    return right


def _in_row(rows: Tokens) -> tuple[NDArray[np.int64], ...]:
    """Each [R, T]: the token's occurrences, those after the token before it, that one's, and the tokens since."""
    count, length = rows.shape
    found = np.zeros((4, count, length - 1), np.int64)
    for place in range(1, length):
        before = rows[:, :place]
        same = before == rows[:, place, None]
        first = before[:, :-1] == rows[:, place - 1, None]
        found[0, :, place - 1] = same.sum(axis=1)
        found[1, :, place - 1] = (first & same[:, 1:]).sum(axis=1)
        found[2, :, place - 1] = first.sum(axis=1)
        found[3, :, place - 1] = np.where(same.any(axis=1), same[:, ::-1].argmax(axis=1), length)
    return tuple(found)
