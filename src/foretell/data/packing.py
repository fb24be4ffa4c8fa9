"""Documents packed whole into rows, in an order and at a position that can be restored exactly.

Every epoch visits the documents in an order of its own and fills rows first-fit; a document is never cut, and no
position sees another document (``Batch.documents``). Letters: R rows of a batch, T positions of a row (room).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.data.stream import Batch, saved_position

OPEN_ROWS = 64  # not yet full; more would fill a little better and take longer
PADDING = -1  # number of the document that a row's end is, where nothing fits


def first_fit(lengths: NDArray[np.int64], order: Sequence[int] | NDArray[np.int64], room: int) -> list[list[int]]:
    """Lay items of ``lengths``, at most ``room`` each, into rows of ``room``; returns the items of each row."""
    rows: list[list[int]] = []
    unfilled: dict[int, int] = {}  # row -> positions left, oldest first
    for item in map(int, order):
        need = int(lengths[item])
        place = next((row for row, left in unfilled.items() if left >= need), None)
        if place is None:
            place = len(rows)
            rows.append([])
            unfilled[place] = room
            if len(unfilled) > OPEN_ROWS:
                del unfilled[next(iter(unfilled))]
        rows[place].append(item)
        unfilled[place] -= need
        if not unfilled[place]:
            del unfilled[place]
    return rows


class Packable(Protocol):
    """Documents that can be packed: conversations, questions about images."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Positions that each takes in a row, ``[D]``."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a batch."""

    def batch(self, rows: Sequence[Sequence[int]], room: int) -> Batch:
        """The documents of each row, one after the other, padded to ``room`` positions."""


class PackedStream:
    """Endless batches: epoch after epoch without a gap."""

    def __init__(self, documents: Packable, room: int, rows: int, seed: int) -> None:
        """
        Args:
            documents: to learn from; none longer than ``room``.
            room: positions of a row, T >= 1.
            rows: rows of a batch, R >= 1.
            seed: decides the order, >= 0.

        Raises:
            UserError: where there are no documents.
        """
        if not len(documents.lengths):
            raise UserError("There are no documents to train on.")
        self._documents, self._room, self._rows, self._seed = documents, room, rows, seed
        self._position = 0
        self._plan = lru_cache(maxsize=2)(self._plan_epoch)
        self._starts = [0]  # rows before each epoch

    def rows_of(self, epochs: int) -> int:
        """Rows that the first ``epochs`` fill."""
        while len(self._starts) <= epochs:
            self._starts.append(self._starts[-1] + len(self._plan(len(self._starts) - 1)))
        return self._starts[epochs]

    def next_batch(self) -> Batch:
        """The next batch."""
        rows = [self._row(self._position + number) for number in range(self._rows)]
        self._position += self._rows
        return self._documents.batch(rows, self._room)

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches handed out so far, as JSON."""
        return {"position": self._position, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            UserError: where it belongs to other data, another room or seed, or is not a state.
        """
        self._position = saved_position(state, self._identity())

    def close(self) -> None:
        """Nothing is held open."""

    def _identity(self) -> dict[str, Any]:
        return {"room": self._room, "seed": self._seed, "digest": self._documents.digest}

    def _plan_epoch(self, epoch: int) -> list[list[int]]:
        generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        lengths = self._documents.lengths
        return first_fit(lengths, generator.permutation(len(lengths)), self._room)

    def _row(self, number: int) -> list[int]:
        epoch = 0
        while self.rows_of(epoch + 1) <= number:
            epoch += 1
        return self._plan(epoch)[number - self._starts[epoch]]


class LeadingStream:
    """Batches of one stream first, then of another."""

    def __init__(self, first: PackedStream, then: PackedStream, batches: int) -> None:
        """
        Args:
            first, then: the streams.
            batches: how many of the first, 0 or more.
        """
        self._first, self._then, self._batches = first, then, batches
        self._position = 0  # batches handed out

    def next_batch(self) -> Batch:
        """The next batch."""
        self._position += 1
        return (self._first if self._position <= self._batches else self._then).next_batch()

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches handed out so far, as JSON."""
        return {"position": self._position, "batches": self._batches,
                "first": self._first.state_dict(), "then": self._then.state_dict()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            UserError: where it belongs to other data or another number of batches, or is not a state.
        """
        self._position = saved_position(state, {"batches": self._batches})
        self._first.load_state_dict(state.get("first", {}))
        self._then.load_state_dict(state.get("then", {}))

    def close(self) -> None:
        """Nothing is held open."""


def packed_batches(documents: Packable, room: int, rows: int) -> Iterator[Batch]:
    """Every document once, packed in the order that they have."""
    packed = first_fit(documents.lengths, range(len(documents.lengths)), room)
    for first in range(0, len(packed), rows):
        yield documents.batch(packed[first : first + rows], room)
