"""Functions offered to a model: whether its template knows them, and its calls parsed from text, also as it streams.

Three ways of writing a call are read: ``<tool_call>{...}</tool_call>`` (Hermes, Qwen), a JSON object with a name and
parameters as the whole answer (Llama 3), and a list of such objects (Mistral).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import meta

from foretell.infer.grammar import JSON_STYLE
from foretell.infer.text import overlap

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def knows_tools(template: str) -> bool:
    """Whether a chat template does anything with tools."""
    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])
    try:
        return "tools" in meta.find_undeclared_variables(environment.parse(template))
    except jinja2.TemplateError:  # tags of extensions that this reading does not know
        return "tools" in template


def writes_tags(template: str) -> bool:
    """Whether calls stand between tags rather than being the whole answer."""
    return OPEN in template


def call_grammar(tools: Sequence[Mapping[str, Any]], tags: bool, several: bool) -> str:
    """A Lark grammar of answers that call one of these tools, or several times."""
    key = "arguments" if tags else "parameters"
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool["function"]["name"]},
                # a resource of its own, so that its references (#/$defs/...) are looked up in it, not in the whole
                key: {**(tool["function"].get("parameters") or {"type": "object"}), "$id": f"urn:tool:{number}"},
            },
            "required": ["name", key],
            "additionalProperties": False,
        }
        for number, tool in enumerate(tools)
    ]
    schema = json.dumps({"x-guidance": JSON_STYLE, "anyOf": calls})
    if not tags:
        return f"start: call\ncall: %json {schema}\n"
    one = f'"{OPEN}\\n" call "\\n{CLOSE}"'
    more = f' ("\\n" {one})*' if several else ""
    return f"start: {one}{more}\ncall: %json {schema}\n"


def as_call(value: Any) -> dict[str, Any] | None:
    """A parsed object as an entry of ``tool_calls``, where it is one."""
    if not isinstance(value, Mapping):
        return None
    inner = value.get("function")
    function = inner if isinstance(inner, Mapping) else value
    name = function.get("name")
    given = function.get("arguments", function.get("parameters", {}))
    if not isinstance(name, str) or not isinstance(given, Mapping | str):
        return None
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function",
            "function": {"name": name, "arguments": arguments}}  # fmt: skip


class CallReader:
    """Parts a stream of text into words for the reader and calls of tools.

    Args:
        tags: whether calls stand between tags.
    """

    def __init__(self, tags: bool) -> None:
        self._tags, self._held = tags, ""
        self._begun = False
        self.calls: list[dict[str, Any]] = []

    def feed(self, text: str, last: bool = False) -> tuple[str, list[dict[str, Any]]]:
        """The words and the calls that are certain by now; ``last`` where no more text comes."""
        self._held += text
        before = len(self.calls)
        words = self._between_tags(last) if self._tags else self._whole(last)
        return words, self.calls[before:]

    def _between_tags(self, last: bool) -> str:
        words = ""
        while True:
            start = self._held.find(OPEN)
            if start < 0:
                keep = 0 if last else overlap(self._held, OPEN)
                cut = len(self._held) - keep
                words, self._held = words + self._held[:cut], self._held[cut:]
                break
            end = self._held.find(CLOSE, start)
            if end < 0 and not last:
                words, self._held = words + self._held[:start], self._held[start:]
                break
            inside = self._held[start + len(OPEN) : end if end >= 0 else len(self._held)]
            call = as_call(_json(inside))
            whole = self._held[start : end + len(CLOSE) if end >= 0 else len(self._held)]
            words += self._held[:start] + ("" if call else whole)
            self._held = self._held[start + len(whole) :]
            self.calls += [call] if call else []
        # What stands between calls is white space of the format.
        return words if words.strip() or not self.calls else ""

    def _whole(self, last: bool) -> str:
        text = self._held.lstrip()
        if not last and not self._begun and (not text or text[0] in "{["):
            return ""
        if last and not self._begun:
            value = _json(text)
            found = [as_call(one) for one in (value if isinstance(value, list) else [value])]
            calls = [call for call in found if call]
            if calls and len(calls) == len(found):
                self.calls, self._held = calls, ""
                return ""
        self._begun = True
        words, self._held = self._held, ""
        return words


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
