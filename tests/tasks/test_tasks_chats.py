"""Answers in a chat are graded whole: the texts that end a completion do not cut them."""

from __future__ import annotations

from pathlib import Path

import pytest

from foretell.evals.asking import Asking
from foretell.tasks.code.benchmarks import HUMANEVAL_STOP, humaneval, mbpp
from foretell.tasks.code.grading import Grader
from foretell.tasks.grading import cut
from foretell.tasks.registry import built_in, find_task
from foretell.tasks.task import Item, Response, Task

TEST = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
ADD = Item("add", 'import math\n\ndef add(a, b):\n    """Sum."""\n', "", extra={"entry": "add", "test": TEST})


def generated(task: Task, text: str, chat: bool) -> str:
    """What is left of an answer, as the engine and the servers cut it while it is written."""
    return cut(text, Asking(chat=chat).decoding(task).stop)


@pytest.mark.parametrize(
    "text",
    [
        "Here is the function:\n\n```python\ndef add(a, b):\n    # the sum\n    return a + b\n```\n\n## Notes\nDone.",
        "# Solution\n\n```python\nimport os\n\ndef add(a, b):\n    return a + b\n\nprint(add(1, 2))\n```",
        "def add(a, b):\n    return a + b\n",
        "    return a + b\n\nprint(add(1, 2)) and so on\n",
    ],
)
def test_programs_of_a_chat_are_run(text: str, grader: Grader) -> None:
    task = humaneval(grader)
    assert task.grade(ADD, Response(texts=(generated(task, text, chat=True),))).scores["pass@1"] == 1


def test_a_completion_ends_where_its_function_does() -> None:
    text = "    return a + b\n\nprint(add(1, 2))"
    assert generated(humaneval(), text, chat=False) == "    return a + b\n"
    assert Asking().decoding(humaneval()).stop == HUMANEVAL_STOP
    assert Asking(chat=True).decoding(mbpp()).stop == ("[DONE]",)


@pytest.mark.parametrize(
    ("name", "gold", "text"),
    [
        ("bbh_boolean_expressions", "False", "Let me see.\n\n1. not True is False.\n\nSo the answer is False."),
        ("gsm8k_cot", "18", "Q: How many eggs?\n\nShe has 16 + 2.\n\nQuestion of units: dollars.\n\nThe answer is 18."),
        ("coin_flip", "yes", "Q: is it heads?\n\nIt is flipped twice.\n\nThe answer is yes."),
        ("hotpotqa", "Paris", "The capital is asked for.\n\n**Answer:** Paris"),
        ("vqav2", "red", "The picture shows a ball.\n\nAnswer: red"),
        ("easy_vqa", "red", "The picture shows a ball.\n\nAnswer: red"),
        ("scienceqa", "B", "Magnets attract iron.\n\nAnswer: B"),
    ],
)
def test_blank_lines_of_a_chat_lose_no_answer(name: str, gold: str, text: str) -> None:
    task = built_in()[name]
    item = Item("1", "Q?", "", gold=(gold,) * 4, extra={"options": {"A": "wood", "B": "iron"}})
    assert task.grade(item, Response(texts=(generated(task, text, chat=True),))).scores[task.metric] == 1


def test_passages_are_answered_in_chats_too() -> None:
    task = built_in()["drop"]
    item = Item("1", "Q?", "", gold=("7",), extra={"accepted": [("7",)]})
    text = "Two field goals were kicked.\n\nAnswer: 7\n\nThat is all."
    assert task.grade(item, Response(texts=(generated(task, text, chat=True),))).scores["f1"] == 1


def test_ones_own_task_ends_chats_where_its_file_says(tmp_path: Path) -> None:
    rows = "items: [{question: 'Is it?', answer: 'yes'}]\ngrader: yes_no\n"
    (tmp_path / "free.yaml").write_text(rows)
    (tmp_path / "told.yaml").write_text(rows + 'stop: ["\\n\\n"]\n')
    free, told = (find_task(str(tmp_path / name)) for name in ("free.yaml", "told.yaml"))
    text = "Let me see.\n\nThe answer is yes."
    assert generated(free, text, chat=True) == text
    assert generated(free, text, chat=False) == generated(told, text, chat=True) == "Let me see."
