"""The process that runs the code under test: it loads a program, then answers calls until the pipe closes.

Nothing that a test expects ever comes here, so the program may do with this process as it likes: it can lie only by
giving wrong answers.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import types
from typing import Any

from . import wire

MAX_ITEMS = 100_000
MAX_TEXT = 300


class Objects:
    """What cannot travel stays here under a number."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def keep(self, value: Any) -> list[Any]:
        self.kept.append(value)
        return ["h", len(self.kept) - 1]

    def find(self, number: int) -> Any:
        return self.kept[number]


def describe(error: BaseException) -> list[str]:
    """Name and shortened text of an exception."""
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:
        text = ""
    return [type(error).__name__, text]


def load(source: str, name: str) -> types.ModuleType:
    """Run a program as a module of its own."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    random.seed(0)
    exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__)
    return module


def answer_calls(source: str, requests: int, replies: int) -> None:
    """Load ``source``, say how that went, and answer each request on ``requests`` with one message on ``replies``."""
    objects = Objects()
    try:
        module = load(source, "candidate")
    except BaseException as error:
        wire.send(replies, {"error": describe(error)})
        return
    wire.send(replies, {"value": None})
    while (request := wire.receive(requests)) is not None:
        try:
            reply = {"number": request["number"], **_answer(request, module, objects)}
        except BaseException as error:
            reply = {"number": request["number"], "error": describe(error)}
        wire.send(replies, reply)


def _answer(request: dict[str, Any], module: types.ModuleType, objects: Objects) -> dict[str, Any]:
    verb = request["verb"]
    if verb == "global":
        return {"value": wire.encode(getattr(module, request["name"]), objects.keep)}
    target = wire.decode(request["target"], objects.find)
    if verb == "call":
        return _call(target, request, objects)
    if verb == "get":
        return {"value": wire.encode(getattr(target, request["name"]), objects.keep)}
    if verb == "set":
        setattr(target, request["name"], wire.decode(request["value"], objects.find))
        return {"value": None}
    return {"value": wire.encode(list(itertools.islice(target, MAX_ITEMS)), objects.keep)}


def _call(target: Any, request: dict[str, Any], objects: Objects) -> dict[str, Any]:
    """Call, and give back what became of the arguments too: a function may be asked to change a list in place."""
    arguments = [wire.decode(part, objects.find) for part in request["arguments"]]
    named = {name: wire.decode(part, objects.find) for name, part in request["named"].items()}
    value = target(*arguments, **named)
    changed = {}
    for place, argument in enumerate(arguments):
        if isinstance(argument, list | dict | set):
            after = wire.encode(argument, objects.keep)
            if after != request["arguments"][place]:
                changed[place] = after
    return {"value": wire.encode(value, objects.keep), "changed": changed}


def run_program(source: str) -> int:
    """Run a whole program as ``__main__`` and give the exit status it asks for; its errors go to standard error."""
    import traceback

    try:
        load(source, "__main__")
    except SystemExit as leave:
        code = leave.code
        if code is None or isinstance(code, int):
            return (code or 0) & 0xFF
        print(code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def finish(status: int) -> None:
    """Leave with ``status`` without running what the program registered for the exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            status = status or 1
    os._exit(status)
