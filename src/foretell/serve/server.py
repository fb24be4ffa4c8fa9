"""A server of one model, from its start to a stop that lets running requests finish."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from foretell.core.progress import say
from foretell.serve.service import Service

LINGER = 1.0  # seconds after the last request in which others are still told that the server stops


class Server(uvicorn.Server):
    """Uvicorn, but a signal first makes it refuse new requests in words while the running ones finish.

    Args:
        app: from :func:`foretell.serve.app.build_app`.
        service: that answers.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        options = service.options
        super().__init__(
            uvicorn.Config(app, host=options.host, port=options.port, log_level="warning", access_log=False,
                           timeout_graceful_shutdown=5, server_header=False, lifespan="on")
        )  # fmt: skip
        self._service = service
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

    @property
    def address(self) -> str:
        """Where it listens, once started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def default_database() -> Path:
    """Where conversations are kept unless told otherwise."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "foretell" / "conversations.sqlite"
