"""A decoder as an ordinary Hugging Face directory, out and in: config.json and model.safetensors.

One with a vision half is a Llava there, and the names of its halves are those of :mod:`foretell.model.llava`.

muP's multipliers are folded into the weights on the way out (output scale into the final norm's gain, attention scale
into the queries), so that transformers, vLLM and llama.cpp compute the same logits with their standard formulas.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.files import read_json, write_atomic, write_json
from foretell.model.assemble import Weight, as_float, assembled
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.hf_config import biases_of, config_from_hf, config_to_hf
from foretell.model.llava import halves_of_llava, text_to_llava, vision_from_llava, vision_to_llava
from foretell.model.llava_config import MODEL_TYPE, config_from_llava, config_to_llava
from foretell.model.llava_processor import preprocessor_to_hf, processor_to_hf, with_preprocessor
from foretell.model.parametrization import Parametrization
from foretell.model.quantised import QuantisedLinear
from foretell.model.weight_files import Taker, read_weights

__all__ = ["config_from_hf", "config_to_hf", "load_hf", "save_hf", "state_from_hf", "state_to_hf"]

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
_OUTPUT_BIAS = {"attention.output.bias": "self_attn.o_proj.bias"}
_MLP_BIAS = {f"feed_forward.{part}.bias": f"mlp.{part}_proj.bias" for part in ("gate", "up", "down")}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def _block_names(qk_norm: bool, output_bias: bool, mlp_bias: bool) -> dict[str, str]:
    return (
        _BLOCK | (_QK_NORM if qk_norm else {}) | (_OUTPUT_BIAS if output_bias else {}) | (_MLP_BIAS if mlp_bias else {})
    )


def float_state(model: Decoder) -> dict[str, Tensor]:
    """The decoder's weights by name, float32 copies on the CPU; packed matrices are unpacked."""
    packed = {name: part for name, part in model.named_modules() if isinstance(part, QuantisedLinear)}
    state = {f"{name}.weight": as_float(part.matrix).cpu() for name, part in packed.items()}
    state |= {f"{name}.bias": part.bias.cpu().clone() for name, part in packed.items() if part.bias is not None}
    floats = {name: parameter.detach().cpu().float() for name, parameter in model.named_parameters()}
    return state | {name: tensor.clone() for name, tensor in floats.items()}


def state_to_hf(model: Decoder) -> dict[str, Tensor]:
    """The weights under their Hugging Face names, muP multipliers folded in; equal logits, standard formulas."""
    state = float_state(model)
    text = _text_to_hf(model.config, state)
    return text if model.config.vision is None else text_to_llava(text) | vision_to_llava(model.config, state)


