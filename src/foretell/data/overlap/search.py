"""Which passages an indexed corpus holds, exactly: anchors propose places, the text itself decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretell.core.progress import meter
from foretell.data.overlap import anchors
from foretell.data.overlap.anchors import KEY_SHIFT, POSITION_BITS, Hashes, letter_hashes, orders, word_hashes
from foretell.data.overlap.build import Index
from foretell.data.overlap.normal import SPAN_LETTERS, SPAN_WORDS
from foretell.data.overlap.scan import Hit, View, scan
from foretell.data.overlap.segments import Segment

COMPARED = 256  # places that are compared one by one before a scan of the segment is the cheaper way
LOWER_BYTES = 4  # of a character, at most, for each byte of its lower case and the reverse ("K", the Kelvin sign)
AT_ONCE = 1 << 20  # passages that are hashed at once


@dataclass(frozen=True)
class Passage:
    """What is looked for.

    Attributes:
        owner: number of the item that it is of; once one passage of an item is found, its others are not looked for.
        text: letters and digits, or words in lower case parted by single spaces.
    """

    owner: int
    text: str


@dataclass(frozen=True)
class Match:
    """A passage that a document holds."""

    passage: Passage
    document: str


def search(index: Index, view: View, passages: Sequence[Passage]) -> dict[int, Match]:
    """One match of each owner of which any passage is in the corpus.

    Passages of 50 bytes or more, or 13 words, are looked up. Shorter ones, and those whose anchor is at very many
    places, are found by reading the segments' text.

    Args:
        index: of the corpus.
        view: whether passages are letters, which are sought anywhere, or words, which are compared whole.
        passages: of 1 to 50 letters or 1 to 13 words: longer ones could lie across two pieces of a document.
    """
    most = SPAN_LETTERS if view == "letters" else SPAN_WORDS
    if not all(1 <= size <= most for size in (_size(view, passage.text) for passage in passages)):
        raise ValueError(f"a passage is empty, or longer than {most} {view}")
    lookup = _Lookup(view, passages)
    found: dict[int, Match] = {}
    with meter(f"looking for {len(passages):,} passages ({view})", len(index.segments)) as shown:
        for segment in index.segments:
            hits, unclear = lookup.hits(segment, found)
            rest = unclear + [number for number in lookup.short if passages[number].owner not in found]
            hits += scan(segment, view, {number: passages[number].text for number in rest},
                         [passages[number].owner for number in rest])  # fmt: skip
            for hit in hits:
                passage = passages[hit.passage]
                found.setdefault(passage.owner, Match(passage, segment.location(hit.position)))
            shown.advance()
    return found


def _size(view: View, text: str) -> int:
    return len(text) if view == "letters" else len(text.split())


class _Lookup:
    """Passages that have an anchor, in the order of their keys."""

    def __init__(self, view: View, passages: Sequence[Passage]) -> None:
        self._view: View = view
        self._passages = passages
        span = SPAN_LETTERS if view == "letters" else SPAN_WORDS
        sizes = [len(p.text.encode()) if view == "letters" else p.text.count(" ") + 1 for p in passages]
        self.short = [number for number, size in enumerate(sizes) if size < span]
        numbers = np.array([number for number, size in enumerate(sizes) if size >= span], np.int64)
        parts = [self._anchors(numbers[first : first + AT_ONCE]) for first in range(0, len(numbers), AT_ONCE)]
        keys = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.uint64)
        offsets = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys, self._offsets, self._numbers = keys[order], offsets[order], numbers[order]

    def _anchors(self, numbers: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
        """Key of the first window's anchor of each passage, and the letters (bytes) or words before it."""
        texts = [self._passages[number].text for number in numbers]
        if self._view == "letters":
            span, window = SPAN_LETTERS, anchors.WINDOW_LETTERS
            joined = b"".join(text.encode()[:span] for text in texts)
            hashes = letter_hashes(np.frombuffer(joined, np.uint8))
        else:
            span, window = SPAN_WORDS, anchors.WINDOW_WORDS
            joined = "".join(" " + " ".join(text.split(" ")[:span]) for text in texts).encode()
            hashes = word_hashes(joined)
        grid = hashes[span * np.arange(len(texts))[:, None] + np.arange(window)]
        # of equal ones the first: where the passage is in a text, all of them are anchors there
        offsets = np.argmin(orders(grid), axis=1)
        return grid[np.arange(len(texts)), offsets] >> KEY_SHIFT, offsets

    def hits(self, segment: Segment, found: dict[int, Match]) -> tuple[list[Hit], list[int]]:
        """Passages that are in a segment, and those of which too many places would have to be compared."""
        postings = segment.postings(self._view)
        lowest = self._keys << KEY_SHIFT
        first = np.searchsorted(postings, lowest, "left")
        last = np.searchsorted(postings, lowest | np.uint64((1 << POSITION_BITS) - 1), "right")
        compare = _letters_at if self._view == "letters" else _words_at
        hits: list[Hit] = []
        unclear: list[int] = []
        seen: set[int] = set()
        for row in np.flatnonzero(last > first):
            number = int(self._numbers[row])
            passage = self._passages[number]
            if passage.owner in found or passage.owner in seen:
                continue
            begin, end = int(first[row]), int(last[row])
            places = (postings[begin : min(end, begin + COMPARED)] & np.uint64((1 << POSITION_BITS) - 1)).tolist()
            offset = int(self._offsets[row])
            place = next((place for place in places if compare(segment.text, place, passage.text, offset)), None)
            if place is not None:
                hits.append(Hit(number, place))
                seen.add(passage.owner)
            elif end - begin > COMPARED:
                unclear.append(number)
        return hits, [number for number in unclear if self._passages[number].owner not in seen]


def _letters_at(text: Any, place: int, passage: str, offset: int) -> bool:
    """Whether the letters of ``text`` are the passage, whose byte ``offset`` is at ``place``."""
    wanted = passage.encode()
    before, after = wanted[:offset], wanted[offset:]
    # a byte has at most one space before it
    return (
        bytes(text[place : place + 2 * len(after)]).replace(b" ", b"").startswith(after)
        and bytes(text[max(0, place - 2 * len(before)) : place]).replace(b" ", b"").endswith(before)
    )  # fmt: skip


def _words_at(text: Any, place: int, passage: str, offset: int) -> bool:
    """Whether the words of ``text`` are the passage, whose word ``offset`` begins at ``place``."""
    split = passage.split(" ")
    before = f" {' '.join(split[:offset])} " if offset else " "
    after = " ".join(split[offset:]) + " "
    reach = LOWER_BYTES * len(after.encode()) + LOWER_BYTES
    if not _decoded(text[place : place + reach]).startswith(after):
        return False
    reach = LOWER_BYTES * len(before.encode()) + LOWER_BYTES
    return _decoded(text[max(0, place - reach) : place]).endswith(before)


def _decoded(data: bytes) -> str:
    """Lower case of a cut of the text; a character that the cut parted is left out."""
    return bytes(data).decode(errors="ignore").lower()
