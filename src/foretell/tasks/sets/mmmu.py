"""MMMU and MMMU-Pro (Yue et al. 2023, 2024): college questions with several pictures in question and options.

Questions are read from the hub's Parquet files or from a ``questions.jsonl`` beside its pictures. The headline,
``exact``, follows the authors' own reading of answers; ``exact_reread`` beside it reads more carefully what was chosen.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from foretell.core.errors import UserError
from foretell.data.image_decoding import decode
from foretell.tasks.extract_options import chosen_option, open_answer_right, published_option
from foretell.tasks.files import MissingDataError, Row
from foretell.tasks.folders import Folder, find_folder
from foretell.tasks.grading import grade_samples
from foretell.tasks.prompting import IMAGE
from foretell.tasks.task import Grade, Item, Response, Task, TaskData, lettered

MOST_OPTIONS = 10
CHOICE = "Answer with the option's letter from the given choices directly."
OPEN = "Answer the question using a single word or phrase."
PRO = {
    False: "Answer with the option letter from the given choices directly.",
    True: "Answer the preceding multiple choice question. The last line of your response should be of the following "
    "format: 'Answer: $LETTER' (without quotes) where LETTER is one of options. Think step by step before answering.",
}
MOST_IMAGES = 7
_PLACE = re.compile(r"<image (\d)>")


def load(pro: bool, chain_of_thought: bool, folder: Path) -> TaskData:
    """Questions of MMMU's validation split, or of MMMU-Pro with ten options.

    Raises:
        UserError: where no file of questions is there, or a question is not complete.
    """
    names = ("mmmu_pro", "MMMU_Pro", "MMMU-Pro", "mmmu_pro_sample") if pro else ("mmmu", "MMMU")
    found = find_folder(folder, *names)
    files = [name for name in found.names if _is_questions(name, pro)]
    if not files:
        raise MissingDataError(
            f"{found.place} has no questions.jsonl and no {'(10 options)/test' if pro else 'validation'} file in "
            "Parquet; one of them is expected in it."
        )
    items = [_item(found, row, pro, chain_of_thought) for name in files for row in found.rows(name)]
    return TaskData(items, {"": items}, source=f"{found.place.name}: {files[0]}")


def _is_questions(name: str, pro: bool) -> bool:
    file = name.rpartition("/")[2]
    if file == "questions.jsonl":
        return True
    wanted = file.startswith("test") and "10 options" in name if pro else file.startswith("validation")
    return wanted and file.endswith(".parquet")


def _item(folder: Folder, row: Row, pro: bool, chain_of_thought: bool) -> Item:
    identity = row.text("id")
    options = _options(row)
    answer = _literal(row.value("answer"))
    accepted = [str(one) for one in answer] if isinstance(answer, list) else [str(answer)]
    if not accepted:
        raise row.fault("answer", answer, "at least one answer")
    by_letter = lettered(options)
    if options and accepted[0] not in by_letter:
        raise row.fault("answer", accepted[0], f"one of the letters {', '.join(by_letter)}")
    question = row.text("question")
    if pro:
        listed = "\n".join(f"{letter}. {text}" for letter, text in by_letter.items())
        prompt = f"{question}\n{listed}\n{PRO[chain_of_thought]}"
    else:
        listed = "\n".join(f"({letter}) {text}" for letter, text in by_letter.items())
        asked = f"{question}\n\n{listed}\n\n{CHOICE}" if options else f"{question}\n\n{OPEN}"
        prompt = asked if not chain_of_thought else asked.rsplit("\n\n", 1)[0] + f"\n\n{PRO[True]}"
    prompt, images = _placed(folder, row, prompt)
    answer = f"\nAnswer: {accepted[0]}" if chain_of_thought else f"\n{accepted[0]}"
    subject = str(row.cells.get("subject") or re.sub(r"^[a-z]+_|_\d+$", "", identity))
    return Item(
        identity, prompt, answer, gold=tuple(accepted), images=images, group=subject, extra={"options": by_letter}
    )


def _options(row: Row) -> list[str]:
    held = _literal(row.cells.get("options") or [])
    if not isinstance(held, list):
        raise row.fault("options", row.cells.get("options"), "a list, or the text of one")
    if len(held) > MOST_OPTIONS:
        raise row.fault("options", held, f"at most {MOST_OPTIONS} options")
    return [str(option) for option in held]


def _literal(value: Any) -> Any:
    """A value, or the list that its text is."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
    return value


def _placed(folder: Folder, row: Row, prompt: str) -> tuple[str, tuple[Image | Path, ...]]:
    """The prompt with its numbered places as ``<image>``, and a picture for each, repeated where it is."""
    held = _pictures(folder, row)
    if not held and not _PLACE.search(prompt):
        return prompt, ()
    numbers = [int(number) for number in _PLACE.findall(prompt)]
    if not numbers:
        return IMAGE * len(held) + f"\n{prompt}", tuple(held.values())
    missing = [number for number in numbers if number not in held]
    if missing:
        raise UserError(f"{row.place} names <image {missing[0]}> and has {len(held)} images.")
    return _PLACE.sub(IMAGE, prompt), tuple(held[number] for number in numbers)


def _pictures(folder: Folder, row: Row) -> dict[int, Image | Path]:
    files = row.cells.get("images")
    if isinstance(files, list):
        return {number: folder.image(str(file)) for number, file in enumerate(files, 1)}
    found: dict[int, Image | Path] = {}
    for number in range(1, MOST_IMAGES + 1):
        cell = row.cells.get(f"image_{number}")
        if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
            found[number] = decode(cell["bytes"], name=f"{row.place}, image {number}")
        elif isinstance(cell, str):
            found[number] = folder.image(cell)
    return found


def grade(pro: bool, item: Item, response: Response) -> Grade:
    """``exact`` by the authors' rules, ``exact_reread`` by :func:`chosen_option`; open answers by the rules alone."""
    options: Mapping[str, str] = item.extra["options"]
    accepted: Sequence[str] = [str(one) for one in item.gold]
    if not options:
        found = grade_samples(response, "exact", lambda text: text, lambda text: open_answer_right(text, accepted))
        return Grade({**found.scores, "exact_reread": found.scores["exact"]}, found.answer)
    published = grade_samples(
        response, "exact", lambda text: published_option(text, options, pro=pro), lambda letter: letter in accepted
    )
    reread = grade_samples(
        response, "exact_reread", lambda text: chosen_option(text, options), lambda letter: letter in accepted
    )
    return Grade({**published.scores, **reread.scores}, published.answer)


def tasks() -> list[Task]:
    """MMMU and MMMU-Pro, direct and with chain of thought."""
    files = {
        False: "mmmu/ (or .zip) with the hub's SUBJECT/validation-*.parquet, or questions.jsonl and pictures.",
        True: "mmmu_pro/ (or .zip) with the hub's '(10 options)/test-*.parquet', or questions.jsonl with pictures.",
    }
    source = "Yue et al. 2023, 2024, mmmu-benchmark.github.io; Apache-2.0, pictures of mixed licences"
    found = []
    for name, pro in (("mmmu", False), ("mmmu_pro", True)):
        for suffix, chain_of_thought in (("", False), ("_cot", True)):
            found.append(
                Task(name + suffix, 2, "generate", "exact", functools.partial(load, pro, chain_of_thought),
                     functools.partial(grade, pro), source, tokens=1024 if chain_of_thought else 256,
                     files=files[pro], family=name if suffix else "")
            )  # fmt: skip
    return found
