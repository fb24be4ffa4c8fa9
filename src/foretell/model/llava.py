"""The vision half's weights under transformers' names of Llava with a Pixtral tower, out and in.

Files name the halves ``language_model``, ``vision_tower`` and ``multi_modal_projector``: transformers has saved them so
from its first Llava on. Some were written with the names of its classes' attributes since 4.52, which begin with
``model.``; both are read.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from foretell.model.assemble import Weight
from foretell.model.config import ModelConfig
from foretell.model.parametrization import Parametrization
from foretell.model.vision_config import CHANNELS, VisionConfig
from foretell.model.weight_files import Taker

# Ours -> theirs; qkv is one matrix here and three there.
_ONCE = {
    "vision.patch_embedding.weight": "vision_tower.patch_conv.weight",
    "vision.patch_norm.weight": "vision_tower.ln_pre.weight",
}
_PROJECTOR = {
    "vision.projector.input.weight": "multi_modal_projector.linear_1.weight",
    "vision.projector.output.weight": "multi_modal_projector.linear_2.weight",
}
_BIASES = {
    "vision.projector.input.bias": "multi_modal_projector.linear_1.bias",
    "vision.projector.output.bias": "multi_modal_projector.linear_2.bias",
}
_BLOCK = {
    "attention_norm.weight": "attention_norm.weight",
    "attention.output.weight": "attention.o_proj.weight",
    "feed_forward_norm.weight": "ffn_norm.weight",
    "feed_forward.gate.weight": "feed_forward.gate_proj.weight",
    "feed_forward.up.weight": "feed_forward.up_proj.weight",
    "feed_forward.down.weight": "feed_forward.down_proj.weight",
}
_QKV = tuple(f"attention.{name}_proj.weight" for name in "qkv")


def _projector_names(vision: VisionConfig) -> dict[str, str]:
    return _PROJECTOR | (_BIASES if vision.projector_bias else {})


def _names(vision: VisionConfig) -> dict[str, str]:
    """Every weight but those of queries, keys and values."""
    names = _ONCE | _projector_names(vision)
    for layer in range(vision.depth):
        names |= {
            f"vision.blocks.{layer}.{ours}": f"vision_tower.transformer.layers.{layer}.{theirs}"
            for ours, theirs in _BLOCK.items()
        }
    return names


def text_to_llava(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The text half's weights, from the names that a model of its own has to those within Llava's file."""
    return {f"language_model.{name}": tensor for name, tensor in state.items()}


def vision_to_llava(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The vision half's weights of a decoder's ``state``, the attention's scale folded into the queries."""
    vision = config.vision
    assert vision is not None
    out = {theirs: state[ours] for ours, theirs in _names(vision).items()}
    convolution = _ONCE["vision.patch_embedding.weight"]
    out[convolution] = out[convolution].view(vision.width, CHANNELS, vision.patch, vision.patch)
    factor = Parametrization(config).vision_attention_scale * math.sqrt(vision.head_dim)
    for layer in range(vision.depth):
        query, key, value = state[f"vision.blocks.{layer}.attention.qkv.weight"].chunk(3)
        for theirs, part in zip(_QKV, (query * factor, key, value), strict=True):
            out[f"vision_tower.transformer.layers.{layer}.{theirs}"] = part.contiguous().clone()
    return out


def halves_of_llava(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Text half, under the names that a model of its own has, and the rest, under those of :mod:`this <.llava>`."""
    text: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in state.items():
        plain = re.sub(r"^model\.(?=language_model\.|vision_tower\.|multi_modal_projector\.)", "", name)
        if plain.startswith("language_model."):
            inner = plain.removeprefix("language_model.")
            text[inner if inner.startswith(("model.", "lm_head.")) else f"model.{inner}"] = tensor
        elif plain.startswith("lm_head."):
            text[plain] = tensor
        else:
            rest[plain] = tensor
    return text, rest


def vision_from_llava(config: ModelConfig, state: dict[str, Tensor], source: str) -> dict[str, Weight]:
    """The inverse of :func:`vision_to_llava` for a model in the standard parametrization.

    Raises:
        UserError: naming a tensor that is missing, left over, or of a type that is not read.
    """
    vision = config.vision
    assert vision is not None
    taker = Taker(state, source)
    if vision.foreign is not None:
        return _foreign_from_llava(vision, taker)
    ours: dict[str, Weight] = {mine: taker.take(theirs) for mine, theirs in _names(vision).items()}
    convolution = ours["vision.patch_embedding.weight"]
    assert isinstance(convolution, Tensor)
    ours["vision.patch_embedding.weight"] = convolution.flatten(1)
    for layer in range(vision.depth):
        parts = [taker.take(f"vision_tower.transformer.layers.{layer}.{theirs}") for theirs in _QKV]
        ours[f"vision.blocks.{layer}.attention.qkv.weight"] = torch.cat(parts)
    taker.finish()
    return ours


def _foreign_from_llava(vision: VisionConfig, taker: Taker) -> dict[str, Weight]:
    """The projector's weights, and all others as the encoder's; before transformers 5 its class had one more name."""
    ours: dict[str, Weight] = {mine: taker.take(theirs) for mine, theirs in _projector_names(vision).items()}
    for name in [name for name in taker.left if not name.endswith(".position_ids")]:
        inner = name.removeprefix("vision_tower.").removeprefix("vision_model.")
        ours[f"vision.tower.{inner}"] = taker.take(name)
    return ours
