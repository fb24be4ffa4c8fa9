"""The OpenAPI document: what each path takes and answers, with the limits that this server's model sets."""

from __future__ import annotations

from typing import Any

import foretell
from foretell.serve.bodies import (
    Body,
    ChatBody,
    CompletionBody,
    ConversationChange,
    DetokenizeBody,
    NewConversation,
    NewMessage,
    TokenizeBody,
)
from foretell.serve.body_schemas import body_schema
from foretell.serve.conversations import FORMATS
from foretell.serve.schemas import COMPONENTS, TEXT, Schema, record, shared
from foretell.serve.service import Service

JSON = "application/json"
OPEN: list[Any] = []  # no key is asked for
REASONS = {
    400: "something in the request must change; error.param names the field",
    401: "no key, or one that is not this server's",
    404: "there is no such thing",
    409: "a message is named that is none of the conversation's",
    408: "the body did not come in time",
    413: "the body is larger than this server takes",
    429: "the queue is full",
    500: "a mistake of the server's",
    503: "the server is stopping, or an answer could not be begun in time",
}
RETRY = {"Retry-After": {"description": "seconds after which another try makes sense", "schema": {"type": "integer"}}}
NEEDS_BODY, NEEDS_ENGINE = (408, 413), (429, 503)


def openapi(service: Service) -> dict[str, Any]:
    """The document of a server."""
    paths = {**_model_paths(service), **_engine_paths(service), **_state_paths(), **_conversation_paths(service)}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Foretell", "version": foretell.__version__},
        "paths": paths,
        "components": {"schemas": COMPONENTS},
    }
    if service.options.keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        for operation in (one for path in paths.values() for one in path.values() if one.get("security") != OPEN):
            operation["responses"]["401"] = _refusal(401)
    return document


def _content(schema: Schema, kind: str = JSON) -> dict[str, Any]:
    return {kind: {"schema": schema}}


def _answer(schema: Schema, description: str, **more: Any) -> dict[str, Any]:
    return {"description": description, "content": _content(schema), **more}


def _refusal(status: int) -> dict[str, Any]:
    headers = {"headers": RETRY} if status in NEEDS_ENGINE else {}
    return _answer(shared("Error"), REASONS[status], **headers)


def _operation(
    summary: str, answer: dict[str, Any], *refusals: int, status: int = 200, body: Schema | None = None, **more: Any
) -> dict[str, Any]:
    """One operation; any may be refused for its ``Host``, and fail."""
    refusals = (400, *refusals, *(NEEDS_BODY if body else ()), 500)
    responses = {str(status): answer, **{str(code): _refusal(code) for code in sorted(refusals)}}
    request = {"requestBody": {"required": True, "content": _content(body)}} if body else {}
    return {"summary": summary, **request, "responses": responses, **more}


def _in_path(name: str, description: str, schema: Schema = TEXT) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _model_paths(service: Service) -> dict[str, Any]:
    names = [*service.names]
    return {
        "/v1/models": {"get": _operation("The model and its adapters.", _answer(shared("Models"), "all of them"))},
        "/v1/models/{name}": {
            "get": _operation(
                "One of them.", _answer(shared("Model"), "it"), 404,
                parameters=[_in_path("name", "of the model or an adapter", {"enum": names})],
            )
        },
    }  # fmt: skip


def _engine_paths(service: Service) -> dict[str, Any]:
    def path(body: type[Body], summary: str, name: str, *refusals: int, streams: bool = False) -> dict[str, Any]:
        answer = _answer(shared(name), "the answer")
        if streams:
            answer["description"] += "; with stream, events whose data are chunks as JSON, at the end [DONE]"
            answer["content"] |= _content(record(data=TEXT), "text/event-stream")
        schema = body_schema(body, service)
        return {"post": _operation(summary, answer, 404, *refusals, body=schema)}

    text = path(CompletionBody, "Go on with texts.", "Completion", *NEEDS_ENGINE, streams=True)
    paths = {
        "/v1/completions": text,
        "/tokenize": path(TokenizeBody, "Token ids of a text or a conversation.", "Tokens"),
        "/detokenize": path(DetokenizeBody, "The text of token ids.", "Text"),
    }
    if service.chat:  # without a template there is nothing that it would not refuse
        chat = path(ChatBody, "Answer a conversation.", "ChatCompletion", *NEEDS_ENGINE, streams=True)
        paths["/v1/chat/completions"] = chat
    return paths


def _state_paths() -> dict[str, Any]:
    status = _answer(shared("Status"), "in a word")
    health = _operation("Whether it is alive.", status, security=OPEN)
    health["responses"]["500"] = _answer({"anyOf": [shared("Status"), shared("Error")]}, "it is not")
    metrics = {"description": "in Prometheus' text format", "content": _content(TEXT, "text/plain")}
    return {
        "/health": {"get": health},
        "/ready": {"get": _operation("Whether it takes requests.", status, *NEEDS_ENGINE, security=OPEN)},
        "/metrics": {"get": _operation("Counters and gauges.", metrics)},
    }


def _conversation_paths(service: Service) -> dict[str, Any]:
    def linked(answer: dict[str, Any], identity: str, *operations: str) -> dict[str, Any]:
        links = {name: {"operationId": name, "parameters": {"identity": identity}} for name in operations}
        return {**answer, "links": links}

    def body(model: type[Body]) -> Schema:
        return body_schema(model, service)

    everything = ("readConversation", "changeConversation", "deleteConversation", "addMessage", "exportConversation")
    whole = _answer(shared("Conversation"), "with all its messages")
    fields = _answer(shared("ConversationFields"), "without its messages")
    here = [_in_path("identity", "of the conversation")]
    query = {"name": "query", "in": "query", "schema": {**TEXT, "default": ""},
             "description": "a text that the title or a message contains"}  # fmt: skip
    form = {"name": "format", "in": "query", "schema": {"enum": [*FORMATS], "default": "json"}}
    file = {"description": "a file", "content": {**_content(shared("Conversation")), **_content(TEXT, "text/markdown")}}
    made = linked(whole, "$response.body#/id", *everything)
    message = linked(_answer(shared("NewMessageId"), "its number"), "$request.path.identity", *everything)
    return {
        "/api/conversations": {
            "get": _operation("Conversations, the latest first.", _answer(shared("Conversations"), "up to 500"),
                              parameters=[query], operationId="listConversations"),
            "post": _operation("A new one.", made, status=201, body=body(NewConversation),
                               operationId="createConversation"),
        },
        "/api/conversations/{identity}": {
            "get": _operation("One with all its messages.", whole, 404, parameters=here,
                              operationId="readConversation"),
            "patch": _operation("Change what is given.", fields, 404, 409, parameters=here,
                                body=body(ConversationChange), operationId="changeConversation"),
            "delete": _operation("Forget it.", _answer(shared("Deleted"), "it is gone"), 404, parameters=here,
                                 operationId="deleteConversation"),
        },
        "/api/conversations/{identity}/messages": {
            "post": _operation("Put a message after another one.", message, 404, 409, status=201, parameters=here,
                               body=body(NewMessage), operationId="addMessage"),
        },
        "/api/conversations/{identity}/export": {
            "get": _operation("It as a file.", file, 404, parameters=[*here, form], operationId="exportConversation"),
        },
    }  # fmt: skip
