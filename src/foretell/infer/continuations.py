"""Log-likelihoods of several continuations of one prompt: the prompt is computed once, each continuation after it.

A continuation begins in a copy of the prompt's last block, where that is not full, and shares the whole ones before it;
those of several prompts go through the model side by side. One of a single token costs nothing but its place in the
logits after the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from foretell.infer.blocks import BLOCK
from foretell.infer.paged import Span
from foretell.infer.requests import Likelihood
from foretell.infer.schedule import Running, Scheduler

ROWS = 512  # of continuations in a pass
LOGIT_ROWS = 64  # whose logits are in memory at a time

Forward = Callable[[Sequence[tuple[Running, Span]], Tensor], Tensor]


@dataclass
class _Branch:
    """One continuation on its way: ``place`` is its number among its sequence's."""

    sequence: Running
    place: int
    value: float
    greedy: bool
    blocks: list[int] = field(default_factory=list)

    @property
    def ids(self) -> tuple[int, ...]:
        return self.sequence.request.continuations[self.place]

    @property
    def start(self) -> int:
        return len(self.sequence.request.ids)

    @property
    def needed(self) -> int:
        """Blocks of its own: from the prompt's last one on, where that is not full; its last token is not read."""
        return -(-(self.start % BLOCK + len(self.ids) - 1) // BLOCK)

    def span(self) -> Span:
        shared = self.sequence.blocks[: self.start // BLOCK]
        return Span(self.start, len(self.ids) - 1, [*shared, *self.blocks])


def score_continuations(
    sequences: Sequence[Running], logits: Tensor, scheduler: Scheduler, forward: Forward, head: nn.Module
) -> dict[Running, tuple[Likelihood, ...]]:
    """Score the continuations of sequences whose prompts are in the cache.

    Args:
        sequences: whose requests have continuations.
        logits: [S, V] after the prompt of each.
        scheduler: of the memory; where it is short, the sequences that came last start again.
        forward: [T, D] states of the rows of spans, and of the [T] ids in them.
        head: [..., D] to [..., V] logits.

    Returns:
        A likelihood for each continuation, in their order, of every sequence that did not have to start again.
    """
    branches = list(_opened(sequences, logits))
    waiting = [branch for branch in branches if len(branch.ids) > 1]
    while waiting:
        batch = _batch(waiting, scheduler)
        waiting = [branch for branch in waiting[len(batch) :] if branch.sequence in scheduler.running]
        if batch:
            _score(batch, forward, head)
            for branch in batch:
                scheduler.pool.release(branch.blocks)
    found: dict[Running, list[Likelihood]] = {s: [] for s in sequences if s in scheduler.running}
    for branch in branches:
        if branch.sequence in found:
            found[branch.sequence].append(Likelihood(branch.value, branch.greedy))
    return {sequence: tuple(values) for sequence, values in found.items()}


def _opened(sequences: Sequence[Running], logits: Tensor) -> Iterator[_Branch]:
    """Every continuation with its first token scored."""
    rows = [(row, s, place) for row, s in enumerate(sequences) for place in range(len(s.request.continuations))]
    shares = torch.log_softmax(logits, dim=1)
    best = logits.argmax(dim=1).tolist()
    for row, sequence, place in rows:
        first = sequence.request.continuations[place][0]
        yield _Branch(sequence, place, float(shares[row, first]), first == best[row])


def _batch(waiting: Sequence[_Branch], scheduler: Scheduler) -> list[_Branch]:
    """The first of those that wait, with blocks of their own; none where the very first had to start again."""
    batch: list[_Branch] = []
    rows = 0
    for branch in waiting:
        if batch and rows + len(branch.ids) > ROWS:
            break
        if branch.sequence not in scheduler.running:
            break
        if branch.needed > scheduler.pool.available and (
            batch or not scheduler.make_room(branch.needed, branch.sequence)
        ):
            break
        branch.blocks = [_taken(scheduler) for _ in range(branch.needed)]
        if branch.start % BLOCK:
            scheduler.pool.copy(branch.sequence.blocks[branch.start // BLOCK], branch.blocks[0])
        batch.append(branch)
        rows += len(branch.ids)
    return batch


def _taken(scheduler: Scheduler) -> int:
    block = scheduler.pool.take()
    assert block is not None  # there were as many as needed
    return block


def _score(batch: Sequence[_Branch], forward: Forward, head: nn.Module) -> None:
    """One pass over all but the last tokens of a batch's continuations; values and flags are changed in place."""
    inputs = torch.tensor([token for branch in batch for token in branch.ids[:-1]])
    targets = torch.tensor([token for branch in batch for token in branch.ids[1:]])
    hidden = forward([(branch.sequence, branch.span()) for branch in batch], inputs)
    values, greedy = [], []
    for states, wanted in zip(hidden.split(LOGIT_ROWS), targets.split(LOGIT_ROWS), strict=True):
        logits = head(states)
        likeliest = logits.amax(dim=1, keepdim=True)
        found = logits.gather(1, wanted[:, None])
        greedy.append((found == likeliest)[:, 0])
        values.append((found - likeliest)[:, 0] - logits.sub_(likeliest).exp_().sum(dim=1).log_())
    counts = [len(branch.ids) - 1 for branch in batch]
    parts = zip(batch, torch.cat(values).split(counts), torch.cat(greedy).split(counts), strict=True)
    for branch, logs, flags in parts:
        branch.value += float(logs.double().sum())
        branch.greedy &= bool(flags.all())
