"""Low-rank adaptation: counts, starts, merging, quantised bases, several adapters at once."""

import copy

import pytest
import torch
from adapted_models import SHARED, filled, ids_of, small
from safetensors.torch import load_file

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.model.adapters import AdapterSet
from foretell.model.config import ModelConfig
from foretell.model.decoder import build_decoder
from foretell.model.hf import state_to_hf
from foretell.model.lora import (
    Adapter,
    LoRAConfig,
    LoRALinear,
    LowRankUpdate,
    adaptable_sites,
    lora_parameter_count,
    put_module,
    targeted_sites,
)
from foretell.model.quantised import QuantisedLinear, dequantised, quantise

TARGETS = [("q_proj", "v_proj"), ("k_proj", "down_proj"), "all-linear", r"model\.layers\.1\.mlp\..*"]


def quantised_copy(model):
    """The same model over packed matrices of 4 bits."""
    packed = copy.deepcopy(model)
    for path in dict.fromkeys(site.module for site in adaptable_sites(model.config)):
        put_module(packed, path, QuantisedLinear(quantise(model.get_submodule(path).weight, 4, group=8)))
    return packed


def test_the_papers_table_of_parameters() -> None:
    """Hu et al. 2021, GPT-3 with W_q and W_v: 4.7M, 18.9M and 37.7M at r = 1, 4 and 8 (see its table 4)."""
    gpt3 = ModelConfig(vocab_size=50_257, width=12_288, depth=96, heads=96, kv_heads=96, head_dim=128,
                       ffn_width=49_152, context=2_048)  # fmt: skip
    counts = [lora_parameter_count(gpt3, rank, ("q_proj", "v_proj")) for rank in (1, 4, 8)]
    assert counts == [4_718_592, 18_874_368, 37_748_736]
    assert [f"{count / 1e6:.1f}" for count in counts] == ["4.7", "18.9", "37.7"]


@pytest.mark.parametrize("targets", TARGETS)
def test_counts_are_those_of_the_built_model(targets) -> None:
    config = small()
    model = build_decoder(config)
    Adapter(config, LoRAConfig(rank=3, targets=targets)).attach(model)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trainable == lora_parameter_count(config, 3, targets)


def test_sites_are_the_rows_that_leave_under_their_name() -> None:
    model = build_decoder(small(base_width=None), 1)
    state = state_to_hf(model)
    for site in adaptable_sites(model.config):
        weight = model.get_submodule(site.module).weight[site.first_row : site.first_row + site.rows]
        assert torch.equal(weight, state[f"{site.name}.weight"]) and weight.shape[1] == site.inputs


def test_targets_match_as_in_peft() -> None:
    config = small()
    suffix = targeted_sites(config, ("q_proj",))
    assert [site.name for site in suffix] == [f"model.layers.{layer}.self_attn.q_proj" for layer in range(2)]
    assert targeted_sites(config, ("model.layers.1.self_attn.q_proj",)) == suffix[1:]
    assert targeted_sites(config, r".*\.(q|k)_proj") == targeted_sites(config, ("q_proj", "k_proj"))
    assert len(targeted_sites(config, "all-linear")) == 14


@pytest.mark.parametrize(
    ("targets", "named"), [(("q_proj", "query"), "'query'"), (("proj",), "'proj'"), ("q_proj", "'q_proj'"),
                           (("lm_head",), "'lm_head'"), ("(", "regular expression")],
)  # fmt: skip
def test_a_target_that_names_nothing_is_refused(targets, named: str) -> None:
    with pytest.raises(UserError, match=named) as refused:
        Adapter(small(), LoRAConfig(targets=targets))
    assert named == "regular expression" or "gate_proj, up_proj, down_proj" in str(refused.value)


def test_settings_out_of_range_are_named() -> None:
    for values, word in (({"rank": 0}, "rank"), ({"alpha": 0}, "alpha"), ({"dropout": 1}, "dropout"),
                         ({"targets": ()}, "targets")):  # fmt: skip
        with pytest.raises(UserError, match=word):
            build(LoRAConfig, values)


