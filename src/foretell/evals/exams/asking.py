"""Putting an exam to a model; an interrupted sitting goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from foretell.core.files import storage_errors
from foretell.core.progress import meter
from foretell.evals.exams.form import Exam, ExamItem, Section, item_key
from foretell.evals.exams.marking import ExamResponse, Key, read_responses
from foretell.evals.models import Decoding, Model, Prompt

CHOICE = 'Think it through, then end with a line "Answer: X", where X is the letter of the right choice.'
SHORT = 'Think it through, then end with a line "Answer: X", where X is the answer alone.'
TOKENS = 1_024


def question_prompt(section: Section, item: ExamItem) -> str:
    """What a model is asked: instruction, question, choices, and how to answer."""
    choices = [f"{chr(ord('A') + number)}) {choice}" for number, choice in enumerate(item.choices)]
    ending = None if item.rubric else CHOICE if item.choices else SHORT
    parts = [section.instruction, item.question, "\n".join(choices), ending]
    return "\n\n".join(part for part in parts if part)


def user_turn(text: str, images: Sequence[Path] = ()) -> Prompt:
    """A chat of one message, its pictures before its text."""
    if not images:
        return Prompt(({"role": "user", "content": text},))
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": text}]
    return Prompt(({"role": "user", "content": content},), tuple(images))


def ask_exam(exam: Exam, folder: Path, model: Model, responses: Path, tokens: int = TOKENS) -> dict[Key, ExamResponse]:
    """Greedy answers of a model to every item, appended to ``responses`` as they come; what is there is not asked.

    Args:
        exam: to sit.
        folder: of the exam's file, beside which its pictures are.
        model: a chat model.
        responses: a JSONL file, made where it is not there.
        tokens: of an answer at most.

    Raises:
        UserError: where the model fails, or ``responses`` holds answers to another exam or cannot be written.
    """
    if not responses.is_file():
        with storage_errors(responses):
            responses.parent.mkdir(parents=True, exist_ok=True)
            responses.touch()
    done = read_responses(responses, exam, partial=True)
    left = [(section, item) for section in exam.sections for item in section.items
            if (section.name, item.id) not in done]  # fmt: skip
    prompts = (user_turn(question_prompt(section, item), [folder / name for name in item.images])
               for section, item in left)  # fmt: skip
    with (
        storage_errors(responses),
        responses.open("a", encoding="utf-8") as file,
        meter(f"asking {model.name}", len(left)) as shown,
    ):
        for place, (text,) in model.generate(prompts, Decoding(tokens)):
            section, item = left[place]
            row = {"item": item_key(section.name, item.id), "response": text, "model": model.name}
            file.write(json.dumps(row) + "\n")
            file.flush()
            shown.advance()
    return read_responses(responses, exam)
