"""Items to be checked, and the passages by which each is looked for."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.data.documents import keyed_hash
from foretell.data.overlap.normal import SPAN_LETTERS, SPAN_WORDS, letters, normalise, words
from foretell.data.rows import read_jsonl
from foretell.evals.exams.form import Exam, item_key
from foretell.tasks.task import Item

SUBSTRINGS = 3  # drawn from each item (GPT-4 Technical Report, Appendix C)
IDENTITY_FIELDS = ("item", "identity", "id", "task_id", "ind", "qid")
NO_TEXT_FIELDS = {
    *IDENTITY_FIELDS,
    "task",
    "group",
    "gold",
    "label",
    "answer",
    "answers",
    "answerKey",
    "answer_key",
    "answer_index",
    "correct",
    "correct_answer",
    "target",
    "targets",
    "solution",
    "canonical_solution",
    "code",
    "test",
    "test_list",
    "explanation",
    "rationale",
    "version",
    "extra",
    "metadata",
}


LEAST_PROMPTS = 10  # different ones, of which the words that all share are taken for the task's


@dataclass(frozen=True)
class ItemText:
    """What of an item is compared with the corpus: the question and its options, without the answer."""

    task: str
    item: str
    text: str


def read_items(path: Path, fields: Sequence[str] = ()) -> list[ItemText]:
    """Items of a JSONL file (also compressed).

    A row's task is its ``task``, else the file's name; its identity the first there is of ``IDENTITY_FIELDS``, else
    its line. Its text is ``text`` where there is one, else every text in the row, lists and mappings included, but for
    ``NO_TEXT_FIELDS``.

    Args:
        path: a .jsonl file.
        fields: that make up the text instead, in this order.

    Raises:
        UserError: where the file is missing, no JSONL, empty, lacks a field, or holds an item twice.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file; a .jsonl file of items is expected.")
    found: dict[tuple[str, str], ItemText] = {}
    for line, row in read_jsonl(path):
        missing = next((field for field in fields if field not in row), None)
        if missing is not None:
            names = ", ".join(f"'{name}'" for name in row) or "none"
            raise UserError(f"{path} line {line} has no field '{missing}'; its fields are {names}.")
        task = str(row.get("task") or path.name.partition(".")[0])
        identity = next((str(row[name]) for name in IDENTITY_FIELDS if row.get(name) is not None), str(line))
        chosen = [row[field] for field in fields or (["text"] if _is_text(row.get("text")) else [])]
        if not chosen:
            chosen = [value for name, value in row.items() if name not in NO_TEXT_FIELDS]
        item = ItemText(task, identity, " ".join(_texts(chosen)))
        if (task, identity) in found:
            raise UserError(f"{path} line {line} is a second item '{identity}' of the task '{task}'.")
        found[task, identity] = item
    if not found:
        raise UserError(f"{path} holds no item.")
    return list(found.values())


def task_items(task: str, items: Sequence[Item]) -> list[ItemText]:
    """Items of a registered task: question and options, without the words by which the task asks them all."""
    prompts = _without_shared([item.prompt for item in items])
    return [
        ItemText(task, item.identity, " ".join([prompt, *(option.text for option in item.options)]))
        for item, prompt in zip(items, prompts, strict=True)
    ]


def _without_shared(prompts: Sequence[str]) -> list[str]:
    """Prompts without the words that all of them begin with, and those that all end with: instruction, worked examples
    and marks such as "Question:" are the task's own. As they are where they are too few to tell or all alike.
    """
    if len(set(prompts)) < LEAST_PROMPTS:
        return list(prompts)
    split = [prompt.split() for prompt in prompts]
    head = _shared_words(split)
    backwards = [asked[head:][::-1] for asked in split]
    tail = _shared_words(backwards)
    return [" ".join(asked[tail:][::-1]) for asked in backwards]


def _shared_words(prompts: Sequence[Sequence[str]]) -> int:
    """How many words all of them begin with."""
    return sum(1 for _ in takewhile(lambda words_: len(set(words_)) == 1, zip(*prompts, strict=False)))


def exam_items(exam: Exam) -> list[ItemText]:
    """Items of an exam: questions and choices."""
    return [
        ItemText(exam.name, item_key(section.name, item.id), " ".join([item.question, *item.choices]))
        for section in exam.sections
        for item in section.items
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        inner = (
            (part for name, part in value.items() if name not in NO_TEXT_FIELDS) if isinstance(value, dict) else value
        )
        for part in inner:
            yield from _texts(part)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def substrings(item: ItemText, seed: int, count: int = SUBSTRINGS) -> list[str]:
    """Random 50-character substrings of an item's letters and digits; all of them where they are no more than 50.

    They depend on the seed, the task and the item only. Empty where the item has no letter and no digit.
    """
    whole = letters(normalise(item.text))
    if len(whole) <= SPAN_LETTERS:
        return [whole] if whole else []
    draw = random.Random(keyed_hash(seed, item.task, item.item))
    starts = [draw.randrange(len(whole) - SPAN_LETTERS + 1) for _ in range(count)]
    return [whole[start : start + SPAN_LETTERS] for start in dict.fromkeys(starts)]


def grams(item: ItemText, size: int = SPAN_WORDS) -> list[str]:
    """Every run of 13 words of an item, each once; all words of an item with fewer (Brown et al. 2020, Appendix C)."""
    every = words(normalise(item.text))
    if len(every) <= size:
        return [" ".join(every)] if every else []
    return list(dict.fromkeys(" ".join(every[start : start + size]) for start in range(len(every) - size + 1)))
