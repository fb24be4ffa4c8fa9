"""The small parts that every Transformer here is made of. Tensor letters: see :mod:`foretell.model.config`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from foretell.model.config import RotaryScaling

IGNORED = -100  # label of a position that predicts nothing


class Remade(torch.autograd.graph.saved_tensors_hooks):
    """Within it, autograd does not keep ``made`` for the backward pass, which makes it again: for what is cheap.

    Args:
        made: a tensor, known by its place in memory; a copy or a part of it is kept as ever.
        make: gives its values from tensors that are kept anyway; runs without autograd.
    """

    def __init__(self, made: Tensor, make: Callable[[], Tensor]) -> None:
        place, values, kind = made.data_ptr(), made.numel(), made.dtype

        def pack(saved: Tensor) -> Tensor | torch.Size:
            same = saved.data_ptr() == place and saved.numel() == values and saved.dtype == kind
            # Detached: a saved output that held its own graph would never be freed without a backward pass.
            return saved.shape if same and saved.is_contiguous() else saved.detach()

        def unpack(packed: Tensor | torch.Size) -> Tensor:
            if isinstance(packed, Tensor):
                return packed
            with torch.no_grad():
                return make().view(packed)

        super().__init__(pack, unpack)
        self.made = made  # alive as long as this is in force, so that nothing else takes its place


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension with a gain (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class GatedProduct(torch.autograd.Function):
    """silu(gate) * up, of which the backward pass keeps the two factors only."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """Elementwise."""
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor]:
        """silu'(z) = s (1 + z (1 - s)) of s = sigmoid(z)."""
        (gradient,) = gradients
        gate, up = ctx.saved_tensors
        of_silu = torch.ops.aten.silu_backward(gradient * up, gate)
        return of_silu, F.silu(gate).mul_(gradient)


class SwiGLU(nn.Module):
    """Gated feed-forward layer: down(silu(gate x) * up x) (Shazeer 2020).

    ``lean`` makes training keep the gate's and up's outputs only.
    """

    lean: bool = False

    def __init__(self, width: int, ffn_width: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(width, ffn_width, bias=bias)
        self.up = nn.Linear(width, ffn_width, bias=bias)
        self.down = nn.Linear(ffn_width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        gate, up = self.gate(x), self.up(x)
        if not (self.lean and self.training):
            return self.down(F.silu(gate) * up)
        product = GatedProduct.apply(gate, up)
        with Remade(product, lambda: F.silu(gate) * up):
            return self.down(product)


def rotary_factors(frequencies: Tensor, scaling: RotaryScaling) -> Tensor:
    """What each of the [E/2] frequencies is divided by, 1 to ``scaling.factor``; see :class:`RotaryScaling`."""
    if scaling.kind == "linear":
        return torch.full_like(frequencies, scaling.factor)
    turns = scaling.original_context * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return 1 / (kept + (1 - kept) / scaling.factor)


def rotary_frequencies(head_dim: int, theta: float) -> Tensor:
    """Radians a position of the E/2 pairs, float64 (Su et al. 2021)."""
    return theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)


def rotary_angles(context: int, head_dim: int, theta: float, scaling: RotaryScaling | None = None) -> Tensor:
    """Cosines and sines of rotary positions (Su et al. 2021).

    Returns:
        [2, T, 1, E/2] float32: cosines first, sines second; broadcasts over heads.
    """
    frequencies = rotary_frequencies(head_dim, theta)
    if scaling is not None:
        frequencies = frequencies / rotary_factors(frequencies, scaling)
    angles = torch.outer(torch.arange(context, dtype=torch.float64), frequencies)
    return torch.stack((angles.cos(), angles.sin())).unsqueeze(2).float()


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i+E/2}) by their position's angle: the half-split layout of Hugging Face's Llama.

    Args:
        x: [..., T, heads, E].
        angles: [2, T, 1, E/2], the rows of :func:`rotary_angles` for these positions, or with the leading dimensions
            of ``x``: [2, ..., T, 1, E/2].
    """
    cosine, sine = angles[0], angles[1]
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def label_log_probability_and_softmax(logits: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """ln p of the labels, [tokens, 1], and p, [tokens, V], of [tokens, V] logits, which are lost.

    On a CPU in one pass of exponentials over the logits, in their own memory.
    """
    if logits.device.type != "cpu":
        log_probability = torch.log_softmax(logits, dim=1)
        return log_probability.gather(1, index), log_probability.exp_()
    label, largest = logits.gather(1, index), logits.amax(1, keepdim=True)
    probability = torch.softmax(logits, dim=1, out=logits)
    # The largest logit has the probability 1 / sum of exp(logit - largest), which cannot underflow; a label's can.
    return label - largest + probability.amax(1, keepdim=True).log(), probability


class LinearCrossEntropy(torch.autograd.Function):
    """Head and cross-entropy in one: the [tokens, V] logits exist for one chunk at a time and are never stored.

    The gradient is computed in the forward pass, where the chunk's logits are still in the cache, and scaled in the
    backward pass. Saves memory on large vocabularies and, on CPU, several passes over the logits.
    """

    CHUNK_LOGITS = 2**20  # four megabytes of float32, which stay in the cache

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, scale: float) -> Tensor:
        """Summed loss in nats of [tokens, D] hidden states under [V, D] head weights and [tokens] labels."""
        precision = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=precision, device=hidden.device)
        gradient_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        gradient_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None  # none of a frozen head
        rows = max(64, LinearCrossEntropy.CHUNK_LOGITS // weight.shape[0])
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            x, label = hidden[part], labels[part]
            counts = (label != IGNORED).unsqueeze(1)
            index = label.clamp(min=0).unsqueeze(1)
            scaled = x * scale if scale != 1.0 else x
            logits = (scaled @ weight.t()).to(precision)
            log_probability, gradient = label_log_probability_and_softmax(logits, index)
            total -= (log_probability * counts).sum()
            if gradient_hidden is None and gradient_weight is None:
                continue
            # d loss / d logits = softmax - one_hot; ignored rows and the scale are dealt with on the small factors
            gradient.scatter_add_(1, index, torch.full_like(gradient[:, :1], -1.0))
            gradient = gradient.to(hidden.dtype)
            if gradient_hidden is not None:
                torch.mm(gradient, weight, out=gradient_hidden[part]).mul_(counts * scale)
            if gradient_weight is not None:
                gradient_weight.addmm_(gradient.t(), scaled * counts)
        ctx.save_for_backward(gradient_hidden, gradient_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Scale the stored gradients by the incoming scalar."""
        of_hidden, of_weight = (None if stored is None else stored * gradient[0] for stored in ctx.saved_tensors)
        return of_hidden, of_weight, None, None
