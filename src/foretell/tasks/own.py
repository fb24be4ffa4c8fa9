"""A user's own task: one JSONL file of questions, or a YAML file that also says how they are asked and graded.

A row has ``question`` (or ``prompt``) and ``answer``; with ``choices`` it is a choice, and ``answer`` one of them, its
letter or its place from 0. Optional are ``id``, ``group``, ``images`` (files beside the task's) and ``reasoning`` (what
a worked example shows before its answer). The JSONL of OpenAI's Evals is recognised by ``input`` and ``ideal``.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foretell.core.errors import UserError
from foretell.core.files import sha256_bytes
from foretell.data.compression import inner_suffix, open_bytes
from foretell.tasks.extract import (
    answer_line,
    as_number,
    final_number,
    same_number,
    short_answer,
    undecorated,
    yes_or_no,
)
from foretell.tasks.extract_options import chosen_option
from foretell.tasks.files import Row, parse_rows, read_text
from foretell.tasks.grading import NEXT_QUESTION, cut, grade_choice, grade_samples
from foretell.tasks.openai_evals import is_evals_row, sample_item
from foretell.tasks.prompting import IMAGE
from foretell.tasks.spans import exact_match, normalised, word_f1
from foretell.tasks.task import LETTERS, Grade, Item, Option, Response, Task, TaskData, lettered

SUFFIXES = (".jsonl", ".yaml", ".yml")
GRADING = 2  # version of what this module makes of rows and answers
Grader = Literal["exact", "number", "f1", "includes", "starts", "yes_no", "letter"]
OPTIONAL = ("id", "group", "reasoning", "images")  # which a table has in every row, and may leave blank
_FIELD = re.compile(r"\{(\w+)\}")
_TELLING = re.compile(r"[\d_#%&*/@\\]|(?<![^\W_])-|-(?![^\W_])")  # figures and signs, beside Unicode's own symbols
_LOOSE_COMMA = re.compile(r",(?=\s|$)|(?<=\d),(?=\d{3}(?!\d))")


class OwnTask(BaseModel):
    """What a YAML file says; a JSONL file alone has all of it by default.

    Attributes:
        name: by which results call it; the file's name where it is empty.
        version: raised by its author whenever a score changes; results show it with :data:`GRADING` behind it.
        prompt: with ``{question}`` and any other field of the row; ``{choices}`` are lettered lines.
        options: how choices are answered: written out after the prompt, or by their letters.
        grader: of generated answers.
        stop: texts that end an answer; in chats only those that the file names.
        shots: worked examples, drawn from ``examples``, else from the other items.
        data: JSONL, JSON, CSV or Parquet beside the file; ``items`` in it otherwise.
        examples: the same, of worked examples.
        source: where the data comes from, and its licence.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = ""
    version: int = Field(1, ge=1)
    prompt: str = ""
    options: Literal["text", "letters"] = "text"
    grader: Grader = "exact"
    shots: int = Field(0, ge=0)
    instruction: str = ""
    separator: str = "\n\n"
    stop: list[str] = Field(default_factory=lambda: ["\n\n"])
    tokens: int = Field(256, ge=1)
    average: Literal["items", "groups"] = "items"
    data: str = ""
    items: list[dict[str, Any]] = Field(default_factory=list)
    examples: str | list[dict[str, Any]] = ""
    source: str = "your own file"


def read_task(path: Path) -> Task:
    """The task that a file describes; its rows are read at once, so that what is wrong with them is said at once.

    Raises:
        UserError: where the file is missing, is not such a task, or a row is not an item.
    """
    suffix = inner_suffix(path)
    if suffix not in SUFFIXES:
        raise UserError(f"{path} ends in '{suffix}'; a task is one of {', '.join(SUFFIXES)}.")
    settings = OwnTask.model_validate({}) if suffix == ".jsonl" else _settings(path)
    rows = _rows(path, path.name if suffix == ".jsonl" else settings.data, settings.items)
    name = settings.name or path.name.split(".", 1)[0]
    kinds = {"choices" in row.cells for row in rows}
    if len(kinds) > 1:
        raise UserError(f"{path} has rows with 'choices' and rows without; all of one kind are expected.")
    choice = kinds.pop()
    items = _items(rows, settings, path, "")
    data = TaskData(items, {"": _pool(path, settings, items)}, source=path.name)
    metric = "acc" if choice else "f1" if settings.grader == "f1" else "exact"
    told = "stop" in settings.model_fields_set
    return Task(
        name, f"{settings.version}.{GRADING}", "choice" if choice else "generate", metric, lambda folder: data,
        grade_choice if choice else functools.partial(grade_own, settings.grader), settings.source,
        shots=settings.shots, instruction=settings.instruction, separator=settings.separator,
        stop=() if choice else tuple(settings.stop), chat_stop=tuple(settings.stop) if told and not choice else (),
        tokens=settings.tokens, average=settings.average, files=str(path),
    )  # fmt: skip


