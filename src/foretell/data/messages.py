"""Messages of a chat as they are given: checked, and with their contents in the form that a template reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foretell.core.errors import UserError

Message = Mapping[str, Any]
ROLES = ("system", "user", "assistant")
IMAGE_PARTS = ("image", "image_url")
IMAGE_PART = {"type": "image"}


def checked_messages(messages: Sequence[Message], images: bool = False) -> list[dict[str, Any]]:
    """Messages with a role each and contents as one string or, where they hold images, a list of parts.

    A part is ``{"type": "text", "text": ...}`` or ``{"type": "image"}`` without the image itself; lists of text parts
    are joined.

    Args:
        images: whether parts of the types ``image`` and ``image_url`` are accepted.

    Raises:
        UserError: naming the message and what is wrong with it.
    """
    if not messages:
        raise UserError("messages is empty; at least one message is needed.")
    found = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise UserError(f"{where} has no role; a mapping with 'role' and 'content' is expected.")
        content = message.get("content")
        if isinstance(content, list | tuple):
            content = [_part(part, f"{where}.content", images) for part in content]
            if IMAGE_PART not in content:
                content = "".join(part["text"] for part in content)
        elif content is not None and not isinstance(content, str):
            raise UserError(f"{where}.content is {content!r}; a string or a list of text parts is expected.")
        # Answers that only call tools have no content, or a null one; templates test for both.
        found.append({**message, "content": content} if "content" in message else dict(message))
    return found


def checked_turns(messages: Any, images: bool = False) -> list[dict[str, Any]]:
    """Checked messages that can be learned from: roles of a conversation without tools, nothing empty, an answer.

    Raises:
        UserError: naming the message and what is wrong with it.
    """
    if not isinstance(messages, list) or not messages:
        raise UserError("messages is missing or empty; a list of {role, content} is expected.")
    turns = checked_messages(messages, images)
    for number, message in enumerate(turns):
        role, content = message["role"], message.get("content")
        if role not in ROLES:
            raise UserError(f"messages[{number}].role is {role!r}; {', '.join(ROLES)} are accepted.")
        if not content or (isinstance(content, str) and not content.strip()):
            raise UserError(f"messages[{number}] is empty.")
    if not any(message["role"] == "assistant" for message in turns):
        raise UserError("no message is the assistant's, so there is nothing to learn.")
    return turns


def _part(part: Any, where: str, images: bool) -> dict[str, str]:
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind in IMAGE_PARTS and images:
        return dict(IMAGE_PART)
    accepted = "'text', 'image' and 'image_url' parts" if images else "'text' parts"
    raise UserError(f"{where} has a part of type {kind!r}; this model reads {accepted}.")


def images_joined(messages: Sequence[dict[str, Any]], image: str) -> list[dict[str, Any]]:
    """Checked messages with every content as one string, ``image`` standing for each image."""
    return [
        {**message, "content": "".join(part.get("text", image) for part in message["content"])}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def strings_parted(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Checked messages with every content as a list of parts."""
    return [
        {**message, "content": [{"type": "text", "text": message["content"]}]}
        if isinstance(message.get("content"), str)
        else message
        for message in messages
    ]


def template_for_parts(source: str, image_token: str) -> str:
    """A chat template that reads strings alone, made to read lists of parts as :func:`images_joined` writes them.

    For what is handed to other programs, which give a model that reads images its messages so.
    """
    return (
        "{% set read = namespace(messages=[]) %}{% for message in messages %}"
        "{% if message['content'] is iterable and message['content'] is not string %}"
        "{% set joined = namespace(text='') %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}{% set joined.text = joined.text + '" + image_token + "' %}"
        "{% else %}{% set joined.text = joined.text + part['text'] %}{% endif %}{% endfor %}"
        "{% set read.messages = read.messages + [dict(message, content=joined.text)] %}"
        "{% else %}{% set read.messages = read.messages + [message] %}{% endif %}{% endfor %}"
        "{% set messages = read.messages %}"
    ) + source
