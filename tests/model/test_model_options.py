"""Biases, windows and scaled rotary positions: counted, cached, off by default without a trace."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.model.config import ModelConfig, RotaryScaling, forward_flops_per_token
from foretell.model.decoder import KeyValueCache, build_decoder
from foretell.model.parametrization import Parametrization
from foretell.model.primitives import rotary_factors, rotary_frequencies

SHAPE = {"vocab_size": 61, "width": 32, "depth": 3, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn_width": 48,
         "context": 96}  # fmt: skip
IDS = torch.randint(0, 61, (3, 96), generator=torch.Generator().manual_seed(0))


def perturbed(**changes):
    model = build_decoder(ModelConfig(**{**SHAPE, **changes}), 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize(
    ("changes", "loss", "gradient", "digest"),
    [({}, 1351.54638671875, 32.303218841552734, "a52b293a4d1689c8"),
     ({"qk_norm": True, "tied": True}, 1348.282958984375, 246.2800750732422, "7a88f36c83641a2e")],
)  # fmt: skip
def test_shapes_without_options_are_what_they_were(changes, loss, gradient, digest):
    """Figures of the decoder before it had options."""
    model = perturbed(**changes, depth=2)
    found = model.loss(IDS[:, :-1], IDS[:, 1:])
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-6)
    assert model.embedding.weight.grad.norm().item() == pytest.approx(gradient, rel=1e-5)
    assert model.config.digest().startswith(digest)
    assert ModelConfig.model_validate(model.config.model_dump()) == model.config


def test_options_travel_through_a_record():
    scaling = RotaryScaling(kind="llama3", factor=8)
    config = ModelConfig(**SHAPE, qkv_bias=True, window=7, rotary_scaling=scaling)
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config
    assert config.digest() != ModelConfig(**SHAPE).digest()


@pytest.mark.parametrize("option", ["qkv_bias", "output_bias", "mlp_bias"])
def test_biases_start_at_zero_are_counted_and_are_not_decayed(option):
    plain, biased = build_decoder(ModelConfig(**SHAPE), 1), build_decoder(ModelConfig(**SHAPE, **{option: True}), 1)
    biases = {name: p for name, p in biased.named_parameters() if name.endswith("bias")}
    assert biases and all(not p.any() for p in biases.values())
    with torch.no_grad():
        torch.testing.assert_close(biased(IDS), plain(IDS))
    undecayed = [name for g in Parametrization(biased.config).groups(biased) if not g.decayed for name in g.names]
    assert set(biases) <= set(undecayed)


def test_a_window_hides_what_lies_before_it():
    model = perturbed(window=5, depth=1).eval()
    changed = IDS[:1].clone()
    changed[0, 10] = (changed[0, 10] + 1) % 61
    with torch.no_grad():
        difference = (model(IDS[:1]) - model(changed)).abs().amax(-1)[0]
    assert difference[:10].max() == 0 and difference[15:].max() == 0
    assert difference[10:15].min() > 0


def test_layers_below_window_from_see_everything():
    assert [ModelConfig(**SHAPE, window=4, window_from=2).window_of(layer) for layer in range(3)] == [None, None, 4]


@pytest.mark.parametrize("window", [1, 5, 40, 95, 96, 200])
def test_cached_decoding_honours_the_window(window):
    model = perturbed(window=window, window_from=1, qkv_bias=True).eval()
    cache = KeyValueCache.empty(model.config, 3, torch.device("cpu"), torch.float32)
    cuts = (0, 3, 4, 30, 31, 32, 80, 81, 96)
    with torch.no_grad():
        parts = [model(IDS[:, a:b], cache) for a, b in itertools.pairwise(cuts)]
        torch.testing.assert_close(torch.cat(parts, 1), model(IDS), rtol=1e-4, atol=1e-5)


def test_training_with_a_window_equals_attention_by_hand():
    from foretell.model.attention import causal_attention

    query, key, value = (torch.randn(2, 3, 70, 8, generator=torch.Generator().manual_seed(n)) for n in range(3))
    query.requires_grad_()
    found = causal_attention(query, key, value, 0.3, 9)
    distance = torch.arange(70)[:, None] - torch.arange(70)
    scores = (query @ key.transpose(2, 3) * 0.3).masked_fill((distance < 0) | (distance >= 9), -math.inf)
    torch.testing.assert_close(found, F.softmax(scores, -1) @ value, rtol=1e-4, atol=1e-5)


def test_windows_are_counted_as_computed():
    whole, windowed = ModelConfig(**SHAPE), ModelConfig(**SHAPE, window=4, window_from=1)
    seen = [sum(min(i + 1, 4) for i in range(96)) / 96] * 2 + [97 / 2]
    saved = 2 * 2 * 4 * 8 * (3 * 97 / 2 - sum(seen))
    assert forward_flops_per_token(whole) - forward_flops_per_token(windowed) == pytest.approx(saved)


def test_llama3_leaves_fast_pairs_and_slows_slow_ones():
    scaling = RotaryScaling(kind="llama3", factor=8)
    frequencies = rotary_frequencies(64, 500_000.0)
    factors = rotary_factors(frequencies, scaling)
    assert factors[0] == 1 and factors[-1] == 8 and bool((factors.diff() >= 0).all())
    with pytest.raises(UserError, match="high_frequency_factor must exceed low_frequency_factor"):
        build(RotaryScaling, {"kind": "llama3", "factor": 8, "high_frequency_factor": 1})
