"""What a task is: items, how each is asked, and the grader of its answers.

A task knows no model and no engine: it says what to ask, and grades what comes back. Whoever asks (evaluation, reward)
turns prompts into ids and log-likelihoods or texts into responses.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL.Image import Image

LETTERS = string.ascii_uppercase  # by which options are called, in this order


def lettered(options: Iterable[str]) -> dict[str, str]:
    """Options by their letters, as many as there are letters."""
    return dict(zip(LETTERS, options, strict=False))


@dataclass(frozen=True)
class Option:
    """One of the answers whose likelihoods are compared.

    Attributes:
        text: the continuation that is scored, with its leading space where the prompt ends without one.
        prompt: what it continues; the item's own prompt where it is None (WinoGrande's options have one each).
    """

    text: str
    prompt: str | None = None


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        identity: unique within the task, and the same in every version of the program.
        prompt: what is asked, without examples, instruction and answer; an image stands where ``<image>`` does.
        answer: what a worked example shows after the prompt, its reasoning included where there is any.
        options: whose likelihoods are compared; empty where the answer is generated.
        gold: places of the right options, or the accepted answers of a generated one.
        bare: prompt against which options are normalised ("Answer:"); None where they are not.
        images: pictures of the prompt, in order.
        group: what scores are told apart by besides the task (a subject of MMLU).
        extra: what only the task's grader reads (the tests of a program).
        messages: the prompt as the messages of a chat, where the data gives it so; empty where ``prompt`` is all.
    """

    identity: str
    prompt: str
    answer: str
    options: tuple[Option, ...] = ()
    gold: tuple[int, ...] | tuple[str, ...] = ()
    bare: str | None = None
    images: tuple[Image | Path, ...] = ()
    group: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Response:
    """What a model made of an item.

    Attributes:
        likelihoods: natural log-likelihood of each option after its prompt; empty where the answer is generated.
        greedy: whether each option is what greedy decoding would write.
        bare: the same after ``Item.bare``; empty where that is None.
        texts: generated answers, one for each sample.
    """

    likelihoods: tuple[float, ...] = ()
    greedy: tuple[bool, ...] = ()
    bare: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grade:
    """Scores of one response, each 0 to 1 by its metric's name, and what was understood as its answer."""

    scores: Mapping[str, float]
    answer: str | None = None


@dataclass(frozen=True)
class TaskData:
    """Items to score, and a pool of others that worked examples are drawn from.

    ``examples`` by group; the key "" serves groups that have none of their own. ``fixed`` examples are taken in
    order, others drawn by the seed. ``instructions`` by group come before ``Task.instruction``. ``source`` names the
    files that the items were read from, without their folder.
    """

    items: Sequence[Item]
    examples: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    fixed: bool = False
    instructions: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Task:
    """A task of the registry.

    Attributes:
        name: by which it is asked for.
        version: raised whenever data, prompt or grader change a score; a text where two such numbers are told apart.
        kind: whether options are compared or an answer is generated.
        metric: the headline score, a name that ``grade`` gives.
        load: reads the data from a folder, by the file names that the task documents; raises UserError.
        grade: scores of a response.
        source: where the data comes from, and its licence.
        shots: worked examples where the user says nothing.
        instruction: what comes before the examples; ``{group}`` is the item's.
        separator: between examples.
        stop: texts that end a generated answer, where it goes on from a text.
        chat_stop: the same where it is a turn of a chat, which ends by itself and may hold blank lines and headings.
        tokens: most that are generated.
        average: whether the headline is the mean over items or the mean over groups of their means.
        files: what ``load`` expects in the folder, for people.
        prepare: called before anything is asked where grading needs what a machine may lack; raises UserError.
        family: the task that this one is a part of (``mmlu`` of ``mmlu_anatomy``); a listing shows it under that.
    """

    name: str
    version: int | str
    kind: Literal["choice", "generate"]
    metric: str
    load: Callable[[Path], TaskData]
    grade: Callable[[Item, Response], Grade]
    source: str
    shots: int = 0
    instruction: str = ""
    separator: str = "\n\n"
    stop: tuple[str, ...] = ()
    chat_stop: tuple[str, ...] = ()
    tokens: int = 256
    average: Literal["items", "groups"] = "items"
    files: str = ""
    family: str = ""
    prepare: Callable[[], object] | None = None
