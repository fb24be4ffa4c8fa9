"""The decoder: a LLaMA-type Transformer for training and for cached decoding with the same attention.

Tensor letters: see :mod:`foretell.model.config`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from foretell.core.errors import UserError
from foretell.core.wording import plural
from foretell.model.attention import causal_attention, causal_mask, shared_by_queries, visible_within
from foretell.model.config import ModelConfig, count_parameters
from foretell.model.foreign_tower import ForeignTower
from foretell.model.parametrization import Parametrization
from foretell.model.primitives import IGNORED, LinearCrossEntropy, Remade, RMSNorm, SwiGLU, rotary_angles, rotate
from foretell.model.quantised import QuantisedLinear, QuantisedMatrix
from foretell.model.vision import VisionTower


class Cache(Protocol):
    """Keys and values of the positions read so far, and the attention over them."""

    def positions(self, length: int) -> slice | Tensor:
        """Positions of the next ``length`` tokens, as an index into the rotary table."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, angles: Tensor, scale: float,
        window: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Keep [B, T, K, E] keys and values and attend to all there are; queries and keys come before their rotation.

        With a ``window`` each query sees its own position and ``window - 1`` before it; it is given only where the
        model has one.

        Returns:
            [B, T, H, E].
        """

    def advance(self, length: int) -> None:
        """All layers have read the next ``length`` tokens."""


@dataclass
class KeyValueCache:
    """Rows that are as long as each other: one pair of [B, K, context, E] tensors a layer."""

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0

    @classmethod
    def empty(cls, config: ModelConfig, rows: int, device: torch.device, dtype: torch.dtype) -> KeyValueCache:
        """Room for ``rows`` sequences of ``config.context`` positions."""
        shape = (rows, config.kv_heads, config.context, config.head_dim)
        make = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(2 * config.depth)]
        return cls(make[: config.depth], make[config.depth :])

    def positions(self, length: int) -> slice:
        """Those after the last."""
        return slice(self.length, self.length + length)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, angles: Tensor, scale: float,
        window: int | None = None,
    ) -> Tensor:  # fmt: skip
        """See :meth:`Cache.attend`."""
        length = query.shape[1]
        seen = self.length + length
        self.keys[layer][:, :, self.length : seen] = rotate(key, angles).transpose(1, 2)
        self.values[layer][:, :, self.length : seen] = value.transpose(1, 2)
        query = rotate(query, angles).transpose(1, 2)
        first = 0 if window is None else max(0, seen - length - window + 1)  # what no query sees is left out
        read = slice(first, seen)
        key, value = self.keys[layer][:, :, read], self.values[layer][:, :, read]
        if self.length and length > 1:
            key, value = shared_by_queries(key, value, query.shape[1])
            mask = causal_mask(length, seen - first, window, query.device)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        else:
            mixed = causal_attention(query, key, value, scale, window)
        return mixed.transpose(1, 2)

    def advance(self, length: int) -> None:
        """See :meth:`Cache.advance`."""
        self.length += length


class Attention(nn.Module):
    """Causal self-attention with rotary positions and grouped queries; ``lean`` training keeps no probabilities."""

    lean: bool = False

    def __init__(self, config: ModelConfig, window: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.window = window
        queries = config.heads * config.head_dim
        self.qkv = nn.Linear(config.width, queries + 2 * config.kv_heads * config.head_dim, bias=config.qkv_bias)
        self.output = nn.Linear(queries, config.width, bias=config.output_bias)
        if config.qk_norm:
            self.query_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.key_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.scale = Parametrization(config).attention_scale

    def forward(
        self, x: Tensor, angles: Tensor, cache: Cache | None = None, layer: int = 0, visible: Tensor | None = None
    ) -> Tensor:
        """[B, T, D] to [B, T, D]; with a cache the T positions follow those already in it."""
        rows, length, _ = x.shape
        config = self.config
        rotated = config.heads + config.kv_heads
        heads = self.qkv(x).view(rows, length, rotated + config.kv_heads, config.head_dim)
        if cache is not None:
            query, key, value = heads.split((config.heads, config.kv_heads, config.kv_heads), dim=2)
            if config.qk_norm:
                query, key = self.query_norm(query), self.key_norm(key)
            mixed = cache.attend(layer, query, key, value, angles, self.scale, self.window)
            return self.output(mixed.reshape(rows, length, -1))
        if config.qk_norm:
            query = rotate(self.query_norm(heads[:, :, : config.heads]), angles)
            key = rotate(self.key_norm(heads[:, :, config.heads : rotated]), angles)
        else:
            query, key = rotate(heads[:, :, :rotated], angles).split((config.heads, config.kv_heads), dim=2)
        query, key, value = (part.transpose(1, 2) for part in (query, key, heads[:, :, rotated:]))
        mixed = causal_attention(query, key, value, self.scale, self.window, visible, keep=not self.lean)
        return self.output(mixed.transpose(1, 2).reshape(rows, length, -1))


class Block(nn.Module):
    """Pre-norm block: x + attention(norm x), then x + feed_forward(norm x); ``lean`` training keeps no norm outputs."""

    lean: bool = False

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, config.window_of(layer))
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = SwiGLU(config.width, config.ffn_width, config.mlp_bias)

    def forward(
        self, x: Tensor, angles: Tensor, cache: Cache | None = None, layer: int = 0, visible: Tensor | None = None
    ) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        if self.lean and self.training and cache is None:
            return self._lean(x, angles, layer, visible)
        x = x + self.attention(self.attention_norm(x), angles, cache, layer, visible)
        return x + self.feed_forward(self.feed_forward_norm(x))

    def _lean(self, x: Tensor, angles: Tensor, layer: int, visible: Tensor | None) -> Tensor:
        normed = self.attention_norm(x)
        with Remade(normed, lambda: self.attention_norm(x)):
            y = x + self.attention(normed, angles, None, layer, visible)
        normed = self.feed_forward_norm(y)
        with Remade(normed, lambda: self.feed_forward_norm(y)):
            return y + self.feed_forward(normed)


def angles_of(config: ModelConfig) -> Tensor:
    """The rotary table of a shape: see :func:`rotary_angles`."""
    return rotary_angles(config.context, config.head_dim, config.rope_theta, config.rotary_scaling)


def _vision_half(config: ModelConfig) -> VisionTower | None:
    if config.vision is None:
        return None
    return VisionTower(config) if config.vision.foreign is None else ForeignTower(config)


class Decoder(nn.Module):
    """Token ids, and images among them, to logits over the next token.

    ``head_matrix`` is the head's packed weights where it was read from a quantised file, for those who multiply by it
    without unpacking; ``head_weight`` has the same values. ``checkpointing`` makes training keep each block's inputs
    only and compute the rest again in the backward pass (Chen et al. 2016, arXiv 1604.06174): a third more time, a
    fraction of the memory, the same gradients. :meth:`keep_little` is between that and keeping all.
    """

    angles: Tensor
    head_matrix: QuantisedMatrix | None
    checkpointing: bool = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_eps)
        if not config.tied:
            self.head: nn.Linear | QuantisedLinear = nn.Linear(config.width, config.vocab_size, bias=False)
        self.vision = _vision_half(config)  # last: the rest is drawn as without it
        self.head_matrix = None
        self.output_scale = Parametrization(config).output_scale
        self.register_buffer("angles", angles_of(config), False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Decoder:
        """Let the packed head, which is no module of its own, go where ``to`` takes the rest."""
        super()._apply(fn, recurse)
        packed = self.head_matrix
        if packed is not None and self.config.tied:
            minimum = None if packed.minimum is None else fn(packed.minimum)
            self.head_matrix = QuantisedMatrix(fn(packed.values), fn(packed.scale), minimum)
        elif packed is not None and isinstance(self.head, QuantisedLinear):
            self.head_matrix = self.head.matrix
        return self

    @property
    def head_weight(self) -> Tensor:
        """[V, D]: the head's own weights, unpacked where they are packed, or the embedding's where they are tied."""
        if self.config.tied:
            return self.embedding.weight
        return self.head.matrix.dequantised() if isinstance(self.head, QuantisedLinear) else self.head.weight

    def keep_little(self) -> None:
        """Let training compute what is cheap again in the backward pass: all but the outputs of linear layers.

        Half of the activations, a few percent more time, the same gradients; without ``checkpointing``.
        """
        for module in self.modules():
            if isinstance(module, Block | Attention | SwiGLU):
                module.lean = True

    def embed(self, ids: Tensor, patches: Tensor | None = None, places: Tensor | None = None) -> Tensor:
        """[B, T] ids to [B, T, D], image tokens to the features of the row's patches, in order.

        Args:
            patches: [B, P, C] normalised pixels; see :meth:`foretell.model.vision.VisionTower.forward`.
            places: int64 [B, P, 3].

        Raises:
            UserError: where a row has not as many image tokens as patches, or the model has no vision half.
        """
        if patches is None or places is None:
            return self.embedding(ids)
        if self.vision is None:
            raise UserError("There are images in the input, and the model has no vision half.")
        tokens, there = (ids == self.vision.config.image_token).sum(1), (places[..., 0] >= 0).sum(1)
        if not torch.equal(tokens, there):
            row = int((tokens != there).nonzero()[0])
            raise UserError(
                f"Row {row} of the input has {plural(int(tokens[row]), 'image token')} and "
                f"{plural(int(there[row]), 'patch', 'patches')}; a token for each patch is expected."
            )
        return self.embed_features(ids, self.vision.features(patches, places))

    def embed_features(self, ids: Tensor, features: Tensor) -> Tensor:
        """[B, T] ids to [B, T, D], with [N, D] ``features`` in the places of the N image tokens, row by row.

        Raises:
            UserError: for another number of image tokens, or a model without a vision half.
        """
        if self.config.vision is None:
            raise UserError("There are images in the input, and the model has no vision half.")
        at = ids == self.config.vision.image_token
        if int(at.sum()) != len(features):
            raise UserError(
                f"The input has {plural(int(at.sum()), 'image token')} and {plural(len(features), 'feature')}; a token "
                "for each feature is expected."
            )
        x = self.embedding(ids)
        return x.masked_scatter(at.unsqueeze(-1), features.to(x.dtype))

    def states(
        self, x: Tensor, cache: Cache | None = None, documents: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """[B, T, D] embeddings to [B, T, D] normalised states.

        Args:
            cache: they continue what it holds.
            documents: integers [B, T], numbered as :mod:`foretell.core.packing` says; without a cache, a position sees
                those before it in its own document only.
            positions: int64 [B, T], the rotary position of each, below the context, where they do not count up along
                the row; without a cache.
        """
        visible = None if documents is None else visible_within(documents)
        if positions is None:
            angles = self.angles[:, cache.positions(x.shape[1]) if cache else slice(x.shape[1])]
        else:
            angles = self.angles[:, positions]
        for layer, block in enumerate(self.blocks):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, angles, None, layer, visible, use_reentrant=False)
            else:
                x = block(x, angles, cache, layer, visible)
        if cache is not None:
            cache.advance(x.shape[1])
        return self.norm(x)

    def hidden(
        self, ids: Tensor, cache: Cache | None = None, documents: Tensor | None = None,
        positions: Tensor | None = None, patches: Tensor | None = None, places: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """[B, T] ids to [B, T, D] normalised states: :meth:`states` of :meth:`embed`."""
        return self.states(self.embed(ids, patches, places), cache, documents, positions)

    def forward(
        self, ids: Tensor, cache: Cache | None = None, patches: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """[B, T] ids, and images as :meth:`embed` takes them, to [B, T, V] logits."""
        return F.linear(self.hidden(ids, cache, patches=patches, places=places), self.head_weight) * self.output_scale

    def loss(
        self, ids: Tensor, labels: Tensor, documents: Tensor | None = None, positions: Tensor | None = None,
        patches: Tensor | None = None, places: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Summed cross-entropy in nats of [B, T] labels; positions labelled -100 count nothing.

        With ``documents`` or images (see :meth:`states` and :meth:`embed`) those positions are left out before the
        head: most of a conversation.
        """
        states = self.hidden(ids, None, documents, positions, patches, places).flatten(0, 1)
        labels = labels.flatten()
        if documents is not None or patches is not None:
            counts = labels != IGNORED
            states, labels = states[counts], labels[counts]
        total: Tensor = LinearCrossEntropy.apply(states, self.head_weight, labels, self.output_scale)
        return total


def build_decoder(config: ModelConfig, seed: int = 0, device: torch.device | str = "cpu") -> Decoder:
    """Build and initialise a decoder, and assert its parameters against the count from the shape.

    On the meta device nothing is allocated or initialised, so that any size can be checked.

    Raises:
        UserError: for an image encoder of transformers on another device, which is read from a checkpoint.
    """
    with torch.device("meta"):
        model = Decoder(config)
    counted = sum(parameter.numel() for parameter in model.parameters())
    expected = count_parameters(config).total
    if counted != expected:
        raise AssertionError(f"the built model has {counted} parameters and its config says {expected}")
    if torch.device(device).type == "meta":
        return model
    if isinstance(model.vision, ForeignTower):
        raise UserError("An image encoder that transformers runs comes with a checkpoint; its weights are not drawn.")
    model = model.to_empty(device=device)
    model.angles = angles_of(config).to(device)
    Parametrization(config).initialise(model, seed)
    return model
