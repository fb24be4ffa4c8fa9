"""A decoder as an ordinary Hugging Face directory, out and in: config.json and model.safetensors.

muP's multipliers are folded into the weights on the way out (output scale into the final norm's gain, attention scale
into the queries), so that transformers, vLLM and llama.cpp compute the same logits with their standard formulas.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.files import read_json, write_atomic
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder, build_decoder
from foretell.model.parametrization import Parametrization

# Ours -> theirs; qkv is one matrix here and three there.
_TOP = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_BLOCK = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.output.weight": "self_attn.o_proj.weight",
    "feed_forward_norm.weight": "post_attention_layernorm.weight",
    "feed_forward.gate.weight": "mlp.gate_proj.weight",
    "feed_forward.up.weight": "mlp.up_proj.weight",
    "feed_forward.down.weight": "mlp.down_proj.weight",
}
_QK_NORM = {
    "attention.query_norm.weight": "self_attn.q_norm.weight",
    "attention.key_norm.weight": "self_attn.k_norm.weight",
}
_QKV = ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")


def _block_names(config: ModelConfig) -> dict[str, str]:
    return _BLOCK | (_QK_NORM if config.qk_norm else {})


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The ``config.json`` of the architecture that this shape is."""
    return {
        "architectures": ["Qwen3ForCausalLM" if config.qk_norm else "LlamaForCausalLM"],
        "model_type": "qwen3" if config.qk_norm else "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
        "use_cache": True,
    }


def config_from_hf(values: dict[str, Any], source: str = "config.json") -> ModelConfig:
    """The shape that a Llama or Qwen3 ``config.json`` describes.

    Raises:
        UserError: for another architecture, rope scaling, biases or another activation, named.
    """
    kind = values.get("model_type")
    if kind not in ("llama", "qwen3"):
        raise UserError(f"{source}: model_type is {kind!r}; 'llama' and 'qwen3' are read.")
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise UserError(f"{source}: rope_type is {rope.get('rope_type', rope.get('type'))!r}; only 'default' is read.")
    if values.get("attention_bias") or values.get("mlp_bias") or values.get("hidden_act", "silu") != "silu":
        raise UserError(f"{source}: biases or an activation other than 'silu' are not part of this decoder.")
    try:
        heads = values["num_attention_heads"]
        return ModelConfig(
            vocab_size=values["vocab_size"],
            width=values["hidden_size"],
            depth=values["num_hidden_layers"],
            heads=heads,
            kv_heads=values.get("num_key_value_heads") or heads,
            head_dim=values.get("head_dim") or values["hidden_size"] // heads,
            ffn_width=values["intermediate_size"],
            context=values.get("max_position_embeddings", 2048),
            rope_theta=values.get("rope_theta") or rope.get("rope_theta", 10_000.0),
            norm_eps=values.get("rms_norm_eps", 1e-6),
            qk_norm=kind == "qwen3",
            tied=values.get("tie_word_embeddings", False),
        )
    except KeyError as error:
        raise UserError(f"{source}: the key {error} is missing.") from error


def state_to_hf(model: Decoder) -> dict[str, Tensor]:
    """The weights under their Hugging Face names, muP multipliers folded in; equal logits, standard formulas."""
    config = model.config
    parametrization = Parametrization(config)
    query_factor = parametrization.attention_scale * math.sqrt(config.head_dim)
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    state["norm.weight"] *= parametrization.output_scale
    out = {theirs: state[ours] for ours, theirs in _TOP.items() if ours in state}
    key = config.kv_heads * config.head_dim
    for layer in range(config.depth):
        for ours, theirs in _block_names(config).items():
            out[f"model.layers.{layer}.{theirs}"] = state[f"blocks.{layer}.{ours}"]
        parts = state[f"blocks.{layer}.attention.qkv.weight"].split((config.heads * config.head_dim, key, key))
        for theirs, part in zip(_QKV, parts, strict=True):
            out[f"model.layers.{layer}.{theirs}"] = part.contiguous().clone()
        scaled = "self_attn.q_norm.weight" if config.qk_norm else "self_attn.q_proj.weight"
        out[f"model.layers.{layer}.{scaled}"] *= query_factor
    return out


def state_from_hf(config: ModelConfig, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The inverse of :func:`state_to_hf` for a model in the standard parametrization.

    Raises:
        UserError: naming the first tensor that is missing.
    """

    def take(name: str) -> Tensor:
        if name not in state:
            raise UserError(f"{source}: the tensor {name} is missing.")
        return state[name].float()

    ours = {mine: take(theirs) for mine, theirs in _TOP.items() if not (config.tied and mine == "head.weight")}
    for layer in range(config.depth):
        for mine, theirs in _block_names(config).items():
            ours[f"blocks.{layer}.{mine}"] = take(f"model.layers.{layer}.{theirs}")
        parts = [take(f"model.layers.{layer}.{theirs}") for theirs in _QKV]
        ours[f"blocks.{layer}.attention.qkv.weight"] = torch.cat(parts)
    return ours


def save_hf(model: Decoder, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors``; the tokenizer's files are written by the tokenizer."""
    write_atomic(folder / "config.json", json.dumps(config_to_hf(model.config), indent=2) + "\n")
    write_atomic(folder / "model.safetensors", save(state_to_hf(model), metadata={"format": "pt"}))


def load_hf(folder: Path, device: torch.device | str = "cpu") -> Decoder:
    """Read a Llama or Qwen3 directory with one weight file.

    Raises:
        UserError: for a missing or damaged file, another architecture, or a missing tensor.
    """
    config = config_from_hf(read_json(folder / "config.json"), str(folder / "config.json"))
    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing.") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not readable as safetensors ({error}).") from error
    model = build_decoder(config, device=device)
    try:
        model.load_state_dict(state_from_hf(config, state, str(path)))
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its config.json: {str(error).splitlines()[-1].strip()}") from error
    return model.eval()
