"""Settings of the generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from foretell.core.config import Settings
from foretell.data.visual.generator.families import FAMILIES
from foretell.data.visual.generator.family import LEVELS, Family

LARGEST = 1024
MOST_QUESTIONS = 64
MOST_TIMES = 16


def _range(value: Any) -> Any:
    """A whole number as the range that holds it alone."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked(value: tuple[int, int], low: int, high: int, what: str) -> tuple[int, int]:
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{what} from {low} to {high} is expected, or a range [low, high] of them")
    return value


class SizeConfig(Settings):
    """Size of an image in pixels; one that is drawn anew for each document where a range is given."""

    width: tuple[int, int]
    """A number of pixels, or a range [low, high]."""
    height: tuple[int, int] | None = None
    """The same; as wide as high where it is left out."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return value if isinstance(value, (Mapping, SizeConfig)) else {"width": value}

    @field_validator("width", "height", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return _range(value)

    @field_validator("width", "height")
    @classmethod
    def _within(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        return value and _checked(value, 1, LARGEST, "a number of pixels")


class GeneratorConfig(Settings):
    """What documents the generator makes; the same settings always make the same ones."""

    families: dict[str, float] = Field(default={"scenes": 1.0}, min_length=1)
    """Share of each family of documents: {scenes: 2, words: 1} (docs/visual.md lists them)."""
    levels: tuple[int, int] = LEVELS
    """Difficulty, 1 to 3: a level, or a range [low, high] of which each is as likely."""
    size: dict[str, SizeConfig] = Field(default={})
    """Pixels of a family's images: {scenes: 64}, a range [48, 96] of the square's side, or {width: 96, height: 32}."""
    questions: int = Field(default=6, ge=1, le=MOST_QUESTIONS)
    """Questions about a document at most; fewer where a picture does not hold as much."""
    kinds: dict[str, int] = Field(default={})
    """How often a kind of question is asked while each other one is asked once: {position: 2, relation: 0}."""
    multiple_choice: float = Field(default=0.2, ge=0, le=1)
    """Share of questions that list choices, of those that can (yes or no cannot)."""
    seed: int = 0
    """Another seed makes other documents."""

    @field_validator("levels", mode="before")
    @classmethod
    def _level(cls, value: Any) -> Any:
        return _range(value)

    @field_validator("levels")
    @classmethod
    def _known_levels(cls, value: tuple[int, int]) -> tuple[int, int]:
        return _checked(value, *LEVELS, "a level")

    @field_validator("families", "size")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in value if name not in FAMILIES]
        if unknown:
            raise ValueError(f"'{unknown[0]}' is no family; known ones are {', '.join(FAMILIES)}")
        return value

    @field_validator("families")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if min(value.values()) < 0 or not sum(value.values()) > 0:
            raise ValueError("shares of zero or more are expected, one of them above zero")
        return value

    @field_validator("kinds")
    @classmethod
    def _times(cls, value: dict[str, int]) -> dict[str, int]:
        if not all(0 <= times <= MOST_TIMES for times in value.values()):
            raise ValueError(f"whole numbers from 0 to {MOST_TIMES} are expected")
        return value

    @model_validator(mode="after")
    def _askable(self) -> Self:
        families = [FAMILIES[name] for name, share in self.families.items() if share]
        known = dict.fromkeys(kind for family in families for kind in family.kinds)
        unknown = [kind for kind in self.kinds if kind not in known]
        if unknown:
            raise ValueError(
                f"kinds names '{unknown[0]}', which is no kind of question of these families; known ones are "
                f"{', '.join(known)}"
            )
        silent = [family.name for family in families if not self.asked_of(family)]
        if silent:
            raise ValueError(f"kinds leaves no question to ask of {silent[0]}")
        return self

    @model_validator(mode="after")
    def _legible(self) -> Self:
        for name in self.size:
            (width, _), (height, _) = self.ranges(name)
            least = FAMILIES[name].least
            if width < least[0] or height < least[1]:
                raise ValueError(
                    f"size.{name} has {width} x {height} pixels at the least; {least[0]} x {least[1]} are needed to be "
                    "legible"
                )
        return self

    def asked_of(self, family: Family) -> tuple[str, ...]:
        """Kinds of questions of a turn, each as often as it is asked."""
        return tuple(kind for kind in family.kinds for _ in range(self.kinds.get(kind, 1)))

    def ranges(self, family: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lowest and highest width, and height, of a family's images."""
        given = self.size.get(family)
        if given is None:
            width, height = FAMILIES[family].size
            return (width, width), (height, height)
        return given.width, given.height or given.width

    def square(self, family: str) -> bool:
        """Whether an image is to be as high as it is wide."""
        return family in self.size and self.size[family].height is None