def _pool(path: Path, settings: OwnTask, items: list[Item]) -> list[Item]:
    """What worked examples are drawn from."""
    told = settings.examples
    if not told:
        return items
    rows = _rows(path, told, []) if isinstance(told, str) else _rows(path, "", told)
    return _items(rows, settings, path, "example/")


def _settings(path: Path) -> OwnTask:
    try:
        held = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not readable as YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(held, dict):
        raise UserError(f"{path} holds no settings of a task; a mapping with 'data' or 'items' is expected.")
    try:
        settings = OwnTask.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = f"; the fields are {', '.join(OwnTask.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{path}: {where}: {first['msg']}{known}.") from error
    if bool(settings.data) == bool(settings.items):
        raise UserError(
            f"{path} has {'both' if settings.data else 'neither'} 'data' and 'items'; one of them is expected."
        )
    return settings


def _rows(path: Path, data: str, items: list[dict[str, Any]]) -> list[Row]:
    if items:
        return [Row(f"{path} item {number}", cells) for number, cells in enumerate(items, 1)]
    file = path.parent / data
    with open_bytes(file) as stream:
        return parse_rows(stream.read(), inner_suffix(file), str(file))


def _items(rows: list[Row], settings: OwnTask, path: Path, prefix: str) -> list[Item]:
    items = [_item(row, settings, path.parent, prefix) for row in rows]
    seen: dict[str, Row] = {}
    for item, row in zip(items, rows, strict=True):
        if item.identity in seen:
            raise UserError(f"{row.place}: the id '{item.identity}' is also that of {seen[item.identity].place}.")
        seen[item.identity] = row
    return items


def _item(row: Row, settings: OwnTask, folder: Path, prefix: str) -> Item:
    # An identity made of the row's content stays the same when other rows come and go.
    content = sha256_bytes(repr(sorted(row.cells.items(), key=lambda pair: str(pair[0]))).encode())[:12]
    given = Row(row.place, {name: cell for name, cell in row.cells.items() if name not in OPTIONAL or not _blank(cell)})
    identity = prefix + (given.text("id") if given.has("id") else content)
    if is_evals_row(row.cells):
        # Of the Evals' basic Match, unless the file says otherwise.
        grader: Grader = settings.grader if "grader" in settings.model_fields_set else "starts"
        sample = sample_item(row, identity, _accepted(row, "ideal", grader))
        return dataclasses.replace(sample, extra={"grader": grader})
    images = tuple(_image(row, folder / name) for name in given.texts("images")) if given.cells.get("images") else ()
    group = given.text("group") if given.has("group") else ""
    reasoning = f" {given.text('reasoning').strip()}" if given.has("reasoning") else ""
    if "choices" not in row.cells:
        prompt = _prompt(row, settings.prompt or "Question: {question}\nAnswer:", {}, images)
        answers = _accepted(row, "answer", settings.grader)
        shown = f"{reasoning} The answer is {answers[0]}." if reasoning else f" {answers[0]}"
        return Item(identity, prompt, shown, gold=tuple(answers), images=images, group=group)
    texts = row.texts("choices")
    if not 2 <= len(texts) <= len(LETTERS):
        raise row.fault("choices", texts, f"2 to {len(LETTERS)} texts")
    gold = right_place(row, texts)
    lines = "\n".join(f"{letter}. {text}" for letter, text in lettered(texts).items())
    default = "{question}\n{choices}\nAnswer:" if settings.options == "letters" else "Question: {question}\nAnswer:"
    prompt = _prompt(row, settings.prompt or default, {"choices": lines}, images)
    written = LETTERS[: len(texts)] if settings.options == "letters" else texts
    options = tuple(Option(f" {text}") for text in written)
    return Item(identity, prompt, reasoning + options[gold].text, options, (gold,), images=images, group=group)


def _blank(cell: Any) -> bool:
    return isinstance(cell, str) and not cell.strip()


