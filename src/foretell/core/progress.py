"""Progress with time left: bars on a terminal, a line every few seconds in a log file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=not sys.stderr.isatty())
LINE_SECONDS = 10.0


def say(message: str, style: str = "") -> None:
    """One line for the person watching, as it is, in a style of rich such as ``yellow``."""
    console.print(message, style=style, markup=False)


def duration(seconds: float) -> str:
    """``75`` becomes ``1m15s``; hours where there are any."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{left:02d}s" if minutes else f"{left}s"


class Meter(Protocol):
    """What the work sees of a progress display."""

    def advance(self, amount: float = 1) -> None:
        """Count ``amount`` more units as done."""

    def note(self, text: str) -> None:
        """Put a few words beside the bar."""


class _Bar:
    def __init__(self, progress: Progress, description: str, total: float) -> None:
        self._progress, self._description = progress, description
        self._task = progress.add_task(description, total=total)

    def advance(self, amount: float = 1) -> None:
        self._progress.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._progress.update(self._task, description=f"{self._description} [dim]{text}[/dim]")


class _Lines:
    def __init__(self, description: str, total: float) -> None:
        self._description, self._total, self._done, self._text = description, total, 0.0, ""
        self._start = self._last = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS and self._done:
            self._last = now
            left = (now - self._start) / self._done * max(0.0, self._total - self._done)
            share = min(1.0, self._done / self._total) if self._total else 1.0
            say(f"  {self._description}: {share:4.0%}, {duration(left)} left {self._text}".rstrip())

    def note(self, text: str) -> None:
        self._text = text


@contextmanager
def meter(description: str, total: float) -> Iterator[Meter]:
    """A progress display of ``total`` units for the length of a ``with`` block."""
    if console.is_terminal and os.environ.get("TERM") != "dumb":
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield _Bar(progress, description, total)
    else:
        yield _Lines(description, total)


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Iterate with a progress display."""
    with meter(description, total) as shown:
        for item in items:
            yield item
            shown.advance()
