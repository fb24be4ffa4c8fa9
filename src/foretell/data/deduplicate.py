"""Near-duplicates by MinHash: word 5-shingles, 128 permutations, banded search, verified by the estimated Jaccard.

Broder, "On the resemblance and containment of documents", 1997. Signatures and the banded index are rensa's; its own
deduplicator bands so coarsely that it finds half of the pairs with a similarity of 0.85 at a threshold of 0.8, so the
bands are chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH

SHINGLE_WORDS = 5
PERMUTATIONS = 128
SIGNATURE_SEED = 42
RECALL_AT_THRESHOLD = 0.99


def band_rows(threshold: float) -> int:
    """Rows a band: the most that still find a pair at ``threshold`` with a probability of 99 %.

    Bands of r rows out of n permutations find a pair of similarity s with probability 1 - (1 - s^r)^(n/r)
    (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.2).
    """
    fitting = [
        rows for rows in (1, 2, 4, 8, 16) if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= RECALL_AT_THRESHOLD
    ]
    return max(fitting, default=1)


def shingle_hashes(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash every window of five words; a shorter text is one shingle.

    Args:
        words: hashes of the words in order, ``[n]``.

    Returns:
        ``[max(1, n - 4)]``, one hash a window.
    """
    count = max(1, len(words) - SHINGLE_WORDS + 1)
    if len(words) < SHINGLE_WORDS:
        words = np.concatenate([words, np.zeros(SHINGLE_WORDS - len(words), np.uint64)])
    multiplier, shift = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)
    hashes = words[:count].copy()
    for offset in range(1, SHINGLE_WORDS):
        hashes *= multiplier
        hashes ^= hashes >> shift
        hashes += words[offset : offset + count]
    hashes *= multiplier
    hashes ^= hashes >> shift
    return hashes


def signatures(texts: Sequence[str]) -> list[RMinHash]:
    """MinHash signatures of the word 5-shingles of each text; the same on every run and number of threads."""
    hashed = RMinHash.hash_token_sets([text.split() for text in texts])
    shingles = [shingle_hashes(np.asarray(words, dtype=np.uint64)) for words in hashed]
    # Eight-byte strings enter rensa without a Python call for each of them.
    sets = [hashes.view("S8").tolist() for hashes in shingles]
    return list(RMinHash.from_token_sets(sets, PERMUTATIONS, SIGNATURE_SEED))


class NearDuplicates:
    """The documents kept so far, searchable by similarity."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._index = RMinHashLSH(threshold, PERMUTATIONS, PERMUTATIONS // band_rows(threshold))
        self._kept: dict[int, RMinHash] = {}

    def match(self, signature: RMinHash) -> int | None:
        """The first kept document whose estimated similarity reaches the threshold, or ``None``."""
        for key in sorted(self._index.query(signature)):
            if signature.jaccard(self._kept[key]) >= self._threshold:
                return int(key)
        return None

    def keep(self, key: int, signature: RMinHash) -> None:
        """Add a document under a number of its own."""
        self._index.insert(key, signature)
        self._kept[key] = signature
