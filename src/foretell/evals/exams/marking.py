"""Responses to an exam, and the marks of those that have an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.wording import listed
from foretell.data.rows import read_jsonl
from foretell.evals.exams.answers import is_right, read_answer
from foretell.evals.exams.form import Exam, ExamItem, item_key

SHOWN = 5

Key = tuple[str, str]  # section, item


@dataclass(frozen=True)
class ExamResponse:
    """What was written for an item.

    Attributes:
        text: None for a blank.
        score: in points, where a person has graded it.
        model: that has written it, where the row says so.
        prompt_hash: hash of what it was asked, where the row says so.
    """

    text: str | None
    score: float | None = None
    model: str | None = None
    prompt_hash: str | None = None


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
        found[key] = _response(row, items[key], f"{path} line {line}")
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


def _response(row: Mapping[str, Any], item: ExamItem, place: str) -> ExamResponse:
    text, score = row.get("response"), row.get("score")
    number = math.isfinite(text) if isinstance(text, float) else isinstance(text, int) and not isinstance(text, bool)
    if "response" not in row or not (text is None or isinstance(text, str) or number):
        raise UserError(f"{place}: response is {text!r}; a text, or null for a blank, is expected.")
    written = None if text is None or not str(text).strip() else str(text)
    if score is not None:
        _require_score(score, item, written, place)
    model, prompt = (None if row.get(name) is None else str(row[name]) for name in ("model", "prompt_hash"))
    return ExamResponse(written, None if score is None else float(score), model, prompt)


def _require_score(score: Any, item: ExamItem, written: str | None, place: str) -> None:
    if not item.rubric:
        raise UserError(f"{place}: score is {score!r}; points only for items with a rubric are expected.")
    if not isinstance(score, (int, float)) or isinstance(score, bool) or not 0 <= score <= item.points:
        raise UserError(f"{place}: score is {score!r}; points from 0 to {item.points} are expected.")
    if written is None:
        raise UserError(f"{place}: score is {score!r} and response is a blank; a blank has no score.")


def sitter(responses: Mapping[Key, ExamResponse]) -> str | None:
    """The model that wrote the responses; None where no row names one.

    Raises:
        UserError: where they name several: no single one sat the exam.
    """
    names = sorted({response.model for response in responses.values() if response.model is not None})
    if len(names) > 1:
        raise UserError(
            f"The responses are by {listed(names)}; one sitting is scored, so keep those of each in a file of its own."
        )
    return names[0] if names else None


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
                marks[key] = Mark(float(is_right(item, understood)), understood, "key")
    return marks