def _accepted(row: Row, name: str, grader: Grader) -> list[str]:
    """Accepted answers in the form that their grader compares.

    Raises:
        UserError: where there is none, or one that no text, or any text, would be right by.
    """
    answers = row.accepted(name)
    if grader == "number":
        return [format(as_number(answer, row.place), "f") for answer in answers]
    if grader not in ("letter", "yes_no"):
        return answers
    letter = grader == "letter"
    known, expected = (tuple(LETTERS), "one letter from A to Z") if letter else (("yes", "no"), "the text yes or no")
    found = [answer.strip().upper() if letter else answer.strip().lower() for answer in answers]
    for answer, one in zip(answers, found, strict=True):
        if one not in known:
            raise row.fault(name, answer, f"{expected}, as the grader is {grader},")
    return found


def _image(row: Row, path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{row.place}: there is no image {path}; images are expected beside the task's file.")
    return path


def right_place(row: Row, texts: list[str]) -> int:
    """Place of the right choice: ``answer`` is one of the texts, the letter of one, or its place from 0.

    Raises:
        UserError: where it is none of these, or a place that is the text of another choice.
    """
    answer = row.value("answer")
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(texts):
        if str(answer) in texts and texts[answer] != str(answer):
            raise UserError(
                f"{row.place}: the answer {answer} is the place of the choice '{texts[answer]}' and the text of "
                "another; the text or the letter of the right one is expected."
            )
        return answer
    if isinstance(answer, str):
        if texts.count(answer) == 1:
            return texts.index(answer)
        letter = answer.strip()
        if len(letter) == 1 and letter in LETTERS[: len(texts)]:
            return LETTERS.index(letter)
    raise row.fault(
        "answer", answer, f"one of the choices, a letter from A to {LETTERS[len(texts) - 1]} or a place from 0"
    )


def _prompt(row: Row, template: str, made: Mapping[str, str], images: tuple[Any, ...]) -> str:
    def field(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in made:
            return made[name]
        return row.text("question", "prompt") if name == "question" else row.text(name)

    prompt = _FIELD.sub(field, template)
    return IMAGE * len(images) + "\n" + prompt if images and IMAGE not in prompt else prompt


def grade_own(grader: Grader, item: Item, response: Response) -> Grade:
    """The score of a generated answer by one of the graders.

    ``exact``: the short answer equals an accepted one by :func:`exact_form`. ``number``: the final
    number does. ``f1``: words of the short answer. ``includes``: an accepted answer stands somewhere in the text.
    ``starts``: the text begins with one. ``yes_no`` and ``letter``: what the text settles on.
    """
    accepted = [str(one) for one in item.gold]
    grader = item.extra.get("grader", grader)
    if grader == "f1":
        text = short_answer(response.texts[0]) if response.texts else ""
        return Grade({"f1": word_f1(text, accepted), "exact": exact_match(text, accepted)}, text or None)
    extract, right = _GRADERS[grader](accepted)
    return grade_samples(response, "exact", extract, right)


def _exact(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    wanted = {exact_form(one) for one in accepted}
    return lambda text: exact_form(answer_line(text)) or None, lambda answer: answer in wanted


def exact_form(text: str) -> str:
    """What makes two short answers the same: SQuAD's form where that keeps what tells them apart.

    Case and what stands around them never count. Punctuation and articles do where there is a figure or a sign ("-5",
    "1/2", "C++") or nothing else ("A"); of these only a full stop at the end and commas before a space or between
    thousands are left out.
    """
    bare = undecorated(text) or text.strip()
    plain = normalised(bare)
    if plain and not _TELLING.search(bare) and not any(unicodedata.category(sign).startswith("S") for sign in bare):
        return plain
    return " ".join(_LOOSE_COMMA.sub("", bare).casefold().split()).rstrip(". ") or bare


def _number(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    wanted = [as_number(one, "answer") for one in accepted]
    return final_number, lambda answer: any(same_number(answer, one) for one in wanted)


def _includes(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    return lambda text: text.strip() or None, lambda text: any(one in text for one in accepted)


def _starts(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    return lambda text: text.strip() or None, lambda text: any(text.startswith(one.strip()) for one in accepted)


def _yes_no(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    return yes_or_no, lambda answer: answer in accepted


def _letter(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    known = dict.fromkeys(LETTERS[: max(5, *(LETTERS.index(one) + 1 for one in accepted))], "")
    return lambda text: chosen_option(cut(text.strip(), NEXT_QUESTION), known), lambda letter: letter in accepted


_GRADERS: dict[str, Callable[[list[str]], tuple[Callable[[str], Any], Callable[[Any], bool]]]] = {
    "exact": _exact, "number": _number, "includes": _includes, "starts": _starts, "yes_no": _yes_no, "letter": _letter,
}  # fmt: skip
