"""The engine: schedule, run, postprocess. Requests go in at any time, updates come out after every pass.

Letters: T rows of a pass, V vocabulary.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from foretell.core.errors import UserError
from foretell.core.hardware import available_cores
from foretell.core.progress import say
from foretell.data.tokenizer import Tokenizer
from foretell.infer.blocks import BLOCK, BlockPool
from foretell.infer.continuations import score_continuations
from foretell.infer.images import IMAGE_MEMORY, ImageEncoder, PlacedImages
from foretell.infer.native.library import Kernels, KernelsUnavailableError, kernels
from foretell.infer.packed import PackedLinear, pack_decoder, packed_place
from foretell.infer.packed_vision import pack_vision
from foretell.infer.paged import PagedCache, Span
from foretell.infer.requests import Completion, Finish, Request, TokenLogprob, Update, completed
from foretell.infer.schedule import Running, Scheduler
from foretell.infer.text import TextStream
from foretell.model.adapters import AdapterSet
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.foreign_tower import ForeignTower
from foretell.model.quantised import QuantisedLinear, dequantised

CACHE_MEMORY = 2**30  # bytes
LOGIT_ROWS = 64  # of prompts whose log-probabilities are asked for, at a time


@dataclass(frozen=True)
class EngineOptions:
    """How an engine uses the machine.

    Attributes:
        memory: bytes of the cache of keys and values.
        most: requests that run at once; others wait.
        chunk, long_chunk: tokens of a pass while somebody is decoding, and while nobody is.
        bits: 4 or 8 to round float weights to; ``None`` to keep them.
        threads: all cores when ``None``.
        native: whether to use the compiled kernels where they can be built.
        image_memory: bytes of the features of images that are kept for the next request with them.
    """

    memory: int = CACHE_MEMORY
    most: int = 32
    chunk: int = 128
    long_chunk: int = 512
    bits: int | None = None
    threads: int | None = None
    native: bool = True
    image_memory: int = IMAGE_MEMORY


class Engine:
    """One model and everybody who asks it; used by one thread at a time.

    With the compiled kernels a request gets the same tokens, to the bit of its logits, whatever else is in the batch,
    and from the cache as from a fresh computation. Without them float32 layers of PyTorch are used.

    Args:
        decoder: is packed for the kernels, and of no other use afterwards.
        tokenizer: for texts and stops.
        options: the machine's part.
    """

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, options: EngineOptions | None = None) -> None:
        self.options = options = options or EngineOptions()
        self.config, self.tokenizer = decoder.config, tokenizer
        self.decoder = decoder.eval()
        self.kernels = _kernels(options) if decoder.embedding.weight.device.type == "cpu" else None
        self.head: nn.Module
        if self.kernels is not None:
            torch.set_num_threads(
                1
            )  # what is left to PyTorch is small, and its threads would wait against the kernels'
            if decoder.vision is not None:
                pack_vision(decoder.vision, self.kernels)
            self.head = pack_decoder(decoder, self.kernels, options.bits)
            self.adapters = AdapterSet(
                decoder,
                product=partial(PackedLinear, self.kernels),
                place=partial(packed_place, decoder),
            )
        else:
            self.head = _plain(decoder)
            self.adapters = AdapterSet(decoder)
        self.encoder = _encoder(decoder, options, self.kernels is not None)
        self._drawn = _drawn(self.config)
        self._numbers = itertools.count()
        self.pool = BlockPool(self.config, options.memory, self.kernels.lanes if self.kernels else 1)
        self.reset()

    def reset(self) -> None:
        """Forget all requests and what is in the cache, whose memory is used again."""
        options = self.options
        self.pool.clear()
        if self.encoder is not None:
            self.encoder.clear()
        self.scheduler = Scheduler(self.pool, most=options.most, chunk=options.chunk, long_chunk=options.long_chunk)
        self._requests: dict[int, Running] = {}

    @property
    def batch_invariant(self) -> bool:
        """Whether an answer does not depend on what else is in the batch."""
        return self.kernels is not None

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer at most: the model's context, or what the whole cache has room for."""
        return min(self.config.context, self.pool.count * BLOCK)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._requests

    def check(self, request: Request) -> None:
        """Refuse what cannot be answered.

        Raises:
            UserError: as :meth:`Request.check`, for an adapter that is not there, and where the answer would not fit
                into the whole cache.
        """
        request.check(self.config)
        if request.adapter is not None and request.adapter not in self.adapters.names:
            known = ", ".join(self.adapters.names) or "none is loaded"
            raise UserError(f"There is no adapter {request.adapter!r}; there are: {known}.")
        room = self.pool.count * BLOCK
        if request.continuations and request.needed + 2 * BLOCK > room:  # the prompt's last block is copied
            raise UserError(
                f"The prompt and its longest continuation have {request.needed + 1} tokens; the cache has room for "
                f"{max(0, room - 2 * BLOCK)}."
            )
        if request.needed > room:
            raise UserError(
                f"The prompt has {len(request.ids)} tokens and max_tokens is {request.max_tokens}; the cache has room "
                f"for {room}."
            )

    def submit(self, request: Request) -> int:
        """Put a request into the queue.

        Returns:
            Its number, under which updates come.

        Raises:
            UserError: as :meth:`check`.
        """
        self.check(request)
        number = next(self._numbers)
        vision = self.config.vision
        images = PlacedImages(request.ids, request.images, vision) if request.images and vision else None
        sequence = Running(number, request, TextStream(self.tokenizer, request.stops), images)
        self._requests[number] = sequence
        self.scheduler.waiting.append(sequence)
        return number

    def cancel(self, number: int) -> None:
        """End a request at the next step; one that has ended already is left alone."""
        if number in self._requests:
            self._requests[number].cancelled = True

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Update]]:
        """One pass over a batch: whose request it was, and what it brought."""
        updates = [(s.number, self._end(s, reason)) for s in list(self._requests.values()) if (reason := _ended(s))]
        batch = self.scheduler.next_batch()
        if not batch:
            return updates
        hidden = self._states(batch, self._embed(batch))
        ends = list(itertools.accumulate(span.count for _, span in batch))
        for (sequence, span), end in zip(batch, ends, strict=True):
            self.scheduler.advance(sequence, span.count)
            if sequence.scores_prompt:
                self._score_prompt(sequence, span, hidden[end - span.count : end])
        whole = [(s, end - 1) for (s, _), end in zip(batch, ends, strict=True) if s.remaining == 0]
        if whole:
            logits = self.head(hidden[[row for _, row in whole]])
            rows = list(zip([s for s, _ in whole], logits, strict=True))
            updates += [(s.number, self._grow(s, row)) for s, row in rows if not s.request.continuations]
            updates += self._score_continuations([row for row in rows if row[0].request.continuations])
        return updates

    def _states(self, batch: Sequence[tuple[Running, Span]], embedded: Tensor) -> Tensor:
        """[T, D] of the rows of a batch, from their [1, T, D] embeddings."""
        adapters = [self._adapter_of(s) for s, span in batch for _ in range(span.count)]
        cache = PagedCache(self.pool, [span for _, span in batch], self.kernels, adapted=max(adapters) >= 0)
        with self.adapters.select(torch.tensor(adapters)):
            return self.decoder.states(embedded, cache)[0]

    def _score_continuations(self, rows: Sequence[tuple[Running, Tensor]]) -> list[tuple[int, Update]]:
        """The ends of sequences that want it, from the [V] logits after the prompt of each."""
        if not rows:
            return []
        sequences, logits = zip(*rows, strict=True)
        scored = score_continuations(
            sequences, torch.stack(logits), self.scheduler,
            lambda batch, ids: self._states(batch, self.decoder.embed(ids[None])), self.head,
        )  # fmt: skip
        return [(s.number, replace(self._end(s, "length"), likelihoods=found)) for s, found in scored.items()]

    def _embed(self, batch: list[tuple[Running, Span]]) -> Tensor:
        """[1, T, D] of the tokens and patches of a batch."""
        ids = [token for s, span in batch for token in s.ids[span.position : span.position + span.count]]
        x = self.decoder.embed(torch.tensor([ids]))
        if self.encoder is not None:
            for (sequence, span), rows in zip(batch, x[0].split([span.count for _, span in batch]), strict=True):
                if sequence.images is not None:
                    sequence.images.fill(rows, span.position, self.encoder)
        return x

    def _adapter_of(self, sequence: Running) -> int:
        name = sequence.request.adapter
        return -1 if name is None else self.adapters.names.index(name)

    def _score_prompt(self, sequence: Running, span: Span, hidden: Tensor) -> None:
        """Log-probabilities of the prompt's tokens that follow these [rows, D] states."""
        top = sequence.request.prompt_logprobs or 0
        following = sequence.request.ids[span.position + 1 : span.position + 1 + span.count]
        for start in range(0, len(following), LOGIT_ROWS):
            tokens = following[start : start + LOGIT_ROWS]
            for row, token in zip(self.head(hidden[start : start + len(tokens)]), tokens, strict=True):
                sequence.prompt_logprobs.append(_logprob(row, token, top))

    def _grow(self, sequence: Running, logits: Tensor) -> Update:
        """The next token of a sequence from its [V] logits, or its end where none is wanted."""
        request = sequence.request
        if request.max_tokens == 0:
            return self._end(sequence, "length")
        allowed = request.grammar.allowed() if request.grammar else self._drawn
        if request.grammar and request.grammar.failed:
            return self._end(sequence, "error")
        token = sequence.sampler.choose(logits, allowed)
        if request.grammar:
            request.grammar.accept(token)
        sequence.ids.append(token)
        logprobs = () if request.top_logprobs is None else (_logprob(logits, token, request.top_logprobs),)
        finish: Finish | None = None
        text = ""
        if token in request.stop_ids:
            finish = "stop"
        else:
            text = sequence.stream.feed([token])
            if sequence.stream.stopped:
                finish = "stop"
            elif sequence.generated == request.max_tokens:
                finish = "length"
        prompt = tuple(sequence.prompt_logprobs) if sequence.generated == 1 else ()
        if finish is None:
            return Update(text, (token,), logprobs, prompt, None, sequence.cached or 0)
        return self._end(sequence, finish, Update(text, (token,), logprobs, prompt))

    def _end(self, sequence: Running, reason: Finish, last: Update | None = None) -> Update:
        """Free a sequence's memory; ``last`` is what its last token brought."""
        self.scheduler.remove(sequence)
        del self._requests[sequence.number]
        last = last or Update(prompt_logprobs=tuple(sequence.prompt_logprobs) if sequence.generated == 0 else ())
        text = last.text + sequence.stream.finish()
        return Update(text, last.tokens, last.logprobs, last.prompt_logprobs, reason, sequence.cached or 0)

    def complete(self, requests: Iterable[Request]) -> list[Completion]:
        """Answer requests, side by side, and return when all have ended; in the order of the requests.

        Raises:
            UserError: as :meth:`check`, before any of them starts.
        """
        wanted = list(requests)
        for request in wanted:
            self.check(request)
        numbers = [self.submit(request) for request in wanted]
        updates: dict[int, list[Update]] = {number: [] for number in numbers}
        while any(not got or got[-1].finish is None for got in updates.values()):
            for number, update in self.step():
                if number in updates:
                    updates[number].append(update)
        return [completed(updates[number]) for number in numbers]

    def stream(self, request: Request) -> Generator[Update, None, None]:
        """The updates of one request as they come.

        Raises:
            UserError: as :meth:`check`.
        """
        number = self.submit(request)
        try:
            while number in self._requests:
                yield from (update for whose, update in self.step() if whose == number)
        finally:
            self.cancel(number)


