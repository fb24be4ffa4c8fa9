"""GGUF's tensor types as float32 tensors and packed matrices, without a change of value.

Letters: N outputs, K inputs, G group size, S blocks of a row. Layouts: ``block_q4_0`` and its relatives in llama.cpp's
``ggml-common.h``. Each is ``scale * q + minimum`` of its group, which :class:`QuantisedMatrix` holds as it is: Q4_0,
Q4_1 and Q4_K as 4 bits in groups of 32, Q8_0 as 8 bits in groups of 32, Q6_K as 8 bits in groups of 16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.gguf import GgufTensor
from foretell.model.quantised import QuantisedMatrix

Parts = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # integers [N, K], scales and minima [N, K / G]


def _half(raw: np.ndarray) -> np.ndarray:
    """Bytes [N, S, 2] as the float32 [N, S] of the half-precision numbers they are."""
    return np.ascontiguousarray(raw).view(np.float16)[..., 0].astype(np.float32)


def _nibbles(raw: np.ndarray) -> np.ndarray:
    """Bytes [..., n] as the integers [..., 2 n] of their low halves and, after all of these, their high ones."""
    return np.concatenate((raw & 15, raw >> 4), axis=-1)


def _q4_0(blocks: np.ndarray) -> Parts:
    scale = _half(blocks[..., :2])
    return _nibbles(blocks[..., 2:]), scale, -8 * scale


def _q4_1(blocks: np.ndarray) -> Parts:
    return _nibbles(blocks[..., 4:]), _half(blocks[..., :2]), _half(blocks[..., 2:4])


def _q8_0(blocks: np.ndarray) -> Parts:
    return np.ascontiguousarray(blocks[..., 2:]).view(np.int8), _half(blocks[..., :2]), None


def _q4_k(blocks: np.ndarray) -> Parts:
    """256 inputs: two halves, eight 6-bit scales and minima in 12 bytes, then four runs of 32 bytes for 64 inputs."""
    low, high, mixed = blocks[..., 4:8], blocks[..., 8:12], blocks[..., 12:16]
    scales = np.concatenate((low & 63, (mixed & 15) | (low >> 6 << 4)), axis=-1)
    minima = np.concatenate((high & 63, (mixed >> 4) | (high >> 6 << 4)), axis=-1)
    levels = _nibbles(blocks[..., 16:].reshape(*blocks.shape[:-1], 4, 32))
    scale, minimum = _half(blocks[..., :2])[..., None], _half(blocks[..., 2:4])[..., None]
    return levels, scale * scales, -(minimum * minima)


def _q6_k(blocks: np.ndarray) -> Parts:
    """256 inputs: 128 bytes of low halves, 64 bytes of pairs of high bits, 16 signed scales, one half."""
    halves = (*blocks.shape[:-1], 2)
    low = _nibbles(blocks[..., :128].reshape(*halves, 64))
    high = blocks[..., 128:192].reshape(*halves, 1, 32) >> np.array([[0], [2], [4], [6]], dtype=np.uint8) & 3
    levels = (low | (high.reshape(*halves, 128) << 4)).astype(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[..., 192:208]).view(np.int8)
    return levels, _half(blocks[..., 208:])[..., None] * scales, None


_TYPES: dict[str, tuple[int, Callable[[np.ndarray], Parts]]] = {  # bytes of a block, and its reader
    "Q4_0": (18, _q4_0),
    "Q4_1": (20, _q4_1),
    "Q8_0": (34, _q8_0),
    "Q4_K": (144, _q4_k),
    "Q6_K": (210, _q6_k),
}
KINDS = ("F32", "F16", "BF16", *_TYPES)


def _packed(levels: np.ndarray) -> np.ndarray:
    """Integers 0 to 15, [N, K], two a byte: input 2 i in the low half of byte i and 2 i + 1 in the high one."""
    return levels[:, 0::2] | (levels[:, 1::2] << 4)


def unpacked(tensor: GgufTensor) -> Tensor | QuantisedMatrix:
    """A tensor's values: float32 of its shape, or for a quantised type an [N, K] matrix that stays packed.

    Raises:
        UserError: for a type that is not one of :data:`KINDS`, or a quantised tensor that is not a matrix.
    """
    data = tensor.data
    if tensor.kind in ("F32", "F16"):
        return torch.from_numpy(data.astype(np.float32))
    if tensor.kind == "BF16":
        return torch.from_numpy(data.view(np.uint16).astype(np.uint32) << 16).view(torch.float32).reshape(tensor.shape)
    if tensor.kind not in _TYPES:
        raise UserError(f"The tensor {tensor.name} has the type {tensor.kind}; {', '.join(KINDS)} are read.")
    if len(tensor.shape) != 2:
        raise UserError(f"The tensor {tensor.name} is {tensor.kind} with {len(tensor.shape)} dimensions; 2 are read.")
    size, read = _TYPES[tensor.kind]
    rows = tensor.shape[0]
    levels, scale, minimum = read(data.reshape(rows, -1, size))
    levels = levels.reshape(rows, -1)
    values = levels if levels.dtype == np.int8 else _packed(levels)
    return QuantisedMatrix(
        torch.from_numpy(np.ascontiguousarray(values)),
        torch.from_numpy(scale.reshape(rows, -1)),
        None if minimum is None else torch.from_numpy(minimum.reshape(rows, -1)),
    )
