"""The application: which path leads where."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

import foretell
from foretell.serve.bodies import Body, ChatBody, CompletionBody, DetokenizeBody, TokenizeBody
from foretell.serve.chat import chat_completions
from foretell.serve.completions import completions
from foretell.serve.conversations import conversation_routes
from foretell.serve.errors import APIError, bad_request, server_failed
from foretell.serve.gate import Gate
from foretell.serve.http import read_json
from foretell.serve.metrics import MEDIA_TYPE
from foretell.serve.service import Service
from foretell.serve.store import ConversationStore
from foretell.serve.tokens import detokenize, tokenize

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def build_app(service: Service, store: ConversationStore, write: Callable[[str], None] | None = None) -> ASGIApp:
    """The whole application.

    Args:
        service: what answers.
        store: the page's conversations.
        write: takes the request log's lines; standard output where left out.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.stop()
        store.close()

    app = FastAPI(title="Foretell", version=foretell.__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_errors(app)
    _add_api(app, service)
    _add_state(app, service)
    _add_page(app)
    app.include_router(conversation_routes(store, service.body_bytes, service.options))
    for operation in (one for path in app.openapi()["paths"].values() for one in path.values()):
        operation["responses"].pop("422", None)  # FastAPI's status; ours is 400
    return Gate(app, service.options, service.metrics, write or _print)


def _print(line: str) -> None:
    print(line, file=sys.stdout, flush=True)


def _add_errors(app: FastAPI) -> None:
    async def own(_: Request, error: Exception) -> Response:
        assert isinstance(error, APIError)
        return JSONResponse(error.body, error.status, error.headers)

    async def of_routing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        where = f"{request.method} {request.url.path[:200]}"
        reason = {404: "there is nothing at this path", 405: "this path takes another method"}
        message = f"{where}: {reason.get(error.status_code, HTTPStatus(error.status_code).phrase)}."
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        found = APIError(error.status_code, message, code=code)
        return JSONResponse(found.body, error.status_code, dict(error.headers or {}))

    async def of_parameters(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        name = ".".join(map(str, error.errors()[0]["loc"][1:]))
        return await own(_, bad_request(f"{name}: {error.errors()[0]['msg']}.", name))

    async def of_ours(_: Request, __: Exception) -> Response:
        return JSONResponse(server_failed().body, 500)  # the gate logs it

    app.add_exception_handler(APIError, own)
    app.add_exception_handler(Exception, of_ours)
    app.add_exception_handler(HTTPException, of_routing)
    app.add_exception_handler(RequestValidationError, of_parameters)


def _documented(model: type[Body]) -> dict[str, Any]:
    """A body for the OpenAPI document; bodies are read by :func:`read_json`, whose errors are OpenAI's."""
    schema = model.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    """A JSON schema with its references replaced by what they mean."""
    if isinstance(value, list):
        return [_inlined(one, definitions) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(definitions[value["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(inner, definitions) for key, inner in value.items()}


def _add_api(app: FastAPI, service: Service) -> None:
    def model_entry(name: str) -> dict[str, Any]:
        parent = {"parent": service.name} if name in service.adapters else {}
        return {"id": name, "object": "model", "created": service.created, "owned_by": "foretell",
                "max_model_len": service.context, "input_modalities": service.modalities, **parent}  # fmt: skip

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model_entry(name) for name in service.names]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        service.adapter(name)
        return model_entry(name)

    def post(path: str, body: type[Body], answer: Callable[[Service, Request], Awaitable[Response]]) -> None:
        async def handle(request: Request) -> Response:
            return await answer(service, request)

        app.add_api_route(path, handle, methods=["POST"], name=path, openapi_extra=_documented(body),
                          response_model=None)  # fmt: skip

    async def to_ids(service: Service, request: Request) -> Response:
        body = await read_json(request, TokenizeBody, service.body_bytes)
        images = await service.read_images(body.messages or ())
        return JSONResponse(await asyncio.to_thread(tokenize, service, body, images))

    async def to_text(service: Service, request: Request) -> Response:
        body = await read_json(request, DetokenizeBody, service.body_bytes)
        return JSONResponse(await asyncio.to_thread(detokenize, service, body))

    post("/v1/chat/completions", ChatBody, chat_completions)
    post("/v1/completions", CompletionBody, completions)
    post("/tokenize", TokenizeBody, to_ids)
    post("/detokenize", DetokenizeBody, to_text)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> Response:
        alive = service.worker.alive or service.stopping
        return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 500)

    @app.get("/ready")
    async def ready() -> Response:
        service.let_in(1)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        pool, counts = service.worker.engine.pool, service.worker.counts
        gauges = {
            "queue_length": ("Requests that wait.", service.worker.waiting),
            "running": ("Requests that are being answered.", service.worker.running),
            "cache_blocks": ("Blocks of the cache of keys and values.", pool.count),
            "cache_use_ratio": ("Share of the blocks that requests hold.", 1 - pool.available / pool.count),
        }
        counters = {
            "prompt_tokens_total": ("Tokens of prompts.", counts.prompt_tokens),
            "cached_tokens_total": ("Tokens of prompts that were taken from the cache.", counts.cached_tokens),
            "generated_tokens_total": ("Tokens of answers.", counts.generated_tokens),
            "passes_total": ("Passes of the model.", counts.passes),
            "busy_seconds_total": ("Seconds spent in them.", counts.busy),
            "failed_passes_total": ("Passes that failed.", counts.failures),
        }
        if (encoder := service.worker.engine.encoder) is not None:
            counters |= {
                "encoded_images_total": ("Images that the vision half has read.", encoder.encoded),
                "found_images_total": ("Images whose features were still there.", encoder.found),
            }
        return Response(service.metrics.text(gauges, counters), media_type=MEDIA_TYPE)


def _add_page(app: FastAPI) -> None:
    folder = resources.files("foretell.serve") / "page"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    def answer(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        kind = KINDS.get("." + name.rpartition(".")[2], "application/octet-stream")
        return Response(files[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return answer("index.html")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        return answer(name)
