"""Causal attention for training on a CPU, in blocks of queries. Tensor letters: see :mod:`foretell.model.config`.

PyTorch's flash attention for the CPU computes the probabilities again in its backward pass, which pays where they do
not fit into memory. At the short contexts that a CPU trains on they do: keeping them leaves four matrix products a
block in the backward pass instead of five, and no exponential. Fine-tuning, where memory is what is short, does not.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from foretell.core.packing import BRANCHES

BLOCK = 64  # queries; what lies above the diagonal is computed for half a block only
LONGEST = 512  # positions up to which T^2 / 2 probabilities a head and layer are kept


def shared_by_queries(key: Tensor, value: Tensor, heads: int, dim: int = 1) -> tuple[Tensor, Tensor]:
    """Keys and values repeated along their heads for those of the ``heads`` query heads that share them.

    Args:
        key, value: [B, K, T, E]; or of any shape with their heads at ``dim``.

    Returns:
        [B, H, T, E] each; the same tensors where no two query heads share one.
    """
    group = heads // key.shape[dim]
    if group == 1:
        return key, value
    return key.repeat_interleave(group, dim), value.repeat_interleave(group, dim)


def _future(device: torch.device) -> Tensor:
    """Which keys of its own block a query may not see, bool [block, block]."""
    return torch.ones(BLOCK, BLOCK, dtype=torch.bool, device=device).triu(1)


def _probability(query: Tensor, key: Tensor, start: int, future: Tensor, visible: Tensor | None) -> Tensor:
    """[B H, block, keys up to its last query] probabilities of the block of queries that begins at ``start``."""
    end = min(start + BLOCK, query.shape[1])
    scores = torch.bmm(query[:, start:end], key[:, :end].transpose(1, 2))
    scores[:, :, start:].masked_fill_(future[: end - start, : end - start], -math.inf)
    if visible is not None:
        unseen = ~visible[:, :, start:end, :end]
        scores.unflatten(0, (len(visible), -1)).masked_fill_(unseen, -math.inf)
    return torch.softmax(scores, dim=-1)


class BlockwiseCausalAttention(torch.autograd.Function):
    """softmax(Q K' + causal mask) V, exactly; queries come scaled."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None, keep: bool) -> Tensor:
        """[B H, T, E] queries and [B K, T, E] keys and values, and what :func:`visible_within` says or nothing.

        Args:
            keep: the probabilities for the backward pass, which computes them again otherwise.

        Returns:
            [B H, T, E].
        """
        length = query.shape[1]
        keys, values = shared_by_queries(key, value, len(query), dim=0)
        outputs, probabilities, future = [], [], _future(query.device)
        for start in range(0, length, BLOCK):
            probability = _probability(query, keys, start, future, visible)
            outputs.append(torch.bmm(probability, values[:, : probability.shape[2]]))
            if keep:
                probabilities.append(probability)
        ctx.save_for_backward(query, key, value, visible, *probabilities)
        return torch.cat(outputs, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Gradients of queries, keys and values; the last block, which sees every key, comes first."""
        (gradient,) = gradients
        query, key, value, visible, *probabilities = ctx.saved_tensors
        group, length = len(query) // len(key), query.shape[1]
        key, value = shared_by_queries(key, value, len(query), dim=0)
        queries, future = [], _future(query.device)
        keys = values = None
        for start in reversed(range(0, length, BLOCK)):
            if probabilities:
                probability = probabilities[start // BLOCK]
            else:
                probability = _probability(query, key, start, future, visible)
            end = probability.shape[2]
            out = gradient[:, start:end]
            dscores = torch._softmax_backward_data(
                torch.bmm(out, value[:, :end].transpose(1, 2)), probability, -1, probability.dtype
            )
            queries.append(torch.bmm(dscores, key[:, :end]))
            if keys is None or values is None:
                keys = torch.bmm(dscores.transpose(1, 2), query[:, start:end])
                values = torch.bmm(probability.transpose(1, 2), out)
            else:
                keys[:, :end].baddbmm_(dscores.transpose(1, 2), query[:, start:end])
                values[:, :end].baddbmm_(probability.transpose(1, 2), out)
        assert keys is not None and values is not None
        if group > 1:
            keys, values = (of.unflatten(0, (-1, group)).sum(1) for of in (keys, values))
        return torch.cat(queries[::-1], dim=1), keys, values, None, None


def visible_within(documents: Tensor) -> Tensor:
    """Which positions each may look at where a row holds several documents: those before it in its own.

    Args:
        documents: integers [B, T], numbered as :mod:`foretell.core.packing` says. A position sees those before it with
            its own number and, on a branch, those of its document's trunk.

    Returns:
        bool [B, 1, T, T], queries by keys; every position sees itself.
    """
    key, query = documents.unsqueeze(1), documents.unsqueeze(2)
    trunk = query - query % BRANCHES
    return ((key == query) | (key == trunk)).tril_().unsqueeze(1)


def causal_mask(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """Which keys each query sees, bool [queries, keys]; the last query stands at the last key's position."""
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    return mask if window is None else mask.triu(keys - queries - window + 1)


def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None, visible: Tensor | None = None,
    keep: bool = True,
) -> Tensor:  # fmt: skip
    """Causal attention of [B, H, T, E] queries over [B, K, T, E] keys and values, by what is fastest here.

    With a ``window`` a position sees itself and ``window - 1`` before it; with ``visible`` of :func:`visible_within`,
    of these those of its own document. Without ``keep`` training computes the probabilities again.

    Returns:
        [B, H, T, E].
    """
    if window is not None and window < query.shape[2]:
        mask = causal_mask(query.shape[2], key.shape[2], window, query.device)
        mask = mask if visible is None else mask & visible
        key, value = shared_by_queries(key, value, query.shape[1])
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    trains = torch.is_grad_enabled() and query.requires_grad and 1 < query.shape[2] <= LONGEST
    exact = query.dtype == key.dtype == value.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if trains and exact and query.device.type == "cpu":
        parts = (part.flatten(0, 1) for part in (query * scale, key, value))
        mixed: Tensor = BlockwiseCausalAttention.apply(*parts, visible, keep)
        return mixed.view(query.shape)
    key, value = shared_by_queries(key, value, query.shape[1])
    if visible is not None:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=visible, scale=scale)
    return F.scaled_dot_product_attention(query, key, value, is_causal=query.shape[2] > 1, scale=scale)
