import math

import pytest
import torch
import torch.nn.functional as F

from foretell.core.errors import UserError
from foretell.model.config import ModelConfig
from foretell.model.decoder import KeyValueCache, build_decoder
from foretell.model.hf import config_from_hf, load_hf, save_hf
from foretell.model.parametrization import Parametrization
from foretell.model.primitives import IGNORED


def small(**changes) -> ModelConfig:
    shape = {"vocab_size": 61, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "ffn_width": 48,
             "context": 24, "base_width": 64}  # fmt: skip
    return ModelConfig(**{**shape, **changes})


def randomised(config: ModelConfig):
    model = build_decoder(config, 1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.ndim == 1))
    return model.eval()


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_leaves_as_a_hugging_face_directory_with_the_same_logits(tmp_path, qk_norm: bool, tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    model = randomised(small(qk_norm=qk_norm, tied=tied))
    save_hf(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    ids = torch.randint(0, 61, (3, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(load_hf(tmp_path)(ids), model(ids), rtol=1e-4, atol=1e-4)


def test_double_precision_agrees() -> None:
    model = randomised(small())
    ids = torch.randint(0, 61, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        single = model(ids).double()
        double = model.double()(ids)
    torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-4)


def test_cached_decoding_equals_one_pass() -> None:
    model = randomised(small())
    ids = torch.randint(0, 61, (2, 24), generator=torch.Generator().manual_seed(0))
    cache = KeyValueCache.empty(model.config, 2, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        parts = [model(ids[:, a:b], cache) for a, b in ((0, 5), (5, 6), (6, 15), (15, 24))]
        torch.testing.assert_close(torch.cat(parts, 1), model(ids), rtol=1e-4, atol=1e-5)


def test_a_later_token_changes_no_earlier_logit() -> None:
    model = randomised(small())
    ids = torch.randint(0, 60, (1, 24), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[0, 10] = 60
    with torch.no_grad():
        difference = (model(ids) - model(changed)).abs().amax(-1)[0]
    assert difference[:10].max() == 0 < difference[10:].min()


def test_fused_loss_equals_cross_entropy_with_its_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    from foretell.model.primitives import LinearCrossEntropy

    monkeypatch.setattr(LinearCrossEntropy, "CHUNK_LOGITS", 1)  # chunks of 64 positions, the last one short
    model = randomised(small()).double()
    generator = torch.Generator().manual_seed(3)
    ids, labels = (torch.randint(0, 61, (6, 24), generator=generator) for _ in range(2))
    labels[0, :5] = IGNORED
    (model.loss(ids, labels) * 0.5).backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    expected = F.cross_entropy(model(ids).flatten(0, 1), labels.flatten(), reduction="sum", ignore_index=IGNORED)
    (expected * 0.5).backward()
    assert math.isclose(model.loss(ids, labels).item(), expected.item(), rel_tol=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-5, atol=1e-7, msg=name)


def test_seeds_decide_the_weights() -> None:
    one, same, other = (build_decoder(small(), seed) for seed in (1, 1, 2))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])
    assert not torch.equal(one.embedding.weight, other.embedding.weight)


def test_coordinate_check() -> None:
    """muP: after a few Adam steps activations and logits change by as much at width 1024 as at width 32."""
    moved = {}
    ids = torch.randint(0, 61, (4, 16), generator=torch.Generator().manual_seed(0))
    for base_width in (64, None):
        for width in (32, 128, 1024):
            config = small(width=width, heads=width // 8, kv_heads=width // 8, ffn_width=2 * width,
                           base_width=base_width)  # fmt: skip
            model = build_decoder(config, 0)
            groups = Parametrization(config).groups(model)
            named = dict(model.named_parameters())
            optimizer = torch.optim.Adam(
                [{"params": [named[n] for n in g.names], "lr": 4e-3 * g.learning_rate_multiplier} for g in groups]
            )
            with torch.no_grad():
                hidden, logits = model.hidden(ids), model(ids)
            for _ in range(4):
                optimizer.zero_grad()
                (model.loss(ids[:, :-1], ids[:, 1:]) / ids[:, 1:].numel()).backward()
                optimizer.step()
            with torch.no_grad():
                moved[base_width, width] = (
                    (model.hidden(ids) - hidden).abs().mean().item(), (model(ids) - logits).abs().mean().item(),
                )  # fmt: skip
    for which in (0, 1):
        transferred = [moved[64, width][which] for width in (32, 128, 1024)]
        assert max(transferred) / min(transferred) < 2.5, transferred
    standard = [moved[None, width][1] for width in (32, 128, 1024)]
    assert standard[-1] / standard[0] > 4, standard  # the check can fail: without muP the logits run away


@pytest.mark.parametrize(
    ("change", "words"),
    [({"model_type": "gpt2"}, "model_type is 'gpt2'"), ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; 'silu' is read"),
     ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"), ({"hidden_size": None}, "hidden_size")],
)  # fmt: skip
def test_configs_that_are_not_ours_are_refused(change: dict, words: str) -> None:
    from foretell.model.hf import config_to_hf

    values = {**config_to_hf(small()), **change}
    values.pop("rope_parameters")
    if change.get("hidden_size", 1) is None:
        del values["hidden_size"]
    with pytest.raises(UserError, match=words):
        config_from_hf(values)


def test_damaged_directories_are_refused(tmp_path) -> None:
    save_hf(randomised(small()), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="safetensors"):
        load_hf(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match="missing"):
        load_hf(tmp_path)


def test_fused_loss_of_labels_whose_probability_underflows() -> None:
    """A label 300 nats below the best one has probability 0 in float32 and a loss of 300 all the same."""
    from foretell.model.primitives import LinearCrossEntropy

    hidden = torch.eye(3).requires_grad_()
    weight = torch.tensor([[300.0, 0.0, 1.0], [0.0, 300.0, 2.0], [0.0, 0.0, 3.0]]).requires_grad_()
    labels = torch.tensor([1, 1, 2])
    loss = LinearCrossEntropy.apply(hidden, weight, labels, 1.0)
    loss.backward()
    exact = torch.nn.functional.cross_entropy((hidden.double() @ weight.double().t()), labels, reduction="sum")
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6) and loss.item() > 300
    reference = torch.autograd.grad(exact, hidden)[0]
    torch.testing.assert_close(hidden.grad, reference, rtol=1e-5, atol=1e-6)
