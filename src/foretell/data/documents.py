"""What every reader yields, and the order in which a seed visits it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its provenance."""

    text: str
    project: str
    """What is held out as a whole: a distribution, a repository, a file, a web host."""
    location: str
    """Path or URL for people; ``file#3`` is the fourth section or the third row of a file."""
    licence: str | None
    identity: str
    """Unique within its source and the same on every machine; the sampling order is a hash of it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is binary, not UTF-8, or gone."""

    location: str
    bytes: int


Item = Document | Unreadable


@dataclass(frozen=True)
class Listing:
    """A source that was listed and not yet read."""

    files_found: int
    read_at_least: int
    """Bytes to read before the sample may be cut: files that hold many documents must all have their turn."""
    items: Iterator[Item]
    """Documents in the seed's order of files, read as they are asked for."""


def keyed_hash(seed: int, *parts: str) -> int:
    """A 64-bit number that depends on ``seed`` and ``parts`` alone (BLAKE2b), for orders without a shuffle."""
    key = seed.to_bytes(16, "little", signed=True)
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=8, key=key).digest())


def decode_text(data: bytes) -> str | None:
    """UTF-8 text without its byte-order mark, or ``None`` for binary data (a NUL byte) and other encodings."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
