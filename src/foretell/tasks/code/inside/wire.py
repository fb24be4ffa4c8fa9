"""Values between two processes that do not trust each other, as JSON: what comes out is plain data."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from typing import Any

MAX_MESSAGE = 8 << 20
MAX_DEPTH = 60
SMALL = 1 << 62
SEQUENCES: tuple[tuple[str, Any], ...] = (("l", list), ("t", tuple), ("s", set), ("f", frozenset))


class WireError(Exception):
    """A value that cannot travel, or a message that is none."""


def encode(value: Any, keep: Callable[[Any], Any], depth: int = 0) -> Any:
    """Turn a value into JSON's terms.

    Plain types travel as what they are, their subclasses as the plain type (``Counter`` as a dictionary); for any
    other ``keep`` is asked.

    Raises:
        WireError: where it is nested deeper than 60.
    """
    if value is None or isinstance(value, bool):
        return value
    if depth > MAX_DEPTH:
        raise WireError("a value is nested too deep")
    if isinstance(value, int):
        number = int.__int__(value)
        return number if -SMALL < number < SMALL else ["i", hex(number)]
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    for tag, kind in SEQUENCES:
        if isinstance(value, kind):
            return [tag, [encode(part, keep, depth + 1) for part in kind.__iter__(value)]]
    if isinstance(value, dict):
        pairs = dict.items(value)
        return ["d", [[encode(key, keep, depth + 1), encode(part, keep, depth + 1)] for key, part in pairs]]
    if isinstance(value, complex):
        return ["c", value.real, value.imag]
    if isinstance(value, bytes):
        return ["b", bytes.hex(value)]
    if isinstance(value, range):
        return ["r", *(encode(part, keep) for part in (value.start, value.stop, value.step))]
    return keep(value)


def decode(value: Any, find: Callable[[Any], Any]) -> Any:
    """The value that :func:`encode` was given; ``find`` gives what ``keep`` kept.

    Raises:
        WireError: where ``value`` is nothing that ``encode`` gives.
    """
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise WireError("an object is no value")
        return value
    try:
        return _decode_tagged(value, find)
    except (TypeError, ValueError, IndexError, RecursionError) as error:
        raise WireError(f"a message is malformed ({type(error).__name__})") from None


def _decode_tagged(value: list[Any], find: Callable[[Any], Any]) -> Any:
    tag, content = value[0], value[1]
    if tag == "i":
        return int(content, 16)
    if tag in ("l", "t", "s", "f"):
        kind = dict(SEQUENCES)[tag]
        return kind([decode(part, find) for part in content])
    if tag == "d":
        return {decode(key, find): decode(part, find) for key, part in content}
    if tag == "c":
        return complex(float(content), float(value[2]))
    if tag == "b":
        return bytes.fromhex(content)
    if tag == "r":
        return range(*(decode(part, find) for part in value[1:4]))
    if tag == "h":
        return find(content)
    raise WireError(f"unknown tag {tag!r}")


def send(descriptor: int, message: Any) -> None:
    """Write one message: its length in four bytes, then JSON."""
    send_bytes(descriptor, json.dumps(message).encode())


def send_bytes(descriptor: int, payload: bytes) -> None:
    """Write one frame."""
    view = memoryview(struct.pack("!I", len(payload)) + payload)
    while view:
        view = view[os.write(descriptor, view) :]


def receive_bytes(descriptor: int, most: int = MAX_MESSAGE) -> bytes | None:
    """Read one frame; None at the end of the stream.

    Raises:
        WireError: where it is longer than ``most`` bytes.
    """
    header = _exactly(descriptor, 4)
    if header is None:
        return None
    length = struct.unpack("!I", header)[0]
    if length > most:
        raise WireError(f"a message of {length} bytes is longer than {most}")
    return _exactly(descriptor, length)


def receive(descriptor: int, most: int = MAX_MESSAGE) -> Any:
    """Read one message; None at the end of the stream.

    Raises:
        WireError: where it is too long or no JSON.
    """
    payload = receive_bytes(descriptor, most)
    if payload is None:
        return None
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise WireError("a message is not JSON") from None


def _exactly(descriptor: int, length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        part = os.read(descriptor, min(1 << 20, length - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)
