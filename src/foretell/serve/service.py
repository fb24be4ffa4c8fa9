"""The model that is served, and a request's way through its engine: let in, followed, cancelled with its client."""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import foretell
from foretell.core.errors import UserError
from foretell.data.chat import ChatTemplate
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.grammar import GrammarFactory
from foretell.infer.images import PreparedImage
from foretell.infer.loading import LoadedModel
from foretell.infer.requests import Request, Update
from foretell.infer.worker import EngineThread
from foretell.model.lora import Adapter
from foretell.serve.errors import APIError, bad_request, refused
from foretell.serve.images import ImageIntake
from foretell.serve.logprobs import TokenTexts
from foretell.serve.metrics import Metrics
from foretell.serve.options import IMAGE_BODY, TEXT_BODY, ServeOptions

SAMPLED_BYTES = 4096  # of each tensor, for the fingerprint


class Service:
    """One model with its engine.

    Args:
        model: as loaded; its decoder is used up by the engine.
        engine_options: the machine's part.
        options: limits.
        adapters: by the names under which the same weights answer with them.
    """

    def __init__(
        self, model: LoadedModel, engine_options: EngineOptions, options: ServeOptions,
        adapters: Mapping[str, Adapter] | None = None,
    ) -> None:  # fmt: skip
        self.options, self.metrics = options, Metrics()
        self.name, self.adapters = model.name, tuple(adapters or {})
        self.tokenizer, self.chat = model.tokenizer, model.chat
        self.images = None if model.images is None else ImageIntake(model.images, options)
        self.body_bytes = options.body_bytes or (TEXT_BODY if self.images is None else IMAGE_BODY)
        self.texts = TokenTexts(model.tokenizer)
        self.ends, self.start_ids = model.end_of_turn_ids, model.start_ids
        self.fingerprint = _fingerprint(model, engine_options)
        self.created = int(time.time())
        self.stopping = False
        engine = Engine(model.decoder, model.tokenizer, replace(engine_options, most=options.most_running))
        for name, adapter in (adapters or {}).items():
            engine.adapters.add(name, adapter)
        self.vocab_size = engine.config.vocab_size
        self.context = engine.context
        self.worker = EngineThread(engine)
        self._grammars: GrammarFactory | None = None
        self._grammars_lock = threading.Lock()

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model reads."""
        return ("text",) if self.images is None else ("text", "image")

    async def read_images(self, messages: Sequence[Any]) -> tuple[PreparedImage, ...]:
        """The images of messages as clients send them; none where the model reads text alone, which then says so.

        Raises:
            APIError: as :meth:`ImageIntake.read`.
        """
        return () if self.images is None else await self.images.read(messages)

    def prompt(
        self, messages: Sequence[dict[str, Any]], images: Sequence[PreparedImage], tools: Any, generation: bool = True
    ) -> list[int]:
        """Ids of messages as the chat template writes them, with the whole runs of their images.

        Args:
            messages: for the template.
            images: of the messages.
            tools: that are offered, or ``None``.
            generation: whether to end with the opening of an answer.

        Raises:
            APIError: where the template refuses them, or there is none.
        """
        try:
            ids = self.template().encode(messages, add_generation_prompt=generation, tools=tools)
            return ids if self.images is None else self.images.reader.expanded(ids, images)
        except UserError as error:
            raise refused(error, (), "messages") from error

    @property
    def names(self) -> tuple[str, ...]:
        """What ``model`` may be."""
        return (self.name, *self.adapters)

    def adapter(self, name: str | None) -> str | None:
        """The adapter that a request's ``model`` means; ``None`` for the model itself.

        Raises:
            APIError: 404 for any other name.
        """
        if name is None or name == self.name:
            return None
        if name in self.adapters:
            return name
        raise APIError(404, f"The model {name[:80]!r} does not exist; there are {', '.join(self.names)}.",
                       param="model", code="model_not_found")  # fmt: skip

    def template(self) -> ChatTemplate:
        """The model's chat template.

        Raises:
            APIError: where it has none.
        """
        if self.chat is None:
            raise bad_request(
                f"The model {self.name} has no chat template; /v1/completions continues texts.", "messages"
            )
        return self.chat

    def grammars(self) -> GrammarFactory:
        """The maker of grammars, made when first asked for."""
        with self._grammars_lock:
            if self._grammars is None:
                self._grammars = GrammarFactory(self.tokenizer, self.vocab_size, self.ends)
            return self._grammars

    def room_for_answer(self, ids: Sequence[int], wanted: int | None, param: str) -> int:
        """How many tokens an answer may have: what is wanted, or whatever the context has left.

        Raises:
            APIError: where prompt and answer are more than the model's context.
        """
        left = self.context - len(ids)
        if left >= (1 if wanted is None else wanted):
            return left if wanted is None else wanted
        answer = "" if wanted is None else f" and {wanted} for the answer"
        raise bad_request(
            f"The prompt has {len(ids)} tokens{answer}; the model's context is {self.context} tokens.",
            param, "context_length_exceeded",
        )  # fmt: skip

    def let_in(self, count: int) -> None:
        """Refuse ``count`` more answers where there is no room for them.

        Raises:
            APIError: 503 while stopping, 429 with the time to wait while the queue is full.
        """
        options = self.options
        if self.stopping or not self.worker.alive:
            raise APIError(503, "The server is stopping; ask another one.", code="stopping", retry_after=5)
        most = options.most_running + options.most_queued
        if count > most:
            raise bad_request(f"{count} answers are asked for at once; at most {most} are accepted.", "n")
        if self.worker.running + self.worker.waiting + count > most:
            mean = self.metrics.duration.total / max(1, sum(self.metrics.duration.counts))
            wait = math.ceil(min(60.0, max(1.0, mean * options.most_queued / options.most_running)))
            raise APIError(429, f"The queue is full ({options.most_queued} requests wait); try again in {wait} s.",
                           code="queue_full", retry_after=wait)  # fmt: skip

    async def stop(self) -> None:
        """Cancel what runs and end the engine's thread."""
        self.stopping = True
        if self.images is not None:
            self.images.close()
        await asyncio.to_thread(self.worker.stop, 0.0)


