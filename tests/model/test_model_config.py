import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.model.config import (
    PRESETS,
    ModelConfig,
    count_parameters,
    forward_flops_per_token,
    preset,
    six_n_flops,
    training_flops_per_token,
)
from foretell.model.decoder import build_decoder

# Touvron et al. 2023; the released checkpoints.
LLAMA = {
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
}


@pytest.mark.parametrize("name", LLAMA)
def test_presets_have_llamas_parameters(name: str) -> None:
    config = preset(name)
    assert count_parameters(config).total == LLAMA[name]
    model = build_decoder(config, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == LLAMA[name]


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(UserError, match=r"llama-8b.*llama-7b"):
        preset("llama-8b")


shapes = st.builds(
    lambda width, depth, groups, keys, half, ffn, qk, tied: ModelConfig(
        vocab_size=97, width=width, depth=depth, heads=groups * keys, kv_heads=keys, head_dim=2 * half, ffn_width=ffn,
        context=16, qk_norm=qk, tied=tied,
    ),
    st.integers(2, 40), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 8),
    st.integers(1, 50), st.booleans(), st.booleans(),
)  # fmt: skip


@given(shapes)
def test_parameters_counted_from_any_shape_are_those_built(config: ModelConfig) -> None:
    build_decoder(config, device="meta")  # asserts the count itself
    counts = count_parameters(config)
    assert counts.with_head == counts.non_embedding + config.vocab_size * config.width
    assert counts.total == counts.with_head + (0 if config.tied else config.vocab_size * config.width)


def test_flops_by_hand() -> None:
    config = ModelConfig(vocab_size=10, width=4, depth=1, heads=2, kv_heads=1, head_dim=2, ffn_width=3, context=3)
    # q 4x4, k 4x2, v 4x2, o 4x4, three 4x3; scores and mixing over 4 channels and (3 + 1) / 2 positions; head 4x10
    assert forward_flops_per_token(config) == 2 * (16 + 8 + 8 + 16 + 36 + 2 * 4 * 2 + 40)
    assert training_flops_per_token(config) == 3 * forward_flops_per_token(config)


def test_both_conventions_agree_where_attention_is_small() -> None:
    config = PRESETS["llama-7b"]
    exact = training_flops_per_token(config)
    assert 1.0 < exact / six_n_flops(config, 1) < 1.1


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="3 does not divide 4"):
        ModelConfig(vocab_size=10, width=4, depth=1, heads=4, kv_heads=3, head_dim=2, ffn_width=3, context=3)
