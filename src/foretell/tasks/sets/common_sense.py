"""Choices of common sense and school science: ARC, HellaSwag, WinoGrande, PIQA, OpenBookQA, CommonsenseQA.

Prompts are those of lm-evaluation-harness 0.4, so that log-likelihoods can be compared item by item. Rows are read in
the form of the original distribution and in that of the hub's tables.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.tasks.files import Row, find_file, find_optional, read_rows, read_text
from foretell.tasks.grading import grade_choice
from foretell.tasks.task import LETTERS, Item, Option, Task, TaskData, lettered

BARE = "Answer:"  # against which Brown et al. (2020) normalise ARC, OpenBookQA and RACE
ReadRow = Callable[[Row, str], Item]


def load(read: ReadRow, tests: Sequence[str], trains: Sequence[str], folder: Path) -> TaskData:
    """Items of the first of ``tests`` that is there, worked examples of the first of ``trains``, else other items.

    Raises:
        UserError: where no test file is there, or a row is not what ``read`` takes.
    """
    path = find_file(folder, *tests)
    items = _read(path, read, "")
    train = find_optional(folder, *trains)
    examples = items if train is None else _read(train, read, "train/")
    return TaskData(items, {"": examples}, source=source_of(path, train))


def source_of(path: Path, train: Path | None) -> str:
    """What was read, for people: items, and where worked examples come from."""
    return f"{path.name}; examples: {'other items' if train is None else train.name}"


def _read(path: Path, read: ReadRow, prefix: str) -> list[Item]:
    rows = _labelled(path, read_rows(path))
    return [read(row, f"{prefix}{number}") for number, row in enumerate(rows)]


def _labelled(path: Path, rows: list[Row]) -> list[Row]:
    """The rows with their labels, where these are in a file of their own, a line each (PIQA, WinoGrande)."""
    name = path.name.split(".", 1)[0]
    beside = find_optional(path.parent, f"{name}-labels.lst")
    if beside is None:
        return rows
    labels = read_text(beside).split()
    if len(labels) != len(rows):
        raise UserError(
            f"{beside} has {len(labels):,} labels and {path} {len(rows):,} rows; one label a row is expected."
        )
    return [Row(row.place, {**row.cells, "label": label}) for row, label in zip(rows, labels, strict=True)]


def text_options(texts: Sequence[str]) -> tuple[Option, ...]:
    """Options that are written out after their prompt."""
    return tuple(Option(f" {text}") for text in texts)


def labelled_choices(row: Row) -> tuple[list[str], int]:
    """Texts of options and the place of the right one, of a row with ``answerKey``.

    Options are a list of {text, label}, in the row or under its ``question``, or two lists under ``choices``.

    Raises:
        UserError: where they are anything else, or the key is none of the labels.
    """
    question = row.cells.get("question")
    held = question.get("choices") if isinstance(question, dict) else row.cells.get("choices")
    labels: Any = None
    texts: Any = None
    if isinstance(held, dict):
        labels, texts = held.get("label"), held.get("text")
    elif isinstance(held, list) and all(isinstance(one, dict) for one in held):
        labels, texts = ([one.get(name) for one in held] for name in ("label", "text"))
    if not _strings(labels) or not _strings(texts) or len(labels) != len(texts):
        raise row.fault("choices", held, "a list of objects with 'text' and 'label'")
    key = row.text("answerKey").strip()
    if key not in labels:
        raise row.fault("answerKey", key, f"one of {', '.join(labels)}")
    return texts, labels.index(key)


def _strings(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def stem(row: Row) -> str:
    """The question of a row: its ``question`` or that one's ``stem``, or ``question_stem``."""
    question = row.cells.get("question")
    if isinstance(question, dict):
        return Row(f"{row.place}, question", question).text("stem")
    return row.text("question", "question_stem")


def _identity(row: Row, number: str) -> str:
    return str(row.cells["id"]) if row.has("id") else number


def arc_item(row: Row, number: str) -> Item:
    """A question of ARC (Clark et al. 2018)."""
    texts, gold = labelled_choices(row)
    return Item(
        _identity(row, number),
        f"Question: {stem(row)}\nAnswer:",
        f" {texts[gold]}",
        text_options(texts),
        (gold,),
        bare=BARE,
    )


def openbookqa_item(row: Row, number: str) -> Item:
    """A question of OpenBookQA (Mihaylov et al. 2018), which is continued rather than asked."""
    texts, gold = labelled_choices(row)
    return Item(_identity(row, number), stem(row), f" {texts[gold]}", text_options(texts), (gold,), bare=BARE)


def commonsenseqa_item(row: Row, number: str) -> Item:
    """A question of CommonsenseQA (Talmor et al. 2019), answered by a letter."""
    texts, gold = labelled_choices(row)
    if len(texts) > len(LETTERS):
        raise row.fault("choices", texts, f"at most {len(LETTERS)} of them")
    letters = LETTERS[: len(texts)]
    listed = "\n".join(f"{letter}. {text}" for letter, text in lettered(texts).items())
    prompt = f"Question: {stem(row).strip()}\n{listed}\nAnswer:"
    return Item(_identity(row, number), prompt, f" {letters[gold]}", text_options(letters), (gold,))


