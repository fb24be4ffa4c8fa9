"""JSON Schemas of what requests may hold: the typed bodies, narrowed to what this server's model takes.

What no schema can say stays with the server's answer of 400: that a prompt and ``max_tokens`` share the context, that
a schema to be enforced can be, that a template refuses an order of roles.
"""

from __future__ import annotations

import math
from typing import Any

from foretell.core.errors import UserError
from foretell.data.dataurls import MEDIA_TYPES
from foretell.infer.sampling import ABOVE_ZERO, LARGEST_BIAS, RANGES
from foretell.serve.bodies import (
    MOST_STOPS,
    MOST_TRIES,
    Body,
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    Generation,
    NewMessage,
    TokenizeBody,
)
from foretell.serve.images import IMAGE_PART
from foretell.serve.messages import FUNCTION_NAME
from foretell.serve.schemas import ANYTHING, TEXT, Schema, listed, nullable, record
from foretell.serve.service import Service
from foretell.serve.tools import knows_tools

NOTHING: Schema = {"type": "null"}
SOME_TEXT: Schema = {"type": "string", "minLength": 1}
ARGUMENTS: Schema = {"anyOf": [TEXT, ANYTHING, NOTHING]}
CALL = record(
    function=record(name=TEXT, optional={"arguments": ARGUMENTS}),
    optional={"id": nullable(TEXT), "type": {"enum": ["function", None]}},
)
NAMES = {"name": nullable(TEXT), "tool_call_id": nullable(TEXT)}
ASSISTANT: Schema = {"const": "assistant"}
IMAGE = record(
    url={
        "type": "string",
        "description": "a data URL of PNG, JPEG, WebP or GIF, or where the server fetches any an address of http(s)",
    },
    optional={"detail": {"description": "ignored: every image is read in the model's own size"}},
)
DATA_URL: Schema = {
    "type": "string",
    "pattern": f"^data:({'|'.join(MEDIA_TYPES)});base64,"
    "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
TOOL = record(
    function=record(
        name={"type": "string", "pattern": f"^{FUNCTION_NAME.pattern}$"},
        optional={"description": nullable(TEXT), "parameters": nullable({**ANYTHING, "description": "a JSON schema"})},
    ),
    optional={"type": {"const": "function"}},
)
FREE: list[Any] = ["none", "auto", None]  # choices with which no tool is forced
NAMED_TOOL = record(type={"const": "function"}, function=record(name=TEXT))
JSON_SCHEMA = record(
    schema={**ANYTHING, "description": "a JSON schema of draft 2020-12, as far as llguidance supports it"},
    optional={"name": {}, "description": {}, "strict": {}},
)
RESPONSE_FORMAT: Schema = {
    "anyOf": [
        NOTHING,
        record(type={"enum": ["text", "json_object"]}),
        record(type={"const": "json_schema"}, json_schema=JSON_SCHEMA),
    ]
}


def body_schema(model: type[Body], service: Service) -> Schema:
    """What ``service`` accepts as a body of this type."""
    generated = model.model_json_schema()
    schema: Schema = _plain(generated, generated.get("$defs", {}))
    schema.pop("$defs", None)
    properties = schema.setdefault("properties", {})
    narrower = _narrower(model, service)
    properties.update({name: change for name, change in narrower.items() if name in properties})
    properties.update(dict.fromkeys(sorted(model.refused), NOTHING))
    conditions = _conditions(model, service)
    return {**schema, "allOf": conditions} if conditions else schema


def _plain(value: Any, definitions: dict[str, Any]) -> Any:
    """A schema of pydantic's without references and without titles made from names."""
    if isinstance(value, list):
        return [_plain(one, definitions) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _plain(definitions[value["$ref"].rpartition("/")[2]], definitions)
    return {
        key: {name: _plain(inner, definitions) for name, inner in part.items()}
        if key == "properties"
        else _plain(part, definitions)
        for key, part in value.items()
        if key != "title" and not (key == "default" and part is None)
    }


def _narrower(model: type[Body], service: Service) -> dict[str, Schema]:
    """Properties of which more can be said than their type."""
    token: Schema = {"type": "integer", "minimum": 0, "maximum": service.vocab_size - 1}
    found: dict[str, Schema] = {}
    if issubclass(model, Generation | TokenizeBody | DetokenizeBody):
        found["model"] = {"enum": [*service.names, None]}
    if issubclass(model, Generation):
        found |= {name: _range(name) for name in RANGES}
        found["stop"] = {"anyOf": [NOTHING, SOME_TEXT, listed(SOME_TEXT, maxItems=MOST_STOPS)]}
        bias = {"type": "number", "minimum": -LARGEST_BIAS, "maximum": LARGEST_BIAS}
        keys = {"pattern": f"^({_below(service.vocab_size)})$"}
        found["logit_bias"] = nullable({"type": "object", "propertyNames": keys, "additionalProperties": bias})
    if model is ChatBody:
        answer = {"type": ["integer", "null"], "minimum": 1, "maximum": service.context - _shortest_chat(service)}
        found |= {"max_tokens": answer, "max_completion_tokens": answer}
        found |= {"modalities": nullable(listed({"const": "text"}, maxItems=1))}
        found |= {"response_format": RESPONSE_FORMAT, "tool_choice": _tool_choice(service)}
    if model is CompletionBody:
        found["max_tokens"] = {"type": ["integer", "null"], "minimum": 0, "maximum": service.context - 1}
        ids = listed(token, minItems=1)
        found["prompt"] = {"anyOf": [TEXT, ids, listed({"anyOf": [TEXT, ids]}, minItems=1)]}
    messages, tools = listed(_message(service.images is not None), minItems=1), listed(TOOL)
    if model is TokenizeBody:
        messages, tools = nullable(messages), listed(ANYTHING)
    found |= {"messages": messages, "tools": nullable(tools)}
    if model is NewMessage:
        found["images"] = listed(DATA_URL, maxItems=service.options.most_images)
    if model is DetokenizeBody:
        found["tokens"] = listed(token)
    return found


def _message(images: bool) -> Schema:
    """One message, of any role."""
    parts = [record(type={"const": kind}, **{kind: TEXT}) for kind in ("text", "refusal")]
    parts += [record(type={"const": IMAGE_PART}, **{IMAGE_PART: {"anyOf": [IMAGE, TEXT]}})] if images else []
    content: Schema = {"anyOf": [TEXT, listed({"anyOf": parts})]}
    others: Schema = {"enum": ["system", "developer", "user", "tool"]}
    ways = [
        record(role=others, content=content, optional={**NAMES, "tool_calls": NOTHING}),
        record(role=ASSISTANT, content=content, optional={**NAMES, "tool_calls": nullable(listed(CALL))}),
        record(role=ASSISTANT, tool_calls=listed(CALL, minItems=1), optional={**NAMES, "content": nullable(content)}),
    ]
    return {"anyOf": ways}


def _range(name: str) -> Schema:
    low, high = RANGES[name]
    schema: Schema = {"type": ["integer" if name == "top_k" else "number", "null"]}
    schema["exclusiveMinimum" if name in ABOVE_ZERO else "minimum"] = low
    return {**schema, "maximum": high} if math.isfinite(high) else schema


def _below(limit: int) -> str:
    """A regular expression of the whole numbers from 0 to ``limit - 1``, without leading zeros."""
    text = str(limit)
    found = ["[0-9]"] if len(text) > 1 else []
    found += [f"[1-9][0-9]{{{count}}}" for count in range(1, len(text) - 1)]
    for place, digit in enumerate(text):
        least = 1 if place == 0 and len(text) > 1 else 0
        if int(digit) > least:
            found.append(f"{text[:place]}[{least}-{int(digit) - 1}][0-9]{{{len(text) - place - 1}}}")
    return "|".join(found)


def _shortest_chat(service: Service) -> int:
    """Tokens that the chat template writes around the shortest conversation."""
    found = []
    for role in ("system", "user", "assistant"):
        try:
            found.append(len(service.template().encode([{"role": role, "content": ""}], add_generation_prompt=True)))
        except UserError:  # a template may want another order
            continue
    return min(found, default=1)


def _has_tools(service: Service) -> bool:
    return knows_tools(service.template().source)


def _tool_choice(service: Service) -> Schema:
    return {"anyOf": [{"enum": [*FREE, "required"]}, NAMED_TOOL]} if _has_tools(service) else {"enum": FREE}


def _conditions(model: type[Body], service: Service) -> list[Schema]:
    """What one property asks of another, each as the ways to be right."""
    found: list[Schema] = []
    if issubclass(model, Generation):
        found.append(_either(_may(stream_options=NOTHING), _has(stream={"const": True})))
    if model is ChatBody:
        found.append(_either(_may(top_logprobs=NOTHING), _has(logprobs={"const": True})))
        found.append(_either(_may(max_tokens=NOTHING), _may(max_completion_tokens=NOTHING)))
        if _has_tools(service):
            found.append(_either(_may(tool_choice={"enum": FREE}), _has(tools={"type": "array", "minItems": 1})))
        else:
            found.append(_either(_may(tools={"maxItems": 0}), _has(tool_choice={"const": "none"})))
    if model is CompletionBody:
        # ways that shut each other out, which whoever reads a schema has an easier time with
        found.append({"oneOf": [_may(best_of=NOTHING), *map(_tries, range(1, MOST_TRIES + 1))]})
    if model is TokenizeBody:
        ways = [("prompt", TEXT, "messages"), ("messages", {"type": "array"}, "prompt")][: 2 if service.chat else 1]
        found.append(
            _either(*({"required": [one], **_may(**{one: kind, other: NOTHING})} for one, kind, other in ways))
        )
    return found


def _either(*ways: Schema) -> Schema:
    return {"anyOf": list(ways)}


def _tries(count: int) -> Schema:
    """``best_of`` is ``count``: no more answers than that, and no stream of several."""
    whole = {"stream": {"enum": [False, None]}} if count > 1 else {}
    return {"required": ["best_of"], **_may(best_of={"const": count}, n={"maximum": count}, **whole)}


def _may(**properties: Schema) -> Schema:
    """An object whose properties are so where it has them."""
    return {"properties": properties}


def _has(**properties: Schema) -> Schema:
    """An object that has these properties."""
    return {"required": list(properties), "properties": properties}
