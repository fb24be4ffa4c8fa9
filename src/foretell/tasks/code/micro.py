"""micro-code: small Python functions to complete, graded by running, from constants to two-step functions.

Models of 1e5 to 1e9 parameters pass between a tenth of a percent and nearly all of it, so a capability can be measured
on every rung of a ladder. Problems are generated, without end, from templates; those that are asked and those that may
be trained on are different functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeVar

from foretell.core.errors import UserError
from foretell.data.documents import Document, keyed_hash
from foretell.tasks.code.grading import GRADER, Grader, program_grader
from foretell.tasks.code.micro_templates import LEVELS, TEMPLATES, Template
from foretell.tasks.code.micro_values import FUNCTIONS, VALUES, draw_names
from foretell.tasks.code.sandbox import Check
from foretell.tasks.task import Item, Task, TaskData

VERSION = 1
STOP = ("\n\n", "\ndef ", "\nclass ", "\n#", "\n@")
CASES = 10
TRIES = 300
INDENT = "    "
EXAMPLES_OF_A_LEVEL = 64
Split = Literal["held", "train"]

# Functions that compute nothing; the cases of a problem tell its solution from each of them.
EMPTY_BODIES = [f"return {value}" for value in ("None", "True", "False", "0", "1", "-1", "''", "[]", "{}", "()")]


@dataclass(frozen=True)
class Problem:
    """A function to complete.

    Attributes:
        template: what it was made from.
        name: of the function.
        prompt: signature, description and first lines.
        answer: what goes on from there.
        cases: arguments and the value that the answer gives for them.
    """

    template: Template
    name: str
    prompt: str
    answer: str
    cases: tuple[tuple[tuple[Any, ...], Any], ...]


@dataclass(frozen=True)
class _Draft:
    """A function to complete before it has cases; ``parameters`` by name, ``shown`` what is given of its body."""

    template: Template
    name: str
    parameters: tuple[str, ...]
    head: str
    shown: str
    asked: str
    prompt: str
    answer: str


def _draft(template: Template, random: Random) -> _Draft:
    """Draw names, numbers and wording."""
    names, name = draw_names(template.kinds, random), random.choice(FUNCTIONS)
    parameters = [names[letter] for letter in "abc"[: len(template.kinds)]]
    phrase = random.choice(template.phrases).format(**names)
    phrase = phrase[:1].upper() + phrase[1:] if phrase.split()[0].strip(".") not in names.values() else phrase
    shown, asked = template.body.format(**names).split("|")
    head = f"def {name}({', '.join(parameters)}):\n"
    said = f'"""{phrase}"""' if random.random() < 0.7 and '"' not in phrase else f"# {phrase}"
    prompt = head + _indented(f"{said}\n{shown}")
    answer = _indented(asked)[len(INDENT) :] if not asked.startswith("\n") else "\n" + _indented(asked[1:])
    return _Draft(template, name, tuple(parameters), head, shown, asked, prompt, answer)


def make_problem(template: Template, random: Random) -> Problem:
    """Draw names, numbers, wording and cases; the cases' values are those of the answer, which is run.

    No body of ``EMPTY_BODIES`` and none that returns a parameter agrees with all cases, unless it is the answer.

    Raises:
        RuntimeError: where the template admits no such cases.
    """
    draft = _draft(template, random)
    solution = _compiled(draft.prompt + draft.answer, draft.name)
    renamed = [name for name in draft.parameters if f"= {name}\n" in draft.shown]  # returning it is right
    empty = EMPTY_BODIES + [f"return {name}" for name in draft.parameters if name not in renamed]
    body = draft.shown + draft.asked
    wrong = [_compiled(draft.head + INDENT + line, draft.name) for line in empty if not body.endswith(line)]
    for _ in range(TRIES):
        arguments = [tuple(VALUES[kind](random) for kind in template.kinds) for _ in range(CASES)]
        cases = tuple((given, solution(*copy.deepcopy(given))) for given in arguments)
        if not any(_agrees(function, cases) for function in wrong):
            return Problem(template, draft.name, draft.prompt, draft.answer, cases)
    raise RuntimeError(f"no cases tell '{template.name}' from a function that computes nothing")


def _indented(text: str) -> str:
    return "\n".join(INDENT + line if line else line for line in text.split("\n"))


def _compiled(source: str, name: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(compile(source, "micro.py", "exec", dont_inherit=True), namespace)
    return namespace[name]


def _agrees(function: Callable[..., Any], cases: tuple[tuple[tuple[Any, ...], Any], ...]) -> bool:
    for given, expected in cases:
        found = function(*given)
        if type(found) is not type(expected) or found != expected:
            return False
    return True


def problems(seed: int, split: Split, level: int) -> Iterator[Problem]:
    """Problems of a level without end, no two with the same prompt; templates take turns.

    Args:
        seed: any whole number; the same one gives the same problems everywhere.
        split: ``held``, templates that are asked; ``train``, those that examples and training documents come from.
        level: 0 (constants) to 7 (two steps).
    """
    return _without_repeats(seed, split, level, make_problem)


P = TypeVar("P", Problem, _Draft)


def _without_repeats(seed: int, split: Split, level: int, make: Callable[[Template, Random], P]) -> Iterator[P]:
    templates = [template for template in TEMPLATES if template.level == level and template.held == (split == "held")]
    seen: set[str] = set()
    number = 0
    while True:
        random = Random(keyed_hash(seed, "micro-code", str(VERSION), split, str(level), str(number)))
        made = make(templates[number % len(templates)], random)
        number += 1
        # Levels of few words run out of new prompts late; from there on they repeat themselves.
        if made.prompt not in seen or number > 20 * (len(seen) + len(templates)):
            seen.add(made.prompt)
            yield made


def micro_item(problem: Problem, identity: str) -> Item:
    """The item that asks for a problem; its group is the level's name."""
    return Item(
        identity=identity,
        prompt=problem.prompt,
        answer=problem.answer,
        group=LEVELS[problem.template.level],
        extra={"name": problem.name, "cases": problem.cases, "template": problem.template.name},
    )


