"""Putting an exam to a model; an interrupted sitting goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from foretell.core.errors import UserError
from foretell.core.files import content_hash, sha256_file, storage_errors
from foretell.core.progress import meter, say
from foretell.data.compression import is_compressed
from foretell.evals.exams.form import Exam, ExamItem, Section, item_key
from foretell.evals.exams.marking import ExamResponse, Key, read_responses
from foretell.evals.models import Decoding, Model, Prompt
from foretell.tasks.task import lettered

CHOICE = 'Think it through, then end with a line "Answer: X", where X is the letter of the right choice.'
SHORT = 'Think it through, then end with a line "Answer: X", where X is the answer alone.'
TOKENS = 1_024


def question_prompt(section: Section, item: ExamItem) -> str:
    """What a model is asked: instruction, question, choices, and how to answer."""
    choices = [f"{letter}) {choice}" for letter, choice in lettered(item.choices).items()]
    ending = None if item.rubric else CHOICE if item.choices else SHORT
    parts = [section.instruction, item.question, "\n".join(choices), ending]
    return "\n\n".join(part for part in parts if part)


def user_turn(text: str, images: Sequence[Path] = ()) -> Prompt:
    """A chat of one message, its pictures before its text."""
    if not images:
        return Prompt(({"role": "user", "content": text},))
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": text}]
    return Prompt(({"role": "user", "content": content},), tuple(images))


def prompt_hash(section: Section, item: ExamItem, folder: Path) -> str:
    """16 hex digits of what a model is asked, pictures included."""
    images = [sha256_file(folder / name) for name in item.images]
    return content_hash([question_prompt(section, item), images])[:16]


def ask_exam(exam: Exam, folder: Path, model: Model, responses: Path, tokens: int = TOKENS) -> dict[Key, ExamResponse]:
    """Greedy answers of a model to every item, appended to ``responses`` as they come; what is there is not asked.

    Args:
        exam: to sit.
        folder: of the exam's file, beside which its pictures are.
        model: a chat model.
        responses: a JSONL file, made where it is not there.
        tokens: of an answer at most.

    Raises:
        UserError: where the model fails, or ``responses`` holds answers to another exam, to other questions or by
            another model, or cannot be written.
    """
    if is_compressed(responses):
        raise UserError(f"{responses} is compressed; answers are added to a plain .jsonl file.")
    with storage_errors(responses):
        responses.parent.mkdir(parents=True, exist_ok=True)
        responses.touch()
        _end_last_line(responses)
    done = read_responses(responses, exam, partial=True)
    items = [(section, item) for section in exam.sections for item in section.items]
    hashes = [prompt_hash(section, item, folder) for section, item in items]
    for (section, item), asked in zip(items, hashes, strict=True):
        if kept := done.get((section.name, item.id)):
            _require_same(kept, model, asked, f"{responses}: '{item_key(section.name, item.id)}'")
    left = [place for place, (section, item) in enumerate(items) if (section.name, item.id) not in done]
    prompts = (user_turn(question_prompt(*items[place]), [folder / name for name in items[place][1].images])
               for place in left)  # fmt: skip
    with (
        storage_errors(responses),
        responses.open("a", encoding="utf-8") as file,
        meter(f"asking {model.name}", len(left)) as shown,
    ):
        for number, (text,) in model.generate(prompts, Decoding(tokens)):
            section, item = items[left[number]]
            row = {"item": item_key(section.name, item.id), "response": text, "model": model.name,
                   "prompt_hash": hashes[left[number]]}  # fmt: skip
            file.write(json.dumps(row) + "\n")
            file.flush()
            shown.advance()
    return read_responses(responses, exam)


def _require_same(kept: ExamResponse, model: Model, prompt: str, place: str) -> None:
    if kept.model not in (None, model.name):
        raise UserError(
            f"{place} was answered by '{kept.model}' and the model is '{model.name}'; give its answers a file of their "
            "own by --responses."
        )
    if kept.prompt_hash not in (None, prompt):
        raise UserError(
            f"{place} was asked in other words or with another picture than the exam has now; remove its line to ask "
            "it again, or give another file by --responses."
        )


def _end_last_line(path: Path) -> None:
    """Let a file of rows end with its last whole row, before more are appended.

    A last row that lacks its line end gets one; one of ours that was torn, by a kill or a full disk, is taken away and
    will be asked again. Anything else is left for its reader to refuse.
    """
    content = path.read_bytes()
    head, _, last = content.rpartition(b"\n")
    if not last.strip() or not all(_is_row(line) for line in head.split(b"\n") if line.strip()):
        return
    if _is_row(last):
        with path.open("ab") as file:
            file.write(b"\n")
    elif _is_torn(last):
        say(f"{path}: the last line was torn when its writing was interrupted; its item is asked again.", "yellow")
        with path.open("rb+") as file:
            file.truncate(len(content) - len(last))


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def _is_torn(line: bytes) -> bool:
    """Whether it begins as rows that are written here do."""
    begun, ours = line.replace(b" ", b""), b'{"item":"'
    return begun.startswith(ours) or ours.startswith(begun)
