"""Attention of a batch of sequences of different lengths over the blocks of their caches.

Letters: T rows of all sequences together, H query heads, J key/value heads, E head dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foretell.infer.blocks import BLOCK, BlockPool
from foretell.infer.native.library import Batch, Kernels
from foretell.model.attention import shared_by_queries
from foretell.model.primitives import rotate


@dataclass(frozen=True)
class Span:
    """Rows of one sequence in a batch: ``count`` tokens from ``position`` on, and all its blocks so far."""

    position: int
    count: int
    blocks: Sequence[int]


class PagedCache:
    """The :class:`foretell.model.decoder.Cache` of one pass over a batch [1, T] of spans that follow each other.

    Args:
        pool: where the blocks are.
        spans: in the order of their rows.
        kernels: that attend; PyTorch does where there are none.
        adapted: whether layers add an adapter's part for some of the rows.
    """

    def __init__(
        self, pool: BlockPool, spans: Sequence[Span], kernels: Kernels | None, *, adapted: bool = False
    ) -> None:
        self.pool, self.spans, self.kernels, self.adapted = pool, spans, kernels, adapted
        self._batch: Batch | None = None
        starts = np.cumsum([0, *(span.count for span in spans)])
        tables = np.cumsum([0, *(len(span.blocks) for span in spans)])
        # as Segment in attention.h: first row, rows, position, table
        self._segments = np.array(
            [(start, span.count, span.position, table)
             for start, table, span in zip(starts[:-1], tables[:-1], spans, strict=True)], dtype=np.int32,
        )  # fmt: skip
        self._tables = np.array([block for span in spans for block in span.blocks], dtype=np.int32)
        self._positions = torch.cat([torch.arange(s.position, s.position + s.count) for s in spans])

    def positions(self, length: int) -> Tensor:
        """See :meth:`foretell.model.decoder.Cache.positions`."""
        return self._positions

    def advance(self, length: int) -> None:
        """Nothing to do: positions are given anew with every batch."""

    def batch(self, angles: Tensor) -> Batch:
        """As the kernels take it, with the [2, T, 1, E/2] angles of its rows; these are the same in every layer."""
        if self._batch is None:
            self._batch = Batch(self._segments.ctypes.data, len(self.spans), self._tables.ctypes.data,
                                angles[0].data_ptr(), angles[1].data_ptr())  # fmt: skip
        return self._batch

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, angles: Tensor, scale: float,
        window: int | None = None,
    ) -> Tensor:  # fmt: skip
        """See :meth:`foretell.model.decoder.Cache.attend`; B = 1."""
        if self.kernels is None:
            return self._attend_by_torch(layer, query, key, value, angles, scale, window)
        rows, heads, width = query.shape[1:]
        out = torch.empty(1, rows, heads, width)
        self.kernels.attend(
            self.batch(angles), rows, query.data_ptr(), query.stride(1), key.data_ptr(), key.stride(1),
            value.data_ptr(), value.stride(1), heads, key.shape[2], width, scale, window or 0,
            self.pool.keys[layer].data_ptr(), self.pool.values[layer].data_ptr(), out.data_ptr(),
        )  # fmt: skip
        return out

    def _attend_by_torch(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, angles: Tensor, scale: float, window: int | None
    ) -> Tensor:
        query, key = rotate(query, angles)[0], rotate(key, angles)[0]
        keys, values = self.pool.keys[layer], self.pool.values[layer]
        mixed, row = [], 0
        for span in self.spans:
            rows = slice(row, row + span.count)
            at = torch.arange(span.position, span.position + span.count)
            table = torch.tensor(span.blocks)
            keys[table[at // BLOCK], :, :, at % BLOCK] = key[rows]
            values[table[at // BLOCK], :, at % BLOCK, : value.shape[3]] = value[0, rows]
            seen = span.position + span.count
            all_keys = keys[table].permute(1, 0, 3, 2).flatten(1, 2)[None, :, :seen]
            all_values = values[table].permute(1, 0, 2, 3).flatten(1, 2)[None, :, :seen, : value.shape[3]]
            distance = at[:, None] - torch.arange(seen)[None, :]
            mask = (distance >= 0) & (distance < (window or seen))
            wide = shared_by_queries(all_keys, all_values, query.shape[1])
            part = F.scaled_dot_product_attention(query[rows].transpose(0, 1)[None], *wide, attn_mask=mask, scale=scale)
            mixed.append(part[0].transpose(0, 1))
            row += span.count
        return torch.cat(mixed)[None]
