"""What a family of visual documents is: descriptions, their drawings, and questions with known answers.

A description is drawn from a stream and says all that is in a picture; answers are computed from it, never from pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image

from foretell.data.visual.generator.draws import Draws

Split = Literal["train", "heldout"]
LEVELS = (1, 3)


@dataclass(frozen=True)
class Setting:
    """What one document is to be: its level (1 to 3), the size of each image in pixels, and its split."""

    level: int
    width: int
    height: int
    split: Split


@dataclass(frozen=True)
class Phrasings:
    """Wordings of a question with ``{slots}``; the splits share none."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    def of(self, split: Split) -> tuple[str, ...]:
        """Those of a split."""
        return self.train if split == "train" else self.heldout


@dataclass(frozen=True)
class Question:
    """A question that is not worded yet.

    Attributes:
        kind: what scores are told apart by.
        form: which phrasings word it.
        slots: what they are filled with.
        pool: answers from which wrong choices are drawn, the right one among them; empty where choices make no sense.
        topic: a document asks about each topic once. Must not depend on the answer, or balance is lost.
        tolerance: see :class:`foretell.data.visual.documents.Exchange`.
    """

    kind: str
    form: str
    slots: Mapping[str, str]
    answer: str
    topic: Hashable
    pool: tuple[str, ...] = field(default=())
    tolerance: float = 0.0


Asker = Callable[[Draws, Any], Question | None]
"""A question of one kind about a description, or None where this one allows none (or this draw found none)."""


@dataclass(frozen=True)
class Family:
    """Documents of one sort.

    Attributes:
        size: width and height of an image where the settings name none.
        least: width and height below which an image is not legible.
        describe: what is in a picture.
        askers: kinds of questions.
        draw: the pictures of a description; a function of it alone.
        phrasings: by form.
        printed: kinds whose answers stand in the picture, and are read off it character by character.
    """

    name: str
    size: tuple[int, int]
    least: tuple[int, int]
    describe: Callable[[Draws, Setting], Any]
    askers: Mapping[str, Asker]
    draw: Callable[[Any], tuple[Image.Image, ...]]
    phrasings: Mapping[str, Phrasings]
    printed: frozenset[str] = frozenset()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of questions."""
        return tuple(self.askers)
