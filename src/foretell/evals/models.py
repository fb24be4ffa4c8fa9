"""What answers a task: a model run here, or any server with the OpenAI API.

Both are asked the same two things: how likely a text is after a prompt, and what comes after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from PIL import Image

from foretell.core.errors import UserError
from foretell.evals.images import image_digest, opened
from foretell.infer.requests import Likelihood
from foretell.tasks.prompting import ChatPrompt, TextPrompt

Content = str | tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Attributes:
        content: a text to go on with, an image standing where ``<image>`` does; or the messages of a chat, in the form
            of :mod:`foretell.data.messages`.
        images: in order.
    """

    content: Content
    images: tuple[Image.Image | Path, ...] = ()

    @classmethod
    def of(cls, prompt: TextPrompt | ChatPrompt) -> Self:
        """As a task puts it."""
        return cls(prompt.text if isinstance(prompt, TextPrompt) else prompt.messages, prompt.images)

    @property
    def is_chat(self) -> bool:
        """Whether it is messages."""
        return not isinstance(self.content, str)

    @cached_property
    def pictures(self) -> tuple[Image.Image, ...]:
        """The images in RGB.

        Raises:
            UserError: where a file is no image.
        """
        return tuple(opened(image) for image in self.images)

    @cached_property
    def identity(self) -> Any:
        """All of it as JSON has it; an image by the hash of its pixels."""
        content = self.content if isinstance(self.content, str) else [dict(message) for message in self.content]
        return [content, [image_digest(image) for image in self.pictures]]


@dataclass(frozen=True)
class Decoding:
    """How an answer is generated.

    Attributes:
        tokens: at most, 1 or more.
        stop: texts that end it and are no part of it.
        temperature: 0 is greedy.
        samples: of each prompt, 1 or more.
        seed: of all draws.
    """

    tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            UserError: naming the field, its value and what is accepted.
        """
        for name in ("tokens", "samples"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; 1 or more is accepted.")
        if not 0 <= self.temperature <= 2:
            raise UserError(f"temperature is {self.temperature:g}; a number from 0 to 2 is accepted.")
        if self.samples > 1 and self.temperature == 0:
            raise UserError(f"samples is {self.samples} and temperature 0, at which all samples are the same one.")

    def sample_seed(self, prompt: Prompt, sample: int) -> int:
        """The seed of one answer, the same whatever else is asked for."""
        content = repr((self.seed, prompt.identity, sample)).encode()
        return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")


class Model(Protocol):
    """What answers.

    Attributes:
        name: what a user would call it.
        digest_of: what its digest is taken of: ``weights``, or ``address and a sample`` where these cannot be seen.
        start: texts begin with the model's own start tokens, of a chat template's apart.
        cut: how many prompts had to lose their beginning to fit the context.
    """

    name: str
    digest_of: str
    start: bool
    cut: int

    @property
    def digest(self) -> str:
        """SHA-256 by which answers are remembered."""

    def likelihoods(self, pairs: Iterable[tuple[Prompt, str]]) -> Iterator[tuple[int, Likelihood]]:
        """Log-likelihoods of continuations after prompts, as they are known, each with its place in ``pairs``.

        Pairs are taken as there is room for them; those of one prompt should follow each other.

        Prompt and continuation are encoded as lm-evaluation-harness does (:func:`foretell.evals.pairs.encode_pair`).

        Raises:
            UserError: where the model cannot tell, or an image or a prompt is of a kind that it does not read.
        """

    def generate(self, prompts: Iterable[Prompt], decoding: Decoding) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The samples of each prompt as they are done, each with its place in ``prompts``.

        Raises:
            UserError: where an image or a prompt is of a kind that the model does not read.
        """
