"""Every tensor type against the ``gguf`` package's own dequantisation, bit for bit, on random blocks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.gguf import GgufTensor
from foretell.model.assemble import as_float
from foretell.model.gguf_blocks import KINDS, unpacked
from foretell.model.quantised import QuantisedMatrix

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
QUANTISED = [kind for kind in KINDS if kind.startswith("Q")]
GROUPS = {"Q4_0": (4, 32), "Q4_1": (4, 32), "Q4_K": (4, 32), "Q8_0": (8, 32), "Q6_K": (8, 16)}


def random_blocks(kind: str, rows: int, blocks: int, seed: int) -> np.ndarray:
    """Blocks of random bytes whose half-precision numbers are finite."""
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    places = {"Q4_1": (0, 2), "Q4_K": (0, 2), "Q6_K": (208,)}.get(kind, (0,))
    for place in places:
        half = rng.normal(size=(rows, blocks, 1)).astype(np.float16)
        raw[..., place : place + 2] = half.view(np.uint8).reshape(rows, blocks, 2)
    return raw.reshape(rows, -1)


@pytest.mark.parametrize("kind", QUANTISED)
@given(rows=st.integers(1, 5), blocks=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_random_blocks_unpack_as_gguf_unpacks_them(kind, rows, blocks, seed):
    raw = random_blocks(kind, rows, blocks, seed)
    expected = gguf.dequantize(raw, gguf.GGMLQuantizationType[kind])
    matrix = unpacked(GgufTensor("x", kind, expected.shape, raw))
    assert isinstance(matrix, QuantisedMatrix)
    assert (matrix.bits, matrix.group) == GROUPS[kind] and matrix.shape == expected.shape
    assert matrix.bytes < expected.nbytes / 2
    np.testing.assert_array_equal(matrix.dequantised().numpy(), expected)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F32", "F16", "BF16"])
def test_what_gguf_packs_comes_back_within_its_steps(kind):
    values = np.random.default_rng(0).normal(size=(7, 96)).astype(np.float32)
    which = gguf.GGMLQuantizationType[kind]
    raw = gguf.quantize(values, which)
    found = as_float(unpacked(GgufTensor("x", kind, values.shape, raw)))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), gguf.dequantize(raw, which).reshape(values.shape))
    np.testing.assert_allclose(found, values, atol={"Q4": 0.4, "Q8": 0.02}.get(kind[:2], 0.02))


def test_rows_of_a_packed_matrix_are_rows_of_its_values():
    matrix = unpacked(GgufTensor("x", "Q4_K", (6, 512), random_blocks("Q4_K", 6, 2, 0)))
    index = torch.tensor([3, 1, 5])
    assert torch.equal(matrix.rows(index).dequantised(), matrix.dequantised()[index])


def test_other_types_are_named():
    with pytest.raises(UserError, match=r"tensor x has the type Q2_K; F32, F16, BF16, Q4_0"):
        unpacked(GgufTensor("x", "Q2_K", (1, 256), np.zeros((1, 84), np.uint8)))
    with pytest.raises(UserError, match="3 dimensions; 2 are read"):
        unpacked(GgufTensor("x", "Q4_0", (1, 1, 32), np.zeros((1, 1, 18), np.uint8)))
