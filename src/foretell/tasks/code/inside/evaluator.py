"""The process that runs the tests: it reaches the code under test by messages alone, and its word is the verdict.

The program's functions appear here as stand-ins that send their arguments and decode plain values from what comes
back. No object of the program's making is ever compared, so none can claim to be equal to everything.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Any

from . import wire

NEVER_RAISED = ("StopIteration", "StopAsyncIteration")  # these end loops, and so skip tests, where they are raised


class CandidateError(Exception):
    """The program raised an exception that has no counterpart here."""


class LostError(BaseException):
    """The program left or talks nonsense; no test that follows can have run."""


class Link:
    """The pipes to the program."""

    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = requests, replies
        self.number = 0
        self.lost = ""

    def loaded(self) -> list[str] | None:
        """The error with which the program failed to load, None where it loaded."""
        try:
            reply = wire.receive(self.replies)
        except wire.WireError as error:
            return ["CandidateError", str(error)]
        if not isinstance(reply, dict):
            return ["SystemExit", "the program ended before it was tested"]
        return [str(part) for part in reply["error"]][:2] if "error" in reply else None

    def ask(self, verb: str, **content: Any) -> dict[str, Any]:
        """Send a request and wait for its reply.

        Raises:
            Exception: of the kind that the program raised.
            LostError: where the program is gone.
        """
        if self.lost:
            raise LostError(self.lost)
        self.number += 1
        try:
            wire.send(self.requests, {"verb": verb, "number": self.number, **content})
            reply = wire.receive(self.replies)
        except (OSError, wire.WireError) as error:
            raise self.lose(str(error)) from None
        if not isinstance(reply, dict) or reply.get("number") != self.number:
            raise self.lose("the program ended during a test" if reply is None else "the program spoke out of turn")
        if "error" in reply:
            raise remote_exception(reply["error"])
        if "value" not in reply:
            raise self.lose("the program gave no value")
        return reply

    def lose(self, reason: str) -> LostError:
        self.lost = reason
        return LostError(reason)

    def value(self, encoded: Any) -> Any:
        """Decode a value of the program's."""
        try:
            return wire.decode(encoded, lambda number: Remote(self, number))
        except wire.WireError as error:
            raise self.lose(str(error)) from None

    def take(self, name: str) -> Any:
        """A name of the program's; None where it has none."""
        try:
            return self.value(self.ask("global", name=name)["value"])
        except Exception:
            return None


def remote_exception(described: Any) -> Exception:
    """An exception as the program raised it, of the built-in class of that name where there is one."""
    try:
        name, text = str(described[0]), str(described[1])
    except (TypeError, KeyError, IndexError):
        return CandidateError("an exception without a name")
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and name not in NEVER_RAISED:
        try:
            return kind(text)
        except TypeError:
            pass  # UnicodeDecodeError and its like want more than a text
    return CandidateError(f"{name}: {text}")


def _unable(value: Any) -> Any:
    if isinstance(value, Remote):
        return ["h", object.__getattribute__(value, "_number")]
    raise TypeError(f"a test passes a {type(value).__name__}, which cannot be sent to the program")


class Remote:
    """An object that stayed with the program: it can be called, iterated, and its attributes read and set."""

    __slots__ = ("_link", "_number")

    def __init__(self, link: Link, number: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        link: Link = object.__getattribute__(self, "_link")
        reply = link.ask(
            "call",
            target=_unable(self),
            arguments=[wire.encode(part, _unable) for part in arguments],
            named={name: wire.encode(part, _unable) for name, part in named.items()},
        )
        for place, encoded in dict(reply.get("changed") or {}).items():
            _restore(arguments[int(place)], link.value(encoded))
        return link.value(reply["value"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        link: Link = object.__getattribute__(self, "_link")
        return link.value(link.ask("get", target=_unable(self), name=name)["value"])

    def __setattr__(self, name: str, value: Any) -> None:
        link: Link = object.__getattribute__(self, "_link")
        link.ask("set", target=_unable(self), name=name, value=wire.encode(value, _unable))

    def __iter__(self) -> Iterator[Any]:
        link: Link = object.__getattribute__(self, "_link")
        return iter(link.value(link.ask("list", target=_unable(self))["value"]))


def _restore(argument: Any, after: Any) -> None:
    """Do to a test's own argument what the program did to its copy."""
    if isinstance(argument, list) and isinstance(after, list):
        argument[:] = after
    elif isinstance(argument, dict | set) and isinstance(after, type(argument)):
        argument.clear()
        argument.update(after)


def evaluate(spec: Mapping[str, Any], requests: int, replies: int) -> dict[str, str]:
    """Run tests against the program at the other end of the pipes.

    Args:
        spec: ``context``, code that the tests may rely on (imports, helpers that the prompt defines); ``names``, the
            functions and classes that the tests take from the program, and no others; ``tests``, code that raises
            where it fails.

    Returns:
        ``status`` (``passed``, ``failed``, ``error``, ``lost``) and ``detail``.
    """
    link = Link(requests, replies)
    error = link.loaded()
    if error:
        return {"status": "error", "detail": f"{error[0]}: {error[1]}"}
    scope: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    try:
        exec(compile(spec["context"], "context.py", "exec", dont_inherit=True), scope)
        for name in spec["names"]:
            scope[name] = link.take(name)
            if not isinstance(scope[name], Remote):
                return {"status": "error", "detail": f"there is no function {name}"}
        exec(compile(spec["tests"], "tests.py", "exec", dont_inherit=True), scope)
    except LostError:
        pass
    except AssertionError as failure:
        return {"status": "failed", "detail": str(failure)[:300]}
    except BaseException as failure:
        return {"status": "error", "detail": f"{type(failure).__name__}: {failure}"[:300]}
    if link.lost:
        return {"status": "lost", "detail": link.lost}
    return {"status": "passed", "detail": ""}
