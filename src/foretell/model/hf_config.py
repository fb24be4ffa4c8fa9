"""A shape as Hugging Face's ``config.json`` of Llama, Mistral, Qwen2 or Qwen3, out and in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.model.config import ModelConfig, RotaryScaling

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# Keys under which such a model computes something else, and the values that this decoder computes.
ACCEPTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
}
_SIZES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "ffn_width": "intermediate_size",
    "context": "max_position_embeddings",
}
_OPTIONAL: dict[str, Callable[[dict[str, int]], int]] = {  # what a missing size is, by those before it
    "num_key_value_heads": lambda sizes: sizes["heads"],
    "head_dim": lambda sizes: sizes["width"] // sizes["heads"],
    "max_position_embeddings": lambda sizes: 2048,
}
_LLAMA3 = {
    "factor": "factor",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
    "original_max_position_embeddings": "original_context",
}


class Biases(NamedTuple):
    """Which projections of an architecture have one."""

    qkv: bool
    output: bool
    mlp: bool


def model_type_of(config: ModelConfig) -> str:
    """The plainest of the known architectures that computes what this shape computes.

    Raises:
        UserError: for a combination of options that none of them has.
    """
    if config.qk_norm:
        kind = "qwen3"
    elif config.window is None:
        kind = "qwen2" if config.qkv_bias and not config.output_bias and not config.mlp_bias else "llama"
    else:
        kind = "qwen2" if config.qkv_bias or config.window_from else "mistral"
    refused = {"qwen3": ["mlp_bias"], "qwen2": ["output_bias", "mlp_bias"], "mistral": ["output_bias", "mlp_bias"]}
    for option in refused.get(kind, []):
        if getattr(config, option):
            raise UserError(f"{option} is on, which no {ARCHITECTURES[kind]} has; this model cannot leave as one.")
    return kind


def biases_of(config: ModelConfig) -> Biases:
    """The biases of the architecture that the shape leaves as; those it has beyond the shape's own are zero."""
    kind = model_type_of(config)
    attention = config.qkv_bias or config.output_bias
    return {
        "llama": Biases(attention, attention, config.mlp_bias),
        "mistral": Biases(False, False, False),
        "qwen2": Biases(True, False, False),
        "qwen3": Biases(attention, attention, False),
    }[kind]


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """The ``config.json`` of the architecture that this shape is.

    Raises:
        UserError: for a shape that no architecture has.
    """
    kind, biases = model_type_of(config), biases_of(config)
    values = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, **_rotary_to_hf(config.rotary_scaling)},
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": biases.qkv,
        "mlp_bias": biases.mlp,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
        "use_cache": True,
    }
    if config.rotary_scaling is not None:
        values["rope_scaling"] = _rotary_to_hf(config.rotary_scaling)  # where transformers 4 looks for it
    if kind == "mistral":
        values["sliding_window"] = config.window
    elif config.window is not None:
        values |= {"use_sliding_window": True, "sliding_window": config.window, "max_window_layers": config.window_from}
    return values


