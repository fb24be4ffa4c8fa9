"""MMLU (Hendrycks et al. 2021): 57 subjects, each a table of questions with four options; and translations of it.

The prompt is lm-evaluation-harness's: five examples of the subject's dev file after "The following are multiple choice
questions (with answers) about ...", letters as options.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from foretell.core.errors import UserError
from foretell.tasks.files import Row, csv_cells, find_optional, read_rows
from foretell.tasks.folders import Folder, find_folder
from foretell.tasks.grading import grade_choice
from foretell.tasks.task import LETTERS, Item, Option, Task, TaskData, lettered

ANSWERS = tuple(LETTERS[:4])
CATEGORIES = {
    "stem": [
        "abstract_algebra",
        "anatomy",
        "astronomy",
        "college_biology",
        "college_chemistry",
        "college_computer_science",
        "college_mathematics",
        "college_physics",
        "computer_security",
        "conceptual_physics",
        "electrical_engineering",
        "elementary_mathematics",
        "high_school_biology",
        "high_school_chemistry",
        "high_school_computer_science",
        "high_school_mathematics",
        "high_school_physics",
        "high_school_statistics",
        "machine_learning",
    ],
    "humanities": [
        "formal_logic",
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "international_law",
        "jurisprudence",
        "logical_fallacies",
        "moral_disputes",
        "moral_scenarios",
        "philosophy",
        "prehistory",
        "professional_law",
        "world_religions",
    ],
    "social_sciences": [
        "econometrics",
        "high_school_geography",
        "high_school_government_and_politics",
        "high_school_macroeconomics",
        "high_school_microeconomics",
        "high_school_psychology",
        "human_sexuality",
        "professional_psychology",
        "public_relations",
        "security_studies",
        "sociology",
        "us_foreign_policy",
    ],
    "other": [
        "business_ethics",
        "clinical_knowledge",
        "college_medicine",
        "global_facts",
        "human_aging",
        "management",
        "marketing",
        "medical_genetics",
        "miscellaneous",
        "nutrition",
        "professional_accounting",
        "professional_medicine",
        "virology",
    ],
}
SUBJECTS = tuple(sorted(subject for subjects in CATEGORIES.values() for subject in subjects))
INSTRUCTION = "The following are multiple choice questions (with answers) about {group}.\n\n"
FILES = "mmlu/test/SUBJECT_test.csv and mmlu/dev/SUBJECT_dev.csv, in a folder mmlu (or data) or an archive of it."
SOURCE = "Hendrycks et al. 2021, github.com/hendrycks/test; MIT"


def question_item(identity: str, subject: str, question: str, options: Sequence[str], letter: str) -> Item:
    """An item with four options in MMLU's form."""
    listed = "\n".join(f"{name}. {option}" for name, option in lettered(options).items())
    return Item(
        identity,
        f"{question.strip()}\n{listed}\nAnswer:",
        f" {letter}",
        tuple(Option(f" {name}") for name in ANSWERS),
        (ANSWERS.index(letter),),
        group=subject,
    )


def load(subjects: Sequence[str], language: str | None, folder: Path) -> TaskData:
    """Questions of some subjects, in English or in another language.

    Raises:
        UserError: where a file is missing, or a row has not a question, four options and one of the letters A to D.
    """
    if language is not None and (table := _translated_table(folder, language)) is not None:
        return _from_table(table, subjects)
    names = ("mmlu", "data") if language is None else (f"mmlu_{language}", f"mmlu-{language}", f"mmlu/{language}")
    found = find_folder(folder, *names)
    items = [item for subject in subjects for item in _subject(found, subject, "test")]
    examples = {subject: _subject(found, subject, "dev") for subject in subjects}
    file = found.find("instruction.txt") if language is not None else None
    instruction = {} if file is None else dict.fromkeys(subjects, found.text(file).rstrip("\n") + "\n\n")
    return TaskData(items, examples, fixed=True, instructions=instruction, source=f"{found.place.name}: test, dev")


def _subject(folder: Folder, subject: str, split: str) -> list[Item]:
    name = folder.require(f"{split}/{subject}_{split}.csv")
    place = f"{folder.place}: {name}"
    items = []
    for number, cells in enumerate(csv_cells(folder.text(name), place)):
        if len(cells) != 6 or cells[5].strip() not in ANSWERS:
            raise UserError(f"{place} row {number + 1} is no question, four options and one of A, B, C and D.")
        items.append(question_item(f"{subject}/{split}/{number}", subject, cells[0], cells[1:5], cells[5].strip()))
    return items


def _translated_table(folder: Path, language: str) -> Path | None:
    """OpenAI's MMMLU: one table a language, with all subjects (huggingface.co/datasets/openai/MMMLU)."""
    code = language.upper().replace("-", "_")
    names = [
        f"{outer}mmlu_{form}.csv" for form in (code.replace("_", "-"), code) for outer in ("mmmlu/test/", "mmmlu/", "")
    ]
    return find_optional(folder, *names)


def _from_table(path: Path, subjects: Sequence[str]) -> TaskData:
    wanted = set(subjects)
    items = [_table_item(number, row) for number, row in enumerate(read_rows(path)) if row.text("Subject") in wanted]
    if not items:
        raise UserError(f"{path} has no question of {', '.join(subjects[:3])}; its column Subject names none of them.")
    pools = {subject: [item for item in items if item.group == subject] for subject in subjects}
    # lm-evaluation-harness asks MMMLU without an instruction, its examples being the first other questions.
    return TaskData(items, pools, fixed=True, instructions=dict.fromkeys(subjects, ""), source=path.name)


def _table_item(number: int, row: Row) -> Item:
    letter = row.text("Answer").strip()
    if letter not in ANSWERS:
        raise row.fault("Answer", letter, "one of A, B, C and D")
    options = [row.text(name) for name in ANSWERS]
    subject = row.text("Subject")
    return question_item(f"{subject}/test/{number}", subject, row.text("Question"), options, letter)


def _task(name: str, subjects: Sequence[str], family: str = "", language: str | None = None) -> Task:
    files = (
        FILES
        if language is None
        else (
            f"mmlu_{language}/test/SUBJECT_test.csv and mmlu_{language}/dev/SUBJECT_dev.csv, or OpenAI's "
            f"mmmlu/mmlu_{language.upper()}.csv."
        )
    )
    source = SOURCE if language is None else "a translation of MMLU in your folder; its own licence"
    return Task(
        name, 1, "choice", "acc", functools.partial(load, tuple(subjects), language), grade_choice, source,
        shots=5, instruction=INSTRUCTION, files=files, family=family,
    )  # fmt: skip


def tasks() -> list[Task]:
    """All subjects together, the four categories, and each subject."""
    categories = [_task(f"mmlu_{name}", subjects, "mmlu") for name, subjects in CATEGORIES.items()]
    return [_task("mmlu", SUBJECTS), *categories, *(_task(f"mmlu_{name}", (name,), "mmlu") for name in SUBJECTS)]


def translated(language: str) -> Task:
    """All subjects in another language, by the name ``mmlu:LANGUAGE``.

    Args:
        language: as in the names of its files, such as ``de`` or ``SW-KE``.
    """
    return _task(f"mmlu:{language}", SUBJECTS, "mmlu", language)
