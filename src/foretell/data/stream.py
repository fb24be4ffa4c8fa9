"""Rows for training: every token predicted once an epoch, in an order and at a position that can be restored exactly.

The documents of an epoch, in an order of its own, are laid end to end as one virtual sequence. It is cut into rows of
``context`` inputs whose labels are the tokens one further on; the label of the last token is one more end of text.
The rows are visited in a permutation, so that neighbours in a batch are unrelated. Epochs follow one another without a
gap, as one endless list of rows of which each rank takes its own.

Letters: R rows of a batch, T inputs of a row (the context), D documents, N tokens of the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.data.tokens import TokenDataset

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """What a training step sees."""

    inputs: torch.Tensor
    """Token ids, int64 ``[R, T]``."""
    labels: torch.Tensor
    """The tokens to predict, int64 ``[R, T]``; -100 where there is nothing to predict."""
    tokens: int
    """Labels that count, over which the step's loss is a mean."""
    documents: torch.Tensor | None = None
    """Where rows hold several documents that must not see each other: their numbers (see
    :mod:`foretell.core.packing`), int64 ``[R, T]``."""
    positions: torch.Tensor | None = None
    """Where they do not count up along a row: the rotary position of each token, int64 ``[R, T]``."""
    patches: torch.Tensor | None = None
    """Where there are images: their patches, float32 ``[R, P, 3 p p]``, padded to the most of a row."""
    places: torch.Tensor | None = None
    """Of each patch its image's number in the row (-1: padding), row and column, int64 ``[R, P, 3]``."""

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What an objective takes, each cut into rows alike."""
        optional = (self.documents, self.positions, self.patches, self.places)
        return (self.inputs, self.labels, *(tensor for tensor in optional if tensor is not None))

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor], tokens: int) -> Batch:
        """The batch that has these :attr:`tensors`."""
        inputs, labels, *optional = tensors
        return cls(inputs, labels, tokens, *optional)

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        return Batch.of([tensor.to(device) for tensor in self.tensors], self.tokens)


class Layout:
    """The documents of a split laid end to end in some order, and cut into rows."""

    def __init__(self, dataset: TokenDataset, context: int, order: NDArray[np.int64]) -> None:
        """``order`` lists the documents, int64 ``[D]``."""
        lengths = np.diff(dataset.offsets)[order]
        self._dataset, self._context = dataset, context
        self._starts = np.cumsum(lengths) - lengths
        self._shifts = dataset.offsets[:-1][order] - self._starts
        self.rows = row_count(dataset, context)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and labels of some rows, both int64 ``[len(rows), T]``; a row past the end has no labels."""
        count, end = self._dataset.token_count, self._dataset.end_of_text_id
        positions = rows[:, None] * self._context + np.arange(self._context + 1)
        inside = np.minimum(positions, count - 1)
        documents = np.searchsorted(self._starts, inside, side="right") - 1
        tokens = self._dataset.tokens[inside + self._shifts[documents]].astype(np.int64)
        tokens[positions >= count] = end
        labels = tokens[:, 1:].copy()
        labels[positions[:, 1:] > count] = IGNORED
        return tokens[:, :-1], labels


