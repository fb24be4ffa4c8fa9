"""The gate that every request passes: hosts, keys, headers, metrics, log, and the last resort for errors of ours."""

from __future__ import annotations

import hmac
import json
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foretell.core.progress import say
from foretell.serve.errors import APIError, server_failed
from foretell.serve.hosts import is_known, own_names
from foretell.serve.metrics import Metrics
from foretell.serve.options import ServeOptions

OPEN_PATHS = ("/", "/health", "/ready")
OPEN_FOLDER = "/static/"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Gate:
    """ASGI around the application.

    Args:
        app: what is behind it.
        write: takes the log's lines.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions, metrics: Metrics, write: Callable[[str], None]) -> None:
        self._app, self._metrics, self._write = app, metrics, write
        self._keys = [key.encode() for key in options.keys]
        self._names = own_names((options.host, *options.allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        record: dict[str, Any] = {"id": f"req_{uuid.uuid4().hex}", "status": 499}
        scope["record"] = record
        begun = False

        async def tagged(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                record["status"] = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = record["id"]
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._app(scope, receive, tagged)
        except APIError as error:
            await JSONResponse(error.body, error.status, error.headers)(scope, receive, tagged)
        except Exception:  # one request is lost, not the service
            say(f"{scope['method']} {scope['path']} failed:\n{traceback.format_exc()}", "red")
            if not begun:
                await JSONResponse(server_failed().body, 500)(scope, receive, tagged)
        finally:
            self._log(scope, record, time.perf_counter() - started)

    def _check(self, path: str, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not self._keys and not is_known(host, self._names):
            raise APIError(400, f"The host is {host[:80]!r}; a server without keys answers to localhost, IP addresses "
                           "and names given as --allowed-host.", code="wrong_host")  # fmt: skip
        if not self._keys or path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise APIError(401, "No API key was given; it is expected as the header Authorization: Bearer KEY.",
                           code="missing_api_key")  # fmt: skip
        offered = given.strip().encode("utf-8", "surrogateescape")
        # all are compared, so that the time says nothing about which one is near
        if not sum(hmac.compare_digest(offered, key) for key in self._keys):
            raise APIError(401, "The API key is not one of this server's.", code="invalid_api_key")

    def _log(self, scope: Scope, record: dict[str, Any], seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.count(route, record["status"])
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "id": record.pop("id"),
                "method": scope["method"], "route": route, "status": record.pop("status"),
                "seconds": round(seconds, 4), **record}  # fmt: skip
        self._write(json.dumps(line, ensure_ascii=False))
