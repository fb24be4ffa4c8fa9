"""SIGTERM and Ctrl-C ask politely: the step in progress ends, the state is saved, then the program leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_requested = threading.Event()


def stop_requested() -> bool:
    """Whether a signal has asked the program to stop."""
    return _requested.is_set()


@contextmanager
def graceful_stop() -> Iterator[None]:
    """Within the block the first SIGTERM or Ctrl-C only sets a flag; a second Ctrl-C breaks off at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if _requested.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        _requested.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _requested.clear()
