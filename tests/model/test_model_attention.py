"""Attention of the training path against PyTorch's in float64."""

import pytest
import torch
import torch.nn.functional as F

from foretell.model import attention
from foretell.model.attention import BLOCK, LONGEST, causal_attention


def _inputs(length: int, heads: int = 3, head_dim: int = 16, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [(torch.randn(2, heads, length, head_dim, generator=generator) * scale).requires_grad_() for _ in range(3)]


def _with_gradients(out: torch.Tensor, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    return [out, *torch.autograd.grad((out * weights).sum(), parts)]


@pytest.mark.parametrize("length", [2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7, LONGEST])
@pytest.mark.parametrize("scale", [1.0, 6.0])  # the larger one makes probabilities that underflow
def test_values_and_gradients_are_as_exact_as_pytorchs(length: int, scale: float) -> None:
    parts = _inputs(length, scale=scale)
    doubles = [part.detach().double().requires_grad_() for part in parts]
    exact = _with_gradients(F.scaled_dot_product_attention(*doubles, is_causal=True, scale=0.3), doubles)
    theirs = _with_gradients(F.scaled_dot_product_attention(*parts, is_causal=True, scale=0.3), parts)
    out = causal_attention(*parts, scale=0.3)
    assert "Blockwise" in str(out.grad_fn.next_functions)
    for ours, other, reference in zip(_with_gradients(out, parts), theirs, exact, strict=True):
        error, others = ((result - reference).abs().max().item() for result in (ours, other))
        assert error < 3 * others + 1e-6 * reference.abs().max().item()


def test_long_rows_and_inference_keep_no_probabilities(monkeypatch) -> None:
    monkeypatch.setattr(attention.BlockwiseCausalAttention, "apply", None)  # a call would fail
    causal_attention(*_inputs(LONGEST + 1), scale=0.3)
    with torch.no_grad():
        causal_attention(*_inputs(100), scale=0.3)


def test_it_reads_strided_views() -> None:
    """As the decoder calls it: parts of one [B, T, heads, E] projection, transposed."""
    whole = torch.randn(2, 100, 6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    query, key, value = (part.transpose(1, 2) for part in whole.split(2, dim=2))
    out = causal_attention(query, key, value, 0.5)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.5)
    for ours, theirs in zip(_with_gradients(out, [whole]), _with_gradients(expected, [whole]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_mixed_precision_goes_through() -> None:
    """Under autocast queries and keys come in float32, because of their rotation, and values in bfloat16."""
    query, key, value = _inputs(BLOCK + 5)
    with torch.autocast("cpu", torch.bfloat16):
        causal_attention(query, key, value.bfloat16(), 0.3).sum().backward()
    assert query.grad is not None


@pytest.mark.parametrize("keep", [True, False])
def test_shared_keys_and_values_get_the_gradients_of_all_their_queries(keep: bool) -> None:
    query, key, value = _inputs(BLOCK + 9, heads=6)
    key, value = (part[:, ::3].detach().requires_grad_() for part in (key, value))
    found = _with_gradients(causal_attention(query, key, value, 0.3, keep=keep), [query, key, value])
    doubles = [part.detach().double().requires_grad_() for part in (query, key, value)]
    wide = [doubles[0], *(part.repeat_interleave(3, 1) for part in doubles[1:])]
    exact = _with_gradients(F.scaled_dot_product_attention(*wide, is_causal=True, scale=0.3), doubles)
    for ours, reference in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), reference, rtol=1e-4, atol=1e-5)
