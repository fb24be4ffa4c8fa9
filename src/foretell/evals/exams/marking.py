"""Responses to an exam, and the marks of those that have an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from foretell.core.errors import UserError
from foretell.data.rows import read_jsonl
from foretell.evals.exams.form import Exam, ExamItem, item_key
from foretell.tasks.extract import final_number, same_number, short_answer
from foretell.tasks.extract_options import chosen_option

SHOWN = 5
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")

Key = tuple[str, str]  # section, item


@dataclass(frozen=True)
class ExamResponse:
    """What was written for an item, or None for a blank; ``score`` where a person has graded it, in points."""

    text: str | None
    score: float | None = None


@dataclass(frozen=True)
class Mark:
    """A graded response.

    Attributes:
        share: of what the item can give, 0 to 1; None for a blank.
        understood: what was taken as the answer; None where none could be read from a response.
        by: ``key``, ``person`` or the name of a model.
    """

    share: float | None
    understood: str | None
    by: str


def read_responses(
    path: Path, exam: Exam, *, blank_missing: bool = False, partial: bool = False
) -> dict[Key, ExamResponse]:
    """Responses of a JSONL file, a row ``{"item": "section/item", "response": "B"}`` each.

    ``item`` without its section will do where it is unique in the exam; ``response`` null or empty is a blank; a row of
    a free response may have its ``score`` in points instead of being graded by a model.

    Args:
        path: of the file.
        exam: that is answered.
        blank_missing: items without a row count as blank.
        partial: items without a row are left out of the result.

    Raises:
        UserError: naming the line of an unknown or second item or of an impossible score, or items without a response.
    """
    names = _names(exam)
    items = {(section.name, item.id): item for section in exam.sections for item in section.items}
    found: dict[Key, ExamResponse] = {}
    for line, row in read_jsonl(path):
        name = str(row.get("item"))
        name = item_key(str(row["section"]), name) if "section" in row else name
        key = names.get(name)
        if key is None:
            raise UserError(
                f"{path} line {line}: the exam has no item '{name}'; one such as '{next(iter(names))}' is expected."
            )
        if key in found:
            raise UserError(f"{path} line {line} is a second response to '{name}'.")
        text, score = row.get("response"), row.get("score")
        if "response" not in row or not isinstance(text, (str, int, float, type(None))) or isinstance(text, bool):
            raise UserError(f"{path} line {line}: response is {text!r}; a text, or null for a blank, is expected.")
        if score is not None and not (
            items[key].rubric and isinstance(score, (int, float)) and 0 <= score <= items[key].points
        ):
            most = f"from 0 to {items[key].points}" if items[key].rubric else "only for items with a rubric"
            raise UserError(f"{path} line {line}: score is {score!r}; points {most} are expected.")
        written = None if text is None or not str(text).strip() else str(text)
        found[key] = ExamResponse(written, None if score is None else float(score))
    missing = [key for key in exam.item_keys if key not in found]
    if missing and blank_missing:
        found |= {key: ExamResponse(None) for key in missing}
    elif missing and not partial:
        shown = ", ".join(f"'{item_key(*key)}'" for key in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UserError(
            f"{path} has no response to {shown}{more}; give them, or --blank-missing to count them as blank."
        )
    return found


def _names(exam: Exam) -> dict[str, Key]:
    names = {item_key(*key): key for key in exam.item_keys}
    alone: dict[str, list[Key]] = {}
    for key in exam.item_keys:
        alone.setdefault(key[1], []).append(key)
    return names | {name: keys[0] for name, keys in alone.items() if len(keys) == 1 and name not in names}


def mark_by_key(exam: Exam, responses: Mapping[Key, ExamResponse]) -> dict[Key, Mark]:
    """Marks of blanks, of items with an answer, and of free responses that a person has graded."""
    marks: dict[Key, Mark] = {}
    for section in exam.sections:
        for item in section.items:
            key = section.name, item.id
            response = responses[key]
            if response.score is not None:
                marks[key] = Mark(response.score / item.points, None, "person")
            elif response.text is None:
                marks[key] = Mark(None, None, "key")
            elif item.rubric is None:
                understood = read_answer(item, response.text)
                marks[key] = Mark(float(_is_right(item, understood)), understood, "key")
    return marks


def read_answer(item: ExamItem, text: str) -> str | None:
    """The answer in a response: a letter, a number where the accepted answers are numbers, else a short text.

    Returns:
        None where none can be read; such a response is wrong.
    """
    if item.choices:
        options = {chr(ord("A") + number): choice for number, choice in enumerate(item.choices)}
        alone = text.strip(" .()*").upper()
        return alone if alone in options else chosen_option(text, options)
    if _numbers(item) is None or "/" in text:
        return short_answer(text.strip().splitlines()[-1]) or None
    number = final_number(text)
    return None if number is None else str(number)


def _is_right(item: ExamItem, understood: str | None) -> bool:
    if understood is None:
        return False
    if item.choices:
        return understood == item.letter
    if any(_plain(accepted) == _plain(understood) for accepted in item.accepted):
        return True
    value, wanted = _value(understood), _numbers(item)
    return value is not None and wanted is not None and any(same_number(value, number) for number in wanted)


def _numbers(item: ExamItem) -> list[Decimal] | None:
    """The accepted answers as numbers, where all of them are."""
    values = [_value(accepted) for accepted in item.accepted]
    return None if None in values else [value for value in values if value is not None]


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s.+/-]", "", text.casefold()).strip(" .").split())


def _value(text: str) -> Decimal | None:
    """The number that a text is: ``1,000``, ``-2.50``, ``3/4``."""
    bare = re.sub(r"[\s,$€£%]", "", text)
    over, slash, under = bare.partition("/")
    try:
        return Decimal(over) / Decimal(under) if slash else Decimal(bare) if _NUMBER.fullmatch(bare) else None
    except ArithmeticError:
        return None
