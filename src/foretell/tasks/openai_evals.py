"""Samples of OpenAI's Evals (github.com/openai/evals): JSONL rows with ``input``, messages of a chat, and ``ideal``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foretell.core.errors import UserError
from foretell.data.messages import ROLES
from foretell.tasks.files import Row
from foretell.tasks.task import Item

_EXAMPLES = {"example_user": "user", "example_assistant": "assistant"}  # names of system messages that are turns


def is_evals_row(cells: Mapping[str, Any]) -> bool:
    """Whether a row is a sample in this form."""
    return "input" in cells and "ideal" in cells


def sample_item(row: Row, identity: str, ideal: Sequence[str]) -> Item:
    """A sample as an item: its messages for a chat, and one text with the roles as prefixes otherwise.

    Args:
        row: with ``input``.
        identity: of the item.
        ideal: accepted answers, as its ``ideal`` has them.

    Raises:
        UserError: where ``input`` is neither a text nor messages.
    """
    held = row.value("input")
    if isinstance(held, str):
        return Item(identity, held, f" {ideal[0]}", gold=tuple(ideal))
    messages = _messages(row, held)
    return Item(identity, as_text(messages), f" {ideal[0]}", gold=tuple(ideal), messages=messages)


def _messages(row: Row, held: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(held, list) or not held:
        raise row.fault("input", held, "a text, or a list of messages with 'role' and 'content'")
    found = []
    for number, message in enumerate(held):
        role = message.get("role") if isinstance(message, dict) else None
        role = _EXAMPLES.get(message.get("name"), role) if role == "system" else role
        if role not in ROLES or not isinstance(message.get("content"), str):
            raise UserError(
                f"{row.place}: input[{number}] is no message; 'role' ({', '.join(ROLES)}) and 'content' are expected."
            )
        found.append({"role": role, "content": message["content"]})
    if found[-1]["role"] == "assistant":
        raise UserError(f"{row.place}: the last message of 'input' is the assistant's; the model is to answer it.")
    return tuple(found)


def as_text(messages: tuple[dict[str, str], ...]) -> str:
    """Messages for a model without a chat template: a lone message as it is, else ``Role: content`` lines."""
    if len(messages) == 1:
        return messages[0]["content"]
    lines = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n".join([*lines, "Assistant:"])
