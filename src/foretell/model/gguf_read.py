"""A decoder out of a GGUF file: llama.cpp's ``llama`` (Mistral and SmolLM among them), ``qwen2`` and ``qwen3``.

Keys and tensor names: llama.cpp's ``llama-arch.cpp`` and ``convert_hf_to_gguf.py``.
"""

from __future__ import annotations

from typing import Any

import torch

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.gguf import GgufFile
from foretell.model.assemble import Weight, as_float, assembled, half_split_rows, reordered, stacked
from foretell.model.config import ModelConfig, RotaryScaling
from foretell.model.decoder import Decoder
from foretell.model.gguf_blocks import unpacked
from foretell.model.primitives import rotary_factors, rotary_frequencies
from foretell.model.quantised import QuantisedMatrix

ARCHITECTURES = ("llama", "qwen2", "qwen3")
# What other models of these architectures may have, with the values under which it makes no difference.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.scale": (0.0,),
    "use_parallel_residual": (False,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "rope.scaling.type": ("none", "linear"),
}
TOP = {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight", "head.weight": "output.weight"}
BLOCK = {
    "attention_norm": "attn_norm",
    "attention.output": "attn_output",
    "attention.query_norm": "attn_q_norm",
    "attention.key_norm": "attn_k_norm",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
}
QKV = ("attn_q", "attn_k", "attn_v")
ROTARY_FACTORS = "rope_freqs.weight"


def config_from_gguf(file: GgufFile, context: int | None = None) -> ModelConfig:
    """The shape that a GGUF file's metadata and tensors describe; ``context`` replaces a longer one.

    Raises:
        UserError: for another architecture, a missing key, or a value that this decoder does not compute.
    """
    architecture = file.require("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UserError(f"{file.path}: general.architecture is {architecture!r}; {', '.join(ARCHITECTURES)} are read.")

    def value(key: str, default: Any = None) -> Any:
        name = f"{architecture}.{key}"
        return file.require(name) if default is None else file.metadata.get(name, default)

    for key, accepted in NEUTRAL.items():
        found = value(key, accepted[0])
        if found not in accepted:
            raise UserError(
                f"{file.path}: {architecture}.{key} is {found!r}; {' or '.join(map(repr, accepted))} is read."
            )

    def whole(key: str, default: int | None = None) -> int:
        found = value(key, default)
        if not isinstance(found, int) or found < 1:
            raise UserError(f"{file.path}: {architecture}.{key} is {found!r}; a whole number above 0 is read.")
        return found

    heads = whole("attention.head_count")
    head_dim = whole("attention.key_length", whole("embedding_length") // heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if value(key, head_dim) != head_dim:
            raise UserError(f"{file.path}: {architecture}.{key} is {value(key)}; the head's {head_dim} is read.")
    stated = whole("context_length")
    tensors = file.tensors
    shape = {
        "vocab_size": tensors[TOP["embedding.weight"]].shape[0] if TOP["embedding.weight"] in tensors else 0,
        "width": whole("embedding_length"),
        "depth": whole("block_count"),
        "heads": heads,
        "kv_heads": whole("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "ffn_width": whole("feed_forward_length"),
        "context": stated if context is None else min(context, stated),
        "rope_theta": value("rope.freq_base", 10_000.0),
        "norm_eps": value("attention.layer_norm_rms_epsilon"),
        "tied": TOP["head.weight"] not in tensors,
        "qk_norm": "blk.0.attn_q_norm.weight" in tensors,
        "qkv_bias": "blk.0.attn_q.bias" in tensors,
        "output_bias": "blk.0.attn_output.bias" in tensors,
        "mlp_bias": "blk.0.ffn_down.bias" in tensors,
        "window": value("attention.sliding_window", 0) or None,
    }
    try:
        config = build(ModelConfig, shape)
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from error
    return config.model_copy(update={"rotary_scaling": _rotary_scaling(file, config, architecture)})


def _rotary_scaling(file: GgufFile, config: ModelConfig, architecture: str) -> RotaryScaling | None:
    """From the metadata, or from the divisors of each frequency, which is how Llama 3's scaling is stored."""
    if ROTARY_FACTORS in file.tensors:
        factors = as_float(unpacked(file.tensors[ROTARY_FACTORS]))
        scaling = build(RotaryScaling, {"kind": "llama3", "factor": float(factors.max())})
        expected = rotary_factors(rotary_frequencies(config.head_dim, config.rope_theta), scaling).float()
        if factors.shape != expected.shape or not torch.allclose(factors, expected, rtol=1e-4):
            raise UserError(
                f"{file.path}: {ROTARY_FACTORS} holds other divisors than Llama 3's (bands 1 and 4, 8,192 positions)."
            )
        return scaling
    if file.metadata.get(f"{architecture}.rope.scaling.type", "none") == "none":
        return None
    return build(RotaryScaling, {"kind": "linear", "factor": file.require(f"{architecture}.rope.scaling.factor")})


def decoder_from_gguf(file: GgufFile, *, dequantise: bool = False, context: int | None = None) -> Decoder:
    """The model of a GGUF file; quantised matrices stay packed unless ``dequantise``.

    The embedding is float32 in any case. ``decoder.head_matrix`` is the packed head, where there is one.

    Raises:
        UserError: for what :func:`config_from_gguf` refuses, a tensor type that is not read, or tensors that are
            missing, left over, or of another shape.
    """
    config = config_from_gguf(file, context)
    unread = set(file.tensors) - {ROTARY_FACTORS}

    def take(name: str) -> Weight:
        if name not in file.tensors:
            raise UserError(f"{file.path}: the tensor {name} is missing.")
        unread.discard(name)
        weight = unpacked(file.tensors[name])
        return as_float(weight) if dequantise else weight

    neighbours = file.metadata["general.architecture"] == "llama"
    weights = {ours: take(theirs) for ours, theirs in TOP.items() if not (config.tied and theirs == TOP["head.weight"])}
    table = weights["embedding.weight"]
    weights["embedding.weight"] = as_float(table)
    for layer in range(config.depth):
        for ours, theirs in BLOCK.items():
            for kind in ("weight", "bias"):
                if f"blk.{layer}.{theirs}.{kind}" in file.tensors:
                    weights[f"blocks.{layer}.{ours}.{kind}"] = take(f"blk.{layer}.{theirs}.{kind}")
        for kind in ("weight", "bias") if config.qkv_bias else ("weight",):
            query, key, value = (take(f"blk.{layer}.{theirs}.{kind}") for theirs in QKV)
            if neighbours:
                name = f"{file.path}: blk.{layer}.attn"
                query = reordered(query, half_split_rows(config.heads, config.head_dim), f"{name}_q.{kind}")
                key = reordered(key, half_split_rows(config.kv_heads, config.head_dim), f"{name}_k.{kind}")
            weights[f"blocks.{layer}.attention.qkv.{kind}"] = stacked([query, key, value])
    if unread:
        raise UserError(f"{file.path}: the tensor {min(unread)} has no place in this decoder.")
    decoder = assembled(config, weights, str(file.path))
    if config.tied and isinstance(table, QuantisedMatrix):
        decoder.head_matrix = table
    return decoder
