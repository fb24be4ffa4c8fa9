"""A conversation in the terminal: lines in, answers as they come, a few commands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import write_atomic, write_json
from foretell.data.chat import ChatTemplate
from foretell.infer.engine import Engine
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling
from foretell.serve.store import as_markdown

HELP = """\
/system TEXT     a new system message (without TEXT: show it)
/regenerate      another answer to the last question
/reset           begin anew, with the same system message
/save FILE       write the conversation, as Markdown (.md) or JSON
/quit            leave, as Ctrl-D does
Ctrl-C stops an answer."""
LEAST_ANSWER = 64  # tokens for which there must be room, or the oldest turns are left out


class TerminalChat:
    """One conversation.

    Args:
        engine: that answers.
        template: of its model.
        ends: tokens that end a turn.
        sampling: how to draw.
        most: tokens of an answer; as many as fit where ``None``.
        write: takes pieces of text.
    """

    def __init__(
        self, engine: Engine, template: ChatTemplate, ends: tuple[int, ...], sampling: Sampling, most: int | None,
        write: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._engine, self._template, self._ends = engine, template, frozenset(ends)
        self._sampling, self._most, self._write = sampling, most, write
        self._turns = 0
        self.system = ""
        self.messages: list[dict[str, Any]] = []

    def answer(self, question: str) -> str:
        """Ask, and write the answer as it comes.

        Raises:
            UserError: where the question alone is too long.
        """
        self.messages.append({"role": "user", "content": question})
        try:
            text = self._stream()
        except UserError:
            self.messages.pop()
            raise
        self.messages.append({"role": "assistant", "content": text})
        return text

    def _stream(self) -> str:
        ids, room = self._prompt()
        seed = None if self._sampling.seed is None else self._sampling.seed + self._turns
        self._turns += 1
        request = Request(tuple(ids), room if self._most is None else min(room, self._most),
                          replace(self._sampling, seed=seed), stop_ids=self._ends)  # fmt: skip
        pieces = []
        with _interruptible() as interrupted:
            updates = self._engine.stream(request)
            for update in updates:
                pieces.append(update.text)
                self._write(update.text)
                if interrupted.is_set():
                    updates.close()
                    break
        return "".join(pieces)

    def _prompt(self) -> tuple[list[int], int]:
        """Ids of the conversation, without the oldest turns where it is too long, and the room for an answer."""
        while True:
            system = [{"role": "system", "content": self.system}] if self.system else []
            ids = self._template.encode([*system, *self.messages], add_generation_prompt=True)
            room = self._engine.context - len(ids)
            if room >= LEAST_ANSWER or len(self.messages) == 1:
                break
            del self.messages[:2]
            self._write("(the oldest turns are left out: the context is full)\n")
        if room < 1:
            raise UserError(
                f"The question has {len(ids)} tokens with its frame; the context has {self._engine.context}."
            )
        return ids, room

    def command(self, line: str) -> bool:
        """Do what a line that begins with a slash says; ``False`` to leave.

        Raises:
            UserError: for a command that is not known or cannot be done.
        """
        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if name in ("/quit", "/exit"):
            return False
        if name == "/help":
            self._write(HELP + "\n")
        elif name == "/system":
            self.system = rest or self.system
            self._write(f"system: {self.system or '(none)'}\n")
        elif name == "/reset":
            self.messages.clear()
            self._write("(a new conversation)\n")
        elif name == "/regenerate":
            self._regenerate()
        elif name == "/save":
            self._save(rest)
        else:
            raise UserError(f"{name} is no command; /help lists them.")
        return True

    def _regenerate(self) -> None:
        if not self.messages:
            raise UserError("There is no answer yet to give again.")
        self.messages.pop()
        question = self.messages.pop()["content"]
        self.answer(question)
        self._write("\n")

    def _save(self, name: str) -> None:
        if not name:
            raise UserError("/save needs the name of a file, as in /save chat.md.")
        path = Path(name).expanduser()
        system = [{"role": "system", "content": self.system}] if self.system else []
        if path.suffix == ".md":
            write_atomic(path, as_markdown("", self.system, self.messages))
        else:
            write_json(path, {"messages": [*system, *self.messages]})
        self._write(f"saved in {path}\n")

    def run(self, read: Callable[[str], str]) -> None:
        """Talk until the lines end."""
        while True:
            try:
                line = read("> ")
            except EOFError:
                self._write("\n")
                return
            except KeyboardInterrupt:
                self._write("\n(Ctrl-D or /quit leaves)\n")
                continue
            if not line.strip():
                continue
            try:
                if line.lstrip().startswith("/"):
                    if not self.command(line):
                        return
                else:
                    self.answer(line)
                    self._write("\n")
            except UserError as error:
                self._write(f"{error}\n")


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a pass of the engine is never cut in half."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
