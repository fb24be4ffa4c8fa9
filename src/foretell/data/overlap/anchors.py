"""Anchors: the few positions of a text by which passages are looked up (winnowing).

Every window of so many neighbouring grams has as its anchors the grams of smallest hash (Schleimer, Wilkerson and Aiken
2003). Whatever surrounds a passage that spans a window, the passage has that window's anchors; so an index of a text's
anchors finds every such passage, and nothing has to be known about the passages when the index is made. Hashes only
propose: whoever looks up compares the text itself.

Legend: G bytes or words of a gram, W grams of a window, G + W - 1 the shortest passage that is found for certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.data.overlap.normal import SPAN_LETTERS, SPAN_WORDS

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]

GRAM_LETTERS, GRAM_WORDS = 24, 6
WINDOW_LETTERS = SPAN_LETTERS - GRAM_LETTERS + 1
WINDOW_WORDS = SPAN_WORDS - GRAM_WORDS + 1
POSITION_BITS = 28  # of a posting; the other 36 are the hash's
KEY_SHIFT = np.uint64(POSITION_BITS)
CHUNK = 1 << 16  # grams that are hashed at once: arrays that stay in the cache
POWERS = 1 << 12

_SPACE = 32
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd: the golden ratio's bits
_random = np.random.Generator(np.random.PCG64(20230327))
_TABLE: Hashes = _random.integers(1, 1 << 63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_WORD_TABLE: Hashes = _TABLE.copy()
_WORD_TABLE[_SPACE] = 0


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(_MULTIPLIER, exponent, 1 << 64))


_POWERS: Hashes = np.array([_power(exponent) for exponent in range(POWERS)], dtype=np.uint64)


@dataclass(frozen=True)
class Anchors:
    """Anchors of a text: the 36 upper bits of each gram's hash, and the byte of the text at which it begins."""

    keys: Hashes
    positions: Positions

    def postings(self, offset: int) -> Hashes:
        """One 64-bit number each, key before position; ``offset`` is where the text begins in its segment."""
        return (self.keys << KEY_SHIFT) | (self.positions + offset).astype(np.uint64)


def letter_anchors(text: bytes) -> Anchors:
    """Anchors of the letters of a normalised text; positions are those of the text with its spaces.

    Args:
        text: documents one after another, each ``" w1 ... wn \\n"``, or one without the line's end.
    """
    codes = np.frombuffer(text, np.uint8)
    places = np.flatnonzero(codes != _SPACE)
    hashes = letter_hashes(codes[places])
    chosen = select(hashes, WINDOW_LETTERS)
    return Anchors(hashes[chosen] >> KEY_SHIFT, places[chosen])


def word_anchors(text: bytes, lower: bytes) -> Anchors:
    """Anchors of the words of a normalised text.

    Args:
        text: as for :func:`letter_anchors`.
        lower: the same in lower case; its words are as many, its bytes need not be.
    """
    hashes = word_hashes(lower)
    chosen = select(hashes, WINDOW_WORDS)
    starts = np.flatnonzero(np.frombuffer(text, np.uint8) == _SPACE) + 1
    return Anchors(hashes[chosen] >> KEY_SHIFT, starts[chosen])


def letter_hashes(codes: NDArray[np.uint8]) -> Hashes:
    """Hash of the 24 bytes that begin at each of the first ``len(codes) - 23`` bytes."""
    count = len(codes) - GRAM_LETTERS + 1
    result = np.empty(max(0, count), np.uint64)
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count)
        level = _TABLE[codes[first : last + GRAM_LETTERS - 1]]
        eight = level
        for size in (1, 2, 4, 8):
            level = level[:-size] * _power(size) + level[size:]
            eight = level if size == 4 else eight
        sixteen = level[: last - first] * _power(8)
        result[first:last] = _mix(sixteen + eight[16 : 16 + last - first])
    return result


def word_hashes(lower: bytes) -> Hashes:
    """Hash of the six words that begin at each word but the last five; a document's end counts as a word."""
    codes = np.frombuffer(lower, np.uint8)
    spaces = np.flatnonzero(codes == _SPACE)
    if len(spaces) < GRAM_WORDS:
        return np.empty(0, np.uint64)
    lengths = np.diff(spaces, append=len(codes))
    within = (np.arange(spaces[0], len(codes)) - np.repeat(spaces, lengths)) & (POWERS - 1)
    single = _mix(np.add.reduceat(_WORD_TABLE[codes[spaces[0] :]] * _POWERS[within], spaces - spaces[0]))
    count = len(single) - GRAM_WORDS + 1
    grams = single[:count].copy()
    for word in range(1, GRAM_WORDS):
        grams *= _power(1)
        grams += single[word : word + count]
    return _mix(grams)


def select(hashes: Hashes, window: int) -> NDArray[np.intp]:
    """Places of the hashes that are smallest, by their upper 32 bits, in a window that holds them; all ties among them.

    A hash is one when the largest of its windows' minima is it: the sliding maximum of the sliding minimum.
    Nothing is selected of fewer than ``window`` hashes, as no passage fits there.
    """
    found = []
    count = len(hashes)
    for first in range(0, count - window + 1 and count, CHUNK):
        # windows that reach into the chunk from either side are seen whole
        low, high = max(0, first - window + 1), min(count, first + CHUNK + window - 1)
        order = orders(hashes[low:high])
        if len(order) < window:
            continue
        least = _sliding(np.minimum, order, window)
        padded = np.zeros(len(order) + window - 1, np.uint32)
        padded[window - 1 : window - 1 + len(least)] = least
        opened = _sliding(np.maximum, padded, window)
        places = np.flatnonzero(opened == order) + low
        found.append(places[(places >= first) & (places < first + CHUNK)])
    return np.concatenate(found) if found else np.empty(0, np.intp)


def orders(hashes: Hashes) -> NDArray[np.uint32]:
    """What hashes are compared by: the upper half, with room for a zero below it that is no hash."""
    return np.maximum((hashes >> np.uint64(32)).astype(np.uint32), np.uint32(1))


def _sliding(reduce: Any, values: NDArray[np.uint32], window: int) -> NDArray[np.uint32]:
    """Minimum or maximum of each run of ``window`` values, by doubling."""
    size, level = 1, values
    while 2 * size <= window:
        level = reduce(level[:-size], level[size:])
        size *= 2
    rest = window - size
    return reduce(level[:-rest], level[rest:]) if rest else level


def _mix(hashes: Hashes) -> Hashes:
    """Spread the lower bits over the upper ones (the finaliser of Murmur3, Appleby 2011)."""
    hashes = hashes ^ (hashes >> np.uint64(33))
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes
