"""``/v1/completions``: texts or token ids to be continued, or scored with ``echo`` and ``logprobs``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import starlette.requests
from starlette.responses import Response

from foretell.infer.requests import Request, TokenLogprob, Update
from foretell.serve.bodies import CompletionBody
from foretell.serve.errors import bad_request
from foretell.serve.http import EventStream, read_json, whole_answer
from foretell.serve.logprobs import CompletionLogprobs, HeldLogprobs
from foretell.serve.requests import Heading, check_stream_options, finish_reason, repeated, sampling_of, usage
from foretell.serve.service import Answers, Service

DEFAULT_TOKENS = 16  # OpenAI's


@dataclass
class Prompt:
    """What is continued."""

    ids: tuple[int, ...]
    text: str


@dataclass
class Piece:
    """What one update adds to a choice, or all of them together."""

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str | None = None


class Completion:
    """One request to ``/v1/completions``; see :class:`foretell.serve.chat.ChatCompletion`."""

    def __init__(self, service: Service, body: CompletionBody, record: dict[str, Any]) -> None:
        self._service, self._body, self._record = service, body, record
        check_stream_options(body)
        adapter = service.adapter(body.model)
        self._per_prompt = body.choices if body.best_of is None else body.best_of
        if self._per_prompt < body.choices:
            raise bad_request(f"best_of is {body.best_of} and n {body.choices}; best_of must be at least n.", "best_of")
        if self._per_prompt > 1 and body.best_of is not None and body.stream:
            raise bad_request(f"best_of is {body.best_of}; with stream 1 is accepted.", "best_of")
        service.let_in(len(body.prompt) * self._per_prompt)  # before anything is built for each of them
        sampling = sampling_of(body, service.vocab_size)
        self._prompts = [self._prompt(given) for given in body.prompt]
        ranked = self._per_prompt > body.choices
        top = body.logprobs if body.logprobs is not None else 0 if ranked else None
        wanted = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
        requests: list[Request] = []
        for prompt in self._prompts:
            request = Request(
                prompt.ids, service.room_for_answer(prompt.ids, wanted, "prompt"), sampling, body.stops,
                frozenset(service.ends), top, body.logprobs if body.echo else None, adapter,
                time.monotonic() + service.options.timeout,
            )  # fmt: skip
            requests += repeated(request, self._per_prompt)
        self.answers = Answers(service, requests, list(CompletionBody.model_fields))
        if service.options.log_prompts:
            record["prompt"] = [prompt.text for prompt in self._prompts]

    def _prompt(self, given: str | Sequence[int]) -> Prompt:
        if isinstance(given, str):
            ids = (*self._service.start_ids, *self._service.tokenizer.encode(given))
            return Prompt(ids or (self._service.tokenizer.end_of_text_id,), given)
        wrong = next((token for token in given if token >= self._service.vocab_size), None)
        if wrong is not None:
            raise bad_request(
                f"prompt has the token {wrong}; ids from 0 to {self._service.vocab_size - 1} are accepted.", "prompt"
            )
        return Prompt(tuple(given), self._service.tokenizer.decode_bytes(given).decode(errors="replace"))

    def _usage(self, answers: Answers) -> dict[str, Any]:
        return usage(answers, sum(len(prompt.ids) for prompt in self._prompts), self._per_prompt, self._record)

    def _choice(
        self, index: int, piece: Piece, offsets: CompletionLogprobs, first: int | None = None
    ) -> dict[str, Any]:
        logprobs = None if self._body.logprobs is None else offsets.of(piece.logprobs, first)
        return {"index": index, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish}

    def _feed(self, held: HeldLogprobs, update: Update) -> Piece:
        """An update's part; with ``echo`` a prompt's own probabilities come first."""
        found = [*update.prompt_logprobs, *held.feed(update)]
        return Piece(update.text, found, finish_reason(update.finish) if update.finish else None)

    def _opening(self, index: int) -> tuple[str, int | None]:
        """What ``echo`` puts before the answer: the prompt's text and its first token."""
        prompt = self._prompts[index // self._per_prompt]
        return (prompt.text, prompt.ids[0]) if self._body.echo else ("", None)

    async def whole(self, answers: Answers) -> dict[str, Any]:
        """The answer as one object."""
        count = len(self._prompts) * self._per_prompt
        held, totals = [HeldLogprobs() for _ in range(count)], [Piece() for _ in range(count)]
        async for arrival in answers:
            total, piece = totals[arrival.index], self._feed(held[arrival.index], arrival.update)
            total.text += piece.text
            total.logprobs += piece.logprobs
            total.finish = piece.finish
        if self._service.options.log_prompts:
            self._record["answers"] = [total.text for total in totals]
        choices: list[dict[str, Any]] = []
        for start in range(0, count, self._per_prompt):
            for place in self._best(totals, start):
                text, first = self._opening(place)
                totals[place].text = text + totals[place].text
                choices.append(
                    self._choice(len(choices), totals[place], CompletionLogprobs(self._service.texts), first)
                )
        heading = Heading(self._service, self._body, "cmpl", "text_completion")
        return heading.with_choices(choices, usage=self._usage(answers))

    def _best(self, totals: Sequence[Piece], start: int) -> list[int]:
        """The places of a prompt's answers that are wanted: with ``best_of`` those whose tokens were likeliest."""
        places = list(range(start, start + self._per_prompt))
        if self._per_prompt == self._body.choices:
            return places
        echoed = self._body.echo and self._body.logprobs is not None
        prompt = len(self._prompts[start // self._per_prompt].ids) - 1 if echoed else 0

        def mean(place: int) -> float:
            found = totals[place].logprobs[prompt:]
            return sum(one.logprob for one in found) / max(1, len(found))

        return sorted(places, key=mean, reverse=True)[: self._body.choices]

    async def chunks(self, answers: Answers) -> AsyncIterator[dict[str, Any]]:
        """The answer piece by piece."""
        heading = Heading(self._service, self._body, "cmpl", "text_completion")
        counted = bool(self._body.stream_options and self._body.stream_options.include_usage)
        more: dict[str, Any] = {"usage": None} if counted else {}
        count = len(self._prompts) * self._per_prompt
        held = [HeldLogprobs() for _ in range(count)]
        offsets, begun = [CompletionLogprobs(self._service.texts) for _ in range(count)], [False] * count
        async for arrival in answers:
            index = arrival.index
            piece = self._feed(held[index], arrival.update)
            first = None
            if not begun[index]:
                begun[index] = True
                text, first = self._opening(index)
                piece.text = text + piece.text
            if piece.text or piece.logprobs or piece.finish:
                yield heading.with_choices([self._choice(index, piece, offsets[index], first)], **more)
        total = self._usage(answers)
        if counted:
            yield heading.with_choices([], usage=total)


async def completions(service: Service, request: starlette.requests.Request) -> Response:
    """Answer ``POST /v1/completions``."""
    body = await read_json(request, CompletionBody, service.body_bytes)
    service.let_in(1)
    completion = await asyncio.to_thread(Completion, service, body, request.scope["record"])
    if body.stream:
        return EventStream(completion.answers, completion.chunks)
    return await whole_answer(request, completion.answers, completion.whole)
