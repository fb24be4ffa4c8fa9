"""Images with what is learned about them: questions, conversations and texts, as training and evaluation take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

Part = Mapping[str, Any]
"""``{"type": "text", "text": ...}`` or ``{"type": "image"}``."""


@dataclass(frozen=True)
class Exchange:
    """A question about a document's images, and its answer.

    Attributes:
        kind: what is asked for (``count``, ``colour``), by which scores are told apart.
        choices: answers to choose from, where the question lists them.
        spelled: whether the answer is learned a character at a time, as it is read off a picture, although there are
            longer tokens for it.
        tolerance: how far off a number may be that is near enough, where the answer is one read off a scale; 0 where
            nothing but the answer is right.
    """

    question: str
    answer: str
    kind: str = ""
    choices: tuple[str, ...] = ()
    spelled: bool = False
    tolerance: float = 0.0


@dataclass(frozen=True)
class VisualDocument:
    """Images and one of three: questions about them, of which none sees another one; a conversation; a text.

    Attributes:
        images: RGB, in the order in which a prompt has them: before a question, where the parts of type ``image`` stand
            in a conversation or text.
        exchanges: one or more; none of a conversation or text.
        identity: names the document among all of its source.
        group: what must not be split between training and what is held out, a source image, say.
        messages: a conversation, ``{"role", "content"}`` each, a content being a string or a list of parts.
        parts: a text of nobody's, in which images stand.
    """

    images: tuple[Image.Image, ...]
    exchanges: tuple[Exchange, ...]
    identity: str
    group: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    parts: tuple[Part, ...] = ()

    def conversations(self) -> Iterator[list[dict[str, Any]]]:
        """Each exchange as messages: all images, then the question; the answer. Or the one conversation; no text."""
        if self.messages:
            yield [dict(message) for message in self.messages]
        pictures = [{"type": "image"} for _ in self.images]
        for exchange in self.exchanges:
            yield [
                {"role": "user", "content": [*pictures, {"type": "text", "text": exchange.question}]},
                {"role": "assistant", "content": exchange.answer},
            ]

    @property
    def asked(self) -> tuple[Exchange, ...]:
        """What is scored by itself: each exchange; a conversation's last answer to all before it; a whole text."""
        if self.messages:
            *before, last = (words_of(message["content"]) for message in self.messages)
            return (Exchange("\n".join(before), last, "conversation"),)
        return (Exchange("", words_of(self.parts), "text"),) if self.parts else self.exchanges


def words_of(content: Any) -> str:
    """The text of a message's content, or of parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
