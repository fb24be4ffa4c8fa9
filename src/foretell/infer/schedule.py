"""Which sequences run next, and on how many of their tokens: decoding first, then prompts in pieces, then new ones.

No prefix is computed twice: a sequence begins after the longest run of whole blocks that is in the cache, and waits
while another one computes the next block that both begin with. Memory is bounded: where the cache is full, the sequence
that came last gives up its blocks and is computed again later, as far as they are gone by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from foretell.infer.blocks import BLOCK, BlockPool, block_names
from foretell.infer.images import PlacedImages
from foretell.infer.paged import Span
from foretell.infer.requests import Request, TokenLogprob
from foretell.infer.sampling import Sampler
from foretell.infer.text import TextStream

PROMPTS_SHARE = 4  # one part in so many of a pass is left to prompts, however many answers are being written


class Running:
    """A request on its way.

    Attributes:
        number: of the request, in order of arrival.
        ids: prompt and answer so far.
        computed: how many of ``ids`` are in the cache.
        blocks: of the cache that hold them.
        names: of the whole blocks of ``ids``, as far as they are known.
        cached: tokens of the prompt that did not have to be computed.
        images: of the prompt, where it has any.
    """

    def __init__(self, number: int, request: Request, stream: TextStream, images: PlacedImages | None = None) -> None:
        self.number, self.request, self.stream, self.images = number, request, stream, images
        self.sampler = Sampler(request.sampling, list(request.ids))
        self.ids = list(request.ids)
        self.computed = 0
        self.blocks: list[int] = []
        self.names: list[bytes] = []
        self.cached: int | None = None  # known once it is let in; its own blocks, found again later, do not count
        self.prompt_logprobs: list[TokenLogprob] = []
        self.cancelled = False

    @property
    def generated(self) -> int:
        """Tokens of the answer so far."""
        return len(self.ids) - len(self.request.ids)

    @property
    def remaining(self) -> int:
        """Tokens that are known and not computed yet; 1 while decoding."""
        return len(self.ids) - self.computed

    @property
    def scores_prompt(self) -> bool:
        """Whether the prompt's log-probabilities are still wanted; they are told with the first token of the answer."""
        return self.request.prompt_logprobs is not None and self.generated == 0

    def start_again(self) -> None:
        """Its blocks are gone: all of its tokens have to be in the cache anew."""
        self.computed = 0
        if self.images is not None:
            self.images.forget()
        if self.scores_prompt:
            self.prompt_logprobs.clear()

    def extend_names(self) -> None:
        """Name the blocks that have become whole."""
        if len(self.ids) // BLOCK > len(self.names):
            ids = np.array(self.ids)
            self.names = block_names(ids if self.images is None else self.images.named(ids), self.request.adapter)


class Scheduler:
    """The queue, the running sequences and the memory they share.

    Args:
        pool: the cache's memory.
        most: sequences that run at once.
        chunk: tokens of a pass while somebody is decoding, which bounds how long the next token takes.
        long_chunk: tokens of a pass while nobody is.
    """

    def __init__(self, pool: BlockPool, *, most: int, chunk: int, long_chunk: int) -> None:
        self.pool, self.most, self.chunk, self.long_chunk = pool, most, chunk, long_chunk
        self.waiting: deque[Running] = deque()
        self.running: list[Running] = []

    def next_batch(self) -> list[tuple[Running, Span]]:
        """What the next pass computes; empty where nothing can run."""
        decoding = [sequence for sequence in self.running if sequence.remaining == 1]
        budget = self.chunk if decoding else self.long_chunk
        counts: dict[Running, int] = {}
        for sequence in decoding:
            if sequence in self.running and self._room(sequence, 1):
                counts[sequence] = 1
        budget = max(budget - len(counts), -(-budget // PROMPTS_SHARE))
        for sequence in self._prompts():
            count = min(sequence.remaining, budget)
            if count > 0 and sequence in self.running and self._room(sequence, count):
                counts[sequence] = count
                budget -= count
        # whoever gave up blocks for another one on the way is not in the batch any more
        return [(s, Span(s.computed, count, s.blocks)) for s, count in counts.items() if s in self.running]

    def _prompts(self) -> Iterator[Running]:
        """Running sequences whose prompts are not computed yet, then new ones as they are let in."""
        yield from [sequence for sequence in self.running if sequence.remaining > 1]
        while self.waiting and len(self.running) < self.most and (admitted := self._admit(self.waiting[0])):
            yield admitted

    def _admit(self, sequence: Running) -> Running | None:
        """Start the first of the queue if its tokens fit; its blocks in the cache are taken from there."""
        sequence.extend_names()
        # at least one token is computed, for its logits; and all are where the prompt's own logits are asked for
        usable = 0 if sequence.scores_prompt else (len(sequence.ids) - 1) // BLOCK
        found = self.pool.find(sequence.names[:usable])
        needed = -(-len(sequence.ids) // BLOCK) - len(found)
        if needed > self.pool.available or self._on_its_way(sequence.names[len(found) : usable]):
            self.pool.release(found)
            return None
        self.waiting.popleft()
        sequence.blocks, sequence.computed = found, len(found) * BLOCK
        if sequence.cached is None:
            sequence.cached = sequence.computed
        self.running.append(sequence)
        return sequence

    def _on_its_way(self, names: list[bytes]) -> bool:
        """Whether a running sequence is about to compute the first of these blocks."""
        return bool(names) and any(
            names[0] in sequence.names[sequence.computed // BLOCK :]
            for sequence in self.running
            if sequence.remaining > 1
        )

    def _room(self, sequence: Running, count: int) -> bool:
        """Blocks for ``count`` more tokens, if need be taken from the sequences that came last."""
        while len(sequence.blocks) * BLOCK < sequence.computed + count:
            block = self.pool.take()
            if block is not None:
                sequence.blocks.append(block)
                continue
            last = self.running[-1]
            self._put_back(last)
            if last is sequence:
                return False
        return True

    def make_room(self, count: int, sequence: Running) -> bool:
        """See to it that so many blocks can be had, where need be from the sequences that came last; ``sequence`` is
        the last to give up its own, and then it is told that there is no room.
        """
        while self.pool.available < count:
            others = [one for one in self.running if one is not sequence]
            last = others[-1] if others else sequence
            self._put_back(last)
            if last is sequence:
                return False
        return True

    def _put_back(self, sequence: Running) -> None:
        """To the front of the queue, without its blocks."""
        self.remove(sequence)
        sequence.start_again()
        self.waiting.appendleft(sequence)

    def advance(self, sequence: Running, count: int) -> None:
        """``count`` more tokens of a sequence are in the cache; blocks that are full may be shared."""
        before = sequence.computed // BLOCK
        sequence.computed += count
        sequence.extend_names()
        for index in range(before, sequence.computed // BLOCK):
            self.pool.publish(sequence.blocks[index], sequence.names[index])

    def remove(self, sequence: Running) -> None:
        """A sequence has ended or makes room: its blocks are free, and stay in the cache as long as they may."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self.pool.release(sequence.blocks)
        sequence.blocks = []
