"""micro-code: exact, seeded, within its budget, and its training part teaches no answer of the part that is asked."""

from __future__ import annotations

import ast
import copy
import dataclasses
import itertools
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from foretell.core.errors import UserError
from foretell.core.files import content_hash
from foretell.data.config import TokenizerConfig
from foretell.data.tokenizer import train_tokenizer
from foretell.tasks.code.grading import Grader
from foretell.tasks.code.micro import (
    EMPTY_BODIES,
    LEVELS,
    completion,
    make_problem,
    micro_check,
    micro_code,
    micro_data,
    micro_documents,
    problems,
)
from foretell.tasks.code.micro_templates import TEMPLATES, Template
from foretell.tasks.task import Item, Response

HELD = [template for template in TEMPLATES if template.held]
TRAINED = [template for template in TEMPLATES if not template.held]


def test_every_answer_passes_and_nothing_else_does(grader: Grader) -> None:
    items = micro_data(3, 7 * len(LEVELS) * 2).items + micro_data(3, 7 * len(LEVELS) * 2, "train").items
    right = grader.sandbox().check_all([micro_check(item, item.answer) for item in items])
    assert [(item.prompt, found) for item, found in zip(items, right, strict=True) if not found.passed] == []
    empty = grader.sandbox().check_all([micro_check(item, "") for item in items])
    passed = [item.extra["template"] for item, found in zip(items, empty, strict=True) if found.passed]
    assert set(passed) == {"return None"}  # a bare return gives it


def test_a_task_grades_samples(grader: Grader) -> None:
    task = micro_code(count=8, grader=grader)
    data = task.load(Path("unused"))
    for item in data.items:
        grade = task.grade(item, Response(texts=(item.answer + "\n\ndef next(", " 1 +", item.answer + "\n")))
        assert grade.scores["pass@1"] == pytest.approx(2 / 3), item
        assert len(data.examples[item.group]) >= 32
    assert [item.group for item in data.items] == list(LEVELS)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: f"{template.level} {template.name}")
def test_every_template_has_problems_that_tell_its_answer_from_trivial_ones(template: Template) -> None:
    for seed in range(5):
        problem = make_problem(template, Random(seed))
        tree = ast.parse(problem.prompt + problem.answer)
        assert isinstance(tree.body[0], ast.FunctionDef) and tree.body[0].name == problem.name
        assert not problem.prompt.endswith(" ") and "{" not in problem.prompt.replace("{}", "")
        if f"return{problem.answer}" not in EMPTY_BODIES:
            assert len({repr(expected) for _, expected in problem.cases}) > 1 or template.level <= 1


def solved(template: Template, by: Template, seed: int) -> bool:
    """Whether another template's function passes a problem's cases."""
    numbers = dataclasses.replace(by, kinds=template.kinds)
    problem = make_problem(template, Random(seed))
    try:
        other = make_problem(numbers, Random(seed))
        namespace: dict[str, object] = {}
        exec(other.prompt + other.answer, namespace)
        function = namespace[other.name]
        for arguments, expected in problem.cases:
            found = function(*copy.deepcopy(arguments))  # type: ignore[operator]
            if type(found) is not type(expected) or found != expected:
                return False
    except Exception:
        return False
    return True


def test_no_function_that_is_trained_on_answers_one_that_is_asked() -> None:
    """From the fourth level on; below, functions differ in what the description names."""
    pairs = [
        (asked, trained)
        for asked, trained in itertools.product(HELD, TRAINED)
        if asked.level >= 3
        and len(asked.kinds) == len(trained.kinds)
        # max(True, False) is True or False: numbers' functions are no answers to questions about truth values.
        and ("bool" in asked.kinds) == ("bool" in trained.kinds)
    ]
    assert len(pairs) > 500
    taught = [(asked.name, trained.name) for asked, trained in pairs if all(solved(asked, trained, s) for s in (0, 1))]
    assert taught == []


def test_levels_have_templates_on_both_sides() -> None:
    for level in range(len(LEVELS)):
        assert sum(template.level == level for template in HELD) >= 6
        assert sum(template.level == level for template in TRAINED) >= 6
    bodies = {template.body for template in TRAINED}
    assert not [template.name for template in HELD if template.level >= 3 and template.body in bodies]


