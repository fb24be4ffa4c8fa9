"""What chat and plain completions share on the way to the engine and back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from foretell.core.errors import UserError
from foretell.infer.requests import Finish, Request
from foretell.infer.sampling import LARGEST_SEED, Sampling
from foretell.serve.bodies import Generation
from foretell.serve.errors import bad_request, refused
from foretell.serve.service import Answers, Service

SAMPLED = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
           "seed")  # fmt: skip


def sampling_of(body: Generation, vocab_size: int) -> Sampling:
    """How to sample.

    Raises:
        APIError: for what is out of range.
    """
    bias: dict[int, float] = {}
    for token, value in (body.logit_bias or {}).items():
        if not token.isascii() or not token.isdigit() or len(token) > 18:
            raise bad_request(f"logit_bias has the key {token[:40]!r}; token ids are expected.", "logit_bias")
        bias[int(token)] = value
    given = {name: value for name in SAMPLED if (value := getattr(body, name)) is not None}
    sampling = Sampling(**given, logit_bias=bias)
    try:
        sampling.check(vocab_size)
    except UserError as error:
        raise refused(error, [*SAMPLED, "logit_bias"], None) from error
    return sampling


def repeated(request: Request, count: int) -> list[Request]:
    """The same request ``count`` times, each with a seed of its own where one is given and a grammar of its own."""
    found = []
    for index in range(count):
        sampling = request.sampling
        if sampling.seed is not None:
            wrapped = (sampling.seed + index + LARGEST_SEED) % (2 * LARGEST_SEED) - LARGEST_SEED
            sampling = replace(sampling, seed=wrapped)
        grammar = request.grammar.copy() if request.grammar else None
        found.append(replace(request, sampling=sampling, grammar=grammar))
    return found


def check_stream_options(body: Generation) -> None:
    """Refuse options of a stream where none is asked for.

    Raises:
        APIError: naming the field.
    """
    if body.stream_options is not None and not body.stream:
        raise bad_request("stream_options is given without stream; it is accepted with stream: true.", "stream_options")


def finish_reason(finish: Finish) -> str:
    """OpenAI's word; a deadline cuts an answer as a limit of length does."""
    return "stop" if finish == "stop" else "length"


class Heading:
    """What every chunk of an answer carries."""

    def __init__(self, service: Service, body: Generation, prefix: str, kind: str) -> None:
        self.values: dict[str, Any] = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": body.model or service.name,
            "system_fingerprint": service.fingerprint,
        }

    def with_choices(self, choices: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """One chunk or answer."""
        return {**self.values, "choices": list(choices), **more}


def usage(answers: Answers, prompt_tokens: int, per_prompt: int, record: dict[str, Any]) -> dict[str, Any]:
    """What the answers took; a prompt is counted once however many answers it has."""
    generated, cached = sum(answers.generated), sum(answers.cached[::per_prompt])
    record.update(prompt_tokens=prompt_tokens, completion_tokens=generated, cached_tokens=cached)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": prompt_tokens + generated,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                      "rejected_prediction_tokens": 0},
    }  # fmt: skip
