import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import DivergedError, UserError
from foretell.data.stream import Batch
from foretell.data.tokens import TokenDataset
from foretell.model.config import ModelConfig
from foretell.model.decoder import build_decoder
from foretell.model.parametrization import Parametrization
from foretell.model.vision_config import VisionConfig
from foretell.train import execution
from foretell.train.config import GuardConfig, TrainingConfig
from foretell.train.evaluate import evaluate
from foretell.train.guard import Guard
from foretell.train.objective import next_token
from foretell.train.optimizer import build_optimizer, set_learning_rate
from foretell.train.replicas import accumulate
from foretell.train.schedule import learning_rate_factor
from small_runs import run_settings


def test_schedules_at_known_points() -> None:
    linear = TrainingConfig(schedule="linear", warmup_fraction=0.1)
    assert learning_rate_factor(linear, 0, 100) == pytest.approx(1 / 11)
    assert learning_rate_factor(linear, 10, 100) == 1
    assert learning_rate_factor(linear, 55, 100) == pytest.approx(0.5)
    cosine = TrainingConfig(schedule="cosine", warmup_fraction=0.0, final_fraction=0.1)
    assert learning_rate_factor(cosine, 50, 100) == pytest.approx(0.55)
    wsd = TrainingConfig(schedule="wsd", warmup_fraction=0.1, decay_fraction=0.2)
    assert [learning_rate_factor(wsd, step, 100) for step in (10, 79, 90)] == pytest.approx([1, 1, 0.5])


@given(st.sampled_from(["linear", "cosine", "wsd"]), st.floats(0, 0.5), st.integers(1, 500), st.data())
def test_schedules_stay_between_nought_and_one(schedule, warmup, steps, data) -> None:
    config = TrainingConfig(schedule=schedule, warmup_fraction=warmup)
    step = data.draw(st.integers(0, steps - 1))
    assert 0 <= learning_rate_factor(config, step, steps) <= 1


def test_mup_groups_reach_the_optimizer(small_corpus) -> None:
    base = run_settings(small_corpus / "tokens")
    wide = base.model_copy(update={"model": base.model.model_copy(update={"width": 64, "base_width": 16})})
    model = build_decoder(wide.model)
    optimizer = build_optimizer(model, wide, Parametrization(model.config).groups(model))
    rate = set_learning_rate(optimizer, wide, 5)
    by_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert len(by_parameter) == len(named)
    assert by_parameter[id(named["embedding.weight"])]["lr"] == rate
    hidden = by_parameter[id(named["blocks.0.feed_forward.up.weight"])]
    assert hidden["lr"] == pytest.approx(rate / 4)
    assert hidden["lr"] * hidden["weight_decay"] == pytest.approx(rate * wide.training.weight_decay)


def test_evaluation_equals_a_plain_loop(small_corpus) -> None:
    settings = run_settings(small_corpus / "tokens")
    dataset = TokenDataset(small_corpus / "tokens", "heldout")
    model = build_decoder(settings.model, 1).double()
    torch.nn.init.normal_(model.head.weight)
    ids = torch.tensor([*dataset.tokens.tolist(), dataset.end_of_text_id])
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, settings.model.context):
            window = ids[start : start + settings.model.context + 1]
            logits = model(window[None, :-1])[0].log_softmax(-1)
            total -= logits.gather(1, window[1:, None]).sum().item()
    figures = evaluate(model, dataset)
    assert figures["tokens"] == len(ids) - 1
    assert figures["bits_per_byte"] == pytest.approx(total / math.log(2) / dataset.bytes, rel=1e-6)
    assert figures["bits_per_word"] == pytest.approx(total / math.log(2) / dataset.words, rel=1e-6)
    assert figures["nats_per_token"] == pytest.approx(total / (len(ids) - 1), rel=1e-6)


def test_a_spike_is_one_only_against_the_recent_past() -> None:
    guard = Guard(GuardConfig(window=8, spike_nats=1.0))
    assert all(guard.judge(step, 5.0 - step / 10, 1.0)[0] == "apply" for step in range(8))
    verdict, reason = guard.judge(9, 6.0, 1.0)
    assert verdict == "skip" and "6.00" in reason
    restored = Guard(guard.config)
    restored.load_state_dict(guard.state_dict())
    assert restored.state_dict() == guard.state_dict()
    with pytest.raises(DivergedError):
        for step in range(100):
            guard.judge(step, math.inf, 1.0)


def test_replicas_are_left_out_where_their_memory_is_small(small_corpus, monkeypatch, tmp_path) -> None:
    settings = run_settings(small_corpus / "tokens")
    assert execution.choose_execution(settings, 2).replicas == 2
    monkeypatch.setattr(execution, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(execution.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    chosen = execution.choose_execution(settings, 2)
    assert (chosen.replicas, chosen.threads) == (1, 2)


def test_compilation_is_chosen_by_what_it_saves(small_corpus, monkeypatch, tmp_path) -> None:
    short = run_settings(small_corpus / "tokens", training=TrainingConfig(compile="auto"))
    long = short.model_copy(update={"steps": 10**7})
    monkeypatch.setattr(execution, "has_compiler", lambda: True)
    assert not execution.choose_execution(short, 1).compiled
    assert execution.choose_execution(long, 1).compiled
    recorded = execution.recorded_execution(tmp_path, long, 1)
    assert execution.recorded_execution(tmp_path, short, 2) == recorded  # a resume keeps it
    monkeypatch.setattr(execution, "has_compiler", lambda: False)
    assert not execution.choose_execution(long, 1).compiled
    with pytest.raises(UserError, match="no C"):
        execution.recorded_execution(tmp_path, long, 1)
    wanted = short.model_copy(update={"training": TrainingConfig(compile="on")})
    with pytest.raises(UserError, match=r"training\.compile"):
        execution.choose_execution(wanted, 1)


def test_a_vision_half_has_gradients_also_where_no_row_has_an_image() -> None:
    vision = VisionConfig(patch=2, width=8, depth=1, heads=1, head_dim=8, ffn_width=8, longest=8, image_token=3)
    shape = {"vocab_size": 11, "width": 8, "depth": 1, "heads": 1, "kv_heads": 1, "head_dim": 8, "ffn_width": 8}
    model = build_decoder(ModelConfig(**shape, context=6, vision=vision))
    ids = torch.randint(0, 3, (2, 6), generator=torch.Generator().manual_seed(0))
    accumulate(model, next_token, Batch(ids, ids, ids.numel()), 1, 0)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    assert not any(gradient.any() for name, gradient in gradients.items() if name.startswith("vision"))
