"""A model behind any server with the OpenAI API."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property, partial
from typing import Any, TypeVar

from foretell.core.errors import UserError
from foretell.core.files import content_hash
from foretell.evals.http import Client, ServerRefusal
from foretell.evals.images import png
from foretell.evals.models import Decoding, Prompt
from foretell.infer.requests import Likelihood
from foretell.tasks.grading import cut

AT_ONCE = 8  # questions under way
SAMPLE_PROMPT, SAMPLE_TOKENS = "The most important thing that I have learned is", 12  # what tells models apart
T = TypeVar("T")


class RemoteModel:
    """A :class:`foretell.evals.models.Model` at an address.

    Texts are continued by ``/completions``, chats by ``/chat/completions``. Log-likelihoods need ``/completions`` with
    ``echo`` and ``logprobs`` (vLLM, llama.cpp's Python server and ``foretell serve`` have it); the server's own tokens
    are summed from the first that ends within the continuation.

    Args:
        url: of the API.
        model: its name there; the first that the server lists where left out.
        key: as of :class:`foretell.evals.http.Client`.

    Raises:
        UserError: where the server does not answer or lists no model.
    """

    digest_of = "address and a sample"
    start = True  # what a server puts before a text is its own affair

    def __init__(self, url: str, model: str | None = None, key: str | None = None) -> None:
        self._client = Client(url, key)
        self.name = model or self._first()
        self.cut = 0
        self._echoes = False

    @cached_property
    def digest(self) -> str:
        """Of the address, the name and a few words that the server's model goes on with: other weights there, after a
        restart, are another model.
        """
        return content_hash(["address", self._client.url, self.name, self._sample()])

    def likelihoods(self, pairs: Iterable[tuple[Prompt, str]]) -> Iterator[tuple[int, Likelihood]]:
        """See :meth:`foretell.evals.models.Model.likelihoods`."""
        yield from _side_by_side(self._scored(pairs))

    def generate(self, prompts: Iterable[Prompt], decoding: Decoding) -> Iterator[tuple[int, tuple[str, ...]]]:
        """See :meth:`foretell.evals.models.Model.generate`."""
        yield from _side_by_side(partial(self._texts, prompt, decoding) for prompt in prompts)

    def _scored(self, pairs: Iterable[tuple[Prompt, str]]) -> Iterator[Callable[[], Likelihood]]:
        for prompt, continuation in pairs:
            if not isinstance(prompt.content, str) or prompt.images:
                raise UserError(
                    f"The options of a task are compared in plain text only where {self._client.url} answers; leave "
                    "the chat template and tasks with images out, or take tasks whose answers are generated."
                )
            if not self._echoes:  # one question alone, so that a server without log-likelihoods is asked no more
                self._likelihood(Prompt("1 + 1 ="), " 2")
                self._echoes = True
            yield partial(self._likelihood, prompt, continuation)

    def _sample(self) -> str | None:
        """A greedy answer; ``None`` where the server gives none, which the first question then says."""
        body = {"model": self.name, "max_tokens": SAMPLE_TOKENS, "temperature": 0}
        chat = [{"role": "user", "content": SAMPLE_PROMPT}]
        asked: list[tuple[str, dict[str, Any]]] = [
            ("completions", {"prompt": SAMPLE_PROMPT}), ("chat/completions", {"messages": chat}),
        ]  # fmt: skip
        for path, prompt in asked:
            try:
                return self._text(path, {**body, **prompt})
            except UserError:
                continue
        return None

    def _first(self) -> str:
        listed = self._client.get("models")
        try:
            return str(listed["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{self._client.url}/models lists no model; name one with --served-name.") from error

    def _likelihood(self, prompt: Prompt, continuation: str) -> Likelihood:
        assert isinstance(prompt.content, str)
        whole = prompt.content + continuation
        body = {"model": self.name, "prompt": whole, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        try:
            answer = self._client.post("completions", body)
            return self._summed(answer["choices"][0]["logprobs"], whole, len(prompt.content.rstrip()))
        except ServerRefusal as error:
            raise self._no_likelihoods(str(error.said)) from error
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._no_likelihoods("its answer has none") from error

    def _summed(self, found: Mapping[str, Any], whole: str, first: int) -> Likelihood:
        """Of the tokens that end after the character ``first``; errors of any kind where a server answers nonsense."""
        tokens, offsets, best = found["token_logprobs"], found["text_offset"], found.get("top_logprobs")
        if not offsets:
            raise self._no_likelihoods("its answer does not repeat the prompt")
        ends = [*offsets[1:], len(whole)]
        wanted = [
            n for n, (start, end) in enumerate(zip(offsets, ends, strict=True)) if end > first and start < len(whole)
        ]
        if offsets[0] != 0 or not wanted or max(ends) < len(whole):
            raise self._no_likelihoods("its answer does not repeat the prompt")
        values = [tokens[n] for n in wanted]
        if any(value is None for value in values):
            raise UserError(
                f"{self._client.url} tells nothing of a text's first token, so a prompt that is empty cannot be scored."
            )
        if any(math.isnan(value) for value in values):
            raise self._no_likelihoods("one of them is NaN")
        greedy = all(_is_best(tokens[n], best[n] if best else None) for n in wanted)
        return Likelihood(math.fsum(values), greedy)

    def _no_likelihoods(self, why: str) -> UserError:
        return UserError(
            f"{self._client.url} does not tell log-probabilities of a prompt's tokens (completions with echo and "
            f"logprobs: {why}); tasks whose options are compared need them, those whose answers are generated do not."
        )

    def _texts(self, prompt: Prompt, decoding: Decoding) -> tuple[str, ...]:
        body: dict[str, Any] = {"model": self.name, "max_tokens": decoding.tokens, "temperature": decoding.temperature}
        if decoding.stop:
            body["stop"] = list(decoding.stop[:4])  # as many as the API takes; the rest is cut here
        if prompt.is_chat:
            path, body["messages"] = "chat/completions", _messages(prompt)
        else:
            if prompt.images:
                raise UserError(f"{self._client.url} is given images in a chat only; ask for the chat template.")
            path, body["prompt"] = "completions", prompt.content
        return tuple(
            cut(self._text(path, {**body, "seed": decoding.sample_seed(prompt, sample)}), decoding.stop)
            for sample in range(decoding.samples)
        )

    def _text(self, path: str, body: dict[str, Any]) -> str:
        answer = self._client.post(path, body)
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"] if path.startswith("chat") else choice["text"]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{self._client.url}/{path} answers without a text.") from error
        return str(text or "")


def _is_best(value: float, top: Mapping[str, float] | None) -> bool:
    """Whether a token is what greedy decoding writes; not where the server does not tell."""
    return top is not None and value >= max(top.values(), default=math.inf)


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """In the API's form, images as data URLs."""
    assert not isinstance(prompt.content, str)
    if not prompt.images:
        return [dict(message) for message in prompt.content]
    pictures = iter(prompt.pictures)

    def part(one: Mapping[str, Any]) -> dict[str, Any]:
        if one["type"] == "text":
            return dict(one)
        data = base64.b64encode(png(next(pictures))).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}

    return [
        {**message, "content": [part(one) for one in message["content"]]}
        if isinstance(message["content"], list)
        else dict(message)
        for message in prompt.content
    ]


def _side_by_side(questions: Iterable[Callable[[], T]]) -> Iterator[tuple[int, T]]:
    """Answers as they come, a few questions at a time; the first error ends it."""
    waiting = enumerate(questions)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: dict[Future[T], int] = {}
        try:
            while True:
                for number, ask in itertools.islice(waiting, AT_ONCE - len(futures)):
                    futures[pool.submit(ask)] = number
                if not futures:
                    return
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    yield futures.pop(future), future.result()
        finally:
            for future in futures:
                future.cancel()
