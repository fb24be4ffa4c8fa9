"""A vision half whose layers call the kernels: a block of the encoder is one call.

The features of an image do not depend on the images beside it, to the bit. Letters: :mod:`foretell.model.vision`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from foretell.infer.blocks import BLOCK
from foretell.infer.native import library as native
from foretell.infer.native.library import Kernels, address
from foretell.infer.packed import PACKED_LAYERS, PackedLinear, PackedNorm, PackedSwiGLU, packed_linear
from foretell.model.foreign_tower import ForeignTower
from foretell.model.vision import ImageBlock, ImageGroups, VisionTower
from foretell.model.vision_config import VisionConfig


class ImageMemory:
    """Keys and values of one layer for the images of one pass, which all blocks use in turn."""

    def __init__(self, kernels: Kernels, vision: VisionConfig) -> None:
        self._heads, self._width = vision.heads, vision.head_dim
        self._padded = -(-vision.head_dim // kernels.lanes) * kernels.lanes
        self._images: ImageGroups | None = None

    def prepare(self, images: ImageGroups, angles: Tensor) -> None:
        """Room for ``images``, whose [2, N, 1, E/2] angles these are; the same ones again cost nothing."""
        if self._images is images:
            return
        lengths = np.repeat([length for _, length in images.sizes], [count for count, _ in images.sizes])
        blocks = -(-lengths // BLOCK)
        starts, tables = np.cumsum(lengths) - lengths, np.cumsum(blocks) - blocks
        # as Segment in attention.h: first row, rows, position, table
        self._segments = np.stack([starts, lengths, np.zeros_like(starts), tables], axis=1).astype(np.int32)
        self._tables = np.arange(blocks.sum(), dtype=np.int32)
        self._angles = angles.contiguous()
        self.keys = torch.empty(len(self._tables), self._heads, self._width, BLOCK)
        # zeros, for what lies past an image's end is multiplied by a share of zero and must be finite
        self.values = torch.zeros(len(self._tables), self._heads, BLOCK, self._padded)
        self.batch = native.Batch(self._segments.ctypes.data, len(lengths), self._tables.ctypes.data,
                                  self._angles[0].data_ptr(), self._angles[1].data_ptr())  # fmt: skip
        self._images = images


class PackedImageBlock(nn.Module):
    """A block of the encoder of packed layers, as one call."""

    def __init__(self, kernels: Kernels, block: ImageBlock, memory: ImageMemory) -> None:
        super().__init__()
        self.kernels, self.memory = kernels, memory
        attention = block.attention
        self.heads, self.head_dim, self.scale = attention.heads, attention.head_dim, attention.scale
        self.attention = nn.ModuleDict({
            "qkv": packed_linear(kernels, [attention.qkv]),
            "output": packed_linear(kernels, [attention.output]),
        })  # fmt: skip
        self.feed_forward = PackedSwiGLU(kernels, block.feed_forward, None)
        self.attention_norm = PackedNorm(kernels, block.attention_norm)
        self.feed_forward_norm = PackedNorm(kernels, block.feed_forward_norm)
        self._described: native.Block | None = None

    def described(self) -> native.Block:
        """As the kernels take it; see :meth:`PackedLinear.described`."""
        if self._described is None:
            layers = [cast(PackedLinear, self.get_submodule(path)).described() for path in PACKED_LAYERS]
            norms = [address(self.attention_norm.weight), address(self.feed_forward_norm.weight), None, None]
            self._described = native.Block(*layers, *norms, self.attention_norm.eps, self.scale,
                                           self.heads, self.heads, self.head_dim, 0, True)  # fmt: skip
        return self._described

    def forward(self, x: Tensor, angles: Tensor, images: ImageGroups) -> Tensor:
        """[N, W] to [N, W], in the memory of ``x``."""
        memory = self.memory
        memory.prepare(images, angles)
        self.kernels.transform(
            self.described(), memory.batch, len(x), x.data_ptr(), memory.keys.data_ptr(), memory.values.data_ptr()
        )
        return x


def pack_vision(tower: VisionTower, kernels: Kernels) -> None:
    """Replace the layers of a float32 vision half by packed ones, in place; those that transformers runs stay.

    Its weights are not rounded: each serves a whole image's patches at once, so that fewer bits would save no time.
    """
    if isinstance(tower, ForeignTower):
        return
    memory = ImageMemory(kernels, tower.config)
    tower.blocks = nn.ModuleList(
        PackedImageBlock(kernels, block, memory) for block in cast(Iterable[ImageBlock], tower.blocks)
    )
    tower.add_module("patch_norm", PackedNorm(kernels, tower.patch_norm))
    tower.add_module("patch_embedding", packed_linear(kernels, [tower.patch_embedding]))
    for name in ("input", "output"):
        layer = cast(nn.Linear, getattr(tower.projector, name))
        tower.projector.add_module(name, packed_linear(kernels, [layer]))