def _text_to_hf(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the text half; ``state`` is changed."""
    biases = biases_of(config)
    parametrization = Parametrization(config)
    query_factor = parametrization.attention_scale * math.sqrt(config.head_dim)
    state["norm.weight"] *= parametrization.output_scale
    out = {theirs: state[ours] for ours, theirs in _TOP.items() if ours in state}
    key = config.kv_heads * config.head_dim
    outputs = {"feed_forward.gate.bias": config.ffn_width, "feed_forward.up.bias": config.ffn_width}
    for layer in range(config.depth):
        for ours, theirs in _block_names(config.qk_norm, biases.output, biases.mlp).items():
            # A bias that the architecture has and the shape has not is zero.
            tensor = state.get(f"blocks.{layer}.{ours}")
            out[f"model.layers.{layer}.{theirs}"] = (
                torch.zeros(outputs.get(ours, config.width)) if tensor is None else tensor
            )
        for kind in ("weight", "bias") if biases.qkv else ("weight",):
            joined = state.get(f"blocks.{layer}.attention.qkv.{kind}")
            joined = torch.zeros(config.heads * config.head_dim + 2 * key) if joined is None else joined
            for theirs, part in zip(_QKV, joined.split((config.heads * config.head_dim, key, key)), strict=True):
                out[f"model.layers.{layer}.{theirs}.{kind}"] = part.contiguous().clone()
        for name in ("q_norm.weight",) if config.qk_norm else ("q_proj.weight", "q_proj.bias"):
            if f"model.layers.{layer}.self_attn.{name}" in out:
                out[f"model.layers.{layer}.self_attn.{name}"] *= query_factor
    return out


def state_from_hf(config: ModelConfig, state: dict[str, Tensor], source: str) -> dict[str, Weight]:
    """The inverse of :func:`state_to_hf` for a model in the standard parametrization.

    Raises:
        UserError: naming a tensor that is missing, left over, or of a type that is not read.
    """
    if config.vision is None:
        return _text_from_hf(config, state, source)
    text, rest = halves_of_llava(state)
    return _text_from_hf(config, text, source) | vision_from_llava(config, rest, source)


def _text_from_hf(config: ModelConfig, state: dict[str, Tensor], source: str) -> dict[str, Weight]:
    taker = Taker(state, source)
    ours: dict[str, Weight] = {
        mine: taker.take(theirs) for mine, theirs in _TOP.items() if not (config.tied and mine == "head.weight")
    }
    for layer in range(config.depth):
        prefix = f"model.layers.{layer}"
        for mine, theirs in _block_names(config.qk_norm, config.output_bias, config.mlp_bias).items():
            ours[f"blocks.{layer}.{mine}"] = taker.take(f"{prefix}.{theirs}")
        for kind in ("weight", "bias") if config.qkv_bias else ("weight",):
            parts = [taker.take(f"{prefix}.{theirs}.{kind}") for theirs in _QKV]
            ours[f"blocks.{layer}.attention.qkv.{kind}"] = torch.cat(parts)
    # Old checkpoints store the rotary table; some that are tied store the table twice.
    taker.finish(("rotary_emb.inv_freq", *([_TOP["head.weight"]] if config.tied else [])))
    return ours


def save_hf(
    model: Decoder,
    folder: Path,
    special_ids: Mapping[str, Any] | None = None,
    image_tokens: tuple[str, str, str] | None = None,
) -> None:
    """Write ``config.json`` and ``model.safetensors``, and for a vision half the files that prepare images for it.

    The tokenizer's files are written by the tokenizer.

    Args:
        special_ids: keys of ``config.json`` such as ``eos_token_id``, which is 0 in tokenizers trained here.
        image_tokens: the tokens in a patch's place, at the end of a line of patches and at an image's end, with which
            transformers' processor writes an image into a prompt; without them it is given none.

    Raises:
        UserError: for a combination of options that no architecture of transformers has, or a full disk.
    """
    special, vision = dict(special_ids or {}), model.config.vision
    if vision is None:
        values = config_to_hf(model.config) | special
    else:
        values = config_to_llava(model.config) | special
        values["text_config"] |= special
        write_json(folder / "preprocessor_config.json", preprocessor_to_hf(vision))
        if image_tokens is not None:
            write_json(folder / "processor_config.json", processor_to_hf(vision, image_tokens))
    write_atomic(folder / "config.json", json.dumps(values, indent=2) + "\n")
    write_atomic(folder / "model.safetensors", save(state_to_hf(model), metadata={"format": "pt"}))


def load_hf(folder: Path, device: torch.device | str = "cpu", context: int | None = None) -> Decoder:
    """Read a Llama, Mistral, Qwen2, Qwen3 or Llava directory; ``context`` replaces a longer one.

    Raises:
        UserError: for a missing or damaged file, another architecture, or a tensor that is missing, left over, or of
            another shape than ``config.json`` says.
    """
    values = read_json(folder / "config.json")
    if not isinstance(values, dict):
        raise UserError(f"{folder / 'config.json'} holds a {type(values).__name__}; an object is expected.")
    source = str(folder / "config.json")
    if values.get("model_type") == MODEL_TYPE:
        config = with_preprocessor(config_from_llava(values, source), folder)
    else:
        config = config_from_hf(values, source)
    if context is not None and context < config.context:
        config = config.model_copy(update={"context": context})
    weights = state_from_hf(config, read_weights(folder), str(folder))
    return assembled(config, weights, str(folder)).to(device)
