"""What an engine is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from foretell.core.errors import UserError
from foretell.infer.images import PreparedImage, check_images
from foretell.infer.sampling import Sampling
from foretell.model.config import ModelConfig

Finish = Literal["stop", "length", "cancelled", "deadline", "error"]


class Grammar(Protocol):
    """What may come next, as in :mod:`foretell.infer.grammar`."""

    @property
    def failed(self) -> bool:
        """Whether there is nothing more that could come."""

    def allowed(self) -> Tensor:
        """[V] booleans."""

    def accept(self, token: int) -> None:
        """The token has been chosen."""

    def copy(self) -> Grammar:
        """The same place for another answer."""


@dataclass(frozen=True)
class Request:
    """One answer that is wanted.

    Attributes:
        ids: the prompt, at least one token; images are in it as their whole runs of tokens.
        max_tokens: of the answer; 0 for a prompt's log-likelihoods alone.
        sampling: how tokens are drawn.
        stops: texts that end the answer and are not part of it.
        stop_ids: tokens that do, as the end of a turn.
        top_logprobs: alternatives to report beside each generated token's log-probability, ``None`` for neither.
        prompt_logprobs: the same for each token of the prompt but the first.
        adapter: name of a loaded adapter.
        deadline: seconds of :func:`time.monotonic` after which the answer ends as it is.
        grammar: what the answer must be of.
        images: in the order in which their tokens are in ``ids``.
    """

    ids: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    adapter: str | None = None
    deadline: float | None = None
    grammar: Grammar | None = None
    images: tuple[PreparedImage, ...] = ()

    def check(self, config: ModelConfig) -> None:
        """Refuse what no engine of a model of this shape can answer.

        Raises:
            UserError: naming the field, its value and what is accepted.
        """
        vocab_size, context = config.vocab_size, config.context
        if not self.ids:
            raise UserError("The prompt is empty; at least one token is needed.")
        wrong = next((token for token in self.ids if not 0 <= token < vocab_size), None)
        if wrong is not None:
            raise UserError(f"The prompt has the token {wrong}; ids from 0 to {vocab_size - 1} are accepted.")
        if self.max_tokens < 0:
            raise UserError(f"max_tokens is {self.max_tokens}; a number from 0 on is accepted.")
        if len(self.ids) + self.max_tokens > context:
            raise UserError(
                f"The prompt has {len(self.ids)} tokens and max_tokens is {self.max_tokens}; together at most "
                f"{context} are accepted, the model's context."
            )
        check_images(self.ids, self.images, config)
        self.sampling.check(vocab_size)


@dataclass(frozen=True)
class TokenLogprob:
    """A token's log-probability in nats under the model as it is, before temperature and truncation.

    Attributes:
        top: the likeliest tokens, best first, as many as asked for.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Update:
    """What one step brought for one request.

    Attributes:
        text: that is certain by now; with held-back ends of characters and stops.
        tokens: generated, a stop token included.
        logprobs: of ``tokens``, where asked for.
        prompt_logprobs: of the prompt's tokens from the second on, where asked for, once.
        finish: why the answer has ended; ``None`` while it goes on.
        cached: tokens of the prompt that were taken from the cache.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    cached: int = 0


@dataclass(frozen=True)
class Completion:
    """A whole answer: all its updates together."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    prompt_logprobs: tuple[TokenLogprob, ...]
    finish: Finish
    cached: int


def completed(updates: Sequence[Update]) -> Completion:
    """The answer that ``updates`` of one request make up; the last one has ended it."""
    last = updates[-1].finish
    assert last is not None
    return Completion(
        text="".join(update.text for update in updates),
        tokens=tuple(token for update in updates for token in update.tokens),
        logprobs=tuple(one for update in updates for one in update.logprobs),
        prompt_logprobs=tuple(one for update in updates for one in update.prompt_logprobs),
        finish=last,
        cached=max(update.cached for update in updates),
    )
