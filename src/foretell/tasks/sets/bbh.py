"""BIG-Bench Hard (Suzgun et al. 2022): 27 tasks, with chains of thought and direct, three worked examples each.

The score of all is the mean over the paper's 23 groups: logical deduction and tracking shuffled objects come in three
sizes of equally many items, which count as one group each.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

from foretell.core.errors import UserError
from foretell.tasks.extract import after_answer_is
from foretell.tasks.files import Row, parse_json
from foretell.tasks.folders import Folder, find_folder
from foretell.tasks.grading import cut, grade_samples
from foretell.tasks.sets.arithmetic import STEP_BY_STEP
from foretell.tasks.task import Grade, Item, Response, Task, TaskData

TASKS = [
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
]
COT = f"A: {STEP_BY_STEP}\n"
STOP = ("\n\n", "\nQ:", "</s>")
SOURCE = "Suzgun et al. 2022, github.com/suzgunmirac/BIG-Bench-Hard; MIT, never to be trained on"
FILES = "bbh/TASK.json and cot-prompts/TASK.txt, in a folder BIG-Bench-Hard or bbh or an archive of it."


def group_of(name: str) -> str:
    """The paper's group of a task: the same, without the number of objects."""
    return re.sub(r"_(three|five|seven)_objects$", "", name)


def load(names: Sequence[str], chain_of_thought: bool, folder: Path) -> TaskData:
    """Items of some tasks with the authors' three worked examples each.

    Raises:
        UserError: where a file is missing or is not what its name says.
    """
    found = _folder(folder)
    items: list[Item] = []
    examples: dict[str, Sequence[Item]] = {}
    instructions: dict[str, str] = {}
    for name in names:
        file = found.require(f"bbh/{name}.json", f"{name}.json")
        place = f"{found.place}: {file}"
        held = parse_json(found.text(file), place)
        rows = held.get("examples") if isinstance(held, dict) else None
        if not isinstance(rows, list) or not rows:
            raise UserError(f"{place} has no list 'examples' of objects with 'input' and 'target'.")
        for number, cells in enumerate(rows):
            row = Row(f"{place}, example {number + 1}", cells if isinstance(cells, dict) else {})
            items.append(
                _item(f"{name}/{number}", group_of(name), row.text("input"), row.text("target"), chain_of_thought)
            )
        file = found.require(f"cot-prompts/{name}.txt")
        group = group_of(name)
        instructions[group], examples[group] = _worked(
            found.text(file), f"{found.place}: {file}", group, chain_of_thought
        )
    return TaskData(items, examples, fixed=True, instructions=instructions, source=found.place.name)


def _folder(folder: Path) -> Folder:
    if (folder / "bbh").is_dir() and (folder / "cot-prompts").is_dir():
        return Folder(folder)
    return find_folder(folder, "BIG-Bench-Hard", "bbh")


def _item(identity: str, group: str, question: str, target: str, chain_of_thought: bool, reasoning: str = "") -> Item:
    if chain_of_thought:
        return Item(
            identity, f"Q: {question}\n{COT}", reasoning or f"So the answer is {target}.", gold=(target,), group=group
        )
    return Item(identity, f"Q: {question}\nA:", f" {target}", gold=(target,), group=group)


def _worked(text: str, place: str, group: str, chain_of_thought: bool) -> tuple[str, list[Item]]:
    """Instruction and examples of a prompt file: after a line of dashes, parted by empty lines and "Q: "."""
    body = text.split("-----\n", 1)[-1].strip()
    instruction, *parts = body.split("\n\nQ: ")
    examples = []
    for number, part in enumerate(parts):
        question, sign, answer = part.partition("\nA:")
        reasoning = answer.strip().removeprefix(STEP_BY_STEP).lstrip()
        if not sign or "answer is" not in reasoning:
            raise UserError(
                f"{place}: its example {number + 1} has no line that begins with 'A:' and says 'answer is'."
            )
        target = after_answer_is(reasoning)
        examples.append(_item(f"{group}/worked/{number}", group, question, target, chain_of_thought, reasoning))
    if not examples:
        raise UserError(f"{place} has no examples that begin with 'Q: ' after an empty line.")
    return f"{instruction}\n\n", examples


def grade(item: Item, response: Response) -> Grade:
    """``exact``: whether what follows "the answer is", or all of a direct answer, is the target letter by letter."""
    return grade_samples(
        response,
        "exact",
        lambda text: after_answer_is(cut(text, STOP[1:])) or None,
        lambda found: found == item.gold[0],
    )


def _task(name: str, names: Sequence[str], chain_of_thought: bool, family: str = "") -> Task:
    return Task(
        name, 2, "generate", "exact", functools.partial(load, tuple(names), chain_of_thought), grade, SOURCE,
        shots=3, stop=STOP, tokens=1024 if chain_of_thought else 128, average="groups", files=FILES, family=family,
    )  # fmt: skip


def tasks() -> list[Task]:
    """All 27 together, and each, with chains of thought (``bbh``) and direct (``bbh_direct``)."""
    found = []
    for family, chain_of_thought in (("bbh", True), ("bbh_direct", False)):
        found += [_task(family, TASKS, chain_of_thought)]
        found += [_task(f"{family}_{name}", (name,), chain_of_thought, family) for name in TASKS]
    return found
