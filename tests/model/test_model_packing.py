"""Several documents in one row: each is read as if it were alone."""

import pytest
import torch
from adapted_models import filled, ids_of, small

from foretell.core.packing import BRANCHES
from foretell.model.attention import LONGEST, visible_within
from foretell.model.decoder import build_decoder
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


def test_keeping_block_inputs_only_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = build_decoder(small(), 1)
        adapter = filled(Adapter(model.config, LoRAConfig(targets="all-linear", dropout=0.3)))
        adapter.attach(model)
        model.checkpointing = checkpointing
        ids, labels, documents = packed(model, (4, 20))
        torch.manual_seed(0)
        loss = model.train().loss(ids, labels, documents)
        gradients.append(torch.autograd.grad(loss, list(adapter.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


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