def _encoder(decoder: Decoder, options: EngineOptions, packed: bool) -> ImageEncoder | None:
    """The vision half, where there is one; one that transformers runs has all threads, for it calls no kernels."""
    tower = decoder.vision
    if tower is None:
        return None
    threads = options.threads or available_cores() if packed and isinstance(tower, ForeignTower) else None
    return ImageEncoder(tower, decoder.embedding.weight, options.image_memory, threads)


def _drawn(config: ModelConfig) -> Tensor | None:
    """[V], which tokens an answer may have: no image token, for there would be no image to it; ``None`` for all."""
    if config.vision is None:
        return None
    return torch.arange(config.vocab_size) != config.vision.image_token


def _ended(sequence: Running) -> Finish | None:
    """Why a sequence ends before its next token, if it does."""
    if sequence.cancelled:
        return "cancelled"
    deadline = sequence.request.deadline
    return "deadline" if deadline is not None and time.monotonic() > deadline else None


def _logprob(logits: Tensor, token: int, top: int) -> TokenLogprob:
    """Of one token and the ``top`` likeliest, from [V] logits."""
    shares = torch.log_softmax(logits, dim=0)
    values, index = shares.topk(min(top, len(shares)))
    return TokenLogprob(token, float(shares[token]), tuple(zip(index.tolist(), values.tolist(), strict=True)))


def _kernels(options: EngineOptions) -> Kernels | None:
    if not options.native:
        return None
    try:
        return kernels(options.threads)
    except KernelsUnavailableError as error:
        if options.bits is not None:
            raise UserError(f"Weights of {options.bits} bits need the compiled kernels, and {error}.") from error
        say(f"float32 layers of PyTorch are used, several times slower: {error}", "yellow")
        return None


class _Head(nn.Module):
    """[..., D] to [..., V] logits by PyTorch."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.decoder.head_weight) * self.decoder.output_scale


def _plain(decoder: Decoder) -> nn.Module:
    """Quantised layers as float32 ones, for unpacking them in every pass would take longer than the pass."""
    for module in list(decoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, QuantisedLinear):
                setattr(module, name, dequantised(child))
    return _Head(decoder)
