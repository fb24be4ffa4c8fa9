"""A server of one model, from its start to a stop that lets running requests finish."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.serve.options import ServeOptions
from foretell.serve.service import Service

LINGER = 1.0  # seconds after the last request in which others are still told that the server stops


class Server(uvicorn.Server):
    """Uvicorn, but a signal first makes it refuse new requests in words while the running ones finish.

    Args:
        app: from :func:`foretell.serve.app.build_app`.
        service: that answers.
        listener: from :func:`listening`; closed at the end.
    """

    def __init__(self, app: ASGIApp, service: Service, listener: socket.socket) -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5,
                                        server_header=False, lifespan="on"))  # fmt: skip
        host, port = listener.getsockname()[:2]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._service, self._listener = service, listener
        self._until = 0.0

    def begin_stop(self) -> None:
        """Refuse new requests from now on, and stop once the running ones have finished or the grace is over."""
        if not self._service.stopping:
            self._until = time.monotonic() + self._service.options.grace
            self._service.stopping = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the stop, the second one ends it."""
        if self._service.stopping:
            self.should_exit = True
            return
        say(f"stopping; running requests have {self._service.options.grace:g} s (once more to stop now)")
        self.begin_stop()

    async def on_tick(self, counter: int) -> bool:
        """Whether to leave the loop."""
        if self._service.stopping and not self.should_exit:
            worker = self._service.worker
            idle = worker.running + worker.waiting == 0
            if idle:
                self._until = min(self._until, time.monotonic() + LINGER)
            if time.monotonic() >= self._until:
                await self._service.stop()  # ends the streams of what did not finish
                self.should_exit = True
        return await super().on_tick(counter)

    def serve_until_stopped(self) -> None:
        """Answer requests; returns after a stop."""
        with contextlib.suppress(KeyboardInterrupt):  # of a loop that was interrupted before it ran
            self.run(sockets=[self._listener])


def listening(options: ServeOptions) -> socket.socket:
    """A socket at the host and port of the options.

    Raises:
        UserError: where there is no such host here, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server((str(address[0]), int(address[1])), family=family, backlog=512)
    except OSError as error:
        raise UserError(
            f"The server cannot listen at {options.host}, port {options.port} ({error.strerror or error})."
        ) from error


def default_database() -> Path:
    """Where conversations are kept unless told otherwise."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "foretell" / "conversations.sqlite"
