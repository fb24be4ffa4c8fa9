"""HumanEval (Chen et al. 2021, arXiv 2107.03374) and MBPP (Austin et al. 2021, arXiv 2108.07732), graded by running."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.data.rows import read_jsonl
from foretell.tasks.code.grading import GRADER, Grader, defines, fenced_code, program_grader
from foretell.tasks.code.sandbox import Check
from foretell.tasks.files import find_file, read_rows
from foretell.tasks.grading import cut
from foretell.tasks.task import Item, Task, TaskData

HUMANEVAL_FIELDS = ("task_id", "prompt", "test", "entry_point", "canonical_solution")
HUMANEVAL_FILES = ("humaneval/HumanEval.jsonl", "HumanEval.jsonl")
MBPP_FILES = ("mbpp/mbpp.jsonl", "mbpp.jsonl", "mbpp/sanitized-mbpp.json", "sanitized-mbpp.json")
HUMANEVAL_STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n```")
MBPP_TESTS = range(11, 511)
MBPP_EXAMPLES = (2, 3, 4)


def humaneval_item(record: Mapping[str, Any], place: str) -> Item:
    """An item of a problem in HumanEval's form.

    Raises:
        UserError: naming the field that is missing or no string.
    """
    strings = {name: _string(record, name, place) for name in HUMANEVAL_FIELDS}
    return Item(
        identity=strings["task_id"],
        prompt=strings["prompt"],
        answer=strings["canonical_solution"],
        extra={"test": strings["test"], "entry": strings["entry_point"]},
    )


def humaneval_check(item: Item, text: str) -> Check:
    """The program of a completion, with its tests.

    The text goes on from the prompt and ends where the function does; one in Markdown gives its code block, which may
    hold the whole function.
    """
    entry = item.extra["entry"]
    block = fenced_code(text, entry)
    if block is not None and defines(block, entry):
        program = item.prompt[: item.prompt.rfind(f"def {entry}")] + block
    elif block is None and not defines(text, entry):
        program = item.prompt + cut(text, HUMANEVAL_STOP)  # a chat is not cut while it is written
    else:
        program = item.prompt + (text if block is None else block)
    # What the tests use besides the function under test is the prompt's: find_zero is tested by the prompt's poly.
    context = item.prompt + "\n    pass\n"
    return Check(program, f"{item.extra['test']}\ncheck({entry})\n", (entry,), context)


def load_humaneval(folder: Path) -> TaskData:
    """Read HumanEval.jsonl or HumanEval.jsonl.gz from ``folder`` or its subfolder ``humaneval``.

    Raises:
        UserError: where neither is there, or a record is malformed.
    """
    path = find_file(folder, *HUMANEVAL_FILES)
    return TaskData([humaneval_item(row, f"{path} line {number}") for number, row in read_jsonl(path)])


def humaneval(grader: Grader | None = None) -> Task:
    """HumanEval: 164 functions to complete from signature and docstring."""
    return Task(
        name="humaneval",
        version=2,
        kind="generate",
        metric="pass@1",
        load=load_humaneval,
        grade=program_grader(humaneval_check, grader),
        prepare=(grader or GRADER).sandbox,
        source="github.com/openai/human-eval, data/HumanEval.jsonl.gz, MIT",
        stop=HUMANEVAL_STOP,
        tokens=512,
        files=" or ".join(HUMANEVAL_FILES),
    )


def mbpp_item(record: Mapping[str, Any], place: str) -> Item:
    """An item of a problem in MBPP's form, full (``text``) or sanitized (``prompt``, ``test_imports``).

    Raises:
        UserError: naming the field that is missing or malformed.
    """
    number = record.get("task_id")
    if not isinstance(number, int):
        raise UserError(f"{place}: the field 'task_id' is {number!r}; a whole number is expected.")
    text = _string(record, "text" if "text" in record else "prompt", place)
    code, tests = _string(record, "code", place), _strings(record, "test_list", place)
    shown = "\n".join(tests)
    setup = "\n".join([*_strings(record, "test_imports", place), str(record.get("test_setup_code") or "")])
    names, imports = tested_names(code, f"{setup}\n{shown}\n")
    if not names:
        raise UserError(f"{place}: the tests use nothing that the solution in 'code' defines; they are to test it.")
    return Item(
        identity=f"MBPP/{number}",
        prompt=f"You are an expert Python programmer, and here is your task: {text.strip()} "
        f"Your code should pass these tests:\n\n{shown}\n[BEGIN]\n",
        answer=code.strip().replace("\r\n", "\n") + "\n[DONE]",
        extra={"tests": f"{setup}\n{shown}\n", "names": names, "imports": imports, "number": number},
    )


def tested_names(code: str, tests: str) -> tuple[tuple[str, ...], str]:
    """What ``tests`` take from a program, and the imports that they leave to it.

    They take what the reference solution ``code`` defines or assigns, also under a built-in function's name, as MBPP's
    ``sum``; nothing where either cannot be parsed. Modules are imported for them: a program that could lend them
    ``math`` could lend them a false one.
    """
    try:
        nodes = list(ast.walk(ast.parse(tests)))
        body = ast.parse(code).body
    except SyntaxError:
        return (), ""
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    names = tuple(dict.fromkeys(name for node in body for name in _made(node) if name in used))
    modules = sorted((used & sys.stdlib_module_names) - set(names))
    return names, "".join(f"import {module}\n" for module in modules)


def _made(statement: ast.stmt) -> list[str]:
    """Names that a statement of a module gives it, imports apart."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    found = [node for target in targets for node in ast.walk(target)]
    return [node.id for node in found if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def mbpp_check(item: Item, text: str) -> Check:
    """The program of an answer, up to ``[DONE]`` and out of its Markdown, with its tests."""
    program = text.removeprefix("[BEGIN]").partition("[DONE]")[0]
    names = item.extra["names"]
    block = fenced_code(program, names[-1] if names else "")
    return Check(program if block is None else block, item.extra["tests"], names, item.extra["imports"])


def load_mbpp(folder: Path) -> TaskData:
    """Read mbpp.jsonl, mbpp.jsonl.gz or sanitized-mbpp.json from ``folder`` or its subfolder ``mbpp``.

    Items are the paper's test problems, 11 to 510; worked examples its prompting problems 2, 3 and 4.

    Raises:
        UserError: where none is there, or a record is malformed.
    """
    path = find_file(folder, *MBPP_FILES)
    if path.name.startswith("sanitized-mbpp.json"):
        places = [(row.place, dict(row.cells)) for row in read_rows(path)]
    else:
        places = [(f"{path} line {number}", row) for number, row in read_jsonl(path)]
    items = [mbpp_item(row, place) for place, row in places]
    examples = [item for item in items if item.extra["number"] in MBPP_EXAMPLES]
    tests = [item for item in items if item.extra["number"] in MBPP_TESTS]
    if not tests:
        raise UserError(f"{path} holds none of MBPP's test problems, whose task_id is 11 to 510.")
    return TaskData(tests, {"": examples}, fixed=True)


def mbpp(grader: Grader | None = None) -> Task:
    """MBPP: 500 short tasks in words, three of their tests shown."""
    return Task(
        name="mbpp",
        version=2,
        kind="generate",
        metric="pass@1",
        load=load_mbpp,
        grade=program_grader(mbpp_check, grader),
        prepare=(grader or GRADER).sandbox,
        source="github.com/google-research/google-research/tree/master/mbpp, CC BY 4.0",
        shots=3,
        stop=("[DONE]",),
        chat_stop=("[DONE]",),
        tokens=512,
        files=" or ".join(MBPP_FILES),
    )


def _string(record: Mapping[str, Any], name: str, place: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise UserError(f"{place}: the field '{name}' is {value!r}; a string is expected.")
    return value


def _strings(record: Mapping[str, Any], name: str, place: str) -> list[str]:
    value = record.get(name, [] if name == "test_imports" else None)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise UserError(f"{place}: the field '{name}' is {value!r}; a list of strings is expected.")
    return value
