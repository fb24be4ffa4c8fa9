"""What a model is asked: an item after its instruction and worked examples, as one text or as the messages of a chat.

An answer carries the space that joins it to its prompt (" B" after "Answer:"), so prompt and answer are put together as
they are. An image stands where :data:`IMAGE` does in a prompt, in order.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from foretell.core.errors import UserError
from foretell.core.wording import plural
from foretell.tasks.task import Item, Option, Task, TaskData

IMAGE = "<image>"


@dataclass(frozen=True)
class TextPrompt:
    """One text, in which ``<image>`` stands for each of ``images`` in order."""

    text: str
    images: tuple[Image | Path, ...] = ()


@dataclass(frozen=True)
class ChatPrompt:
    """Messages that end with the user's, in the form of ``foretell.data.messages``: contents are strings or, where
    there are images, lists of ``{"type": "text", "text"}`` and ``{"type": "image"}``; the images stand in ``images``.
    """

    messages: tuple[dict[str, Any], ...]
    images: tuple[Image | Path, ...] = ()


def choose_examples(task: Task, data: TaskData, item: Item, shots: int, seed: int = 0) -> tuple[Item, ...]:
    """Worked examples for an item, never the item itself.

    Fixed examples are taken in order. Others are drawn by the seed once for a group and a number of shots, so that
    items share what comes before them; an item that was drawn as an example sees the next one drawn in its own place.

    Args:
        task: names the pool in errors.
        data: holds the pool: that of the item's group, else the one under "".
        item: what is asked.
        shots: how many, at least 0.
        seed: any integer.

    Raises:
        UserError: where the pool has fewer others.
    """
    if shots < 0:
        raise UserError(f"The number of worked examples is {shots}; 0 or more is expected.")
    if shots == 0:
        return ()
    pool = data.examples.get(item.group) or data.examples.get("", ())
    order = pool if data.fixed else _shuffled(pool, random.Random(f"{seed}/{task.name}/{item.group}"))
    drawn = tuple(itertools.islice((example for example in order if not _same(example, item)), shots))
    if len(drawn) < shots:
        where = f" It reads {task.files}" if task.files else ""
        raise UserError(
            f"{task.name} has {plural(len(drawn), 'worked example')} for '{item.identity}'; {shots} were asked.{where}"
        )
    return drawn


def _shuffled(pool: Sequence[Item], order: random.Random) -> Iterator[Item]:
    """The pool in random order, at the cost of what is taken of it (Fisher and Yates; only moved places are kept)."""
    moved: dict[int, int] = {}
    for last in range(len(pool) - 1, -1, -1):
        place = order.randrange(last + 1)
        yield pool[moved.get(place, place)]
        moved[place] = moved.get(last, last)


def _same(example: Item, item: Item) -> bool:
    return example.identity == item.identity or (example.prompt == item.prompt and example.images == item.images)


def instruction_of(task: Task, data: TaskData, item: Item) -> str:
    """The instruction of an item's group, with the group's name in words where it says ``{group}``."""
    return data.instructions.get(item.group, task.instruction).replace("{group}", item.group.replace("_", " "))


def text_prompt(
    task: Task, data: TaskData, item: Item, examples: Sequence[Item] = (), option: Option | None = None
) -> TextPrompt:
    """Instruction, worked examples and the item as one text.

    Args:
        task: gives separator and instruction.
        data: gives instructions of groups.
        item: what is asked.
        examples: see :func:`choose_examples`.
        option: whose own prompt is used, where it has one.

    Raises:
        UserError: where an item has other images than its prompt has places for.
    """
    shown = [example.prompt + example.answer + task.separator for example in examples]
    asked = item.prompt if option is None or option.prompt is None else option.prompt
    for one in (*examples, item):
        _parts(one.prompt, one)
    text = instruction_of(task, data, item) + "".join(shown) + asked
    return TextPrompt(text, tuple(image for one in (*examples, item) for image in one.images))


def chat_prompt(
    task: Task, data: TaskData, item: Item, examples: Sequence[Item] = (), option: Option | None = None
) -> ChatPrompt:
    """The same as turns: each example a question and its answer, the instruction before the first question.

    The instruction belongs to the first turn because not every template has a place for a system message. An item
    with messages of its own is asked by those, after the examples.

    Args and errors are those of :func:`text_prompt`.
    """
    turns: list[dict[str, Any]] = []
    for example in examples:
        turns.append({"role": "user", "content": _parts(example.prompt, example)})
        turns.append({"role": "assistant", "content": example.answer.strip()})
    if item.messages:
        turns += [dict(message) for message in item.messages]
    else:
        asked = item.prompt if option is None or option.prompt is None else option.prompt
        turns.append({"role": "user", "content": _parts(asked, item)})
    instruction = instruction_of(task, data, item).strip()
    if instruction:
        first = next(turn for turn in turns if turn["role"] == "user")
        first["content"] = _preceded(f"{instruction}\n\n", first["content"])
    return ChatPrompt(tuple(turns), tuple(image for one in (*examples, item) for image in one.images))


def _preceded(text: str, content: Any) -> Any:
    return text + content if isinstance(content, str) else [{"type": "text", "text": text}, *content]


def _parts(text: str, item: Item) -> str | list[dict[str, str]]:
    """A prompt's content: itself where the item has no images, else its parts."""
    if not item.images:
        return text
    pieces = text.split(IMAGE)
    if len(pieces) != len(item.images) + 1:
        raise UserError(
            f"The item '{item.identity}' has {plural(len(item.images), 'image')} and "
            f"{plural(len(pieces) - 1, 'place')} '{IMAGE}' in its prompt; as many of both are expected."
        )
    parts: list[dict[str, str]] = []
    for place, piece in enumerate(pieces):
        parts += [{"type": "image"}] if place else []
        parts += [{"type": "text", "text": piece}] if piece else []
    return parts
