"""The decoder's shape; parameters and FLOPs are counted from it and asserted against the built model.

Letters used in this package: B rows, T positions of a row, V vocabulary, D width, H query heads, K key/value heads,
E head dimension, F feed-forward width.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from foretell.core.config import Settings
from foretell.core.errors import UserError


class ModelConfig(Settings):
    """Shape of a LLaMA-type decoder (Touvron et al. 2023, arXiv 2302.13971; grouped queries: Ainslie et al. 2023).

    ``qk_norm`` normalises queries and keys per head, as Qwen3 does; such a model leaves as ``Qwen3ForCausalLM``, any
    other as ``LlamaForCausalLM``. ``base_width`` switches on maximal update parametrization relative to that width.
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

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide heads; {self.kv_heads} does not divide {self.heads}")
        return self


def ffn_width_for(width: int) -> int:
    """SwiGLU width of about 8/3 of the model width (Shazeer 2020), rounded up to a multiple of 16."""
    return -(-8 * width // 3 // 16) * 16


class ParameterCount(Settings):
    """Parameter counts under the names that papers use."""

    total: int
    non_embedding: int  # Kaplan et al. 2020: without token embedding and head
    with_head: int  # every parameter that multiplies activations: the N of 6ND at small widths


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Count parameters from the shape alone.

    Returns:
        ``total`` counts a tied embedding once; ``with_head`` counts the head whether tied or not.
    """
    attention = config.width * config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    attention += 2 * config.head_dim if config.qk_norm else 0
    block = attention + 3 * config.width * config.ffn_width + 2 * config.width
    non_embedding = config.depth * block + config.width
    table = config.vocab_size * config.width
    return ParameterCount(
        total=non_embedding + table * (1 if config.tied else 2),
        non_embedding=non_embedding,
        with_head=non_embedding + table,
    )


def forward_flops_per_token(config: ModelConfig, context: int | None = None) -> float:
    """Multiply-adds of all matrix products of one forward pass, times two, per token of a full row.

    Causal attention is counted as it is computed: a token sees (T + 1) / 2 positions on average, half of what the
    convention of PaLM's appendix B counts. Norms, rotary and softmax are left out, as everywhere.
    """
    positions = ((context or config.context) + 1) / 2
    query = config.heads * config.head_dim
    key = config.kv_heads * config.head_dim
    projections = config.width * (2 * query + 2 * key) + 3 * config.width * config.ffn_width
    attention = 2 * query * positions
    return 2.0 * (config.depth * (projections + attention) + config.width * config.vocab_size)


def training_flops_per_token(config: ModelConfig) -> float:
    """FLOPs of forward and backward: three times the forward pass (Kaplan et al. 2020, section 2.1)."""
    return 3.0 * forward_flops_per_token(config)


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
