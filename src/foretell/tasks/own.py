"""A user's own task: one JSONL file of questions, or a YAML file that also says how they are asked and graded.

A row has ``question`` (or ``prompt``) and ``answer``; with ``choices`` it is a choice, and ``answer`` one of them, its
letter or its place from 0. Optional are ``id``, ``group``, ``images`` (files beside the task's) and ``reasoning`` (what
a worked example shows before its answer). The JSONL of OpenAI's Evals is recognised by ``input`` and ``ideal``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foretell.core.errors import UserError
from foretell.core.files import sha256_bytes
from foretell.data.compression import inner_suffix, open_bytes
from foretell.tasks.extract import as_number, final_number, same_number, short_answer, yes_or_no
from foretell.tasks.extract_options import chosen_option
from foretell.tasks.files import Row, parse_rows, read_text
from foretell.tasks.grading import NEXT_QUESTION, cut, grade_choice, grade_samples
from foretell.tasks.openai_evals import is_evals_row, sample_item
from foretell.tasks.prompting import IMAGE
from foretell.tasks.spans import exact_match, normalised, word_f1
from foretell.tasks.task import Grade, Item, Option, Response, Task, TaskData

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SUFFIXES = (".jsonl", ".yaml", ".yml")
GRADING = 2  # version of what this module makes of rows and answers
Grader = Literal["exact", "number", "f1", "includes", "starts", "yes_no", "letter"]
_FIELD = re.compile(r"\{(\w+)\}")


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
    evals = all(is_evals_row(row.cells) for row in rows)
    if evals and suffix == ".jsonl":
        settings = settings.model_copy(update={"grader": "starts"})  # the Evals' basic Match
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
    identity = prefix + (row.text("id") if row.has("id") else content)
    if is_evals_row(row.cells):
        return sample_item(row, identity)
    images = tuple(_image(row, folder / name) for name in row.texts("images")) if row.cells.get("images") else ()
    group = row.text("group") if row.has("group") else ""
    reasoning = f" {row.text('reasoning').strip()}" if row.has("reasoning") else ""
    if "choices" not in row.cells:
        prompt = _prompt(row, settings.prompt or "Question: {question}\nAnswer:", {}, images)
        answers = row.texts("answer") if isinstance(row.value("answer"), list) else [row.text("answer")]
        if settings.grader == "number":
            answers = [format(as_number(answer, row.place), "f") for answer in answers]
        shown = f"{reasoning} The answer is {answers[0]}." if reasoning else f" {answers[0]}"
        return Item(identity, prompt, shown, gold=tuple(answers), images=images, group=group)
    texts = row.texts("choices")
    if not 2 <= len(texts) <= len(LETTERS):
        raise row.fault("choices", texts, f"2 to {len(LETTERS)} texts")
    gold = right_place(row, texts)
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))
    default = "{question}\n{choices}\nAnswer:" if settings.options == "letters" else "Question: {question}\nAnswer:"
    prompt = _prompt(row, settings.prompt or default, {"choices": lines}, images)
    written = LETTERS[: len(texts)] if settings.options == "letters" else texts
    options = tuple(Option(f" {text}") for text in written)
    return Item(identity, prompt, reasoning + options[gold].text, options, (gold,), images=images, group=group)


def _image(row: Row, path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{row.place}: there is no image {path}; images are expected beside the task's file.")
    return path


def right_place(row: Row, texts: list[str]) -> int:
    """Place of the right choice: ``answer`` is one of the texts, the letter of one, or its place from 0.

    Raises:
        UserError: where it is none of these.
    """
    answer = row.value("answer")
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(texts):
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

    ``exact``: the short answer equals an accepted one, case, punctuation and articles aside. ``number``: the final
    number does. ``f1``: words of the short answer. ``includes``: an accepted answer stands somewhere in the text.
    ``starts``: the text begins with one. ``yes_no`` and ``letter``: what the text settles on.
    """
    accepted = [str(one) for one in item.gold]
    if grader == "f1":
        text = short_answer(response.texts[0]) if response.texts else ""
        return Grade({"f1": word_f1(text, accepted), "exact": exact_match(text, accepted)}, text or None)
    extract, right = _GRADERS[grader](accepted)
    return grade_samples(response, "exact", extract, right)


def _exact(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    wanted = {normalised(one) for one in accepted}
    return lambda text: normalised(short_answer(text)) or None, lambda answer: answer in wanted


def _number(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    wanted = [as_number(one, "answer") for one in accepted]
    return final_number, lambda answer: any(same_number(answer, one) for one in wanted)


def _includes(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    return lambda text: text.strip() or None, lambda text: any(one in text for one in accepted)


def _starts(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    return lambda text: text.strip() or None, lambda text: any(text.startswith(one.strip()) for one in accepted)


def _yes_no(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    wanted = {one.strip().lower() for one in accepted}
    return yes_or_no, lambda answer: answer in wanted


def _letter(accepted: list[str]) -> tuple[Callable[[str], Any], Callable[[Any], bool]]:
    known = dict.fromkeys(LETTERS[: max(5, *(LETTERS.find(one[:1]) + 1 for one in accepted))], "")
    return lambda text: chosen_option(cut(text.strip(), NEXT_QUESTION), known), lambda letter: letter in accepted


_GRADERS: dict[str, Callable[[list[str]], tuple[Callable[[str], Any], Callable[[Any], bool]]]] = {
    "exact": _exact, "number": _number, "includes": _includes, "starts": _starts, "yes_no": _yes_no, "letter": _letter,
}  # fmt: skip