def test_problems_depend_on_the_seed_alone() -> None:
    first, again, other = (micro_data(seed, 80).items for seed in (1, 1, 2))
    assert first == again
    assert {item.prompt for item in first} != {item.prompt for item in other}
    longer = micro_data(1, 160).items
    assert longer[:80] == first
    assert len({item.identity for item in longer}) == 160


def test_problems_are_known_by_their_text() -> None:
    """A change of generator or templates changes these, and must raise the version."""
    items = micro_data(0, 400).items
    assert items[6].identity == "micro-code/1/held/0/6"
    assert items[6].prompt == 'def work(t):\n    """Capitalize t."""\n    return'
    assert items[6].answer == " t.capitalize()"
    assert (
        content_hash([[item.prompt, item.answer, repr(item.extra["cases"])] for item in items])[:16]
        == "662f267a6f33c3eb"
    )


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_prompts_of_a_level_differ(level: int) -> None:
    made = [problem.prompt for problem in itertools.islice(problems(0, "held", level), 500)]
    assert len(set(made)) == 500


def test_a_prompt_with_two_examples_fits_256_tokens(small_corpus: Path, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(small_corpus / "corpus", TokenizerConfig(vocab_size=1024), tmp_path)
    data = micro_data(0, 800)
    most = {}
    for level in LEVELS:
        examples = sorted(len(tokenizer.encode(f"{item.prompt}{item.answer}\n\n")) for item in data.examples[level])
        asked = max(len(tokenizer.encode(item.prompt + item.answer)) for item in data.items if item.group == level)
        most[level] = sum(examples[-2:]) + asked
    assert max(most.values()) <= 256, most


def test_documents_are_python_of_training_templates() -> None:
    documents = list(itertools.islice(micro_documents(0), 150))
    assert len({document.text for document in documents}) == 150
    assert {document.project for document in documents} == {f"micro-code-{number}" for number in range(15)}
    held = {item.prompt + item.answer for item in micro_data(0, 800).items if LEVELS.index(item.group) >= 3}
    for document in documents:
        functions = ast.parse(document.text).body
        assert len(functions) == 8 and all(isinstance(function, ast.FunctionDef) for function in functions)
        assert not held & {part.strip("\n") for part in document.text.split("\n\n\n")}
    assert documents == list(itertools.islice(micro_documents(0), 150))


PROMPT_ONE, PROMPT_LOOP = "def f(a):\n    return", "def f(a):\n    x = 0\n    for i in a:"


@pytest.mark.parametrize(
    "prompt, text, kept",
    [
        (PROMPT_ONE, " a", " a"),
        (PROMPT_ONE, " a\n    return b", " a"),
        (PROMPT_ONE, " a\ndef g(", " a"),
        (PROMPT_LOOP, "\n        x += i\n    return x\n    y = (", "\n        x += i\n    return x"),
        (PROMPT_LOOP, "\n        x += i\n\n    return x\nprint(", "\n        x += i\n\n    return x"),
        (PROMPT_LOOP, "\n        return 1\n    return x\n", "\n        return 1\n    return x"),
        (PROMPT_LOOP, " x += i\n    return x", " x += i\n    return x"),
        (PROMPT_ONE, "", ""),
    ],
)
def test_a_completion_ends_with_its_function(prompt: str, text: str, kept: str) -> None:
    assert completion(prompt, text) == kept


@given(some.text(alphabet=" \nreturnax():", max_size=60))
def test_what_is_kept_is_a_beginning_of_the_text(text: str) -> None:
    for prompt in (PROMPT_ONE, PROMPT_LOOP):
        assert text.startswith(completion(prompt, text))


def test_a_number_of_problems_is_needed() -> None:
    with pytest.raises(UserError, match="asked for 0 problems"):
        micro_data(0, 0)


def test_trivial_answers_pass_few_problems(grader: Grader) -> None:
    """What a model scores that has learnt nothing but to return the first name it sees."""
    items = micro_data(5, 160).items

    def first_name(item: Item) -> str:
        name = item.prompt.partition("(")[2].partition(")")[0].partition(",")[0]
        return f" {name}" if item.prompt.endswith("return") else f"\n    return {name}"

    outcomes = grader.sandbox().check_all([micro_check(item, first_name(item)) for item in items])
    passed = [item.group for item, found in zip(items, outcomes, strict=True) if found.passed]
    assert set(passed) <= {"constant", "copy"} and len(passed) <= 10, passed
