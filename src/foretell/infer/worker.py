"""An engine in a thread of its own, asked from any other."""

from __future__ import annotations

import itertools
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from foretell.core.progress import say
from foretell.infer.engine import Engine
from foretell.infer.requests import Request, Update

Listener = Callable[[Update], None]


@dataclass
class Counts:
    """What a worker has done so far.

    Attributes:
        passes: of the model.
        busy: seconds spent in them.
        prompt_tokens, cached_tokens, generated_tokens: of all requests that have been answered or begun; cached ones
            are among the prompt's.
        failures: passes that ended with an error of ours.
    """

    passes: int = 0
    busy: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    failures: int = 0


class EngineThread:
    """The engine's thread and the queue before it.

    Args:
        engine: from now on used by this thread only.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.counts = engine, Counts()
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._listeners: dict[int, Listener] = {}
        self._engine_numbers: dict[int, int] = {}
        self._numbers = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Requests that are being computed."""
        return len(self.engine.scheduler.running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._listeners) - self.running

    @property
    def alive(self) -> bool:
        """Whether requests are still answered."""
        return self._thread.is_alive()

    def submit(self, request: Request, listener: Listener) -> int:
        """Ask; ``listener`` is called in the engine's thread with every update, the last of which has a ``finish``.

        Returns:
            A number to cancel by.

        Raises:
            UserError: as :meth:`foretell.infer.engine.Engine.check`.
            RuntimeError: after :meth:`stop`.
        """
        if self._stopping:
            raise RuntimeError("the engine is stopping")
        self.engine.check(request)
        number = next(self._numbers)
        self._listeners[number] = listener
        self._commands.put(lambda: self._begin(number, request))
        if not self.alive and number in self._listeners:  # it ended in between, and nobody would tell
            del self._listeners[number]
            raise RuntimeError("the engine is stopping")
        return number

    def cancel(self, number: int) -> None:
        """End a request soon; one that has ended is left alone."""
        self._commands.put(lambda: self._cancel(number))

    def stop(self, patience: float) -> None:
        """Take nothing more, finish what there is for ``patience`` seconds at most, cancel the rest, and end."""
        self._stopping = True
        until = time.monotonic() + patience
        while self._listeners and self.alive and time.monotonic() < until:
            time.sleep(0.02)
        for number in list(self._listeners):
            self.cancel(number)
        self._commands.put(None)
        self._thread.join(timeout=60)

    def _begin(self, number: int, request: Request) -> None:
        if number in self._listeners:
            self._engine_numbers[self.engine.submit(request)] = number
            self.counts.prompt_tokens += len(request.ids)

    def _cancel(self, number: int) -> None:
        for engine_number, ours in self._engine_numbers.items():
            if ours == number:
                self.engine.cancel(engine_number)

    def _run(self) -> None:
        try:
            self._serve()
        finally:  # whatever ends the thread, nobody waits for it in vain
            for listener in list(self._listeners.values()):
                listener(Update(finish="error"))
            self._listeners.clear()

    def _serve(self) -> None:
        while True:
            try:
                command = self._commands.get(block=self.engine.idle)
            except queue.Empty:
                self._pass()
                continue
            if command is None:
                break
            command()
        while not self.engine.idle:  # what was cancelled at the end
            self._pass()

    def _pass(self) -> None:
        start = time.perf_counter()
        try:
            updates = self.engine.step()
        except Exception:
            # one pass is lost, not the service: everybody in it is told, and the engine starts afresh
            say(f"a pass of the engine failed:\n{traceback.format_exc()}", "red")
            self.counts.failures += 1
            self.engine.reset()
            updates = [(number, Update(finish="error")) for number in list(self._engine_numbers)]
        self.counts.passes += 1
        self.counts.busy += time.perf_counter() - start
        for engine_number, update in updates:
            self.counts.generated_tokens += len(update.tokens)
            number = self._engine_numbers[engine_number]
            listener = self._listeners[number]
            if update.finish is not None:
                self.counts.cached_tokens += update.cached
                del self._engine_numbers[engine_number], self._listeners[number]
            try:
                listener(update)
            except Exception:  # a listener whose loop has closed must not take the others with it
                say(f"a listener failed:\n{traceback.format_exc()}", "red")
