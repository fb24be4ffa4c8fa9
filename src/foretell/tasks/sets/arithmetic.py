"""Word problems whose answer is one number: GSM8K, SVAMP, MultiArith, AddSub, SingleEq.

Each set is asked with the eight worked examples of Wei et al. (2022), and zero-shot with "Let's think step by step."
(Kojima et al. 2022); GSM8K also with its own training problems, as lm-evaluation-harness's ``gsm8k``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foretell.tasks.extract import as_number, final_number, same_number
from foretell.tasks.files import Row, find_file, find_optional, read_rows
from foretell.tasks.grading import NEXT_QUESTION, cut, grade_samples
from foretell.tasks.sets.common_sense import source_of
from foretell.tasks.task import Grade, Item, Response, Task, TaskData

STEP_BY_STEP = "Let's think step by step."
STOP = ("Q:", "\nQuestion:")
VERSION = 2
_WORKED = (
    (
        "There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, "
        "there will be 21 trees. How many trees did the grove workers plant today?",
        "There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have been "
        "21 - 15 = 6. The answer is 6.",
    ),
    (
        "If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?",
        "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5.",
    ),
    (
        "Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?",
        "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, "
        "they had 74 - 35 = 39. The answer is 39.",
    ),
    (
        "Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did "
        "Jason give to Denny?",
        "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8. The "
        "answer is 8.",
    ),
    (
        "Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have "
        "now?",
        "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9. "
        "The answer is 9.",
    ),
    (
        "There were nine computers in the server room. Five more computers were installed each day, from monday to "
        "thursday. How many computers are now in the server room?",
        "There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers "
        "were added. 9 + 20 is 29. The answer is 29.",
    ),
    (
        "Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf "
        "balls did he have at the end of wednesday?",
        "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, he "
        "had 35 - 2 = 33 golf balls. The answer is 33.",
    ),
    (
        "Olivia has $23. She bought five bagels for $3 each. How much money does she have left?",
        "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars "
        "left. 23 - 15 is 8. The answer is 8.",
    ),
)
WORKED = tuple(
    Item(f"worked/{place}", f"Q: {question}\nA:", f" {answer}") for place, (question, answer) in enumerate(_WORKED)
)


def gsm8k_problem(row: Row) -> tuple[str, str]:
    """Question and worked answer, which ends in "#### NUMBER"."""
    return row.text("question"), row.text("answer")


def solved_problem(row: Row) -> tuple[str, str]:
    """Of AddSub, MultiArith and SingleEq: question and the one solution."""
    solutions = row.value("lSolutions")
    if not isinstance(solutions, list) or len(solutions) != 1:
        raise row.fault("lSolutions", solutions, "a list of one solution")
    return " ".join(row.text("sQuestion").split()), str(solutions[0])


def svamp_problem(row: Row) -> tuple[str, str]:
    """Of SVAMP: body and question, and the answer."""
    body, question = row.text("Body").strip(), row.text("Question").strip()
    end = "" if body.endswith((".", ",", "?", "!")) else "."
    return f"{body}{end} {question}", row.text("Answer")


def as_items(path: Path, problem: Callable[[Row], tuple[str, str]], form: str, prefix: str = "") -> list[Item]:
    """Problems asked in a form.

    Args:
        path: the table.
        problem: question and answer of a row.
        form: the prompt, with ``{}`` for the question.
        prefix: of the identities.

    Raises:
        UserError: where a row is not a problem with a number for its answer.
    """
    items = []
    for number, row in enumerate(read_rows(path)):
        question, answer = problem(row)
        final = answer.rsplit("####", 1)[-1].strip()
        gold = as_number(final, row.place)
        items.append(
            Item(f"{prefix}{number}", form.format(question.strip()), f" {answer.strip()}", gold=(format(gold, "f"),))
        )
    return items


def load(names: tuple[str, ...], problem: Callable[[Row], tuple[str, str]], zero_shot: bool, folder: Path) -> TaskData:
    """A set with Wei et al.'s examples; zero-shot, with the set's other problems as a pool for whoever asks for them.

    Raises:
        UserError: where the file is missing or a row is not a problem.
    """
    path = find_file(folder, *names)
    items = as_items(path, problem, f"Q: {{}}\nA: {STEP_BY_STEP}" if zero_shot else "Q: {}\nA:")
    return TaskData(items, {"": items if zero_shot else WORKED}, fixed=not zero_shot, source=path.name)


GSM8K = ("gsm8k/{}.jsonl", "grade_school_math/data/{}.jsonl", "grade-school-math/grade_school_math/data/{}.jsonl")


def load_gsm8k(folder: Path) -> TaskData:
    """GSM8K with its own training problems as examples; other items where these are not there.

    Raises:
        UserError: where the test file is missing or a row is not a problem.
    """
    path = find_file(folder, *(name.format("test") for name in GSM8K))
    train = find_optional(folder, *(name.format("train") for name in GSM8K))
    form = "Question: {}\nAnswer:"
    items = as_items(path, gsm8k_problem, form)
    examples = as_items(train, gsm8k_problem, form, "train/") if train else items
    return TaskData(items, {"": examples}, source=source_of(path, train))


def grade_number(item: Item, response: Response) -> Grade:
    """``exact``: whether the final number of the solution is the item's; of several samples, the most frequent one."""
    wanted = as_number(str(item.gold[0]), item.identity)
    return grade_samples(
        response,
        "exact",
        lambda text: final_number(cut(text.strip(), NEXT_QUESTION)),
        lambda found: same_number(found, wanted),
    )


def _pair(name: str, names: tuple[str, ...], problem: Callable[[Row], tuple[str, str]], source: str) -> list[Task]:
    shared: dict[str, Any] = {"stop": STOP, "tokens": 512, "files": f"{' or '.join(names)}."}
    few = name if name != "gsm8k" else "gsm8k_cot"
    return [
        Task(few, VERSION, "generate", "exact", functools.partial(load, names, problem, False), grade_number, source,
             shots=8, **shared),
        Task(f"{few}_zeroshot" if name == "gsm8k" else f"{name}_cot_zeroshot", VERSION, "generate", "exact",
             functools.partial(load, names, problem, True), grade_number, source, family=few, **shared),
    ]  # fmt: skip


def tasks() -> list[Task]:
    """The sets of this module."""
    gsm8k = "Cobbe et al. 2021, github.com/openai/grade-school-math; MIT"
    tests = tuple(name.format("test") for name in GSM8K)
    found = [
        Task("gsm8k", VERSION, "generate", "exact", load_gsm8k, grade_number, gsm8k, shots=5, stop=("Question:",),
             tokens=512, files=f"{' or '.join(tests)}; for worked examples train.jsonl beside it."),
        *_pair("gsm8k", tests, gsm8k_problem, gsm8k),
        *_pair("svamp", ("SVAMP/SVAMP.json", "SVAMP.json", "zero_shot_cot/SVAMP_SVAMP.json"), svamp_problem,
               "Patel et al. 2021, github.com/arkilpatel/SVAMP; MIT"),
    ]  # fmt: skip
    roy = "Roy and Roth 2015, from MAWPS; research use"
    for name, title, file, source in (
        ("multiarith", "MultiArith", "MultiArith", roy),
        ("addsub", "AddSub", "AddSub", "Hosseini et al. 2014, from MAWPS; research use"),
        ("singleeq", "SingleEq", "questions", "Koncel-Kedziorski et al. 2015; research use"),
    ):
        names = (f"{title}/{file}.json", f"zero_shot_cot/{title}_{file}.json", f"{title}.json")
        found += _pair(name, names, solved_problem, source)
    return found
