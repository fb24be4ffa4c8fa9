"""Bodies in, answers and event streams out, and an eye on whether the client is still there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from foretell.serve.bodies import B, parse
from foretell.serve.errors import APIError, bad_request
from foretell.serve.service import Answers

BODY_SECONDS = 60.0
READ_AT_ONCE = 16 * 2**10  # bytes of a body that are parsed where they arrive; more would keep others waiting
DISCARDED = 32 * 2**20  # bytes of a body too large that are read nevertheless
CLIENT_GONE = 499  # nginx's status for a client that did not wait; only the log sees it
T = TypeVar("T")


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


async def read_json(request: Request, model: type[B], most: int) -> B:
    """A request's body as ``model``.

    Raises:
        APIError: 413 where it has more than ``most`` bytes, 408 where it does not come, 400 for what is wrong in it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # other types may be sent by any page in a browser without asking
        raise bad_request(f"The content type is {kind[:80] or 'missing'}; application/json is expected.")
    too_large = APIError(413, f"The body has more than {most:,} bytes, which is the limit here.", code="body_too_large")
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated[:20]) > most + DISCARDED:
        raise too_large
    data, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= most:
                    data += chunk
                elif size > most + DISCARDED:
                    break
    except ClientDisconnect as error:
        raise APIError(CLIENT_GONE, "The client went away.") from error
    except TimeoutError as error:
        raise APIError(408, f"The body did not come within {BODY_SECONDS:g} seconds.", code="timeout") from error
    if size > most:  # only now: a connection closed on somebody who still writes loses the answer
        raise too_large
    if size <= READ_AT_ONCE:
        return parse(model, bytes(data))
    return await asyncio.to_thread(parse, model, bytes(data))


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client goes.

    Raises:
        ClientGoneError: when it has gone.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def whole_answer(
    request: Request, answers: Answers, build: Callable[[Answers], Coroutine[Any, Any, dict[str, Any]]]
) -> Response:
    """One JSON answer.

    Raises:
        APIError: as :class:`Answers`.
    """

    async def work() -> dict[str, Any]:
        async with answers:
            return await build(answers)

    try:
        return JSONResponse(await unless_gone(request.receive, work()))
    except ClientGoneError:
        return Response(status_code=CLIENT_GONE)


class EventStream(Response):
    """Server-sent events of the chunks that ``build`` yields; an error after the first one becomes an event too."""

    media_type = "text/event-stream"

    def __init__(self, answers: Answers, build: Callable[[Answers], AsyncIterator[dict[str, Any]]]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answers, self._build = answers, build

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            APIError: as :meth:`Answers.__aenter__`, before anything is sent.
        """
        async with self._answers as answers:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                await unless_gone(receive, self._send_all(answers, send))
            except (ClientGoneError, OSError):
                scope["record"]["status"] = CLIENT_GONE

    async def _send_all(self, answers: Answers, send: Send) -> None:
        try:
            async for chunk in self._build(answers):
                await send(_event(json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))))
            await send(_event("[DONE]"))
        except APIError as error:
            await send(_event(json.dumps(error.body)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(text: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": True}
