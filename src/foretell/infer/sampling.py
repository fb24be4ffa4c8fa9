"""From logits to the next token: bias, penalties, temperature, truncation, and a draw of the request's own."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from foretell.core.errors import UserError

RANGES = {
    "temperature": (0.0, 2.0), "top_p": (0.0, 1.0), "min_p": (0.0, 1.0), "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0), "top_k": (0.0, math.inf), "repetition_penalty": (0.0, 2.0),
}  # fmt: skip
ABOVE_ZERO = ("top_p", "repetition_penalty")  # of which zero itself is out of range
LARGEST_BIAS = 100.0
SORTED = 256  # of the likeliest tokens are sorted first; more where the nucleus needs them
LARGEST_SEED = 2**63
LEAST_DIVISOR = 1e-30  # of logits in float32; by less they would become infinite, or a zero be divided by zero


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; names and ranges as in the OpenAI API, with top_k, min_p and repetition_penalty beside.

    Attributes:
        temperature: 0 (greedy) to 2.
        top_p: (0, 1], the nucleus (Holtzman et al. 2020).
        top_k: the k likeliest only; 0 for all.
        min_p: [0, 1], tokens of at least this share of the likeliest one's probability (Nguyen et al. 2024).
        presence_penalty, frequency_penalty: -2 to 2, subtracted from the logits of tokens generated so far, once or for
            each time.
        repetition_penalty: (0, 2]; logits of tokens in prompt or text are divided by it, or multiplied below zero
            (Keskar et al. 2019, section 4.1).
        logit_bias: added to logits, -100 to 100.
        seed: equal seeds give equal tokens; drawn anew where ``None``.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None

    def check(self, vocab_size: int) -> None:
        """Refuse what is out of range.

        Raises:
            UserError: naming the field, its value and what is accepted.
        """
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high or not math.isfinite(value) or (name in ABOVE_ZERO and value == 0):
                least = f"above {low:g}" if name in ABOVE_ZERO else f"from {low:g}"
                most = f" to {high:g}" if math.isfinite(high) else " on"
                raise UserError(f"{name} is {value:g}; a number {least}{most} is accepted.")
        for token, bias in self.logit_bias.items():
            if not 0 <= token < vocab_size or not -LARGEST_BIAS <= bias <= LARGEST_BIAS:
                raise UserError(
                    f"logit_bias has {token}: {bias:g}; ids from 0 to {vocab_size - 1} and values from "
                    f"{-LARGEST_BIAS:g} to {LARGEST_BIAS:g} are accepted."
                )
        if self.seed is not None and not -LARGEST_SEED <= self.seed < LARGEST_SEED:
            raise UserError(f"seed is {self.seed}; a whole number of 64 bits is accepted.")

    @property
    def plain(self) -> bool:
        """Whether logits are used as the model gives them."""
        return not (
            self.logit_bias or self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0
        )


class Sampler:
    """One request's draws: a source of random numbers of its own, whatever else is in the batch.

    Args:
        sampling: how to draw.
        prompt: ids of the prompt, for the repetition penalty.
    """

    def __init__(self, sampling: Sampling, prompt: list[int]) -> None:
        self.sampling = sampling
        self.generated: Counter[int] = Counter()
        # as tensors, for a bias may name every token
        self._biased = torch.tensor(list(sampling.logit_bias), dtype=torch.long)
        self._bias = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float32)
        self._prompt = set(prompt) if sampling.repetition_penalty != 1.0 else set()
        # Python's generator takes a seed and its negative for the same
        self._random = random.Random(None if sampling.seed is None else sampling.seed % 2**64)

    def choose(self, logits: Tensor, allowed: Tensor | None = None) -> int:
        """The next token of [V] float32 logits, which are not changed; ``allowed`` is a [V] mask."""
        logits = self._adjusted(logits)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -math.inf)
        token = int(logits.argmax()) if self.sampling.temperature == 0 else self._draw(logits)
        self.generated[token] += 1
        return token

    def _adjusted(self, logits: Tensor) -> Tensor:
        sampling = self.sampling
        if sampling.plain:
            return logits
        logits = logits.clone()
        seen = sorted(self._prompt | self.generated.keys()) if sampling.repetition_penalty != 1.0 else []
        if seen:
            index = torch.tensor(seen)
            values, penalty = logits[index], max(sampling.repetition_penalty, LEAST_DIVISOR)
            logits[index] = torch.where(values > 0, values / penalty, values * penalty)
        if self.generated and (sampling.presence_penalty or sampling.frequency_penalty):
            index = torch.tensor(list(self.generated))
            counts = torch.tensor(list(self.generated.values()), dtype=logits.dtype)
            logits[index] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        if sampling.logit_bias:
            logits[self._biased] += self._bias
        return logits

    def _draw(self, logits: Tensor) -> int:
        sampling = self.sampling
        scaled = (logits - logits.max()) / max(
            sampling.temperature, LEAST_DIVISOR
        )  # the largest is zero at any temperature
        drawn = self._random.random()
        if not sampling.top_k and sampling.top_p == 1.0 and not sampling.min_p:
            return _inverse(torch.softmax(scaled.double(), dim=0), drawn)
        whole = float(torch.logsumexp(scaled.double(), dim=0))
        count = min(sampling.top_k or SORTED, len(scaled))
        while True:
            values, index = scaled.topk(count)
            shares = (values.double() - whole).exp()
            before = shares.cumsum(0) - shares
            if sampling.top_k or count == len(scaled) or float(before[-1]) >= sampling.top_p:
                break
            if sampling.min_p and float(shares[-1]) < sampling.min_p * float(shares[0]):
                break
            count = min(8 * count, len(scaled))
        if sampling.top_k:  # the nucleus is that of the k tokens alone
            shares = shares / shares.sum()
            before = shares.cumsum(0) - shares
        # a token stays if the mass before it is below top_p; the first always does
        shares[(before >= sampling.top_p) | (shares < sampling.min_p * shares[0])] = 0.0
        return int(index[_inverse(shares, drawn)])


def _inverse(shares: Tensor, drawn: float) -> int:
    """The index at which the cumulative share passes ``drawn`` of the whole."""
    cumulative = shares.cumsum(0)
    found = int(torch.searchsorted(cumulative, drawn * cumulative[-1], right=True))
    return min(found, int(shares.nonzero()[-1]))
