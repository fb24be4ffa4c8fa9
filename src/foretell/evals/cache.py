"""Answers that models have given, on disk: what was asked before is not asked again, and an interrupted evaluation goes
on where it was.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from foretell.core.errors import UserError
from foretell.core.files import cache_folder, canonical_json, storage_errors

VERSION = 1  # raised when what is asked means another thing
TABLE = "CREATE TABLE IF NOT EXISTS answers (question BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID"
Q = TypeVar("Q")
A = TypeVar("A")


def usual_place() -> Path:
    """The cache of all of a user's evaluations."""
    return cache_folder() / "answers.sqlite"


class AnswerCache:
    """A file of answers by the hash of their questions; several programs may use it at once.

    Args:
        path: made where it is missing; in memory alone where ``None``.

    Raises:
        UserError: where the file cannot be written or is another one.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            self._file = sqlite3.connect(":memory:" if path is None else path, timeout=60, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute(TABLE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """A full disk, a lock that is never given up, a file of something else: one sentence."""
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(
                f"{self._path} cannot be used to remember answers ({error}); name another file by --cache."
            ) from error

    def get(self, key: bytes) -> Any:
        """The answer to a question, ``None`` where it has none."""
        with self._errors():
            row = self._file.execute("SELECT answer FROM answers WHERE question = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: bytes, answer: Any) -> None:
        """Remember an answer; nothing is locked between answers, so that others can write theirs."""
        with self._errors():
            self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def key_of(question: Any) -> bytes:
    """The 16 bytes under which an answer is kept, from a question as JSON has it."""
    text = canonical_json([VERSION, question])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def answered(
    questions: Iterable[tuple[bytes, Q]], ask: Callable[[Iterable[Q]], Iterator[tuple[int, A]]], cache: AnswerCache,
    to_json: Callable[[A], Any], from_json: Callable[[Any], A],
) -> Iterator[tuple[int, A]]:  # fmt: skip
    """Answers with the places of their questions, in no order; each different question is asked at most once.

    Args:
        questions: with their keys, taken as ``ask`` takes them.
        ask: answers of those that are not in the cache, with their places among these.
        cache: read and filled.
        to_json, from_json: between an answer and what the cache keeps of it.
    """
    known: list[tuple[int, A]] = []
    asked: list[bytes] = []
    waiting: dict[Hashable, list[int]] = {}
    done: dict[Hashable, A] = {}

    def unknown() -> Iterator[Q]:
        for place, (key, question) in enumerate(questions):
            if key in waiting:
                waiting[key].append(place)
            elif key in done:
                known.append((place, done[key]))
            elif (found := cache.get(key)) is not None:
                known.append((place, from_json(found)))
            else:
                waiting[key] = [place]
                asked.append(key)
                yield question

    for number, answer in ask(unknown()):
        key = asked[number]
        cache.put(key, to_json(answer))
        done[key] = answer
        for place in waiting.pop(key):
            yield place, answer
        while known:
            yield known.pop(0)
    yield from known
