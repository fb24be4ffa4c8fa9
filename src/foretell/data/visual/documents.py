"""Questions about images, as training and evaluation take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Exchange:
    """A question about a document's images, and its answer.

    Attributes:
        kind: what is asked for (``count``, ``colour``), by which scores are told apart.
        choices: answers to choose from, where the question lists them.
    """

    question: str
    answer: str
    kind: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class VisualDocument:
    """Images and questions about them; no question sees another one.

    Attributes:
        images: RGB, in the order in which a prompt has them, before the question.
        exchanges: one or more.
        identity: names the document among all of its source.
        group: what must not be split between training and what is held out, a source image, say.
    """

    images: tuple[Image.Image, ...]
    exchanges: tuple[Exchange, ...]
    identity: str
    group: str = ""

    def conversations(self) -> Iterator[list[dict[str, object]]]:
        """Each exchange as messages: all images, then the question; the answer."""
        pictures = [{"type": "image"} for _ in self.images]
        for exchange in self.exchanges:
            yield [
                {"role": "user", "content": [*pictures, {"type": "text", "text": exchange.question}]},
                {"role": "assistant", "content": exchange.answer},
            ]
