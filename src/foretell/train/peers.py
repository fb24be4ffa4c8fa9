"""Peers timed side by side: each in a process of its own, one step when told to, in turn.

A drift of the machine's speed then touches all alike.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from foretell.core.errors import UserError
from foretell.core.hardware import default_device, matmul_peak
from foretell.core.processes import leave_with_parent
from foretell.core.progress import track

FEWEST_STEPS = 10
WARMUP_STEPS = 3


@dataclass(frozen=True)
class Peer:
    """What is timed."""

    step: Callable[[], object]
    finish: Callable[[], dict[str, Any]] = dict  # figures of its own, after the last step


Makers = dict[str, tuple[Callable[..., Peer], tuple[Any, ...]]]


def check_steps(steps: int) -> None:
    """Raise where a median of ``steps`` would say little."""
    if steps < FEWEST_STEPS:
        raise UserError(f"--steps is {steps}: at least {FEWEST_STEPS} are needed for a median.")


def _serve(connection: Connection, parent: int, make: Callable[..., Peer], arguments: tuple[Any, ...]) -> None:
    """Take a step whenever told to and answer with its seconds; at the end with the peer's own figures."""
    leave_with_parent(parent)
    with contextlib.suppress(EOFError, OSError):  # whoever asks has gone
        try:
            peer = make(*arguments)
            while connection.recv():
                start = time.perf_counter()
                peer.step()
                connection.send(time.perf_counter() - start)
            connection.send(peer.finish())
        except UserError as error:
            connection.send(error)


class Peers:
    """Processes of all peers; use as a context manager.

    Args:
        makers: for each by name, a function that a fresh process can import, and its arguments.
    """

    def __init__(self, makers: Makers) -> None:
        context = multiprocessing.get_context("spawn")
        self.connections: dict[str, Connection] = {}
        self.processes = []
        for name, (make, arguments) in makers.items():
            self.connections[name], theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, os.getpid(), make, arguments))
            process.start()
            theirs.close()
            self.processes.append(process)

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections.values():
            connection.close()

    def step(self, name: str) -> float:
        """Seconds of one step of a peer.

        Raises:
            UserError: the peer's own.
        """
        return float(self._answer(name, True))

    def timed(self, steps: int, description: str) -> tuple[dict[str, list[float]], list[float]]:
        """Steps of all peers in turn, after a few that are not counted.

        Returns:
            seconds of the ``steps`` of each peer, and the matrix-product rates in FLOP/s measured between them.
        """
        seconds: dict[str, list[float]] = {name: [] for name in self.connections}
        peaks = []
        for index in track(range(WARMUP_STEPS + steps), description, WARMUP_STEPS + steps):
            for name, values in seconds.items():
                taken = self.step(name)
                if index >= WARMUP_STEPS:
                    values.append(taken)
            peaks.append(matmul_peak(default_device(), repeats=1))
        return seconds, peaks

    def finish(self) -> dict[str, dict[str, Any]]:
        """The figures that the peers have of their own; their processes end."""
        found = {}
        for name in self.connections:
            found[name] = dict(self._answer(name, False))
        for process in self.processes:
            process.join()
        return found

    def _answer(self, name: str, more: bool) -> Any:
        with contextlib.suppress(OSError):  # one that has ended may have left its reason
            self.connections[name].send(more)
        try:
            answer = self.connections[name].recv()
        except (EOFError, OSError) as error:
            raise UserError(f"The process that timed {name} ended unexpectedly (out of memory?).") from error
        if isinstance(answer, UserError):
            raise answer
        return answer