def row_count(dataset: TokenDataset, context: int) -> int:
    """Rows of ``context`` labels that a split fills, the last one perhaps in part."""
    return -(-dataset.token_count // context)


def _batch(inputs: NDArray[np.int64], labels: NDArray[np.int64]) -> Batch:
    return Batch(
        torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(labels), int((labels != IGNORED).sum())
    )


def saved_position(state: dict[str, Any], expected: dict[str, Any]) -> int:
    """The number of rows that a stream's state says were handed out.

    Raises:
        UserError: where the state has not the ``expected`` values, or is not a state.
    """
    for name, value in expected.items():
        if state.get(name) != value:
            raise UserError(
                f"The saved position of the data stream has {name} {state.get(name)!r}, and this run "
                f"has {value!r}; a run goes on with the data and settings that it began with."
            )
    position = state.get("position")
    if not isinstance(position, int) or position < 0:
        raise UserError(f"The saved position of the data stream is {position!r}; a number of rows is expected.")
    return position


class TokenStream:
    """Endless batches for one rank; the next one is prepared while the current one trains.

    The position is a number of rows over all ranks, so a state saved by one number of ranks or rows goes on with
    another.
    """

    def __init__(
        self, dataset: TokenDataset, context: int, rows: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        """Rank ``rank`` of ``world`` takes the rows ``rank``, ``rank + world``, ... of each global batch.

        Args:
            dataset: the split to read.
            context: inputs of a row, T >= 1.
            rows: rows of a batch of this rank, R >= 1.
            seed: decides the order of documents and rows, >= 0.
            rank: 0 to ``world - 1``.
            world: number of ranks that read side by side.

        Raises:
            UserError: for a size that is not positive, a rank outside the world, or an empty split.
        """
        for name, value, least in (("context", context, 1), ("rows", rows, 1), ("seed", seed, 0), ("world", world, 1)):
            if value < least:
                raise UserError(f"{name} is {value}; at least {least} is expected.")
        if not 0 <= rank < world:
            raise UserError(f"rank is {rank}; 0 to {world - 1} is expected.")
        if dataset.token_count == 0:
            raise UserError("The split has no tokens to stream.")
        self._dataset, self._context, self._rows, self._seed = dataset, context, rows, seed
        self._rank, self._world = rank, world
        self.rows_per_epoch = row_count(dataset, context)
        self._position = 0
        self._epoch_plan = lru_cache(maxsize=2)(self._plan_epoch)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token-stream")
        self._next: Future[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return self.next_batch()

    def next_batch(self) -> Batch:
        """The next batch of this rank; an error of the background thread is raised here."""
        pending = self._next or self._worker.submit(self._build, self._position)
        self._next = None
        batch = pending.result()
        self._position += self._rows * self._world
        self._next = self._worker.submit(self._build, self._position)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches handed out so far (the one being prepared is not counted), as JSON."""
        return {
            "position": self._position,
            "context": self._context,
            "seed": self._seed,
            "digest": self._dataset.digest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            UserError: where it belongs to other data, another context or seed, or is not a state.
        """
        expected = {"context": self._context, "seed": self._seed, "digest": self._dataset.digest}
        position = saved_position(state, expected)
        self._discard_prepared()
        self._position = position

    def close(self) -> None:
        """Stop the background thread."""
        self._discard_prepared()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _discard_prepared(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _plan_epoch(self, epoch: int) -> tuple[Layout, NDArray[np.int64]]:
        """Layout of an epoch and the order in which its rows are visited, int64 ``[rows_per_epoch]``."""
        generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        layout = Layout(self._dataset, self._context, generator.permutation(self._dataset.document_count))
        return layout, generator.permutation(self.rows_per_epoch)

    def _build(self, position: int) -> Batch:
        numbers = position + self._rank + np.arange(self._rows) * self._world
        epochs, places = np.divmod(numbers, self.rows_per_epoch)
        parts = []
        for epoch in np.unique(epochs):
            layout, order = self._epoch_plan(int(epoch))
            parts.append(layout.gather(order[places[epochs == epoch]]))
        return _batch(np.concatenate([inputs for inputs, _ in parts]), np.concatenate([labels for _, labels in parts]))


def heldout_batches(dataset: TokenDataset, context: int, rows: int) -> Iterator[Batch]:
    """All tokens of a split in order, each predicted exactly once.

    Every batch is ``[rows, context]``; what the last one has no tokens for is padded, with labels of -100.
    """
    layout = Layout(dataset, context, np.arange(dataset.document_count))
    for first in range(0, layout.rows, rows):
        yield _batch(*layout.gather(np.arange(first, first + rows)))
