"""Messages, tools and response formats as clients send them, checked and in the form that templates read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from foretell.core.errors import UserError
from foretell.infer.grammar import MaskGrammar
from foretell.serve.bodies import ChatBody
from foretell.serve.errors import bad_request, refused
from foretell.serve.images import IMAGE_PART
from foretell.serve.service import Service
from foretell.serve.tools import call_grammar, knows_tools, writes_tags

ROLES = ("system", "developer", "user", "assistant", "tool")
FUNCTION_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


def template_messages(messages: Sequence[dict[str, Any]], images: bool = False) -> list[dict[str, Any]]:
    """Messages for a chat template: ``developer`` is the system's, arguments of calls are what their JSON says.

    Args:
        messages: of the body.
        images: whether parts may be images, which :func:`foretell.serve.images.image_sources` has looked at.

    Raises:
        APIError: naming the message and the field.
    """
    if not messages:
        raise bad_request("messages is empty; at least one message is needed.", "messages")
    return [_message(f"messages[{number}]", message, images) for number, message in enumerate(messages)]


def _message(where: str, message: dict[str, Any], images: bool) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise bad_request(f"{where}.role is {_short(role)}; one of {', '.join(ROLES)} is expected.", f"{where}.role")
    calls = message.get("tool_calls")
    if content is None and not (role == "assistant" and calls):
        raise bad_request(f"{where}.content is missing; a string or a list of text parts is expected.",
                          f"{where}.content")  # fmt: skip
    found: dict[str, Any] = {
        "role": "system" if role == "developer" else role,
        "content": _content(where, content, images),
    }
    if calls is not None:
        if role != "assistant" or not isinstance(calls, list):
            raise bad_request(f"{where}.tool_calls is accepted as a list, of the assistant's messages.",
                              f"{where}.tool_calls")  # fmt: skip
        found["tool_calls"] = [_call(f"{where}.tool_calls[{index}]", call) for index, call in enumerate(calls)]
    for name in ("name", "tool_call_id"):
        if message.get(name) is not None:
            if not isinstance(message[name], str):
                raise bad_request(f"{where}.{name} is {_short(message[name])}; a string is expected.",
                                  f"{where}.{name}")  # fmt: skip
            found[name] = message[name]
    return found


def _content(where: str, content: Any, images: bool) -> str | list[dict[str, str]]:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise bad_request(f"{where}.content is {_short(content)}; a string or a list of text parts is expected.",
                          f"{where}.content")  # fmt: skip
    parts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == IMAGE_PART and images:
            parts.append({"type": IMAGE_PART})
            continue
        key = "refusal" if kind == "refusal" else "text"
        if kind not in ("text", "refusal") or not isinstance(part.get(key), str):
            name = f"{where}.content[{index}]"
            known = f"text and {IMAGE_PART}" if images else "text"
            raise bad_request(f"{name} is of type {_short(kind)}; this model reads parts of type {known}.", name)
        parts.append({"type": "text", "text": part[key]})
    return parts


def _call(where: str, call: Any) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise bad_request(f"{where}.function.name is missing; the called function's name is expected.",
                          f"{where}.function.name")  # fmt: skip
    kind, identity, arguments = call.get("type"), call.get("id"), function.get("arguments")
    arguments = "{}" if arguments in (None, "") else arguments  # as clients write a call without any
    if kind not in (None, "function"):
        raise bad_request(f"{where}.type is {_short(kind)}; function is accepted.", f"{where}.type")
    if not isinstance(identity, str | None):
        raise bad_request(f"{where}.id is {_short(identity)}; a string is expected.", f"{where}.id")
    if not isinstance(arguments, str | dict):
        raise bad_request(f"{where}.function.arguments is {_short(arguments)}; JSON in a string is expected.",
                          f"{where}.function.arguments")  # fmt: skip
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # a model's own mistake, which stays what it wrote
            arguments = from_json(arguments, allow_inf_nan=False)
    return {"id": identity or "", "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def offered_tools(body: ChatBody, service: Service) -> list[dict[str, Any]]:
    """The functions that the model may call; none where ``tool_choice`` is ``none``.

    Raises:
        APIError: where they are malformed, or the template knows of none.
    """
    tools = body.tools or []
    for number, tool in enumerate(tools):
        where, function = f"tools[{number}]", tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise bad_request(f"{where} is of type {_short(tool.get('type'))}; functions are accepted.", where)
        name = function.get("name")
        if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
            raise bad_request(f"{where}.function.name is {_short(name)}; up to 64 letters, digits, dots, dashes and "
                              "underscores are accepted.", f"{where}.function.name")  # fmt: skip
        if not isinstance(function.get("description"), str | None):
            raise bad_request(f"{where}.function.description is {_short(function['description'])}; a string is "
                              "expected.", f"{where}.function.description")  # fmt: skip
        if not isinstance(function.get("parameters"), dict | None):
            raise bad_request(f"{where}.function.parameters is {_short(function['parameters'])}; a JSON schema is "
                              "expected.", f"{where}.function.parameters")  # fmt: skip
    if body.tool_choice == "none":
        return []
    if tools and not knows_tools(service.template().source):
        raise bad_request(f"The chat template of {service.name} knows no tools; leave tools out.", "tools",
                          "unsupported")  # fmt: skip
    return tools


def _forced_tools(body: ChatBody, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of which one must be called; none where the model is free."""
    choice = body.tool_choice
    if choice in (None, "auto", "none"):
        return []
    if choice == "required":
        if not tools:
            raise bad_request(
                "tool_choice is required, and tools is empty; at least one tool is needed.", "tool_choice"
            )
        return tools
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise bad_request(f"tool_choice is {_short(choice)}; none, auto, required, or a function by its name is "
                          "expected.", "tool_choice")  # fmt: skip
    found = [tool for tool in tools if tool["function"]["name"] == name]
    if not found:
        raise bad_request(f"tool_choice names {name[:80]!r}, which is none of the tools.", "tool_choice")
    return found


def grammar_of(body: ChatBody, service: Service, tools: list[dict[str, Any]]) -> MaskGrammar | None:
    """What the answer must be of: a call that is required, or a response format.

    Raises:
        APIError: where it is malformed or cannot be enforced.
    """
    schema = _schema(body.response_format)
    forced = _forced_tools(body, tools)
    try:
        if forced:
            tags = writes_tags(service.template().source)
            several = body.parallel_tool_calls is not False
            return service.grammars().of_lark(call_grammar(forced, tags, several))
        return None if schema is None else service.grammars().of_schema(schema)
    except UserError as error:
        raise refused(error, (), "tools" if forced else "response_format") from error


def _schema(given: dict[str, Any] | None) -> Any:
    """The JSON schema of a response format; ``None`` for text."""
    if given is None or given.get("type") == "text":
        return None
    if given.get("type") == "json_object":
        return {"type": "object"}
    if given.get("type") != "json_schema":
        raise bad_request(f"response_format.type is {_short(given.get('type'))}; text, json_object or json_schema is "
                          "expected.", "response_format.type")  # fmt: skip
    inner = given.get("json_schema")
    if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
        raise bad_request("response_format.json_schema.schema is missing; a JSON schema is expected.",
                          "response_format.json_schema.schema")  # fmt: skip
    return inner["schema"]


def _short(value: Any) -> str:
    return "missing" if value is None else repr(value)[:80]
