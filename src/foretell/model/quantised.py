"""Weights of 4 or 8 bits in groups: kept packed, multiplied by activations in float32, frozen.

Letters: M rows of activations, N outputs, K inputs, G group size. A weight is ``scale * q + minimum`` of its group of G
neighbouring inputs; what llama.cpp's Q4_0, Q4_1, Q4_K and Q8_0 blocks hold fits without a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.core.errors import UserError

GROUP = 32
LEVELS = {4: 15, 8: 254}  # steps from the smallest to the largest value; 8 bits are symmetric


@dataclass(frozen=True)
class QuantisedMatrix:
    """An [N, K] matrix of weights.

    Attributes:
        values: 4 bits: uint8 [N, K / 2], input 2 i in the low half of byte i and 2 i + 1 in the high one, 0 to 15.
            8 bits: int8 [N, K].
        scale: float32 [N, K / G].
        minimum: float32 [N, K / G], or ``None`` where it is zero throughout.
    """

    values: Tensor
    scale: Tensor
    minimum: Tensor | None

    @property
    def bits(self) -> int:
        """4 or 8."""
        return 4 if self.values.dtype == torch.uint8 else 8

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return self.values.shape[0], self.values.shape[1] * 8 // self.bits

    @property
    def group(self) -> int:
        """G."""
        return self.shape[1] // self.scale.shape[1]

    @property
    def bytes(self) -> int:
        """Of all its parts."""
        return sum(part.nbytes for part in (self.values, self.scale, self.minimum) if part is not None)

    def levels(self) -> Tensor:
        """The integers q, uint8 or int8 [N, K]."""
        if self.bits == 8:
            return self.values
        return torch.stack((self.values & 15, self.values >> 4), dim=2).flatten(1)

    def dequantised(self) -> Tensor:
        """float32 [N, K]."""
        grouped = self.levels().unflatten(1, (-1, self.group)).float() * self.scale.unsqueeze(2)
        if self.minimum is not None:
            grouped += self.minimum.unsqueeze(2)
        return grouped.flatten(1)

    def rows(self, index: Tensor) -> QuantisedMatrix:
        """The outputs ``index``, in that order."""
        minimum = None if self.minimum is None else self.minimum[index]
        return QuantisedMatrix(self.values[index], self.scale[index], minimum)


def concatenated(parts: list[QuantisedMatrix]) -> QuantisedMatrix:
    """The outputs of all parts, which have the same bits, inputs and groups, one after the other.

    Raises:
        ValueError: where they have not.
    """
    if len({(part.bits, part.shape[1], part.group) for part in parts}) > 1:
        raise ValueError("the parts differ in bits, inputs or groups")
    minimum: Tensor | None = None
    if any(part.minimum is not None for part in parts):
        none = torch.zeros(())
        minimum = torch.cat([none.expand_as(p.scale) if p.minimum is None else p.minimum for p in parts])
    return QuantisedMatrix(torch.cat([p.values for p in parts]), torch.cat([p.scale for p in parts]), minimum)


def packed_nibbles(levels: Tensor) -> Tensor:
    """[N, K] integers from 0 to 15, K even, as the [N, K / 2] bytes of :class:`QuantisedMatrix`."""
    pairs = levels.to(torch.uint8).unflatten(1, (-1, 2))
    return pairs[:, :, 0] | (pairs[:, :, 1] << 4)


def quantise(weight: Tensor, bits: int, group: int = GROUP) -> QuantisedMatrix:
    """Round a float [N, K] matrix to the nearest levels between the ends of each group.

    Raises:
        UserError: for other bits than 4 and 8, or inputs that groups do not divide.
    """
    if bits not in LEVELS:
        raise UserError(f"bits is {bits}; 4 and 8 are accepted.")
    if weight.shape[1] % group:
        raise UserError(f"A matrix with {weight.shape[1]} inputs has no whole groups of {group}.")
    grouped = weight.detach().float().unflatten(1, (-1, group))
    if bits == 8:
        scale = grouped.abs().amax(2) / 127
        levels = (grouped / scale.clamp(min=1e-30).unsqueeze(2)).round().to(torch.int8)
        return QuantisedMatrix(levels.flatten(1), scale, None)
    minimum, maximum = grouped.amin(2), grouped.amax(2)
    scale = (maximum - minimum) / LEVELS[4]
    levels = ((grouped - minimum.unsqueeze(2)) / scale.clamp(min=1e-30).unsqueeze(2)).round().clamp(0, LEVELS[4])
    return QuantisedMatrix(packed_nibbles(levels.flatten(1)), scale, minimum)


class _Product(torch.autograd.Function):
    """x W' of a matrix that is unpacked for the product and again for its gradient, and kept in neither."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: QuantisedMatrix) -> Tensor:
        ctx.matrix = matrix
        return F.linear(x, matrix.dequantised().to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient @ ctx.matrix.dequantised().to(gradient.dtype), None


class QuantisedLinear(nn.Module):
    """A frozen linear layer over a :class:`QuantisedMatrix`; gradients flow to its inputs (QLoRA's base)."""

    values: Tensor
    scale: Tensor
    minimum: Tensor | None
    bias: Tensor | None

    def __init__(self, matrix: QuantisedMatrix, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = matrix.shape
        for name, part in (("values", matrix.values), ("scale", matrix.scale), ("minimum", matrix.minimum),
                           ("bias", bias)):  # fmt: skip
            self.register_buffer(name, part)

    @property
    def matrix(self) -> QuantisedMatrix:
        """The weights."""
        return QuantisedMatrix(self.values, self.scale, self.minimum)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        y: Tensor = _Product.apply(x, self.matrix)
        return y if self.bias is None else y + self.bias


def dequantised(layer: QuantisedLinear) -> nn.Linear:
    """The same layer over float32 weights, frozen."""
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    plain.weight = nn.Parameter(layer.matrix.dequantised(), requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias, requires_grad=False)
    return plain
