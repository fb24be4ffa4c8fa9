"""``/api/conversations``: what the chat page keeps on the server."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse

from foretell.core.errors import UserError
from foretell.data.dataurls import read_data_url
from foretell.serve.bodies import ConversationChange, NewConversation, NewMessage
from foretell.serve.errors import APIError, bad_request
from foretell.serve.http import read_json
from foretell.serve.options import ServeOptions
from foretell.serve.store import ConversationStore, StoredImage, as_markdown, branch

PATH = "/api/conversations"
FORMATS = {"json": "application/json", "markdown": "text/markdown; charset=utf-8"}


def add_conversations(app: FastAPI, store: ConversationStore, most: int, options: ServeOptions) -> None:
    """The routes over a store; bodies have at most ``most`` bytes, messages as many images as the options say."""

    @app.get(PATH)
    async def list_all(query: str = "") -> dict[str, Any]:
        """Conversations, the latest first."""
        return {"conversations": await asyncio.to_thread(store.all, query[:200])}

    @app.post(PATH)
    async def create(request: Request) -> JSONResponse:
        """A new one."""
        body = await read_json(request, NewConversation, most)
        fields = body.model_dump(include=set(NewConversation.model_fields))
        return JSONResponse(await asyncio.to_thread(lambda: store.create(**fields)), 201)

    @app.get(f"{PATH}/{{identity}}")
    async def read(identity: str) -> dict[str, Any]:
        """One with all its messages."""
        return await _found(store, identity)

    @app.patch(f"{PATH}/{{identity}}")
    async def change(identity: str, request: Request) -> dict[str, Any]:
        """Rename it, or change its system message, settings or branch; it comes back without its messages."""
        body = await read_json(request, ConversationChange, most)
        fields = body.model_dump(include=set(ConversationChange.model_fields))
        if not await asyncio.to_thread(lambda: store.change(identity, **fields)):
            await _found(store, identity, messages=False)
            raise _no_message("leaf", body.leaf)
        return await _found(store, identity, messages=False)

    @app.delete(f"{PATH}/{{identity}}")
    async def delete(identity: str) -> dict[str, Any]:
        """Forget it."""
        if not await asyncio.to_thread(store.delete, identity):
            raise _missing(identity)
        return {"id": identity, "deleted": True}

    @app.post(f"{PATH}/{{identity}}/messages")
    async def add(identity: str, request: Request) -> JSONResponse:
        """Put a message after another one."""
        body = await read_json(request, NewMessage, most)
        images = await asyncio.to_thread(_images, body.images, options)
        number = await asyncio.to_thread(
            store.add, identity, body.role, body.content, body.parent, body.details, images
        )  # fmt: skip
        if number is None:
            await _found(store, identity, messages=False)
            raise _no_message("parent", body.parent)
        return JSONResponse({"id": number}, 201)

    @app.get(f"{PATH}/{{identity}}/export")
    async def export(identity: str, format: str = "json") -> Response:
        """It as a file."""
        if format not in FORMATS:
            raise bad_request(f"format is {format[:40]!r}; {' or '.join(FORMATS)} is accepted.", "format")
        found = await _found(store, identity)
        if format == "markdown":
            text = as_markdown(found["title"], found["system"], branch(found))
        else:
            text = json.dumps(found, ensure_ascii=False, indent=2)
        name = re.sub(r"[^A-Za-z0-9]+", "-", found["title"]).strip("-")[:60] or "conversation"
        ending = "md" if format == "markdown" else "json"
        return Response(text, media_type=FORMATS[format],
                        headers={"Content-Disposition": f'attachment; filename="{name}.{ending}"'})  # fmt: skip


def _images(urls: list[str], options: ServeOptions) -> list[StoredImage]:
    if len(urls) > options.most_images:
        raise bad_request(f"images has {len(urls)}; at most {options.most_images} are accepted.", "images")
    found = []
    for index, url in enumerate(urls):
        name = f"images[{index}]"
        try:
            found.append(StoredImage(*read_data_url(url, options.image_bytes, name)))
        except UserError as error:
            raise bad_request(str(error), name) from error
    return found


async def _found(store: ConversationStore, identity: str, *, messages: bool = True) -> dict[str, Any]:
    found = await asyncio.to_thread(lambda: store.get(identity, messages=messages))
    if found is None:
        raise _missing(identity)
    return found


def _missing(identity: str) -> APIError:
    return APIError(404, f"There is no conversation {identity[:80]!r}.", code="conversation_not_found")


def _no_message(field: str, number: int | None) -> APIError:
    message = f"{field} is {number}, which is none of the conversation's messages."
    return APIError(409, message, param=field, code="message_not_found")
