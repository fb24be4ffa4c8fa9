"""A shape with a vision half as the JSON files of transformers' Llava, out and in: text half, tower, projector.

Keys that a file leaves out have the values of transformers' own defaults. A Pixtral tower goes both ways, CLIP's and
SigLIP's come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.model.config import ModelConfig
from foretell.model.hf_config import config_from_hf, config_to_hf, refuse_others
from foretell.model.vision_config import CHANNELS, VisionConfig

MODEL_TYPE, ARCHITECTURE, TOWER = "llava", "LlavaForConditionalGeneration", "pixtral"
NORM_EPS = 1e-5  # written into PixtralVisionModel
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"intermediate_size": 11_008},
    "mistral": {"intermediate_size": 14_336, "num_key_value_heads": 8, "max_position_embeddings": 131_072,
                "sliding_window": 4_096},
    "qwen2": {"vocab_size": 151_936, "intermediate_size": 22_016, "max_position_embeddings": 32_768},
    "qwen3": {"vocab_size": 151_936, "intermediate_size": 22_016, "max_position_embeddings": 32_768, "head_dim": 128},
    "pixtral": {"hidden_size": 1_024, "intermediate_size": 4_096, "num_hidden_layers": 24, "num_attention_heads": 16,
                "num_channels": 3, "image_size": 1_024, "patch_size": 16, "hidden_act": "gelu"},
    "clip_vision_model": {"hidden_size": 768, "intermediate_size": 3_072, "num_hidden_layers": 12,
                          "num_attention_heads": 12, "num_channels": 3, "image_size": 224, "patch_size": 32},
    "siglip_vision_model": {"hidden_size": 768, "intermediate_size": 3_072, "num_hidden_layers": 12,
                            "num_attention_heads": 12, "num_channels": 3, "image_size": 224, "patch_size": 16},
}  # fmt: skip
_OF_EVERY_TEXT = {"vocab_size": 32_000, "hidden_size": 4_096, "num_hidden_layers": 32, "num_attention_heads": 32}
_SIZES = {
    "patch": "patch_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn_width": "intermediate_size",
    "longest": "image_size",
}
# What this vision half computes; another value is refused by name.
_WHOLE_ACCEPTED: dict[str, tuple[Any, ...]] = {"projector_hidden_act": ("gelu",), "quantization_config": (None,)}
# The features that are one for each patch: CLIP's first is that of a class token, which "default" leaves out.
_FEATURES: dict[str, dict[str, tuple[Any, ...]]] = {
    "pixtral": {"vision_feature_layer": (-1,), "vision_feature_select_strategy": ("full",)},
    "clip_vision_model": {"vision_feature_select_strategy": ("default",)},
    "siglip_vision_model": {"vision_feature_select_strategy": ("full",)},
}
_WHOLE_DEFAULTS = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default", "image_token_index": 32_000}
_TOWER_ACCEPTED: dict[str, tuple[Any, ...]] = {"num_channels": (CHANNELS,)}
_PIXTRAL_ACCEPTED: dict[str, tuple[Any, ...]] = {"hidden_act": ("silu", "swish")}


def config_to_llava(config: ModelConfig) -> dict[str, Any]:
    """The ``config.json`` of this shape.

    Raises:
        UserError: for a text half that no architecture has, or an encoder that Pixtral's class does not compute.
    """
    vision = config.vision
    if vision is None:
        raise ValueError("the model has no vision half")
    if vision.foreign is not None:
        raise UserError(f"The image encoder is a {vision.foreign.kind}; such a model is read and not written.")
    if vision.norm_eps != NORM_EPS:
        raise UserError(f"vision.norm_eps is {vision.norm_eps:g}; {NORM_EPS:g} is what transformers' tower computes.")
    text = config_to_hf(config)
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "text_config": text,
        "vision_config": {
            "model_type": TOWER,
            **{key: getattr(vision, ours) for ours, key in _SIZES.items()},
            "head_dim": vision.head_dim,
            "num_channels": CHANNELS,
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            "rope_theta": vision.rope_theta,
            "rope_parameters": {"rope_type": "axial", "rope_theta": vision.rope_theta},
        },
        "image_token_index": vision.image_token,
        "image_seq_length": (vision.longest // vision.patch) ** 2,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": vision.projector_bias,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        **{key: text[key] for key in ("tie_word_embeddings", "bos_token_id", "eos_token_id", "torch_dtype")},
    }


def config_from_llava(values: Mapping[str, Any], source: str = "config.json") -> ModelConfig:
    """The shape that a Llava ``config.json`` with a Pixtral, CLIP or SigLIP tower describes.

    Raises:
        UserError: for another architecture or tower, or a key whose value changes what is computed in a way that this
            model does not know; it names the key, the value and what is accepted.
    """
    stated = values.get("architectures") or [ARCHITECTURE]
    if ARCHITECTURE not in stated:
        raise UserError(f"{source}: architectures is {stated!r}; {ARCHITECTURE} is read.")
    text = _part(values, "text_config", "llama", source)
    tower = _part(values, "vision_config", "clip_vision_model", source)
    kind, whole = tower["model_type"], {**_WHOLE_DEFAULTS, **values}
    if kind not in _FEATURES:
        raise UserError(f"{source}: vision_config.model_type is {kind!r}; {', '.join(map(repr, _FEATURES))} are read.")
    refuse_others(whole, _WHOLE_ACCEPTED | _FEATURES[kind], source)
    refuse_others(tower, _TOWER_ACCEPTED | (_PIXTRAL_ACCEPTED if kind == TOWER else {}), source, "vision_config.")
    text["tie_word_embeddings"] = bool(text.get("tie_word_embeddings")) or bool(whole.get("tie_word_embeddings"))
    config = config_from_hf(text, f"{source}: text_config")
    shape: dict[str, Any] = {ours: _whole_number(tower, key, source) for ours, key in _SIZES.items()}
    shape |= {
        "head_dim": shape["width"] // shape["heads"],
        "image_token": whole.get("image_token_id", whole["image_token_index"]),
        "projector_bias": bool(whole.get("multimodal_projector_bias", True)),
    }
    if kind == TOWER:
        rope = tower.get("rope_parameters") or {}
        theta = rope.get("rope_theta") or tower.get("rope_theta") or 10_000.0
        shape |= {"rope_theta": theta, "norm_eps": NORM_EPS}
    else:
        shape["foreign"] = _foreign(kind, values, _layers(whole["vision_feature_layer"], shape["depth"], source))
    try:
        return build(ModelConfig, {**config.model_dump(), "vision": build(VisionConfig, shape).model_dump()})
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def _layers(stated: Any, depth: int, source: str) -> tuple[int, ...]:
    layers = stated if isinstance(stated, list) and stated else [stated]
    for layer in layers:
        if not isinstance(layer, int) or not -depth - 1 <= layer <= depth:
            raise UserError(
                f"{source}: vision_feature_layer is {stated!r}; whole numbers from {-depth - 1} to {depth} are read."
            )
    return tuple(layers)


def _foreign(kind: str, values: Mapping[str, Any], layers: tuple[int, ...]) -> dict[str, Any]:
    """Of the encoder that transformers runs; pixels as its image processor takes them where a file does not say."""
    of_siglip = {"mean": (0.5, 0.5, 0.5), "deviation": (0.5, 0.5, 0.5)}
    return {
        "kind": kind,
        "options": dict(values["vision_config"]),
        "layers": layers,
        **({"crop": True} if kind == "clip_vision_model" else of_siglip),
    }


def _part(values: Mapping[str, Any], key: str, kind: str | None, source: str) -> dict[str, Any]:
    """One half's keys, completed by its class's defaults."""
    found = values.get(key)
    if not isinstance(found, Mapping):
        raise UserError(f"{source}: {key} is {found!r}; an object is read.")
    kind = found.get("model_type", kind)
    common = {} if key == "vision_config" else _OF_EVERY_TEXT
    return {**common, **_DEFAULTS.get(str(kind), {}), "model_type": kind, **found}


def _whole_number(values: Mapping[str, Any], key: str, source: str) -> int:
    """A size; of a pair both of whose numbers are the same, that number."""
    found = values[key]
    if isinstance(found, list) and len(found) == 2 and found[0] == found[1]:
        found = found[0]
    if not isinstance(found, int) or found < 1:
        raise UserError(f"{source}: vision_config.{key} is {found!r}; a whole number above 0 is read.")
    return found
