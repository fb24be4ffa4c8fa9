"""HumanEval and MBPP: what is asked, and the program that shows whether an answer is right.

Nothing is run here. :func:`tasks` takes the grader that runs programs; :func:`program_of` gives it what to run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foretell.tasks.files import Row, find_file, read_rows
from foretell.tasks.grading import cut
from foretell.tasks.task import Grade, Item, Response, Task, TaskData

HUMANEVAL_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOP = ("[DONE]",)
MBPP_TEST = range(11, 511)  # task identities of the test split; 1 to 10 are for examples (Austin et al. 2021)
MBPP_SHOWN = (2, 3, 4)
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


def load_humaneval(folder: Path) -> TaskData:
    """HumanEval (Chen et al. 2021): a function's head and docstring to be completed.

    Raises:
        UserError: where the file is missing or a row lacks one of its fields.
    """
    path = find_file(folder, "humaneval/HumanEval.jsonl", "HumanEval.jsonl", "human-eval/data/HumanEval.jsonl")
    items = [_humaneval_item(row) for row in read_rows(path)]
    return TaskData(items, {"": items}, source=path.name)


def _humaneval_item(row: Row) -> Item:
    prompt, solution = row.text("prompt"), row.text("canonical_solution")
    extra = {"prompt": prompt, "test": f"{row.text('test')}\ncheck({row.text('entry_point')})\n",
             "entry_point": row.text("entry_point")}  # fmt: skip
    return Item(row.text("task_id"), prompt, solution, gold=(solution,), extra=extra)


def load_mbpp(folder: Path) -> TaskData:
    """MBPP (Austin et al. 2021): a sentence and three assertions; the test split, three fixed examples.

    Raises:
        UserError: where the file is missing or a row lacks one of its fields.
    """
    path = find_file(folder, "mbpp/mbpp.jsonl", "mbpp.jsonl")
    rows = {int(row.text("task_id")): row for row in read_rows(path)}
    items = [_mbpp_item(row) for number, row in rows.items() if number in MBPP_TEST]
    shown = [_mbpp_item(rows[number]) for number in MBPP_SHOWN if number in rows]
    return TaskData(items or [_mbpp_item(row) for row in rows.values()], {"": shown}, fixed=True, source=path.name)


def _mbpp_item(row: Row) -> Item:
    tests, code = row.texts("test_list"), row.text("code").replace("\r\n", "\n")
    shown = "\n".join(tests)
    prompt = (
        f"You are an expert Python programmer, and here is your task: {row.text('text', 'prompt')} Your code should "
        f"pass these tests:\n\n{shown}\n[BEGIN]\n"
    )
    extra = {"prompt": "", "test": f"{row.cells.get('test_setup_code') or ''}\n{shown}\n", "entry_point": ""}
    return Item(row.text("task_id"), prompt, f"{code}\n[DONE]", gold=(code,), extra=extra)


def completion_of(item: Item, text: str) -> str:
    """The code in an answer: up to a stop text; of an answer with a fenced block what is in that.

    A block that repeats the function's head is a whole program, which stands alone.
    """
    if fenced := _FENCED.search(text):
        return fenced.group(1)
    return cut(text, HUMANEVAL_STOP if item.extra["prompt"] else MBPP_STOP)


def program_of(item: Item, text: str) -> str:
    """The program that ends without an error exactly where the answer is right.

    Args:
        item: of HumanEval or MBPP.
        text: what the model wrote after its prompt.
    """
    code = completion_of(item, text)
    name = item.extra["entry_point"]
    whole = bool(name) and re.search(rf"^(?:async )?def {re.escape(name)}\b", code, re.MULTILINE) is not None
    # The prompt's imports and helpers are needed even where the function is written anew after them.
    head = item.extra["prompt"]
    body = f"{head}    pass\n\n\n{code}" if whole else head + code
    return f"{body}\n\n{item.extra['test']}"


def tasks(grade: Callable[[Item, Response], Grade]) -> list[Task]:
    """HumanEval and MBPP.

    Args:
        grade: gives ``pass@1`` and whatever else of the samples, by running :func:`program_of` of each.
    """
    shared: dict[str, Any] = {"runs_code": True, "tokens": 512}
    return [
        Task("humaneval", 1, "generate", "pass@1", load_humaneval, grade,
             "Chen et al. 2021, github.com/openai/human-eval; MIT", stop=HUMANEVAL_STOP,
             files="humaneval/HumanEval.jsonl.", **shared),
        Task("mbpp", 1, "generate", "pass@1", load_mbpp, grade,
             "Austin et al. 2021, github.com/google-research; CC BY 4.0", shots=3, stop=MBPP_STOP,
             files="mbpp/mbpp.jsonl.", **shared),
    ]  # fmt: skip
