"""JSON Schemas of what the API answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}


def record(optional: Schema | None = None, **required: Schema) -> Schema:
    """An object that always has ``required`` and may have ``optional``."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def listed(items: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def nullable(schema: Schema) -> Schema:
    """Or ``null``."""
    return {"anyOf": [schema, {"type": "null"}]}


def shared(name: str) -> Schema:
    """A schema of :data:`COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _token(**more: Schema) -> Schema:
    return record(token=TEXT, logprob=NUMBER, bytes=nullable(listed(COUNT)), **more)


_CALL = record(id=TEXT, type={"const": "function"}, function=record(name=TEXT, arguments=TEXT))
_MESSAGE = record(
    role={"const": "assistant"}, content=nullable(TEXT), refusal={"type": "null"}, annotations=listed(ANYTHING),
    optional={"tool_calls": listed(_CALL, minItems=1)},
)  # fmt: skip
_CHAT_CHOICE = record(
    index=COUNT,
    message=_MESSAGE,
    logprobs=nullable(record(content=listed(_token(top_logprobs=listed(_token()))), refusal={"type": "null"})),
    finish_reason={"enum": ["stop", "length", "tool_calls"]},
)
_COMPLETION_LOGPROBS = record(
    tokens=listed(TEXT), token_logprobs=listed(nullable(NUMBER)), text_offset=listed(COUNT),
    top_logprobs=listed(nullable({"type": "object", "additionalProperties": NUMBER})),
)  # fmt: skip
_COMPLETION_CHOICE = record(
    index=COUNT, text=TEXT, logprobs=nullable(_COMPLETION_LOGPROBS), finish_reason={"enum": ["stop", "length"]}
)
_USAGE = record(
    prompt_tokens=COUNT, completion_tokens=COUNT, total_tokens=COUNT,
    prompt_tokens_details=record(cached_tokens=COUNT), completion_tokens_details=ANYTHING,
)  # fmt: skip


def _answer(kind: str, choice: Schema) -> Schema:
    return record(id=TEXT, object={"const": kind}, created=WHOLE, model=TEXT, system_fingerprint=TEXT,
                  choices=listed(choice), usage=_USAGE)  # fmt: skip


_MODEL = record(
    id=TEXT,
    object={"const": "model"},
    created=WHOLE,
    owned_by=TEXT,
    max_model_len=COUNT,
    input_modalities=listed({"enum": ["text", "image"]}),
    optional={"parent": TEXT},
)
_SUMMARY = {"id": TEXT, "title": TEXT, "model": TEXT, "created": NUMBER, "updated": NUMBER}
_STORED_MESSAGE = record(
    id=WHOLE, parent=nullable(WHOLE), role={"enum": ["user", "assistant"]}, content=TEXT, details=ANYTHING,
    created=NUMBER, images=listed(TEXT),
)  # fmt: skip
_FIELDS = {**_SUMMARY, "system": TEXT, "settings": ANYTHING, "leaf": nullable(WHOLE)}

COMPONENTS: dict[str, Schema] = {
    "Error": record(
        error=record(
            message={"type": "string", "description": "one sentence: the field, its value and what is accepted"},
            type={"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
            param=nullable({"type": "string", "description": "the field of the body that it is about"}),
            code=nullable({"type": "string", "description": "a word for programs"}),
        )
    ),
    "Model": _MODEL,
    "Models": record(object={"const": "list"}, data=listed(shared("Model"))),
    "ChatCompletion": _answer("chat.completion", _CHAT_CHOICE),
    "Completion": _answer("text_completion", _COMPLETION_CHOICE),
    "Tokens": record(count=COUNT, max_model_len=COUNT, tokens=listed(COUNT), token_strs=nullable(listed(TEXT))),
    "Text": record(prompt=TEXT),
    "Status": record(status=TEXT),
    "Conversation": record(**_FIELDS, messages=listed(_STORED_MESSAGE)),
    "ConversationFields": record(**_FIELDS),
    "Conversations": record(conversations=listed(record(**_SUMMARY))),
    "NewMessageId": record(id=WHOLE),
    "Deleted": record(id=TEXT, deleted={"const": True}),
}
