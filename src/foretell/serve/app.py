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
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from foretell.serve.bodies import DetokenizeBody, TokenizeBody
from foretell.serve.chat import chat_completions
from foretell.serve.completions import completions
from foretell.serve.conversations import add_conversations
from foretell.serve.document import openapi
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

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    _add_errors(app)
    _add_api(app, service)
    _add_state(app, service)
    _add_page(app)
    add_conversations(app, store, service.body_bytes, service.options)
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
        headers = {"Allow": ", ".join(_allowed(request))} if error.status_code == 405 else {}
        return JSONResponse(APIError(error.status_code, message, code=code).body, error.status_code, headers)

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


def _allowed(request: Request) -> list[str]:
    """Methods of all routes of a path; the first route that has not the method knows its own alone."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in route.methods or ()})


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

    def post(path: str, answer: Callable[[Service, Request], Awaitable[Response]]) -> None:
        async def handle(request: Request) -> Response:
            return await answer(service, request)

        app.add_api_route(path, handle, methods=["POST"], name=path, response_model=None)

    async def to_ids(service: Service, request: Request) -> Response:
        body = await read_json(request, TokenizeBody, service.body_bytes)
        images = await service.read_images(body.messages or ())
        return JSONResponse(await asyncio.to_thread(tokenize, service, body, images))

    async def to_text(service: Service, request: Request) -> Response:
        body = await read_json(request, DetokenizeBody, service.body_bytes)
        return JSONResponse(await asyncio.to_thread(detokenize, service, body))

    post("/v1/chat/completions", chat_completions)
    post("/v1/completions", completions)
    post("/tokenize", to_ids)
    post("/detokenize", to_text)


def _add_state(app: FastAPI, service: Service) -> None:
    document = openapi(service)

    @app.get("/openapi.json")
    async def described() -> Response:
        return JSONResponse(document)

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
