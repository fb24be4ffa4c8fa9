"""A shape with a vision half as the JSON files of transformers' Llava, out and in: text half, Pixtral tower, projector.

Keys that a file leaves out have the values of transformers' own defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.pixels import PIXEL_DEVIATION, PIXEL_MEAN
from foretell.model.config import ModelConfig
from foretell.model.hf_config import config_from_hf, config_to_hf
from foretell.model.vision_config import CHANNELS, VisionConfig

MODEL_TYPE, ARCHITECTURE, TOWER = "llava", "LlavaForConditionalGeneration", "pixtral"
NORM_EPS = 1e-5  # written into PixtralVisionModel
BICUBIC = 3  # PIL's number
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"intermediate_size": 11_008},
    "mistral": {"intermediate_size": 14_336, "num_key_value_heads": 8, "max_position_embeddings": 131_072,
                "sliding_window": 4_096},
    "qwen2": {"vocab_size": 151_936, "intermediate_size": 22_016, "max_position_embeddings": 32_768},
    "qwen3": {"vocab_size": 151_936, "intermediate_size": 22_016, "max_position_embeddings": 32_768, "head_dim": 128},
    "pixtral": {"hidden_size": 1_024, "intermediate_size": 4_096, "num_hidden_layers": 24, "num_attention_heads": 16,
                "num_channels": 3, "image_size": 1_024, "patch_size": 16, "hidden_act": "gelu"},
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
_WHOLE_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "projector_hidden_act": ("gelu",),
    "vision_feature_layer": (-1,),
    "vision_feature_select_strategy": ("full",),
    "quantization_config": (None,),
}
_WHOLE_DEFAULTS = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default", "image_token_index": 32_000}
_TOWER_ACCEPTED: dict[str, tuple[Any, ...]] = {"hidden_act": ("silu", "swish"), "num_channels": (CHANNELS,)}


def config_to_llava(config: ModelConfig) -> dict[str, Any]:
    """The ``config.json`` of this shape.

    Raises:
        UserError: for a text half that no architecture has, or an encoder that Pixtral's class does not compute.
    """
    vision = config.vision
    if vision is None:
        raise ValueError("the model has no vision half")
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
    """The shape that a Llava ``config.json`` with a Pixtral tower describes.

    Raises:
        UserError: for another architecture or tower, or a key whose value changes what is computed in a way that this
            model does not know; it names the key, the value and what is accepted.
    """
    stated = values.get("architectures") or [ARCHITECTURE]
    if ARCHITECTURE not in stated:
        raise UserError(f"{source}: architectures is {stated!r}; {ARCHITECTURE} is read.")
    text, tower = _part(values, "text_config", "llama", source), _part(values, "vision_config", None, source)
    kind = tower["model_type"]
    if kind != TOWER:
        raise UserError(f"{source}: vision_config.model_type is {kind!r}; {TOWER!r} is read.")
    whole = {**_WHOLE_DEFAULTS, **values}
    _refuse(whole, _WHOLE_ACCEPTED, source, "")
    _refuse(tower, _TOWER_ACCEPTED, source, "vision_config.")
    text["tie_word_embeddings"] = bool(text.get("tie_word_embeddings")) or bool(whole.get("tie_word_embeddings"))
    config = config_from_hf(text, f"{source}: text_config")
    rope = tower.get("rope_parameters") or {}
    shape: dict[str, Any] = {ours: _whole_number(tower, key, source) for ours, key in _SIZES.items()}
    shape |= {
        "head_dim": shape["width"] // shape["heads"],
        "rope_theta": rope.get("rope_theta") or tower.get("rope_theta") or 10_000.0,
        "norm_eps": NORM_EPS,
        "image_token": whole.get("image_token_id", whole["image_token_index"]),
        "projector_bias": bool(whole.get("multimodal_projector_bias", True)),
    }
    try:
        return build(ModelConfig, {**config.model_dump(), "vision": build(VisionConfig, shape).model_dump()})
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def _part(values: Mapping[str, Any], key: str, kind: str | None, source: str) -> dict[str, Any]:
    """One half's keys, completed by its class's defaults."""
    found = values.get(key)
    if not isinstance(found, Mapping):
        raise UserError(f"{source}: {key} is {found!r}; an object is read.")
    kind = found.get("model_type", kind)
    common = {} if key == "vision_config" else _OF_EVERY_TEXT
    return {**common, **_DEFAULTS.get(str(kind), {}), "model_type": kind, **found}


def _refuse(values: Mapping[str, Any], accepted: Mapping[str, tuple[Any, ...]], source: str, prefix: str) -> None:
    for key, known in accepted.items():
        found = values.get(key, known[0])
        if found not in known:
            raise UserError(f"{source}: {prefix}{key} is {found!r}; {known[0]!r} is read.")


def _whole_number(values: Mapping[str, Any], key: str, source: str) -> int:
    """A size; of a pair both of whose numbers are the same, that number."""
    found = values[key]
    if isinstance(found, list) and len(found) == 2 and found[0] == found[1]:
        found = found[0]
    if not isinstance(found, int) or found < 1:
        raise UserError(f"{source}: vision_config.{key} is {found!r}; a whole number above 0 is read.")
    return found


def preprocessor_to_hf(vision: VisionConfig) -> dict[str, Any]:
    """The ``preprocessor_config.json`` by which transformers cuts images into this encoder's patches."""
    return {
        "image_processor_type": "PixtralImageProcessor",
        "processor_class": "PixtralProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": vision.longest},
        "patch_size": {"height": vision.patch, "width": vision.patch},
        "resample": BICUBIC,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(PIXEL_MEAN),
        "image_std": list(PIXEL_DEVIATION),
    }


def processor_to_hf(vision: VisionConfig, image_tokens: tuple[str, str, str]) -> dict[str, Any]:
    """The ``processor_config.json`` of these tokens: in a patch's place, at a line's end, at an image's end."""
    names = ("image_token", "image_break_token", "image_end_token")
    return {
        "processor_class": "PixtralProcessor",
        "patch_size": vision.patch,
        "spatial_merge_size": 1,
        **dict(zip(names, image_tokens, strict=True)),
    }


def with_preprocessor(config: ModelConfig, folder: Path) -> ModelConfig:
    """The shape with what a ``preprocessor_config.json`` says of an image's longest edge, where there is such a file.

    Raises:
        UserError: where it normalises pixels or cuts patches in another way than this encoder's; a value is named.
    """
    path = folder / "preprocessor_config.json"
    if config.vision is None or not path.exists():
        return config
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; an object is expected.")
    for key, ours in preprocessor_to_hf(config.vision).items():
        if key in values and key not in ("size", "processor_class") and not _same(values[key], ours):
            raise UserError(f"{path}: {key} is {values[key]!r}; {ours!r} is read.")
    longest = (values.get("size") or {}).get("longest_edge", config.vision.longest)
    vision = build(VisionConfig, {**config.vision.model_dump(), "longest": longest})
    return config.model_copy(update={"vision": vision})


def _same(found: Any, ours: Any) -> bool:
    """Equal, numbers to six digits: files round them differently; an image processor's class has several names."""
    if isinstance(ours, dict):
        return isinstance(found, dict) and all(_same(found.get(key), value) for key, value in ours.items())
    if isinstance(ours, list):
        return isinstance(found, list) and len(found) == len(ours) and all(map(_same, found, ours))
    if isinstance(ours, float):
        return isinstance(found, int | float) and abs(found - ours) <= 1e-6 * abs(ours)
    return str(found).removesuffix("Fast").removesuffix("Pil") == ours if isinstance(ours, str) else found == ours