def clean_hellaswag(text: str) -> str:
    """A text of HellaSwag without the marks of its WikiHow part."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def hellaswag_item(row: Row, number: str) -> Item:
    """A beginning and four endings of HellaSwag (Zellers et al. 2019)."""
    endings = [clean_hellaswag(ending) for ending in row.texts("endings", "ending_options")]
    gold = row.place_of("label", len(endings))
    context = f"{row.text('ctx_a')} {row.text('ctx_b').capitalize()}"
    prompt = clean_hellaswag(f"{row.text('activity_label')}: {context}")
    identity = f"{row.cells['ind']}/{number}" if row.has("ind") else number
    return Item(identity, prompt, f" {endings[gold]}", text_options(endings), (gold,))


def piqa_item(row: Row, number: str) -> Item:
    """A goal and two ways to it of PIQA (Bisk et al. 2020)."""
    if row.has("goal"):
        query, ways = f"Question: {row.text('goal')}", [row.text("sol1"), row.text("sol2")]
        gold = row.place_of("label", 2)
    else:
        query, ways = row.text("query"), row.texts("choices")
        gold = row.place_of("gold", len(ways))
    return Item(number, f"{query}\nAnswer:", f" {ways[gold]}", text_options(ways), (gold,))


def winogrande_item(row: Row, number: str) -> Item:
    """A sentence of WinoGrande (Sakaguchi et al. 2019), scored by what follows the two names (partial scoring,
    Trinh and Le 2018).
    """
    if row.has("sentence"):
        sentence = row.text("sentence")
        before, blank, after = sentence.partition("_")
        if not blank:
            raise row.fault("sentence", sentence, "a sentence with '_' in the place of a name")
        contexts = [before + row.text("option1"), before + row.text("option2")]
        answer = row.text("answer")
        if answer not in ("1", "2"):
            raise row.fault("answer", answer, "1 or 2")
        gold, continuation = int(answer) - 1, after.strip()
    else:
        contexts, continuation = row.texts("context_options"), row.text("continuation").strip()
        gold = row.place_of("gold", len(contexts))
    shared = _shared_beginning(contexts)
    options = tuple(Option(f" {continuation}", context) for context in contexts)
    return Item(number, shared, f"{contexts[gold][len(shared) :]} {continuation}", options, (gold,))


def _shared_beginning(texts: Sequence[str]) -> str:
    """The words that all texts begin with, without the space after them."""
    count = next(
        (place for place, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1),
        min(map(len, texts)),
    )
    return texts[0][: texts[0].rfind(" ", 0, count + 1)] if " " in texts[0][: count + 1] else ""


def _task(
    name: str, read: ReadRow, metric: str, source: str, tests: Sequence[str], trains: Sequence[str], **more: Any
) -> Task:
    files = f"{' or '.join(tests)}; for worked examples {' or '.join(trains)}."
    return Task(
        name,
        1,
        "choice",
        metric,
        functools.partial(load, read, tests, trains),
        grade_choice,
        source,
        files=files,
        **more,
    )


def _arc(name: str, part: str) -> Task:
    inner = f"ARC-V1-Feb2018-2/ARC-{part}/"
    tests = [f"{outer}ARC-{part}-{split}.jsonl" for split in ("Test", "Dev") for outer in ("arc/", inner)]
    trains = [f"{outer}ARC-{part}-Train.jsonl" for outer in ("arc/", inner)]
    return _task(
        name, arc_item, "acc_norm", "Clark et al. 2018, allenai.org/data/arc; CC BY-SA 4.0", tests, trains, shots=25
    )


def tasks() -> list[Task]:
    """The sets of this module."""
    return [
        _arc("arc_challenge", "Challenge"),
        _arc("arc_easy", "Easy"),
        _task(
            "hellaswag", hellaswag_item, "acc_norm", "Zellers et al. 2019, rowanzellers.com/hellaswag; MIT",
            ("hellaswag/hellaswag_val.jsonl", "hellaswag_val.jsonl", "hellaswag_val_500.jsonl"),
            ("hellaswag/hellaswag_train.jsonl", "hellaswag_train.jsonl"), shots=10,
        ),
        _task(
            "winogrande", winogrande_item, "acc", "Sakaguchi et al. 2019, winogrande.allenai.org; CC BY 4.0",
            ("winogrande/dev.jsonl", "winogrande_1.1/dev.jsonl", "winogrande_dev.jsonl", "winogrande_dev_half.jsonl"),
            ("winogrande/train_xl.jsonl", "winogrande_1.1/train_xl.jsonl"), shots=5,
        ),
        _task(
            "piqa", piqa_item, "acc_norm", "Bisk et al. 2020, yonatanbisk.com/piqa; AFL-3.0",
            ("piqa/valid.jsonl", "physicaliqa-train-dev/dev.jsonl", "piqa/dev.jsonl", "piqa_val.jsonl"),
            ("piqa/train.jsonl", "physicaliqa-train-dev/train.jsonl"),
        ),
        _task(
            "openbookqa", openbookqa_item, "acc_norm",
            "Mihaylov et al. 2018, allenai.org/data/open-book-qa; Apache-2.0",
            ("openbookqa/test.jsonl", "OpenBookQA-V1-Sep2018/Data/Main/test.jsonl"),
            ("openbookqa/train.jsonl", "OpenBookQA-V1-Sep2018/Data/Main/train.jsonl"),
        ),
        _task(
            "commonsense_qa", commonsenseqa_item, "acc", "Talmor et al. 2019, tau-nlp.org/commonsenseqa; MIT",
            ("commonsense_qa/dev_rand_split.jsonl", "dev_rand_split.jsonl",
             "zero_shot_cot/CommonsenseQA_dev_rand_split.jsonl", "CommonsenseQA/dev_rand_split.jsonl"),
            ("commonsense_qa/train_rand_split.jsonl", "train_rand_split.jsonl", "CommonsenseQA/train_rand_split.jsonl"),
        ),
    ]  # fmt: skip
