"""A decoder whose layers call the kernels: weights in panels, frozen, float32 activations.

Letters as in :mod:`foretell.model.quantised`: M rows, N outputs, K inputs, G inputs of a group.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from foretell.infer.native import library as native
from foretell.infer.native.library import Kernels, address
from foretell.infer.paged import PagedCache
from foretell.model.decoder import Block, Cache, Decoder
from foretell.model.primitives import RMSNorm, SwiGLU
from foretell.model.quantised import GROUP, QuantisedLinear, QuantisedMatrix, concatenated, quantise

ALIGNMENT = 64  # bytes: a cache line
PACKED_LAYERS = ("attention.qkv", "attention.output", "feed_forward.gate_up", "feed_forward.down")


class PackedLinear(nn.Module):
    """y = x W' + b; a row's result does not depend on the rows beside it, to the bit."""

    packed: Tensor
    bias: Tensor | None

    def __init__(self, kernels: Kernels, weight: Tensor | QuantisedMatrix, bias: Tensor | None = None) -> None:
        super().__init__()
        self.kernels = kernels
        self.out_features, self.in_features = weight.shape
        if isinstance(weight, QuantisedMatrix):
            self.bits, self.group = weight.bits, weight.group
            values, scale, minimum = weight.values, weight.scale, weight.minimum
        else:
            self.bits, self.group = 32, self.in_features
            values, scale, minimum = weight.detach().float(), None, None
        parts = [None if part is None else part.contiguous() for part in (values, scale, minimum)]
        shape = (self.bits, self.out_features, self.in_features, self.group)
        packed = torch.empty(kernels.packed_bytes(*shape), dtype=torch.uint8)
        kernels.pack(*shape, *(address(part) for part in parts), address(packed))
        self._described: native.Linear | None = None
        self.register_buffer("packed", packed)
        self.register_buffer("bias", None if bias is None else bias.detach().float().contiguous())

    def described(self) -> native.Linear:
        """As the kernels take it; valid as long as the layer is, and its weights stay where they are."""
        if self._described is None:
            self._described = native.Linear(self.bits, self.group, self.in_features, self.out_features,
                                            self.packed.data_ptr(), address(self.bias))  # fmt: skip
        return self._described

    def move(self, place: Tensor) -> None:
        """Copy the weights to ``place``, of as many bytes, and keep them there."""
        self.packed, self._described = place.copy_(self.packed), None

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        rows = x.reshape(-1, self.in_features)
        if rows.stride(1) != 1:
            rows = rows.contiguous()
        y = torch.empty(*x.shape[:-1], self.out_features)
        self.kernels.linear(self.described(), rows.shape[0], rows.data_ptr(), rows.stride(0), y.data_ptr())
        return y


class PackedNorm(nn.Module):
    """RMSNorm over contiguous rows."""

    weight: Tensor

    def __init__(self, kernels: Kernels, norm: RMSNorm) -> None:
        super().__init__()
        self.kernels, self.eps = kernels, norm.eps
        self.register_buffer("weight", norm.weight.detach().float().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        width = x.shape[-1]
        x = x.contiguous()
        out = torch.empty_like(x)
        self.kernels.rms_norm(x.numel() // width, width, x.data_ptr(), self.weight.data_ptr(), self.eps, out.data_ptr())
        return out


class PackedSwiGLU(nn.Module):
    """down(silu(gate x) * up x), gate and up as one matrix."""

    def __init__(self, kernels: Kernels, layer: SwiGLU, bits: int | None) -> None:
        super().__init__()
        self.kernels, self.width = kernels, layer.gate.out_features
        self.gate_up = packed_linear(kernels, [layer.gate, layer.up], bits)
        self.down = packed_linear(kernels, [layer.down], bits)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        both = self.gate_up(x)
        out = torch.empty(*x.shape[:-1], self.width)
        self.kernels.swiglu(out.numel() // self.width, self.width, both.data_ptr(), out.data_ptr())
        return self.down(out)


class PackedBlock(Block):
    """A block of packed layers; where no adapter adds to any of them, the whole block is one call.

    Args:
        block: whose layers have been replaced; they keep their places, so that adapters find them.
    """

    def __init__(self, kernels: Kernels, block: Block) -> None:
        nn.Module.__init__(self)
        self.kernels = kernels
        for name, child in block.named_children():
            self.add_module(name, child)
        self._layers = [cast(PackedLinear, block.get_submodule(path)) for path in PACKED_LAYERS]
        self._described: native.Block | None = None

    def described(self) -> native.Block:
        """As the kernels take it; see :meth:`PackedLinear.described`."""
        if self._described is None:
            attention = self.attention
            config = attention.config
            norms = [self.attention_norm, self.feed_forward_norm]
            norms += [attention.query_norm, attention.key_norm] if config.qk_norm else []
            pointers = [address(cast(Tensor, norm.weight)) for norm in norms] + [None] * (4 - len(norms))
            self._described = native.Block(
                *(layer.described() for layer in self._layers), *pointers, config.norm_eps, attention.scale,
                config.heads, config.kv_heads, config.head_dim, attention.window or 0, False,
            )  # fmt: skip
        return self._described

    def forward(
        self, x: Tensor, angles: Tensor, cache: Cache | None = None, layer: int = 0, visible: Tensor | None = None
    ) -> Tensor:
        """[B, T, D] to [B, T, D], in the memory of ``x`` where it is one call."""
        if not isinstance(cache, PagedCache) or cache.kernels is None or cache.adapted:
            return super().forward(x, angles, cache, layer, visible)
        keys, values = cache.pool.keys[layer], cache.pool.values[layer]
        self.kernels.transform(
            self.described(), cache.batch(angles), x.shape[1], x.data_ptr(), keys.data_ptr(), values.data_ptr()
        )
        return x


def packed_linear(
    kernels: Kernels, layers: Sequence[nn.Linear | QuantisedLinear], bits: int | None = None
) -> PackedLinear:
    """One packed layer whose outputs are those of all ``layers``, one after the other.

    Args:
        kernels: that it calls.
        layers: of the same inputs, each an ``nn.Linear`` or a :class:`QuantisedLinear`.
        bits: 4 or 8 to round float weights to; packed ones, and inputs that are no whole groups, stay as they are.
    """
    weights = [_weight(layer, bits) for layer in layers]
    biases: list[Tensor | None] = [layer.bias for layer in layers]
    bias = None
    if any(part is not None for part in biases):
        bias = torch.cat([torch.zeros(w.shape[0]) if b is None else b for b, w in zip(biases, weights, strict=True)])
    matrices = [weight for weight in weights if isinstance(weight, QuantisedMatrix)]
    alike = len({(m.bits, m.group) for m in matrices}) == 1
    if len(matrices) == len(weights) and alike:
        return PackedLinear(kernels, concatenated(matrices), bias)
    floats = [weight.dequantised() if isinstance(weight, QuantisedMatrix) else weight for weight in weights]
    return PackedLinear(kernels, torch.cat(floats), bias)


def _weight(layer: nn.Linear | QuantisedLinear, bits: int | None) -> Tensor | QuantisedMatrix:
    if isinstance(layer, QuantisedLinear):
        return layer.matrix
    return _rounded(layer.weight.detach(), bits)


def _rounded(weight: Tensor, bits: int | None) -> Tensor | QuantisedMatrix:
    """To ``bits`` where the inputs are whole groups, as those of all but odd shapes are."""
    return weight if bits is None or weight.shape[1] % GROUP else quantise(weight, bits)


def pack_decoder(decoder: Decoder, kernels: Kernels, bits: int | None = None) -> PackedLinear:
    """Replace the layers of a decoder by packed ones, in place; its weights are then gone but for the embedding.

    Args:
        decoder: in float32 or with quantised layers.
        kernels: that the layers call.
        bits: 4 or 8 to round the float matrices to, ``None`` to keep them.

    Returns:
        The head, [..., D] to [..., V] logits.
    """
    for block in cast(Iterable[Block], decoder.blocks):
        attention = block.attention
        attention.add_module("qkv", packed_linear(kernels, [attention.qkv], bits))
        attention.add_module("output", packed_linear(kernels, [attention.output], bits))
        if decoder.config.qk_norm:
            attention.add_module("query_norm", PackedNorm(kernels, attention.query_norm))
            attention.add_module("key_norm", PackedNorm(kernels, attention.key_norm))
        block.add_module("attention_norm", PackedNorm(kernels, block.attention_norm))
        block.add_module("feed_forward_norm", PackedNorm(kernels, block.feed_forward_norm))
        block.add_module("feed_forward", PackedSwiGLU(kernels, block.feed_forward, bits))
    decoder.blocks = nn.ModuleList(PackedBlock(kernels, block) for block in cast(Iterable[Block], decoder.blocks))
    norm = PackedNorm(kernels, decoder.norm)
    norm.weight *= decoder.output_scale  # the head is linear, so the logits' factor may stand before it
    decoder.add_module("norm", norm)
    matrix = decoder.head_matrix
    if matrix is None:  # the head's rounding is what logits show directly: never less than 8 bits
        head = PackedLinear(kernels, _rounded(decoder.head_weight.detach(), None if bits is None else 8))
    else:
        head = PackedLinear(kernels, matrix)
        decoder.head_matrix = None
    if not decoder.config.tied:
        del decoder.head
    lay_together([module for module in [*decoder.blocks.modules(), head] if isinstance(module, PackedLinear)])
    return head


def lay_together(layers: Sequence[PackedLinear]) -> None:
    """Move the weights of layers into one piece of memory, in the order in which they are read.

    What is fetched ahead at the end of one layer is then the beginning of the next, and the pages can be large ones:
    reading every weight once takes a quarter less time.
    """
    sizes = [-(-layer.packed.numel() // ALIGNMENT) * ALIGNMENT for layer in layers]
    memory = mmap.mmap(-1, sum(sizes))
    with contextlib.suppress(AttributeError, OSError):  # where the system knows no such pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole, start = torch.frombuffer(memory, dtype=torch.uint8), 0
    for layer, size in zip(layers, sizes, strict=True):
        layer.move(whole[start : start + layer.packed.numel()])
        start += size


def packed_place(decoder: Decoder, path: str) -> tuple[str, int]:
    """Where a packed decoder has the outputs of a plain one's layer: the path of a layer, and the first of them."""
    parent, _, name = path.rpartition(".")
    if name in ("gate", "up"):
        return f"{parent}.gate_up", 0 if name == "gate" else decoder.config.ffn_width
    return path, 0