@dataclass
class Arrival:
    """An update of one of several answers."""

    index: int
    update: Update


class Answers:
    """Several requests to the engine on behalf of one client.

    Use as an asynchronous context manager: whatever has not ended when it is left is cancelled.

    Args:
        service: whose engine is asked.
        requests: what for; updates carry their place in this list.
        fields: names of the body's fields, for errors.
    """

    def __init__(self, service: Service, requests: Sequence[Request], fields: Sequence[str]) -> None:
        self._service, self._requests, self._fields = service, requests, fields
        self._queue: asyncio.Queue[Arrival] = asyncio.Queue()
        self._open: dict[int, int] = {}
        self._started = time.monotonic()
        self.generated = [0] * len(requests)
        self.cached = [0] * len(requests)

    async def __aenter__(self) -> Answers:
        """Put the requests into the queue.

        Raises:
            APIError: as :meth:`Service.let_in`, and 400 for what the engine refuses.
        """
        self._service.let_in(len(self._requests))
        loop = asyncio.get_running_loop()
        try:
            for index, request in enumerate(self._requests):
                self._open[index] = self._service.worker.submit(request, self._listener(loop, index))
        except UserError as error:
            self._cancel()
            raise refused(error, self._fields, None) from error
        except RuntimeError as error:
            raise APIError(503, "The server is stopping; ask another one.", code="stopping", retry_after=5) from error
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Cancel what has not ended."""
        if self._open and not (kind and issubclass(kind, APIError)):
            self._service.metrics.cancelled += 1
        self._cancel()

    def _listener(self, loop: asyncio.AbstractEventLoop, index: int) -> Callable[[Update], None]:
        def take(update: Update) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._queue.put_nowait, Arrival(index, update))

        return take

    def _cancel(self) -> None:
        for number in self._open.values():
            self._service.worker.cancel(number)
        self._open = {}

    async def __aiter__(self) -> AsyncIterator[Arrival]:
        """Updates as they come, until all answers have ended.

        Raises:
            APIError: where the engine failed, or was stopped before an answer had ended.
        """
        first: list[float | None] = [None] * len(self._requests)
        metrics = self._service.metrics
        while self._open:
            arrival = await self._queue.get()
            index, update, now = arrival.index, arrival.update, time.monotonic()
            self.generated[index] += len(update.tokens)
            if update.tokens and first[index] is None:
                first[index] = now
                metrics.first_token.observe(now - self._started)
            if update.finish is not None:
                self._open.pop(index)
                self.cached[index] = update.cached
                began = first[index]
                if began is not None and self.generated[index] > 1:
                    metrics.per_token.observe((now - began) / (self.generated[index] - 1))
                self._check(update, self.generated[index])
            yield arrival
        metrics.duration.observe(time.monotonic() - self._started)

    def _check(self, update: Update, generated: int) -> None:
        if update.finish == "error":
            raise APIError(500, "The model failed while it answered; this has been logged.", code="engine_error")
        if update.finish == "cancelled":
            raise APIError(503, "The server stopped before the answer had ended.", code="stopping", retry_after=5)
        if update.finish == "deadline" and generated == 0:
            raise APIError(503, f"No answer could be begun within {self._service.options.timeout:g} seconds.",
                           code="timeout", retry_after=5)  # fmt: skip


def _fingerprint(model: LoadedModel, options: EngineOptions) -> str:
    """Equal for equal weights, tokenizer and software."""
    found = hashlib.sha256(f"{foretell.__version__} {model.decoder.config} {options.bits} {options.native}".encode())
    found.update(model.tokenizer.digest.encode())
    for name, tensor in model.decoder.state_dict().items():
        found.update(name.encode())
        sample = tensor.detach().flatten()[: SAMPLED_BYTES // tensor.element_size()].cpu()
        found.update(sample.float().numpy().tobytes() if sample.is_floating_point() else sample.numpy().tobytes())
    return f"fp_{found.hexdigest()[:12]}"
