"""A conversation in the terminal: lines in, answers as they come, a few commands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foretell.core.errors import UserError
from foretell.core.files import write_atomic, write_json
from foretell.data.chat import ChatTemplate
from foretell.data.image_decoding import decode
from foretell.infer.engine import Engine
from foretell.infer.images import ImageReader, PreparedImage
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling
from foretell.serve.store import as_markdown

HELP = """\
/system TEXT     a new system message (without TEXT: show it)
/image FILE      an image for the next message, where the model reads them (without FILE: none after all)
/regenerate      another answer to the last question
/reset           begin anew, with the same system message
/save FILE       write the conversation, as Markdown (.md) or JSON
/quit            leave, as Ctrl-D does
Ctrl-C stops an answer."""
LEAST_ANSWER = 64  # tokens for which there must be room, or the oldest turns are left out


@dataclass(frozen=True)
class TerminalImage:
    """An image of a message: its file, and what the model is given."""

    path: Path
    prepared: PreparedImage


class TerminalChat:
    """One conversation.

    Args:
        engine: that answers.
        template: of its model.
        ends: tokens that end a turn.
        sampling: how to draw.
        most: tokens of an answer; as many as fit where ``None``.
        write: takes pieces of text.
        reader: of images; ``None`` for a model that reads text alone.
    """

    def __init__(
        self, engine: Engine, template: ChatTemplate, ends: tuple[int, ...], sampling: Sampling, most: int | None,
        write: Callable[[str], None], reader: ImageReader | None = None,
    ) -> None:  # fmt: skip
        self._engine, self._template, self._ends = engine, template, frozenset(ends)
        self._sampling, self._most, self._write = sampling, most, write
        self._reader = reader
        self._turns = 0
        self.system = ""
        self.messages: list[dict[str, Any]] = []
        self.waiting: list[TerminalImage] = []  # images of the next message

    def attach(self, name: str) -> None:
        """Put an image into the next message.

        Raises:
            UserError: where the file cannot be read or is no image, or the model reads text alone.
        """
        if self._reader is None:
            raise UserError("This model reads text alone, and no images.")
        path = Path(name).expanduser()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"The image {name} cannot be read ({error.strerror or error}).") from error
        self.waiting.append(TerminalImage(path, self._reader.prepared(decode(content, name=name))))

    def answer(self, question: str) -> str:
        """Ask, with the images that wait, and write the answer as it comes.

        Raises:
            UserError: where the question alone is too long; its images go on waiting.
        """
        self.messages.append({"role": "user", "content": question, "images": self.waiting})
        try:
            text = self._stream()
        except UserError:
            self.messages.pop()
            raise
        self.waiting = []
        self.messages.append({"role": "assistant", "content": text})
        return text

    def _stream(self) -> str:
        ids, images, room = self._prompt()
        seed = None if self._sampling.seed is None else self._sampling.seed + self._turns
        self._turns += 1
        request = Request(tuple(ids), room if self._most is None else min(room, self._most),
                          replace(self._sampling, seed=seed), stop_ids=self._ends, images=images)  # fmt: skip
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

    def _prompt(self) -> tuple[list[int], tuple[PreparedImage, ...], int]:
        """Ids and images of the conversation, without the oldest turns where it is too long, and the room for an
        answer.
        """
        while True:
            ids = self._template.encode(self._written(), add_generation_prompt=True)
            images = tuple(image.prepared for message in self.messages for image in message.get("images", ()))
            if self._reader is not None:
                ids = self._reader.expanded(ids, images)
            room = self._engine.context - len(ids)
            if room >= LEAST_ANSWER or len(self.messages) == 1:
                break
            del self.messages[:2]
            self._write("(the oldest turns are left out: the context is full)\n")
        if room < 1:
            raise UserError(
                f"The question has {len(ids)} tokens with its frame; the context has {self._engine.context}."
            )
        return ids, images, room

    def _written(self) -> list[dict[str, Any]]:
        """The conversation as messages of the API, with the names of images' files."""
        found: list[dict[str, Any]] = [{"role": "system", "content": self.system}] if self.system else []
        for message in self.messages:
            parts: list[dict[str, Any]] = [
                {"type": "image_url", "image_url": {"url": str(image.path)}} for image in message.get("images", ())
            ]
            words = {"type": "text", "text": message["content"]}
            found.append({"role": message["role"], "content": [*parts, words] if parts else message["content"]})
        return found

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
            self.waiting.clear()
            self._write("(a new conversation)\n")
        elif name == "/image":
            self._image(rest.strip("'\""))
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
        question = self.messages.pop()
        waiting, self.waiting = self.waiting, question["images"]
        try:
            self.answer(question["content"])
        finally:
            self.waiting = waiting
        self._write("\n")

    def _image(self, name: str) -> None:
        if name:
            self.attach(name)
        else:
            self.waiting.clear()
        self._write(f"images of the next message: {', '.join(str(one.path) for one in self.waiting) or '(none)'}\n")

    def _save(self, name: str) -> None:
        if not name:
            raise UserError("/save needs the name of a file, as in /save chat.md.")
        path = Path(name).expanduser()
        if path.suffix == ".md":
            named = [
                {**one, "images": [quote(str(image.path)) for image in one.get("images", ())]} for one in self.messages
            ]
            write_atomic(path, as_markdown("", self.system, named))
        else:
            write_json(path, {"messages": self._written()})
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
