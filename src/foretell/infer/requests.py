"""What an engine is asked for, and what it answers."""

from __future__ import annotations

import itertools
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
        continuations: of the prompt, each at least one token, whose log-likelihoods are wanted; with ``max_tokens`` 0
            and no ``prompt_logprobs``.
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
    continuations: tuple[tuple[int, ...], ...] = ()

    def check(self, config: ModelConfig) -> None:
        """Refuse what no engine of a model of this shape can answer.

        Raises:
            UserError: naming the field, its value and what is accepted.
        """
        vocab_size, context = config.vocab_size, config.context
        if not self.ids:
            raise UserError("The prompt is empty; at least one token is needed.")
        given = itertools.chain(self.ids, *self.continuations)
        wrong = next((token for token in given if not 0 <= token < vocab_size), None)
        if wrong is not None:
            raise UserError(f"The prompt has the token {wrong}; ids from 0 to {vocab_size - 1} are accepted.")
        if self.max_tokens < 0:
            raise UserError(f"max_tokens is {self.max_tokens}; a number from 0 on is accepted.")
        if len(self.ids) + self.max_tokens > context:
            raise UserError(
                f"The prompt has {len(self.ids)} tokens and max_tokens is {self.max_tokens}; together at most "
                f"{context} are accepted, the model's context."
            )
        self._check_continuations(context)
        check_images(self.ids, self.images, config)
        self.sampling.check(vocab_size)

    @property
    def needed(self) -> int:
        """Tokens of the prompt and what follows it that are read at most; a continuation's last is not."""
        return len(self.ids) + max(self.max_tokens, *(len(ids) - 1 for ids in self.continuations), 0)

    def _check_continuations(self, context: int) -> None:
        if not self.continuations:
            return
        if self.max_tokens or self.prompt_logprobs is not None:
            raise UserError("A request with continuations is answered by their likelihoods: max_tokens 0 is accepted.")
        if not all(self.continuations):
            raise UserError("A continuation is empty; at least one token is needed.")
        if self.needed > context:
            raise UserError(
                f"The prompt has {len(self.ids)} tokens and its longest continuation "
                f"{max(map(len, self.continuations))}; "
                f"at most {context + 1} are accepted together, the model's context."
            )


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
class Likelihood:
    """Of a continuation under the model as it is.

    Attributes:
        value: log-likelihood in nats, the sum over its tokens.
        greedy: whether each of its tokens is the likeliest one.
    """

    value: float
    greedy: bool


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
        likelihoods: of the continuations, where asked for, once.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    cached: int = 0
    likelihoods: tuple[Likelihood, ...] = ()


@dataclass(frozen=True)
class Completion:
    """A whole answer: all its updates together."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    prompt_logprobs: tuple[TokenLogprob, ...]
    finish: Finish
    cached: int
    likelihoods: tuple[Likelihood, ...] = ()


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
        likelihoods=tuple(one for update in updates for one in update.likelihoods),
    )
