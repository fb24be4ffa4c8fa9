"""HumanEval and MBPP: what is right passes, the published example gives its rate, and the whole is fast."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.data.rows import read_jsonl
from foretell.tasks.code import benchmarks
from foretell.tasks.code.benchmarks import (
    humaneval,
    humaneval_check,
    humaneval_item,
    load_humaneval,
    load_mbpp,
    mbpp,
    mbpp_item,
)
from foretell.tasks.code.grading import Grader, fenced_code
from foretell.tasks.code.passk import pass_rate
from foretell.tasks.task import Item, Response

SHARED = Path(__file__).parents[3] / "shared" / "data" / "evals" / "humaneval"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is absent")


@needs_data
def test_every_canonical_solution_passes_and_an_empty_one_does_not(grader: Grader) -> None:
    items = load_humaneval(SHARED).items
    assert len(items) == 164
    right = grader.sandbox().check_all([humaneval_check(item, item.answer) for item in items])
    assert [(item.identity, found) for item, found in zip(items, right, strict=True) if not found.passed] == []
    wrong = grader.sandbox().check_all([humaneval_check(item, "    return None\n") for item in items])
    assert not any(found.passed for found in wrong)


@needs_data
def test_the_example_samples_give_one_half(grader: Grader) -> None:
    item = humaneval_item(next(read_jsonl(SHARED / "example_problem.jsonl"))[1], "example")
    texts = tuple(row["completion"] for _, row in read_jsonl(SHARED / "example_samples.jsonl"))
    grade = humaneval(grader).grade(item, Response(texts=texts))
    assert grade.scores["pass@1"] == pytest.approx(0.5, abs=1e-9)
    assert pass_rate([(len(texts), round(grade.scores["pass@1"] * len(texts)))], 1).value == pytest.approx(
        0.5, abs=1e-9
    )


@needs_data
@pytest.mark.slow
def test_ten_samples_of_every_problem_are_graded_in_a_minute(
    grader: Grader, capsys: pytest.CaptureFixture[str]
) -> None:
    items = load_humaneval(SHARED).items
    # Ten different programs: equal ones would be run once.
    checks = [humaneval_check(item, f"{item.answer}\n# sample {number}\n") for item in items for number in range(10)]
    started = time.monotonic()
    outcomes = grader.sandbox().check_all(checks)
    seconds = time.monotonic() - started
    with capsys.disabled():
        print(f"\n{len(checks)} programs in {seconds:.1f} s, two at a time")
    assert all(outcome.passed for outcome in outcomes)
    assert seconds < 60


ADD = Item("add", 'import math\n\ndef add(a, b):\n    """Sum."""\n', "", extra={"entry": "add", "test": ""})


@pytest.mark.parametrize(
    "text",
    [
        "    return a + b\n",
        "Here it is:\n```python\ndef add(a, b):\n    return math.floor(a + b)\n```\nDone.",
        "```\n    return a + b\n```",
        "```py\nimport os\n```\n```python\ndef add(a, b):\n    return a + b",
        "    return a + b\n\ndef other():\n    pass\n",
    ],
)
def test_answers_of_chat_models_become_programs(text: str, grader: Grader) -> None:
    test = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
    item = Item(ADD.identity, ADD.prompt, "", extra={"entry": "add", "test": test})
    assert humaneval(grader).grade(item, Response(texts=(text,))).scores["pass@1"] == 1


def test_text_without_a_block_has_none() -> None:
    assert fenced_code("no code `here`") is None


def test_rates_are_given_as_far_as_there_are_samples(grader: Grader) -> None:
    item = Item(ADD.identity, ADD.prompt, "", extra={"entry": "add", "test": "def check(f):\n    assert f(1, 2) == 3"})
    texts = ("    return a + b\n",) * 3 + ("    return 0\n",) * 9
    grade = humaneval(grader).grade(item, Response(texts=texts))
    assert set(grade.scores) == {"pass@1", "pass@10"}
    assert grade.scores["pass@1"] == pytest.approx(0.25) and grade.scores["pass@10"] == 1
    assert grade.answer == "passed"


RECORDS = [
    {"task_id": 2, "text": "Write a function to add.", "code": "def add(a, b):\r\n  return a + b",
     "test_list": ["assert add(1, 2) == 3"], "test_setup_code": "", "challenge_test_list": []},
    {"task_id": 11, "text": "Write a sum.", "code": "def help(a): return a\ndef sum(a, b): return help(a) + b",
     "test_list": ["assert sum(10, 15) == 25", "assert set([sum(1, 1)]) == set([2])"], "test_setup_code": ""},
    {"task_id": 12, "text": "Write a function to total a tree.",
     "code": "class Node:\n    def __init__(self, v): self.v, self.l = v, None\n"
             "def total(n): return n.v + total(n.l) if n else 0",
     "test_list": ["assert total(root) == 3"], "test_setup_code": "root = Node(1)\nroot.l = Node(2)"},
    {"task_id": 13, "prompt": "Write a function for roots.", "code": "import math\ndef root(x): return math.sqrt(x)",
     "test_list": ["assert math.isclose(root(4), 2)"], "test_imports": ["import math"]},
]  # fmt: skip


def test_mbpp_is_asked_and_graded(grader: Grader, tmp_path: Path) -> None:
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    task, data = mbpp(grader), load_mbpp(tmp_path)
    assert [item.identity for item in data.items] == ["MBPP/11", "MBPP/12", "MBPP/13"]
    assert [item.identity for item in data.examples[""]] == ["MBPP/2"] and data.fixed
    assert data.items[0].prompt.endswith("set([2])\n[BEGIN]\n")
    for item in data.items:
        grade = task.grade(item, Response(texts=(item.answer, "pass", f"```python\n{item.answer[:-7]}\n```")))
        assert grade.scores["pass@1"] == pytest.approx(2 / 3), grade
    assert data.examples[""][0].answer == "def add(a, b):\n  return a + b\n[DONE]"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("f = lambda x: x + 1", ("f",)),
        ("f: object = lambda x: x + 1", ("f",)),
        ("import functools\ng, f = 3, functools.partial(pow, 2)", ("f",)),
        ("async def f(x): return x", ("f",)),
        ("class f:\n    g = 1", ("f",)),
        ("def h(f): return f", ()),
        ("h = [f for f in (1, 2)]", ()),
        ("from m import f", ()),
        ("def f(x) return x", ()),
    ],
)
def test_names_that_the_tests_of_mbpp_take(code: str, names: tuple[str, ...]) -> None:
    assert benchmarks.tested_names(code, "assert f(1) == 2") == (names, "")
    record = {**RECORDS[0], "code": code, "test_list": ["assert f(1) == 2"]}
    if names:
        assert mbpp_item(record, "row 3").extra["names"] == names
    else:
        with pytest.raises(UserError, match="row 3: the tests use nothing that the solution in 'code' defines"):
            mbpp_item(record, "row 3")


def test_an_assigned_solution_of_mbpp_is_tested(grader: Grader) -> None:
    record = {**RECORDS[0], "code": "f = lambda x: x + 1", "test_list": ["assert f(1) == 2"]}
    grade = mbpp(grader).grade(mbpp_item(record, "row"), Response(texts=("f = lambda x: x + 1", "f = abs")))
    assert grade.scores["pass@1"] == pytest.approx(0.5)


def test_a_program_cannot_lend_mbpp_a_false_module(grader: Grader) -> None:
    record = {**RECORDS[3], "test_imports": []}
    item = mbpp_item(record, "row")
    assert item.extra["imports"] == "import math\n" and item.extra["names"] == ("root",)
    false = "class math:\n    isclose = staticmethod(lambda a, b: True)\ndef root(x): return 0"
    assert mbpp(grader).grade(item, Response(texts=(false, item.answer))).scores["pass@1"] == pytest.approx(0.5)


def test_sanitized_mbpp_is_read(tmp_path: Path) -> None:
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp" / "sanitized-mbpp.json").write_text(json.dumps(RECORDS))
    assert len(load_mbpp(tmp_path).items) == 3


@pytest.mark.parametrize("field, value", [("code", 3), ("test_list", "assert x"), ("text", None), ("task_id", "7")])
def test_malformed_mbpp_is_named(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"rows line 3: the field '{field}'"):
        mbpp_item({**RECORDS[0], field: value}, "rows line 3")


def test_malformed_humaneval_is_named(tmp_path: Path) -> None:
    (tmp_path / "HumanEval.jsonl").write_text('{"task_id": "x", "prompt": 3}\n')
    with pytest.raises(UserError, match=r"line 1: the field 'prompt' is 3; a string is expected\."):
        load_humaneval(tmp_path)


@pytest.mark.parametrize("load, name", [(load_humaneval, "HumanEval.jsonl"), (load_mbpp, "sanitized-mbpp.json")])
def test_an_empty_folder_is_named(load: object, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=name):
        load(tmp_path)  # type: ignore[operator]


def test_mbpp_without_test_problems_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mbpp.jsonl").write_text(json.dumps(RECORDS[0]) + "\n")
    with pytest.raises(UserError, match="11 to 510"):
        load_mbpp(tmp_path)
