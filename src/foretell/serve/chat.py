"""``/v1/chat/completions``: messages to a request, updates to chunks or one answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import starlette.requests
from starlette.responses import Response

from foretell.infer.images import PreparedImage
from foretell.infer.requests import Request, TokenLogprob, Update
from foretell.serve.bodies import ChatBody
from foretell.serve.errors import bad_request
from foretell.serve.http import EventStream, read_json, whole_answer
from foretell.serve.images import without_images
from foretell.serve.logprobs import HeldLogprobs, chat_logprobs
from foretell.serve.messages import grammar_of, offered_tools, template_messages
from foretell.serve.requests import Heading, check_stream_options, finish_reason, repeated, sampling_of, usage
from foretell.serve.service import Answers, Service
from foretell.serve.tools import CallReader, writes_tags


@dataclass
class Delta:
    """What one update adds to a choice."""

    words: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str | None = None


class Choice:
    """One answer on its way.

    Args:
        reader: of calls, where tools are offered.
        ends: tokens that end an answer.
    """

    def __init__(self, reader: CallReader | None, ends: tuple[int, ...]) -> None:
        self._reader, self._held = reader, HeldLogprobs(ends)

    def feed(self, update: Update) -> Delta:
        """What is certain after an update."""
        delta = Delta(update.text, logprobs=self._held.feed(update))
        last = update.finish is not None
        if self._reader:
            delta.words, delta.calls = self._reader.feed(update.text, last)
        if update.finish is not None:
            called = self._reader is not None and self._reader.calls
            delta.finish = "tool_calls" if called else finish_reason(update.finish)
        return delta


class ChatCompletion:
    """One request to ``/v1/chat/completions``.

    Args:
        record: of the request's log line.
        images: of the messages.
    """

    def __init__(
        self, service: Service, body: ChatBody, record: dict[str, Any], images: tuple[PreparedImage, ...] = ()
    ) -> None:
        """Check and render it, which may take a while for long prompts.

        Raises:
            APIError: for what is wrong in it.
        """
        self._service, self._body, self._record = service, body, record
        check_stream_options(body)
        adapter = service.adapter(body.model)
        template = service.template()
        messages = template_messages(body.messages, service.images is not None)
        tools = offered_tools(body, service)
        if body.top_logprobs is not None and not body.logprobs:
            raise bad_request("top_logprobs is given without logprobs; it is accepted with logprobs: true.",
                              "top_logprobs")  # fmt: skip
        if body.max_tokens is not None and body.max_completion_tokens is not None:
            raise bad_request("max_tokens and max_completion_tokens are both given; one of them is accepted.",
                              "max_tokens")  # fmt: skip
        sampling = sampling_of(body, service.vocab_size)
        grammar = grammar_of(body, service, tools)
        self._ids = service.prompt(messages, images, tools or None)
        wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
        request = Request(
            tuple(self._ids), service.room_for_answer(self._ids, wanted, "messages"), sampling, body.stops,
            frozenset(service.ends), (body.top_logprobs or 0) if body.logprobs else None, adapter=adapter,
            deadline=time.monotonic() + service.options.timeout, grammar=grammar, images=images,
        )  # fmt: skip
        self.answers = Answers(service, repeated(request, body.choices), list(ChatBody.model_fields))
        self._tags = writes_tags(template.source) if tools else None
        if images:
            record["images"] = len(images)
        if service.options.log_prompts:
            record["messages"] = body.messages

    def _choices(self) -> list[Choice]:
        return [
            Choice(None if self._tags is None else CallReader(self._tags), self._service.ends)
            for _ in range(self._body.choices)
        ]

    def _usage(self, answers: Answers) -> dict[str, Any]:
        return usage(answers, len(self._ids), self._body.choices, self._record)

    def _logprobs(self, found: list[TokenLogprob]) -> dict[str, Any] | None:
        return chat_logprobs(found, self._service.texts) if self._body.logprobs else None

    async def whole(self, answers: Answers) -> dict[str, Any]:
        """The answer as one object."""
        choices = self._choices()
        totals = [Delta() for _ in choices]
        async for arrival in answers:
            total, delta = totals[arrival.index], choices[arrival.index].feed(arrival.update)
            total.words += delta.words
            total.calls += delta.calls
            total.logprobs += delta.logprobs
            total.finish = delta.finish
        if self._service.options.log_prompts:
            self._record["answers"] = [total.words for total in totals]
        heading = Heading(self._service, self._body, "chatcmpl", "chat.completion")
        return heading.with_choices(
            [
                {
                    "index": index,
                    "message": _message(total),
                    "logprobs": self._logprobs(total.logprobs),
                    "finish_reason": total.finish,
                }
                for index, total in enumerate(totals)
            ],
            usage=self._usage(answers),
        )

    async def chunks(self, answers: Answers) -> AsyncIterator[dict[str, Any]]:
        """The answer piece by piece."""
        heading = Heading(self._service, self._body, "chatcmpl", "chat.completion.chunk")
        counted = bool(self._body.stream_options and self._body.stream_options.include_usage)
        more: dict[str, Any] = {"usage": None} if counted else {}

        def chunk(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return heading.with_choices([choice], **more)

        choices, called = self._choices(), [0] * self._body.choices
        for index in range(len(choices)):
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        async for arrival in answers:
            index = arrival.index
            delta = choices[index].feed(arrival.update)
            if delta.words or delta.logprobs:
                yield chunk(index, {"content": delta.words}, self._logprobs(delta.logprobs))
            for call in delta.calls:
                yield chunk(index, {"tool_calls": [{"index": called[index], **call}]})
                called[index] += 1
            if delta.finish:
                yield chunk(index, {}, finish=delta.finish)
        total = self._usage(answers)
        if counted:
            yield heading.with_choices([], usage=total)


def _message(total: Delta) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": total.words, "refusal": None, "annotations": []}
    if total.calls:
        message |= {"content": total.words or None, "tool_calls": total.calls}
    return message


async def chat_completions(service: Service, request: starlette.requests.Request) -> Response:
    """Answer ``POST /v1/chat/completions``."""
    body = await read_json(request, ChatBody, service.body_bytes)
    service.let_in(1)
    service.adapter(body.model)  # before anything is fetched or decoded for it
    images = await service.read_images(body.messages)
    if images:  # their files are many times what is still needed of them
        body.messages = without_images(body.messages)
    completion = await asyncio.to_thread(ChatCompletion, service, body, request.scope["record"], images)
    if body.stream:
        return EventStream(completion.answers, completion.chunks)
    return await whole_answer(request, completion.answers, completion.whole)
