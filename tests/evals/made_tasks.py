"""Small tasks of our own, choices and generated answers, in two groups."""

from pathlib import Path

from foretell.tasks.grading import grade_choice, grade_samples
from foretell.tasks.task import Grade, Item, Option, Response, Task, TaskData

WORDS = ("some", "text", "hello", "world", "tokenizer", "more", "of it", "123", "then", "and")


def choice_items(count: int = 10, prefix: str = "") -> list[Item]:
    return [
        Item(
            f"{prefix}{number}",
            f"{word} and {number}:",
            f" {word}",
            tuple(Option(f" {other}") for other in (word, WORDS[(number + 1) % 10], "it is some text for")),
            (number % 3,),
            bare="Answer:",
            group="even" if number % 2 == 0 else "odd",
        )
        for number, word in enumerate(WORDS[:count])
    ]


def load(_: Path) -> TaskData:
    return TaskData(choice_items(), {"": choice_items(prefix="train/")}, source="made")


def choices(**changes) -> Task:
    given = {"name": "choices", "version": 1, "kind": "choice", "metric": "acc", "load": load, "grade": grade_choice,
             "source": "made here", "instruction": "Go on.\n\n", "separator": "\n"}  # fmt: skip
    return Task(**{**given, **changes})


def own_prompts() -> Task:
    """As WinoGrande: each option has a prompt of its own, and what follows is the same."""
    items = [
        Item(str(number), "", "", tuple(Option(" then some", f"{one} {word}") for one in ("hello", "more")), (1,))
        for number, word in enumerate(WORDS[:4])
    ]
    return choices(name="own_prompts", load=lambda _: TaskData(items), instruction="")


def grade_text(item: Item, response: Response) -> Grade:
    return grade_samples(response, "exact", lambda text: text[:3], lambda answer: float(answer in item.gold))


def texts(**changes) -> Task:
    items = [Item(str(n), f"{word} is", f" {word}", gold=(word[:3],)) for n, word in enumerate(WORDS)]
    given = {"name": "texts", "version": 2, "kind": "generate", "metric": "exact", "load": lambda _: TaskData(items),
             "grade": grade_text, "source": "made here", "tokens": 6}  # fmt: skip
    return Task(**{**given, **changes})