def completion(prompt: str, text: str) -> str:
    """The part of a model's text that belongs to the function that the prompt began.

    It ends before the first line that is indented less than a body, and after the first that returns from the body's
    own level: what follows could not run.
    """
    lines = text.split("\n")
    kept = [lines[0]]
    last = prompt.rpartition("\n")[2] + lines[0]
    for line in lines[1:]:
        if last.startswith(INDENT + "return"):
            break
        if line.strip() and not line.startswith(INDENT):
            break
        kept.append(line)
        last = line
    return "\n".join(kept)


def micro_check(item: Item, text: str) -> Check:
    """The program of a completion, with its cases."""
    tests = (
        f"import copy\nfor given, expected in {item.extra['cases']!r}:\n"
        f"    found = {item.extra['name']}(*copy.deepcopy(given))\n"
        "    assert type(found) is type(expected) and found == expected, (given, found)\n"
    )
    return Check(item.prompt + completion(item.prompt, text) + "\n", tests, (item.extra["name"],))


def micro_data(seed: int, count: int, split: Split = "held") -> TaskData:
    """``count`` items, the levels in turn, and worked examples of each level from the training templates.

    Raises:
        UserError: where ``count`` is no positive number.
    """
    if count < 1:
        raise UserError(f"micro-code was asked for {count} problems; at least 1 is needed.")
    streams = [problems(seed, split, level) for level in range(len(LEVELS))]
    items = []
    for number in range(count):
        problem = next(streams[number % len(LEVELS)])
        items.append(micro_item(problem, f"micro-code/{VERSION}/{split}/{seed}/{number}"))
    examples = {}
    for level, name in enumerate(LEVELS):
        # Another seed: a training item that is asked is never its own example.
        source = problems(seed + (1 << 40), "train", level)
        made = [next(source) for _ in range(EXAMPLES_OF_A_LEVEL)]
        examples[name] = [micro_item(problem, f"micro-code/example/{name}/{n}") for n, problem in enumerate(made)]
    return TaskData(items, examples)


def micro_code(seed: int = 0, count: int = 400, split: Split = "held", grader: Grader | None = None) -> Task:
    """micro-code as a task: pass@1 over all levels alike, with two worked examples of the item's level.

    Args:
        seed: of the problems.
        count: of them; a multiple of eight asks the levels equally often.
        split: ``held`` for templates that no training document comes from, ``train`` for the others.
        grader: the one that all tasks share where None.
    """

    def load(folder: Path) -> TaskData:
        return micro_data(seed, count, split)

    return Task(
        name="micro-code" if split == "held" else "micro-code-train",
        version=VERSION,
        kind="generate",
        metric="pass@1",
        load=load,
        grade=program_grader(micro_check, grader),
        prepare=(grader or GRADER).sandbox,
        source="generated by the task itself; no data is read",
        shots=2,
        stop=STOP,
        chat_stop=STOP,  # a chat is graded as a completion too
        tokens=64,
        files="none; the task makes its problems.",
    )


def micro_documents(seed: int, functions: int = 8) -> Iterator[Document]:
    """Python source text of training templates without end: documents of ``functions`` functions of mixed levels.

    They hold no template that the task asks for. Ten documents, about 6 KB, are one project, so that a corpus of any
    size can hold some out.
    """
    # What only shows its text needs no cases, which take most of the time.
    streams = [_without_repeats(seed, "train", level, _draft) for level in range(len(LEVELS))]
    number = 0
    while True:
        random = Random(keyed_hash(seed, "micro-code documents", str(VERSION), str(number)))
        made = [next(random.choice(streams)) for _ in range(functions)]
        text = "\n\n\n".join(problem.prompt + problem.answer for problem in made) + "\n"
        identity = f"micro-code/{VERSION}/{seed}/{number}"
        yield Document(text, f"micro-code-{number // 10}", identity, None, identity)
        number += 1