def test_the_scale_is_alpha_over_r_or_its_root() -> None:
    assert LoRAConfig(rank=16, alpha=32).scale == 2
    assert LoRAConfig(rank=16, alpha=32, rslora=True).scale == 8


def test_it_starts_as_the_base_and_a_as_in_the_papers_code() -> None:
    model = build_decoder(small(), 1)
    ids = ids_of(model)
    before = model(ids)
    adapter = Adapter(model.config, LoRAConfig(targets="all-linear", rank=4), seed=5)
    adapter.attach(model)
    assert torch.equal(model(ids), before)
    for _, a, b in adapter.tensors():
        assert not b.any() and a.abs().max() <= a.shape[1] ** -0.5 and a.std() > 0.4 * a.shape[1] ** -0.5
    again = Adapter(model.config, LoRAConfig(targets="all-linear", rank=4), seed=5)
    assert all(torch.equal(one, other) for one, other in zip(adapter.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
def test_merged_equals_unmerged(targets, rslora: bool) -> None:
    model = build_decoder(small(), 1)
    ids = ids_of(model)
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapter = filled(Adapter(model.config, LoRAConfig(targets=targets, rank=3, rslora=rslora)))
    base = model(ids)
    adapter.attach(model)
    unmerged = model(ids)
    assert (unmerged - base).abs().max() > 1e-2
    adapter.merge(model)
    assert not any(isinstance(module, LoRALinear) for module in model.modules())
    torch.testing.assert_close(model(ids), unmerged, rtol=1e-5, atol=1e-5)
    adapter.unmerge(model)
    assert model.state_dict().keys() == plain.keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, plain[name], rtol=0, atol=1e-6)
    adapter.detach(model)  # not attached: nothing happens


def test_only_the_rows_of_its_layer_change() -> None:
    config = small()
    (site, _), *_ = [(site, site.module) for site in targeted_sites(config, ("k_proj",))]
    adapter = filled(Adapter(config, LoRAConfig(targets=("k_proj",), rank=2)))
    delta = adapter.updates[site.module].delta()
    rows = slice(site.first_row, site.first_row + site.rows)
    a, b = next((a, b) for found, a, b in adapter.tensors() if found == site)
    torch.testing.assert_close(delta[rows], b @ a * adapter.lora.scale)
    delta[rows] = 0
    assert not delta.any()


def test_dropout_is_of_training_only_and_of_as_inputs() -> None:
    model = build_decoder(small(), 1)
    ids = ids_of(model)
    filled(Adapter(model.config, LoRAConfig(dropout=0.5))).attach(model)
    assert torch.equal(model.eval()(ids), model(ids))
    model.train()
    torch.manual_seed(1)
    first = model(ids)
    assert not torch.equal(first, model(ids))
    torch.manual_seed(1)
    assert torch.equal(first, model(ids))


def test_gradients_over_a_packed_base_are_those_over_its_dequantised_weights() -> None:
    packed = quantised_copy(build_decoder(small(), 1))
    plain = copy.deepcopy(packed)
    for path in dict.fromkeys(site.module for site in adaptable_sites(plain.config)):
        put_module(plain, path, dequantised(plain.get_submodule(path)))
    ids = ids_of(packed)
    gradients = []
    for model in (packed, plain):
        adapter = filled(Adapter(model.config, LoRAConfig(targets="all-linear", rank=4)))
        adapter.attach(model)
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        gradients.append([loss.detach(), *torch.autograd.grad(loss, list(adapter.parameters()))])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_packed_base_is_merged_into_on_request_only() -> None:
    model = quantised_copy(build_decoder(small(), 1))
    ids = ids_of(model)
    adapter = filled(Adapter(model.config, LoRAConfig()))
    with pytest.raises(UserError, match=r"blocks\.0\.attention\.qkv is quantised"):
        adapter.merge(model)
    adapter.attach(model)
    unmerged = model(ids)
    adapter.merge(model, dequantise=True)
    torch.testing.assert_close(model(ids), unmerged, rtol=1e-5, atol=1e-5)


def test_an_adapter_of_another_model_is_refused() -> None:
    adapter = Adapter(small(), LoRAConfig())
    with pytest.raises(UserError, match="of another model"):
        adapter.attach(build_decoder(small(width=64)))
    with pytest.raises(UserError, match=r"blocks\.1"):
        adapter.attach(build_decoder(small(depth=1)))
    model = build_decoder(small())
    adapter.attach(model)
    with pytest.raises(UserError, match="another adapter"):
        Adapter(small(), LoRAConfig()).attach(model)


def test_several_adapters_each_token_its_own() -> None:
    config = small()
    adapters = [
        filled(Adapter(config, LoRAConfig(rank=2 + number, targets=targets)), seed=number)
        for number, targets in enumerate([("q_proj", "v_proj"), "all-linear", ("down_proj",)])
    ]
    plain = build_decoder(config, 1)
    ids = ids_of(plain, rows=4)
    alone = [plain(ids)]
    for adapter in adapters:
        adapter.attach(plain)
        alone.append(plain(ids))
        adapter.detach(plain)
    model = build_decoder(config, 1)
    held = AdapterSet(model)
    assert [held.add(f"number {index}", adapter) for index, adapter in enumerate(adapters)] == [0, 1, 2]
    torch.testing.assert_close(model(ids), alone[0])
    choice = torch.tensor([2, -1, 0, 1])
    with held.select(choice.repeat_interleave(ids.shape[1])), torch.no_grad():
        mixed = model(ids)
    for row, index in enumerate(choice.tolist()):
        torch.testing.assert_close(mixed[row], alone[index + 1][row], rtol=1e-5, atol=1e-5)
    with held.select(torch.full((4, ids.shape[1]), 1)):
        torch.testing.assert_close(model(ids), alone[2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(ids), alone[0])


def test_what_an_adapter_set_refuses() -> None:
    held = AdapterSet(build_decoder(small()))
    held.add("one", Adapter(small(), LoRAConfig()))
    with pytest.raises(UserError, match="'one'"):
        held.add("one", Adapter(small(), LoRAConfig()))
    with pytest.raises(UserError, match="another shape"):
        held.add("two", Adapter(small(depth=1), LoRAConfig()))
    assert held.names == ["one"]
    with pytest.raises(ValueError, match="-1 to 0"), held.select(torch.tensor([0, 1])):
        pass


@pytest.mark.skipif(not SHARED.exists(), reason="the published adapter is not here")
def test_a_published_adapter_merges_as_its_formula_says() -> None:
    """microsoft/LoRA's RoBERTa-base adapter for MNLI: r = 8, alpha = 16 on query and value."""
    tensors = load_file(SHARED)
    assert sum("lora_" in name for name in tensors) == 48
    for layer in range(12):
        for name in ("query", "value"):
            stem = f"roberta.encoder.layer.{layer}.attention.self.{name}"
            a, b = tensors[f"{stem}.lora_A"], tensors[f"{stem}.lora_B"]
            update = LowRankUpdate(768, 768, {name: (0, 768)}, LoRAConfig(rank=8, alpha=16))
            update.load_state_dict({f"a.{name}": a, f"b.{name}": b})
            torch.testing.assert_close(update.delta().double(), 2 * b.double() @ a.double(), rtol=1e-4, atol=1e-6)
            linear = torch.nn.Linear(768, 768)
            x = torch.randn(5, 768, generator=torch.Generator().manual_seed(layer))
            with torch.no_grad():
                unmerged = LoRALinear(linear, update)(x)
                linear.weight += update.delta()
                torch.testing.assert_close(linear(x), unmerged, rtol=1e-5, atol=1e-5)
