import pytest
import small_model
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from foretell.infer.blocks import BlockPool
from foretell.infer.native.library import KernelsUnavailableError, kernels
from foretell.infer.packed import PackedLinear, PackedNorm, PackedSwiGLU, pack_decoder, packed_linear
from foretell.infer.paged import PagedCache, Span
from foretell.model.primitives import RMSNorm, SwiGLU
from foretell.model.quantised import QuantisedLinear, quantise


def matrix(outputs: int, inputs: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [4, 8, 32])
@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 130), outputs=st.integers(1, 70), groups=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_packed_layer_computes_what_its_weights_say(bits, rows, outputs, groups, seed) -> None:
    weight, x, bias = matrix(outputs, 32 * groups, seed), matrix(rows, 32 * groups, seed + 1), matrix(1, outputs)[0]
    packed = weight if bits == 32 else quantise(weight, bits)
    exact = weight if bits == 32 else packed.dequantised()
    layer = PackedLinear(small_model.built_kernels(), packed, bias)
    expected = F.linear(x.double(), exact.double(), bias.double())
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer(x[None])[0], layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_a_row_has_the_same_bits_alone_and_among_any_others(bits: int) -> None:
    weight, x = matrix(45, 96), matrix(257, 96, 1)
    layer = PackedLinear(small_model.built_kernels(), weight if bits == 32 else quantise(weight, bits))
    whole = layer(x)
    for rows in (1, 2, 3, 4, 5, 7, 12, 13, 95, 96, 97, 200):
        assert torch.equal(layer(x[:rows]), whole[:rows]), rows
        assert torch.equal(layer(x[257 - rows :]), whole[257 - rows :]), rows


def test_rows_that_lie_apart_are_read_where_they_lie() -> None:
    layer = PackedLinear(small_model.built_kernels(), matrix(20, 32))
    wide = matrix(9, 100, 2)
    for x in (wide[:, 5:37], wide[::2, :32], wide.t()[:32].t()):
        torch.testing.assert_close(layer(x), layer(x.contiguous()), rtol=0, atol=0)


def test_layers_side_by_side_are_one() -> None:
    built = small_model.built_kernels()
    first, second = nn.Linear(64, 24), nn.Linear(64, 40, bias=False)
    x = matrix(3, 64)
    expected = torch.cat([first(x), second(x)], 1)
    torch.testing.assert_close(packed_linear(built, [first, second])(x), expected, rtol=1e-5, atol=1e-5)
    mixed = [QuantisedLinear(quantise(first.weight.detach(), 4)), QuantisedLinear(quantise(second.weight.detach(), 8))]
    expected = torch.cat([layer(x) for layer in mixed], 1)
    torch.testing.assert_close(packed_linear(built, mixed)(x), expected, rtol=1e-4, atol=1e-4)


def test_norm_and_feed_forward() -> None:
    built = small_model.built_kernels()
    for width in (1, 8, 20, 33):
        norm, x = RMSNorm(width, 1e-5), matrix(11, width) * 50
        torch.nn.init.normal_(norm.weight)
        torch.testing.assert_close(PackedNorm(built, norm)(x), norm(x), rtol=1e-5, atol=1e-5)
    layer = SwiGLU(32, 44)
    for scale in (0.1, 1.0, 100.0, 1e4):  # to where the exponential of the gate over- and underflows
        x = matrix(5, 32) * scale
        torch.testing.assert_close(PackedSwiGLU(built, layer, None)(x), layer(x), rtol=2e-5, atol=2e-5 * scale**2)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("changes", [{}, {"qk_norm": True}, {"head_dim": 20, "base_width": 64, "tied": True},
                                     {"heads": 2, "head_dim": 8}, {"heads": 26, "kv_heads": 1},
                                     {"window": 13}, {"window": 16, "window_from": 1}], ids=str)  # fmt: skip
def test_pieces_through_a_paged_cache_equal_one_pass(native: bool, changes: dict) -> None:
    built = small_model.built_kernels()
    model = small_model.decoder(**changes)
    ids = torch.randint(0, small_model.VOCABULARY, (2, 130), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = model(ids)
        head = pack_decoder(model, built)
        pool = BlockPool(model.config, 2**22, built.lanes)
        tables = [[pool.take() for _ in range(9)] for _ in ids]
        parts: list[list[torch.Tensor]] = [[], []]
        position = 0
        for count in (5, 1, 1, 40, 1, 33, 49):
            spans = [Span(position, count, table[: (position + count + 15) // 16]) for table in tables]
            cache = PagedCache(pool, spans, built if native else None)
            pieces = torch.cat([row[position : position + count] for row in ids])
            logits = head(model.hidden(pieces[None], cache))[0]
            parts[0].append(logits[:count])
            parts[1].append(logits[count:])
            position += count
    found = torch.stack([torch.cat(part) for part in parts])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_without_a_compiler_it_is_said_which_is_missing(monkeypatch, tmp_path) -> None:
    kernels.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelsUnavailableError, match=r"no C\+\+ compiler"):
        kernels()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'no space left' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(KernelsUnavailableError, match="no space left"):
        kernels()
    assert not list(tmp_path.glob("foretell/*.so"))
    kernels.cache_clear()
