"""Conversations of the chat page in SQLite: each is a tree of messages, and its leaf says which branch is read."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.data.dataurls import data_url

VERSION = 2
SCHEMA = """
CREATE TABLE conversations (
  id TEXT PRIMARY KEY, title TEXT NOT NULL, system TEXT NOT NULL, model TEXT NOT NULL, settings TEXT NOT NULL,
  leaf INTEGER, created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
  parent INTEGER REFERENCES messages(id), role TEXT NOT NULL, content TEXT NOT NULL, details TEXT NOT NULL,
  created REAL NOT NULL
);
CREATE INDEX messages_by_conversation ON messages(conversation);
CREATE INDEX conversations_by_time ON conversations(updated);
"""
IMAGES = """
CREATE TABLE images (
  message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE, place INTEGER NOT NULL, media TEXT NOT NULL,
  content BLOB NOT NULL, PRIMARY KEY (message, place)
) WITHOUT ROWID;
"""
STEPS = (SCHEMA, IMAGES)  # from each version to the next
FIELDS = ("title", "system", "model", "settings", "leaf")


@dataclass(frozen=True)
class StoredImage:
    """An image of a message: its file, and of which kind that is, as ``image/png``."""

    media: str
    content: bytes


class ConversationStore:
    """The conversations of one server; any thread may ask.

    Args:
        path: of the database, made with its folder where it is missing.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            UserError: where it cannot be written, is no database, or one of a later version.
        """
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
            if version < VERSION:
                missing = "".join(STEPS[version:])
                self._connection.executescript(f"BEGIN; {missing} PRAGMA user_version = {VERSION}; COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"The database {path} cannot be used ({error}).") from error
        if version > VERSION:
            raise UserError(f"The database {path} is of version {version}; up to {VERSION} is understood here.")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._connection as connection:
            yield connection

    def all(self, query: str = "", limit: int = 500) -> list[dict[str, Any]]:
        """Conversations without their messages, the latest first; with ``query`` those that contain it."""
        pattern = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT id, title, model, created, updated FROM conversations AS c WHERE title LIKE :p ESCAPE '\\' "
                "OR EXISTS (SELECT 1 FROM messages WHERE conversation = c.id AND content LIKE :p ESCAPE '\\') "
                "ORDER BY updated DESC LIMIT :limit",
                {"p": pattern, "limit": limit},
            ).fetchall()
        return [dict(row) for row in rows]

    def create(self, **fields: Any) -> dict[str, Any]:
        """A new conversation of these fields, the rest empty."""
        now, identity = time.time(), uuid.uuid4().hex
        values = {"title": "", "system": "", "model": "", "settings": {}, **fields}
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, NULL, ?, ?)",
                (
                    identity,
                    values["title"],
                    values["system"],
                    values["model"],
                    json.dumps(values["settings"]),
                    now,
                    now,
                ),
            )
        found = self.get(identity)
        assert found is not None
        return found

    def get(self, identity: str, *, messages: bool = True) -> dict[str, Any] | None:
        """A conversation, or ``None``; with all its ``messages`` in order of time, their images as data URLs."""
        with self._transaction() as connection:
            row = connection.execute("SELECT * FROM conversations WHERE id = ?", (identity,)).fetchone()
            if row is None:
                return None
            found = {**dict(row), "settings": json.loads(row["settings"])}
            if not messages:
                return found
            rows = connection.execute(
                "SELECT id, parent, role, content, details, created FROM messages WHERE conversation = ? ORDER BY id",
                (identity,),
            ).fetchall()
            images = connection.execute(
                "SELECT message, media, content FROM images WHERE message IN "
                "(SELECT id FROM messages WHERE conversation = ?) ORDER BY message, place",
                (identity,),
            ).fetchall()
        urls: dict[int, list[str]] = {}
        for image in images:
            urls.setdefault(image["message"], []).append(data_url(image["media"], image["content"]))
        found["messages"] = [
            {**dict(one), "details": json.loads(one["details"]), "images": urls.get(one["id"], [])} for one in rows
        ]
        return found

    def change(self, identity: str, **fields: Any) -> bool:
        """Replace some of its fields; ``False`` where there is no such conversation or no such leaf in it."""
        given = {name: fields[name] for name in FIELDS if fields.get(name) is not None}
        with self._transaction() as connection:
            if "leaf" in given and not self._has(connection, identity, given["leaf"]):
                return False
            if "settings" in given:
                given["settings"] = json.dumps(given["settings"])
            sets = ", ".join(f"{name} = :{name}" for name in [*given, "updated"])
            done = connection.execute(
                f"UPDATE conversations SET {sets} WHERE id = :id", {**given, "updated": time.time(), "id": identity}
            )
            return done.rowcount == 1

    def delete(self, identity: str) -> bool:
        """Forget a conversation; ``False`` where there is none of that name."""
        with self._transaction() as connection:
            connection.execute("UPDATE messages SET parent = NULL WHERE conversation = ?", (identity,))
            return connection.execute("DELETE FROM conversations WHERE id = ?", (identity,)).rowcount == 1

    def add(
        self, identity: str, role: str, content: str, parent: int | None = None,
        details: dict[str, Any] | None = None, images: Sequence[StoredImage] = (),
    ) -> int | None:  # fmt: skip
        """Put a message after ``parent`` and make it the leaf.

        Returns:
            Its number; ``None`` where there is no such conversation or no such parent in it.
        """
        now = time.time()
        with self._transaction() as connection:
            known = connection.execute("SELECT 1 FROM conversations WHERE id = ?", (identity,)).fetchone()
            if known is None or (parent is not None and not self._has(connection, identity, parent)):
                return None
            row = connection.execute(
                "INSERT INTO messages (conversation, parent, role, content, details, created) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (identity, parent, role, content, json.dumps(details or {}), now),
            )
            connection.executemany(
                "INSERT INTO images VALUES (?, ?, ?, ?)",
                [(row.lastrowid, place, image.media, image.content) for place, image in enumerate(images)],
            )
            connection.execute(
                "UPDATE conversations SET leaf = ?, updated = ? WHERE id = ?", (row.lastrowid, now, identity)
            )
            return row.lastrowid

    @staticmethod
    def _has(connection: sqlite3.Connection, identity: str, message: int) -> bool:
        query = "SELECT 1 FROM messages WHERE id = ? AND conversation = ?"
        return connection.execute(query, (message, identity)).fetchone() is not None


def branch(conversation: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages from the first to the conversation's leaf."""
    by_id = {message["id"]: message for message in conversation["messages"]}
    found, number = [], conversation["leaf"]
    while number is not None:
        found.append(by_id[number])
        number = by_id[number]["parent"]
    return found[::-1]


def as_markdown(title: str, system: str, messages: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as a document; the addresses in a message's ``images`` come before its words."""
    parts = [f"# {title or 'Conversation'}"]
    if system:
        parts.append(f"## System\n\n{system}")
    for message in messages:
        images = [f"![Image {number}]({url})" for number, url in enumerate(message.get("images", ()), 1)]
        content = "\n\n".join(part for part in (*images, message["content"]) if part)
        parts.append(f"## {message['role'].capitalize()}\n\n{content}")
    return "\n\n".join(parts) + "\n"
