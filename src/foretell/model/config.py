"""The decoder's shape; parameters and FLOPs are counted from it and asserted against the built model.

Letters used in this package: B rows, T positions of a row, V vocabulary, D width, H query heads, K key/value heads,
E head dimension, F feed-forward width.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from foretell.core.config import Settings
from foretell.core.errors import UserError
from foretell.model.vision_config import VisionConfig, count_vision_parameters


class RotaryScaling(Settings):
    """Rotary positions stretched to a longer context than the model was first trained on.

    ``linear`` divides every angle by ``factor`` (Chen et al. 2023, arXiv 2306.15595). ``llama3`` divides the angles of
    the frequencies that turn less than ``low_frequency_factor`` times in ``original_context`` positions, leaves those
    that turn more than ``high_frequency_factor`` times, and blends in between (Grattafiori et al. 2024, arXiv
    2407.21783, and ``apply_scaling`` of Meta's llama-models).
    """

    kind: Literal["linear", "llama3"]
    factor: float = Field(ge=1)
    low_frequency_factor: float = Field(default=1.0, gt=0)
    high_frequency_factor: float = Field(default=4.0, gt=0)
    original_context: int = Field(default=8192, ge=1)

    @model_validator(mode="after")
    def _bands_in_order(self) -> Self:
        if self.kind == "llama3" and self.high_frequency_factor <= self.low_frequency_factor:
            raise ValueError(
                f"high_frequency_factor must exceed low_frequency_factor; {self.high_frequency_factor:g} does not "
                f"exceed {self.low_frequency_factor:g}"
            )
        return self


class ModelConfig(Settings):
    """Shape of a LLaMA-type decoder (Touvron et al. 2023, arXiv 2302.13971; grouped queries: Ainslie et al. 2023).

    ``qk_norm`` normalises queries and keys per head, as Qwen3 does. ``base_width`` switches on maximal update
    parametrization relative to that width. With a ``window`` a position sees itself and ``window - 1`` before it
    (Mistral: Jiang et al. 2023, arXiv 2310.06825), in the layers from ``window_from`` on (Qwen2's
    ``max_window_layers``). ``qkv_bias`` is Qwen2's; ``output_bias`` and ``mlp_bias`` are options of Llama's. With
    ``vision`` it reads images too.
    """

    vocab_size: int = Field(ge=2)
    width: int = Field(ge=2)
    depth: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=2, multiple_of=2)
    ffn_width: int = Field(ge=1)
    context: int = Field(ge=2)
    rope_theta: float = Field(default=10_000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0)
    qk_norm: bool = False
    tied: bool = False
    base_width: int | None = Field(default=None, ge=1)
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    window: int | None = Field(default=None, ge=1)
    window_from: int = Field(default=0, ge=0)
    rotary_scaling: RotaryScaling | None = None
    vision: VisionConfig | None = None

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide heads; {self.kv_heads} does not divide {self.heads}")
        return self

    @model_validator(mode="after")
    def _image_token_is_known(self) -> Self:
        if self.vision is not None and self.vision.image_token >= self.vocab_size:
            raise ValueError(
                f"vision.image_token must be below vocab_size; {self.vision.image_token} is not below {self.vocab_size}"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_idle_options(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Shapes that were recorded and hashed before these options existed keep their digest.
        values: dict[str, Any] = handler(self)
        for name in OPTIONS:
            if getattr(self, name) == type(self).model_fields[name].default:
                values.pop(name, None)
        return values

    def window_of(self, layer: int) -> int | None:
        """The window of a layer, 0 the first; ``None`` where it sees everything before it."""
        return self.window if layer >= self.window_from else None


OPTIONS = ("qkv_bias", "output_bias", "mlp_bias", "window", "window_from", "rotary_scaling", "vision")


def ffn_width_for(width: int) -> int:
    """SwiGLU width of about 8/3 of the model width (Shazeer 2020), rounded up to a multiple of 16."""
    return -(-8 * width // 3 // 16) * 16


class ParameterCount(Settings):
    """Parameter counts under the names that papers use; all but ``total`` and ``vision`` are of the decoder alone."""

    total: int  # with the vision half
    non_embedding: int  # Kaplan et al. 2020: without token embedding and head
    with_head: int  # every parameter that multiplies activations: the N of 6ND at small widths
    vision: int = 0  # image encoder and projector

    @model_serializer(mode="wrap")
    def _without_idle_vision(self, handler: SerializerFunctionWrapHandler) -> dict[str, int]:
        values: dict[str, int] = handler(self)
        return values if self.vision else {name: value for name, value in values.items() if name != "vision"}


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Count parameters from the shape alone.

    Returns:
        ``total`` counts a tied embedding once; ``with_head`` counts the head whether tied or not.
    """
    attention = config.width * config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    attention += 2 * config.head_dim if config.qk_norm else 0
    attention += (config.heads + 2 * config.kv_heads) * config.head_dim if config.qkv_bias else 0
    attention += config.width if config.output_bias else 0
    feed_forward = 3 * config.width * config.ffn_width
    feed_forward += 2 * config.ffn_width + config.width if config.mlp_bias else 0
    block = attention + feed_forward + 2 * config.width
    non_embedding = config.depth * block + config.width
    table = config.vocab_size * config.width
    vision = 0 if config.vision is None else count_vision_parameters(config.vision, config.width)
    return ParameterCount(
        total=non_embedding + table * (1 if config.tied else 2) + vision,
        non_embedding=non_embedding,
        with_head=non_embedding + table,
        vision=vision,
    )


def _positions_seen(length: int, window: int | None) -> float:
    """How many positions one of ``length`` sees on average, itself included."""
    if window is None or window >= length:
        return (length + 1) / 2
    return window - window * (window - 1) / (2 * length)


def forward_flops_per_token(config: ModelConfig, context: int | None = None) -> float:
    """Multiply-adds of all matrix products of one forward pass, times two, per token of a full row.

    Causal attention is counted as it is computed: a token sees (T + 1) / 2 positions on average, half of what the
    convention of PaLM's appendix B counts; with a window it sees at most that. Norms, rotary, biases and softmax are
    left out, as everywhere.
    """
    length = context or config.context
    positions = sum(_positions_seen(length, config.window_of(layer)) for layer in range(config.depth))
    query = config.heads * config.head_dim
    key = config.kv_heads * config.head_dim
    projections = config.width * (2 * query + 2 * key) + 3 * config.width * config.ffn_width
    attention = 2 * query * positions
    return 2.0 * (config.depth * projections + attention + config.width * config.vocab_size)


def training_flops_per_token(config: ModelConfig, context: int | None = None) -> float:
    """FLOPs of forward and backward: three times the forward pass (Kaplan et al. 2020, section 2.1)."""
    return 3.0 * forward_flops_per_token(config, context)


def six_n_flops(config: ModelConfig, tokens: float) -> float:
    """The ``6 N D`` convention with the head counted and attention left out; recorded beside the exact count."""
    return 6.0 * count_parameters(config).with_head * tokens


def _llama(width: int, depth: int, heads: int, ffn_width: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=32_000, width=width, depth=depth, heads=heads, kv_heads=heads, head_dim=width // heads,
        ffn_width=ffn_width, context=2_048, norm_eps=1e-6,
    )  # fmt: skip


# Touvron et al. 2023, table 2; feed-forward widths from the released params.json files.
PRESETS: dict[str, ModelConfig] = {
    "llama-7b": _llama(4_096, 32, 32, 11_008),
    "llama-13b": _llama(5_120, 40, 40, 13_824),
    "llama-33b": _llama(6_656, 60, 52, 17_920),
    "llama-65b": _llama(8_192, 80, 64, 22_016),
}


def preset(name: str) -> ModelConfig:
    """The shape of a published model.

    Raises:
        UserError: for a name that is not one of :data:`PRESETS`.
    """
    if name not in PRESETS:
        raise UserError(f"model preset is {name!r}; known presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