def _rotary_to_hf(scaling: RotaryScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    if scaling.kind == "linear":
        return {"rope_type": "linear", "factor": scaling.factor}
    return {"rope_type": "llama3", **{theirs: getattr(scaling, ours) for theirs, ours in _LLAMA3.items()}}


def config_from_hf(values: Mapping[str, Any], source: str = "config.json") -> ModelConfig:
    """The shape that a Llama, Mistral, Qwen2 or Qwen3 ``config.json`` describes.

    Raises:
        UserError: for another architecture, a missing key, or a key whose value changes what is computed in a way that
            this decoder does not know; it names the key, the value and what is accepted.
    """
    kind = values.get("model_type")
    if kind not in ARCHITECTURES:
        raise UserError(
            f"{source}: model_type is {kind!r}; {', '.join(map(repr, (*ARCHITECTURES, 'llava')))} are read."
        )
    stated = values.get("architectures") or [ARCHITECTURES[kind]]
    if ARCHITECTURES[kind] not in stated:
        raise UserError(f"{source}: architectures is {stated!r}; {ARCHITECTURES[kind]} is read.")
    refuse_others(values, ACCEPTED, source)
    sizes = _sizes_from_hf(values, source)
    shape: dict[str, Any] = {
        **sizes,
        "norm_eps": values.get("rms_norm_eps", 1e-6),
        "qk_norm": kind == "qwen3",
        "tied": values.get("tie_word_embeddings", False),
    }
    attention_bias = bool(values.get("attention_bias")) and kind in ("llama", "qwen3")
    shape |= {
        "qkv_bias": attention_bias or kind == "qwen2",
        "output_bias": attention_bias,
        "mlp_bias": bool(values.get("mlp_bias")) and kind == "llama",
    }
    shape |= _window_from_hf(values, kind, source) | _rotary_from_hf(values, source)
    try:
        return build(ModelConfig, shape)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def refuse_others(
    values: Mapping[str, Any], accepted: Mapping[str, tuple[Any, ...]], source: str, prefix: str = ""
) -> None:
    """Raise where a key has another value than those accepted, of which the first is the one of a key left out.

    Raises:
        UserError: naming the key, its value and what is read.
    """
    for key, known in accepted.items():
        found = values.get(key, known[0])
        if found not in known:
            raise UserError(f"{source}: {prefix}{key} is {found!r}; {known[0]!r} is read.")


def _sizes_from_hf(values: Mapping[str, Any], source: str) -> dict[str, int]:
    """The whole numbers of a shape, under our names."""
    found: dict[str, int] = {}
    for ours, key in _SIZES.items():
        stated = values.get(key)
        if stated is None and key not in _OPTIONAL:
            raise UserError(f"{source}: the key {key!r} is missing.")
        number = _OPTIONAL[key](found) if stated is None else stated
        if not isinstance(number, int) or number < 1:
            raise UserError(f"{source}: {key} is {number!r}; a whole number above 0 is read.")
        found[ours] = number
    if found["heads"] % found["kv_heads"]:
        raise UserError(
            f"{source}: num_key_value_heads is {found['kv_heads']}; a divisor of num_attention_heads, which is "
            f"{found['heads']}, is read."
        )
    return found


def _window_from_hf(values: Mapping[str, Any], kind: str, source: str) -> dict[str, Any]:
    window = values.get("sliding_window")
    if kind == "llama" or window is None or (kind != "mistral" and not values.get("use_sliding_window", False)):
        return {}
    depth = values["num_hidden_layers"]
    first = 0 if kind == "mistral" else values.get("max_window_layers", 28)
    layers = values.get("layer_types")
    if layers is not None:
        first = layers.index("sliding_attention") if "sliding_attention" in layers else depth
        if layers != ["full_attention"] * first + ["sliding_attention"] * (depth - first):
            raise UserError(f"{source}: layer_types is {layers!r}; full_attention, then sliding_attention is read.")
    return {"window": window, "window_from": first} if first < depth else {}


def _rotary_from_hf(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Base and scaling, from ``rope_parameters`` (transformers 5) or ``rope_theta`` and ``rope_scaling`` (4)."""
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = rope.get("rope_theta") or values.get("rope_theta") or 10_000.0
    if kind == "default":
        return {"rope_theta": theta}
    names = {"linear": {"factor": "factor"}, "llama3": _LLAMA3}.get(kind)
    if names is None:
        raise UserError(f"{source}: rope_type is {kind!r}; 'default', 'linear' and 'llama3' are read.")
    missing = next((name for name in names if name not in rope), None)
    if missing is not None:
        raise UserError(f"{source}: {missing} is missing, which rope_type {kind!r} needs.")
    scaling = {"kind": kind, **{ours: rope[theirs] for theirs, ours in names.items()}}
    return {"rope_theta": theta, "rotary_scaling": scaling}
