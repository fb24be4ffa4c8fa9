"""Several documents in one row: each is read as if it were alone."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from adapted_models import filled, ids_of, small

from foretell.core.packing import BRANCHES
from foretell.model.attention import LONGEST, visible_within
from foretell.model.decoder import Decoder, KeyValueCache, build_decoder
from foretell.model.lora import Adapter, LoRAConfig
from foretell.model.primitives import IGNORED


def packed(model, lengths: tuple[int, ...]):
    """Documents of these lengths in one row, and the row's numbers of documents."""
    ids = torch.randint(0, model.config.vocab_size, (1, sum(lengths) + 1), generator=torch.Generator().manual_seed(2))
    documents = torch.repeat_interleave(torch.arange(len(lengths)) * BRANCHES, torch.tensor(lengths)).unsqueeze(0)
    return ids[:, :-1], ids[:, 1:], documents


def test_what_a_position_sees() -> None:
    one = BRANCHES
    visible = visible_within(torch.tensor([[0, 0, one, one, one]]))[0, 0]
    assert visible.int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0],
                                      [0, 0, 1, 1, 1]]  # fmt: skip
    visible = visible_within(torch.tensor([[0, one, one, one + 1, one + 2, one + 2, -1, -1]]))[0, 0]
    assert visible.int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 1, 1],
    ]  # fmt: skip


@pytest.mark.parametrize("context", [100, LONGEST + 50])  # both ways of attention
@pytest.mark.parametrize("shape", [{}, {"qk_norm": True, "tied": True}])
def test_losses_and_gradients_are_those_of_each_document_alone(context: int, shape) -> None:
    model = build_decoder(small(context=context, **shape), 1)
    lengths = (3, 41, 1, context - 45)
    ids, labels, documents = packed(model, lengths)
    labels = torch.where(torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)) < 0.5, labels, IGNORED)
    total = model.loss(ids, labels, documents)
    gradients = torch.autograd.grad(total, list(model.parameters()))
    parts = list(zip(ids.split(lengths, 1), labels.split(lengths, 1), strict=True))
    alone = [model.loss(*pair) for pair in parts]
    for index, loss in enumerate(alone):
        only = torch.where(documents == index * BRANCHES, labels, IGNORED)
        torch.testing.assert_close(model.loss(ids, only, documents), loss, rtol=1e-5, atol=1e-5)
    expected = torch.autograd.grad(sum(alone), list(model.parameters()))
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert abs(model.loss(ids, labels) - total) > 1e-2  # what documents prevent


def test_no_labels_give_no_loss() -> None:
    model = build_decoder(small(), 1)
    ids, labels, documents = packed(model, (4, 20))
    loss = model.loss(ids, torch.full_like(labels, IGNORED), documents)
    loss.backward()
    assert loss == 0 and not model.blocks[0].attention.qkv.weight.grad.any()


def loss_and_gradients(model: Decoder, trained: Iterable[torch.nn.Parameter]) -> tuple[torch.Tensor, ...]:
    """Of one row of two documents; dropout draws the same each time."""
    ids, labels, documents = packed(model, (40, 200))
    torch.manual_seed(0)
    loss = model.train().loss(ids, labels, documents)
    return (loss.detach(), *torch.autograd.grad(loss, list(trained)))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_keeping_less_changes_no_gradient_of_an_adapter(dropout: float) -> None:
    found = {}
    for way in ("all", "little", "inputs"):
        model = build_decoder(small(context=240), 1)
        adapter = filled(Adapter(model.config, LoRAConfig(targets="all-linear", dropout=dropout)))
        adapter.attach(model)
        if way == "little":
            model.keep_little()
        model.checkpointing = way == "inputs"
        found[way] = loss_and_gradients(model, adapter.parameters())
    assert torch.equal(found["little"][0], found["all"][0])
    for of_all, of_little, of_inputs in zip(*found.values(), strict=True):
        assert torch.equal(of_inputs, of_all)
        torch.testing.assert_close(of_little, of_all, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "mlp_bias": True}])
def test_keeping_little_changes_no_gradient_of_the_weights(options: dict[str, Any]) -> None:
    found = []
    for little in (False, True):
        model = build_decoder(small(context=240, **options), 1)
        if little:
            model.keep_little()
        found.append(loss_and_gradients(model, model.parameters()))
    assert torch.equal(found[0][0], found[1][0])
    for of_all, of_little in zip(*found, strict=True):
        torch.testing.assert_close(of_little, of_all, rtol=1e-4, atol=1e-5)


def test_keeping_little_keeps_half_of_the_bytes() -> None:
    """By the profiler's count of what the forward pass allocates and does not free."""
    kept = []
    for little in (False, True):
        model = build_decoder(small(context=240), 1)
        if little:
            model.keep_little()
        ids, labels, documents = packed(model, (40, 200))
        with torch.profiler.profile(profile_memory=True) as profile:
            loss = model.train().loss(ids, labels, documents)
        kept.append(sum(event.self_cpu_memory_usage for event in profile.events()))
        loss.backward()
    assert kept[1] < 0.55 * kept[0], kept


def test_what_is_saved_is_freed_without_a_backward_pass() -> None:
    """A saved output that holds its own graph is a cycle that no collector sees."""
    model = build_decoder(small(context=LONGEST + 100), 1)  # longer rows attend by an operation that saves its output
    model.keep_little()
    ids, labels, _ = packed(model, (40, LONGEST + 60))
    model.train().loss(ids, labels)
    with torch.profiler.profile(profile_memory=True) as profile:
        loss = model.loss(ids, labels)
        del loss
    assert sum(event.self_cpu_memory_usage for event in profile.events()) < 10_000


def test_a_lean_block_reads_its_cache() -> None:
    model = build_decoder(small(), 1)
    ids = ids_of(model, 1)[:, :6]
    with torch.no_grad():
        whole = model.eval()(ids)[:, -1]
        model.keep_little()
        cache = KeyValueCache.empty(model.config, 1, ids.device, torch.float32)
        model.train()(ids[:, :5], cache)
        torch.testing.assert_close(model(ids[:, 5:], cache)[:, -1], whole)


def test_a_frozen_head_costs_no_gradient_and_changes_none() -> None:
    model = build_decoder(small(), 1)
    ids = ids_of(model)
    inner = model.blocks[0].feed_forward.up.weight
    (expected,) = torch.autograd.grad(model.loss(ids[:, :-1], ids[:, 1:]), inner)
    model.requires_grad_(False)
    inner.requires_grad_(True)
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    torch.testing.assert_close(inner.grad, expected, rtol=1e-4, atol=1e-5)
    assert model.head.weight.grad is None
