"""Processes that are measured side by side: each works when told to, in turn, so that a drift touches all alike."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from foretell.core.processes import leave_with_parent


class Peer:
    """One of them, in a process of its own.

    Args:
        build: called in the process with ``arguments``; importable, as a process is started afresh. What it returns is
            called with every question.
        arguments: of ``build``.
    """

    def __init__(self, build: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, os.getpid(), build, arguments))
        self._process.start()
        theirs.close()

    def ask(self, question: Any) -> Any:
        """The answer to a question.

        Raises:
            RuntimeError: where the process has ended instead.
        """
        try:
            self._pipe.send((True, question))
            return self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError("a measured process has ended; what it printed says why") from error

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive():
            with contextlib.suppress(BrokenPipeError):
                self._pipe.send((False, None))
        self._process.join()
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _answer(
    pipe: Connection, parent: int, build: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]
) -> None:
    leave_with_parent(parent)
    work = build(*arguments)
    while True:
        go_on, question = pipe.recv()
        if not go_on:
            return
        pipe.send(work(question))
