"""An exam as a file: sections, items, scoring rules, scales, and where the results of people are found."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from foretell.core.config import Settings, build, read_yaml
from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.tasks.task import LETTERS, lettered

Number = Annotated[float, Field(allow_inf_nan=False)]


class Rule(Settings):
    """What an item of weight 1 is worth. Rights-only is the default; AMC's is 6, 0 and 1.5."""

    right: Number = 1.0
    """For a right answer; a free response counts by its share of the points."""
    wrong: Number = 0.0
    """For a wrong one; negative where guessing is penalised (-0.25 of the old SAT)."""
    blank: Number = 0.0
    """For none."""


class Scale(Settings):
    """From a raw score to the score that is reported: a table, or a line."""

    table: tuple[tuple[Number, Number], ...] = ()
    """Rows [raw, scaled], by rising raw; a raw score between two has the scaled score of the lower one."""
    slope: Number = 1.0
    """Without a table: scaled = slope * raw + intercept."""
    intercept: Number = 0.0
    """See slope."""
    step: float = Field(default=0.0, ge=0)
    """Scaled scores are rounded to multiples of this; 0 does not round."""
    least: Number | None = None
    """Lowest scaled score."""
    most: Number | None = None
    """Highest scaled score."""

    @model_validator(mode="after")
    def _rising(self) -> Scale:
        raws, scaled = ([row[part] for row in self.table] for part in (0, 1))
        if any(a >= b for a, b in pairwise(raws)):
            raise ValueError("the raw scores of a table must rise from row to row")
        if any(a > b for a, b in pairwise(scaled)):
            raise ValueError("the scaled scores of a table must not fall from row to row")
        if self.slope <= 0:
            raise ValueError("slope must be greater than 0")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least ({self.least:g}) must not exceed most ({self.most:g})")
        return self


class Human(Settings):
    """Published results of people: a known table by name and its form, or rows of their own with source and year."""

    table: Literal["lsat", "ap", "gre", "ube", "amc"] | None = None
    """A table that foretell exam --tables DIR reads."""
    form: str | None = None
    """Which of the table: a period, an exam, a measure (docs/exams.md); the latest where it is left out."""
    below: tuple[tuple[Number, Annotated[float, Field(ge=0, le=100)]], ...] = ()
    """Rows [score, percentage of people who scored lower]."""
    shares: dict[float, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Score: share of the people who got it, in any unit."""
    source: str = ""
    """Where rows of one's own are published."""
    year: int | None = None
    """Of the people."""

    @model_validator(mode="after")
    def _one(self) -> Human:
        given = [name for name in ("table", "below", "shares") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of table, below and shares is needed, and {' and '.join(given) or 'none'} given"
            )
        if self.table is None and (not self.source or self.year is None):
            raise ValueError("rows of one's own need their source and year")
        if self.shares and sum(self.shares.values()) <= 0:
            raise ValueError("the shares must sum to more than 0")
        return self


class ExamItem(Settings):
    """One question: of choices, with a short answer, or free with a rubric."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # of JSON

    id: str = Field(min_length=1)
    """Unique within the section."""
    question: str = Field(min_length=1)
    """What is asked."""
    images: tuple[str, ...] = ()
    """Files beside the exam's."""
    choices: tuple[str, ...] = ()
    """Options, called A, B, C, ... ; empty where the answer is written."""
    answer: str | tuple[str, ...] | None = None
    """The right letter, or the accepted answers; numbers are compared by value."""
    rubric: str | None = None
    """How a free response is graded; instead of an answer."""
    points: int = Field(default=1, ge=1, le=1000)
    """Of a rubric: whole points that it gives."""
    weight: float | None = Field(default=None, gt=0)
    """What the item counts for; its points where it is left out."""

    @model_validator(mode="after")
    def _gradable(self) -> ExamItem:
        if (self.answer is None) == (self.rubric is None):
            raise ValueError("an item needs an answer or a rubric, and not both")
        if self.choices and (len(self.choices) > len(LETTERS) or self.letter is None):
            last = LETTERS[min(len(LETTERS), len(self.choices)) - 1]
            raise ValueError(f"the answer of an item with choices is one letter from A to {last}")
        return self

    @property
    def counts(self) -> float:
        """What the item counts for."""
        return float(self.points) if self.weight is None else self.weight

    @property
    def letter(self) -> str | None:
        """The right letter of an item with choices."""
        return self.answer if isinstance(self.answer, str) and self.answer in lettered(self.choices) else None

    @property
    def accepted(self) -> tuple[str, ...]:
        """Accepted answers."""
        return (self.answer,) if isinstance(self.answer, str) else self.answer or ()


class Section(Settings):
    """Items with a scoring rule."""

    name: str = Field(min_length=1)
    """Unique within the exam."""
    items: tuple[ExamItem, ...] = Field(min_length=1)
    """The questions."""
    rule: Rule = Rule()
    """What answers are worth."""
    weight: float = Field(default=1.0, gt=0)
    """Factor of the section's score in the exam's."""
    scale: Scale | None = None
    """Of a section that is reported on a scale of its own (GRE); its scaled score counts in the exam's."""
    human: Human | None = None
    """Results of people in this section."""
    instruction: str = ""
    """Said before each of its questions."""

    @model_validator(mode="after")
    def _unique(self) -> Section:
        names = [item.id for item in self.items]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the section '{self.name}' has two items '{twice}'")
        return self


class Exam(Settings):
    """An exam in full."""

    name: str = Field(min_length=1)
    """What results call it; also the task of its items in a contamination check."""
    source: str = ""
    """Where its questions are published."""
    year: int | None = None
    """When."""
    sections: tuple[Section, ...] = Field(min_length=1)
    """In the order in which they are sat."""
    scale: Scale | None = None
    """From the sum of the sections' weighted scores to the score that is reported."""
    human: Human | None = None
    """Results of people in the whole exam."""
    clip: bool = True
    """Whether a negative raw score counts as 0."""

    @model_validator(mode="after")
    def _unique(self) -> Exam:
        names = [section.name for section in self.sections]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two sections are called '{twice}'")
        keys = [item_key(*key) for key in self.item_keys]
        if len(set(keys)) < len(keys):
            twice = next(name for name in keys if keys.count(name) > 1)
            raise ValueError(f"two items are called '{twice}', by section and item; rename one of the sections")
        return self

    @property
    def item_keys(self) -> list[tuple[str, str]]:
        """Section and item of every question, in order."""
        return [(section.name, item.id) for section in self.sections for item in section.items]


def item_key(section: str, item: str) -> str:
    """The name of an item in responses and records: ``section/item``."""
    return f"{section}/{item}"


def read_exam(path: Path) -> Exam:
    """Read an exam from YAML or JSON; in YAML every answer and choice is the text that is written.

    Raises:
        UserError: where the file cannot be read, a field is wrong, or a picture is missing.
    """
    if not path.is_file():
        raise UserError(f"The exam {path} does not exist; a .yaml or .json file is expected.")
    is_json = path.suffix.lower() == ".json"
    content: Any = read_json(path) if is_json else read_yaml(path, "exam", as_texts=True)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; a mapping with name and sections is expected.")
    try:
        exam = build(Exam, json.loads(json.dumps(content)), "exam")
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} holds what JSON cannot ({error}).") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    for section in exam.sections:
        for item in section.items:
            missing = next((name for name in item.images if not (path.parent / name).is_file()), None)
            if missing is not None:
                raise UserError(f"{path}: item '{item_key(section.name, item.id)}' has no picture {missing} beside it.")
    return exam
