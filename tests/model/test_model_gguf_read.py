"""GGUF files that were not written here: mixed types, what is refused, and Llama 3's divisors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foretell.core.errors import UserError
from foretell.core.gguf import GgufFile, GgufTensor
from foretell.model.config import RotaryScaling
from foretell.model.gguf_read import config_from_gguf, decoder_from_gguf
from foretell.model.primitives import rotary_factors, rotary_frequencies
from foretell.model.quantised import QuantisedLinear

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
METADATA = {
    "general.architecture": "llama", "llama.context_length": 128, "llama.embedding_length": 64, "llama.block_count": 1,
    "llama.feed_forward_length": 96, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 5e5,
}  # fmt: skip
SHAPES = {
    "token_embd.weight": (50, 64), "output_norm.weight": (64,), "output.weight": (50, 64),
    "blk.0.attn_norm.weight": (64,), "blk.0.ffn_norm.weight": (64,), "blk.0.attn_q.weight": (64, 64),
    "blk.0.attn_k.weight": (32, 64), "blk.0.attn_v.weight": (32, 64), "blk.0.attn_output.weight": (64, 64),
    "blk.0.ffn_gate.weight": (96, 64), "blk.0.ffn_up.weight": (96, 64), "blk.0.ffn_down.weight": (64, 96),
}  # fmt: skip


def file_of(metadata: dict | None = None, kinds: dict | None = None, **tensors: np.ndarray) -> GgufFile:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype(np.float32) * 0.3 for name, shape in SHAPES.items()} | tensors
    found = {}
    for name, value in values.items():
        kind = (kinds or {}).get(name, "F32")
        data = gguf.quantize(value, gguf.GGMLQuantizationType[kind])
        found[name] = GgufTensor(name, kind, value.shape, data)
    return GgufFile(Path("x.gguf"), {**METADATA, **(metadata or {})}, found)


def test_queries_and_values_of_several_types_become_one_float_matrix():
    mixed = {"blk.0.attn_q.weight": "Q4_0", "blk.0.attn_k.weight": "Q4_0", "blk.0.attn_v.weight": "Q8_0",
             "output.weight": "Q4_1", "blk.0.ffn_up.weight": "Q4_0"}  # fmt: skip
    decoder = decoder_from_gguf(file_of(kinds=mixed))
    block = decoder.blocks[0]
    assert isinstance(block.attention.qkv, torch.nn.Linear) and isinstance(block.feed_forward.up, QuantisedLinear)
    assert isinstance(decoder.head, QuantisedLinear) and decoder.head_matrix.bits == 4
    ids = torch.arange(40)[None]
    with torch.no_grad():
        plain = decoder_from_gguf(file_of(kinds=mixed), dequantise=True)
        torch.testing.assert_close(decoder(ids), plain(ids))
        assert decoder.loss(ids[:, :-1], ids[:, 1:]) == pytest.approx(plain.loss(ids[:, :-1], ids[:, 1:]).item())
    alike = decoder_from_gguf(file_of(kinds=mixed | {"blk.0.attn_v.weight": "Q4_1"})).blocks[0].attention.qkv
    assert isinstance(alike, QuantisedLinear) and alike.matrix.shape == (128, 64)


def test_llama_3s_divisors_are_recognised():
    scaling = RotaryScaling(kind="llama3", factor=32)
    factors = rotary_factors(rotary_frequencies(16, 5e5), scaling).float().numpy()
    assert config_from_gguf(file_of(**{"rope_freqs.weight": factors})).rotary_scaling == scaling
    with pytest.raises(UserError, match=r"rope_freqs.weight holds other divisors than Llama 3's"):
        config_from_gguf(file_of(**{"rope_freqs.weight": factors * 1.5}))


def test_a_shorter_context_is_taken_and_a_longer_one_is_not():
    assert config_from_gguf(file_of(), context=64).context == 64
    assert config_from_gguf(file_of(), context=1000).context == 128


@pytest.mark.parametrize(
    ("metadata", "words"),
    [({"general.architecture": "gemma"}, "general.architecture is 'gemma'; llama, qwen2, qwen3 are read"),
     ({"llama.expert_count": 8}, "llama.expert_count is 8; 0 is read"),
     ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type is 'yarn'; 'none' or 'linear' is read"),
     ({"llama.rope.scaling.type": "linear"}, r"the metadata key llama.rope.scaling.factor is missing"),
     ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count is 8; the head's 16 is read"),
     ({"llama.embedding_length": "x"}, r"x.gguf: llama.embedding_length is 'x'; a whole number above 0"),
     ({"llama.attention.head_count": 0}, "llama.attention.head_count is 0"),
     ({"llama.feed_forward_length": [96, 96]}, r"llama.feed_forward_length is \[96, 96\]"),
     ({"llama.block_count": 2}, r"the tensor blk.1.attn_q.weight is missing"),
     ({"llama.attention.head_count_kv": 4}, r"blk.0.attn_k.weight has 32 rows and its configuration says 64"),
     ({"llama.feed_forward_length": 64}, "has the shape"),
     ({"general.architecture": None}, "general.architecture is None")],
)  # fmt: skip
def test_what_this_decoder_does_not_compute_is_refused(metadata, words):
    with pytest.raises(UserError, match=words):
        decoder_from_gguf(file_of(metadata))


def test_tensors_without_a_place_are_refused():
    with pytest.raises(UserError, match=r"the tensor blk.0.ffn_gate_exps.weight has no place"):
        decoder_from_gguf(file_of(**{"blk.0.ffn_gate_exps.weight": np.zeros((2, 2), np.float32)}))
    file = file_of()
    del file.tensors["output_norm.weight"]
    with pytest.raises(UserError, match=r"the tensor output_norm.weight is missing"):
        decoder_from_gguf(file)
