"""Conversations packed into rows, in an order and at a position that can be restored exactly.

Every epoch visits the conversations in an order of its own and fills rows first-fit; a conversation is never cut, and
no position sees another conversation (``Batch.documents``). Letters: R rows of a batch, T positions of a row (room).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.packing import BRANCHES
from foretell.data.conversations import ConversationSet
from foretell.data.stream import IGNORED, Batch, saved_position

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


def packed_batch(conversations: ConversationSet, rows: Sequence[Sequence[int]], room: int) -> Batch:
    """The conversations of each row, one after the other; labels are the assistant's tokens only."""
    inputs = np.zeros((len(rows), room), np.int64)
    labels = np.full((len(rows), room), IGNORED, np.int64)
    documents = np.full((len(rows), room), PADDING, np.int64)
    for row, items in enumerate(rows):
        start = 0
        for number, item in enumerate(items):
            ids, learned = conversations.one(item)
            part = slice(start, start + len(ids) - 1)
            inputs[row, part] = ids[:-1]
            labels[row, part] = np.where(learned[1:], ids[1:], IGNORED)
            documents[row, part] = number * BRANCHES
            start = part.stop
    count = int((labels != IGNORED).sum())
    return Batch(torch.from_numpy(inputs), torch.from_numpy(labels), count, torch.from_numpy(documents))


class ConversationStream:
    """Endless batches: epoch after epoch without a gap."""

    def __init__(self, conversations: ConversationSet, room: int, rows: int, seed: int) -> None:
        """
        Args:
            conversations: to learn from; none longer than ``room``.
            room: positions of a row, T >= 1.
            rows: rows of a batch, R >= 1.
            seed: decides the order, >= 0.

        Raises:
            UserError: where there are no conversations.
        """
        if not len(conversations):
            raise UserError("There are no conversations to train on.")
        self._conversations, self._room, self._rows, self._seed = conversations, room, rows, seed
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
        return packed_batch(self._conversations, rows, self._room)

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
        return {"room": self._room, "seed": self._seed, "digest": self._conversations.digest}

    def _plan_epoch(self, epoch: int) -> list[list[int]]:
        generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        return first_fit(self._conversations.lengths, generator.permutation(len(self._conversations)), self._room)

    def _row(self, number: int) -> list[int]:
        epoch = 0
        while self.rows_of(epoch + 1) <= number:
            epoch += 1
        return self._plan(epoch)[number - self._starts[epoch]]


def conversation_batches(conversations: ConversationSet, room: int, rows: int) -> Iterator[Batch]:
    """Every conversation once, packed in the order that they have."""
    packed = first_fit(conversations.lengths, range(len(conversations)), room)
    for first in range(0, len(packed), rows):
        yield packed_batch(conversations, packed[first : first + rows], room)
