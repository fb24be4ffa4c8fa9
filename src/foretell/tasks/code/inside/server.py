"""A server that keeps a warm interpreter inside the isolation and runs each program in a child of its own.

It is started with a folder, the descriptors of its four pipes and settings in JSON. Programs and tests pass it by:
each is read by the child that it is meant for, so the memory that a child inherits holds no other program and no test.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import candidate, evaluator, kernel, wire

ISOLATION_FAILED = 97
READY_SECONDS = 30.0
GRACE_SECONDS = 0.2
WARM = (
    "array bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools json "
    "math operator random re statistics string struct typing traceback"
)


@dataclass(frozen=True)
class Channels:
    """Descriptors: requests of the parent, programs, tests, and results."""

    control: int
    programs: int
    tests: int
    results: int


class Server:
    """Runs jobs one after another.

    Args:
        settings: ``isolated``, ``user`` to become where started by root, ``landlock`` (ABI), ``readable`` folders.
        filter_program: the seccomp filter; empty where nothing is isolated.
    """

    def __init__(self, channels: Channels, settings: dict[str, Any], filter_program: bytes) -> None:
        self.channels, self.settings, self.filter = channels, settings, filter_program
        self.own_namespace = -1

    def lower(self) -> None:
        """Become a user of a namespace of its own, whose only powers are over the namespaces that it makes."""
        if self.settings["user"]:
            kernel.become(self.settings["user"])
        kernel.enter_user_namespace()
        kernel.unshare(kernel.CLONE_NEWPID)
        child = os.fork()
        if child:  # the namespace of processes begins with the child
            for descriptor in vars(self.channels).values():
                os.close(descriptor)
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        kernel.die_with_parent()
        self.own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def probe(self) -> None:
        """Isolate a child that runs nothing, so that a kernel that cannot is known before there is a program.

        Raises:
            OSError: with the step that failed.
        """
        said, end = os.pipe()
        child = self.fork({"scratch_bytes": 1 << 16, "resources": {}}, {"input": end, "output": end}, self._shut_only)
        os.close(end)
        _, status = os.waitpid(child, 0)
        with os.fdopen(said) as stream:
            reason = stream.read()
        if status:
            raise OSError(reason or f"the child ended with status {os.waitstatus_to_exitcode(status)}")

    def _shut_only(self, kept: dict[str, int]) -> int:
        self.shut()
        return 0

    def serve(self) -> None:
        """Answer jobs until the parent closes its pipe."""
        for name in WARM.split():
            __import__(name)
        gc.collect()
        gc.freeze()
        while (job := wire.receive(self.channels.control)) is not None:
            result = Job(self, job).conduct()
            wire.send(self.channels.results, result)
            if result["status"] == "unready":  # who was to read what is still in the pipes is gone
                return

    def fork(self, limits: dict[str, Any], keep: dict[str, int], work: Callable[[dict[str, int]], int]) -> int:
        """Start a child that isolates itself, does ``work`` and ends with the status that it returns.

        Args:
            keep: descriptors that the child may use; every other one is closed to it.
        """
        if self.settings["isolated"]:
            kernel.unshare(kernel.CLONE_NEWPID)
        child = os.fork()
        if child:
            if self.settings["isolated"]:
                kernel.call("setns", self.own_namespace, kernel.CLONE_NEWPID)
            return child
        try:
            kept = _keep_only(keep)
            self._isolate(limits)
            status = work(kept)
        except BaseException as error:
            os.write(2, f"isolation failed: {error}".encode())
            os._exit(ISOLATION_FAILED)
        candidate.finish(status)
        return 0

    def _isolate(self, limits: dict[str, Any]) -> None:
        os.environ.clear()
        if self.settings["isolated"]:
            kernel.die_with_parent()
            kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)
            flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            options = f"size={limits['scratch_bytes']},nr_inodes=1024,mode=700"
            kernel.mount("scratch", "/tmp", "tmpfs", flags, options)
            kernel.mount("empty", "/proc", "tmpfs", flags | kernel.MS_RDONLY, "size=4k,nr_inodes=2")
            os.chdir("/tmp")
        else:
            os.setsid()
            os.chdir(limits["scratch"])
        kernel.limit(limits["resources"])

    def shut(self) -> None:
        """Take the last powers away; called by a child when it has read what it runs."""
        if self.settings["isolated"]:
            kernel.drop_capabilities()
            if self.settings["landlock"]:
                kernel.landlock(self.settings["landlock"], self.settings["readable"], ["/tmp"])
            kernel.seccomp(self.filter)


def _keep_only(keep: dict[str, int]) -> dict[str, int]:
    """Move descriptors to the lowest numbers after the standard three and close all others.

    Keys: ``input``, ``output`` (twice) become 0, 1 and 2; the others follow in order.
    """
    high = {name: os.dup2(descriptor, 100 + place, False) for place, (name, descriptor) in enumerate(keep.items())}
    order = [high["input"], high["output"], high["output"]]
    names = [name for name in keep if name not in ("input", "output")]
    order += [high[name] for name in names]
    for place, descriptor in enumerate(order):
        os.dup2(descriptor, place, False)
    os.closerange(len(order), os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)
    return {name: place + 3 for place, name in enumerate(names)}


class Job:
    """One program, with or without tests, from its start to the last of its processes."""

    def __init__(self, server: Server, job: dict[str, Any]) -> None:
        self.server, self.limits, self.kind = server, job["limits"], job["kind"]
        self.output = bytearray()
        self.verdict = bytearray()
        self.opened: list[int] = []

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self.opened += ends
        return ends

    def conduct(self) -> dict[str, Any]:
        """Run it; the result has ``status``, ``detail``, ``output``, ``code`` and ``seconds``."""
        empty, empty_end = self.pipe()
        os.close(empty_end)
        self.opened.remove(empty_end)
        output, output_end = self.pipe()
        ready, ready_end = self.pipe()
        verdict, verdict_end = self.pipe()
        requests, requests_end = self.pipe()
        replies, replies_end = self.pipe()
        keep = {"input": empty, "output": output_end, "source": self.server.channels.programs, "ready": ready_end}
        keep |= {"requests": requests, "replies": replies_end}
        children = [self.server.fork(self.limits, keep, self.run_candidate)]
        if self.kind == "check":
            keep = {"input": empty, "output": output_end, "tests": self.server.channels.tests, "ready": ready_end}
            keep |= {"verdict": verdict_end, "requests": requests_end, "replies": replies}
            children.append(self.server.fork(self.limits, keep, self.run_evaluator))
        for descriptor in (empty, output_end, ready_end, verdict_end, requests, requests_end, replies, replies_end):
            os.close(descriptor)
            self.opened.remove(descriptor)
        try:
            return self.watch(children, output, ready, verdict)
        finally:
            for descriptor in self.opened:
                os.close(descriptor)

    def run_candidate(self, kept: dict[str, int]) -> int:
        source = wire.receive_bytes(kept["source"])
        given = wire.receive_bytes(kept["source"]) or b""
        if source is None:
            return ISOLATION_FAILED
        if self.kind == "run":
            self._give_input(given)
        os.close(kept["source"])
        self.server.shut()
        os.write(kept["ready"], b"c")
        os.close(kept["ready"])
        if self.kind == "run":
            os.close(kept["requests"])
            os.close(kept["replies"])
            return candidate.run_program(source.decode())
        candidate.answer_calls(source.decode(), kept["requests"], kept["replies"])
        return 0

    @staticmethod
    def _give_input(given: bytes) -> None:
        descriptor = os.open(".input", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(".input")  # noqa: PTH108
        while given:
            given = given[os.write(descriptor, given) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.dup2(descriptor, 0, False)
        os.close(descriptor)

    def run_evaluator(self, kept: dict[str, int]) -> int:
        spec = wire.receive(kept["tests"])
        os.close(kept["tests"])
        self.server.shut()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.write(kept["ready"], b"e")
        os.close(kept["ready"])
        found = evaluator.evaluate(spec, kept["requests"], kept["replies"])
        wire.send(kept["verdict"], found)
        return 0

    def watch(self, children: list[int], output: int, ready: int, verdict: int) -> dict[str, Any]:
        """Gather output and verdict until the last word or the deadline, then kill and bury every child."""
        started = time.monotonic()
        try:
            isolated = self._wait_ready(ready, len(children))
            started = time.monotonic()
            stopped = self._gather(children[0], output, verdict, started + self.limits["wall_seconds"])
        finally:
            codes = [self._bury(child) for child in children]
        seconds = time.monotonic() - started
        self._drain(output)
        code = codes[0] if self.kind == "run" else None
        result = {"code": code, "seconds": seconds, "output": self.output.decode(errors="replace")}
        if not isolated or ISOLATION_FAILED in codes[1:]:
            return {**result, "status": "unready", "detail": result["output"]}
        return {**result, **self._status(stopped, codes)}

    def _wait_ready(self, ready: int, count: int) -> bool:
        seen = b""
        while len(seen) < count:
            if not select.select([ready], [], [], READY_SECONDS)[0]:
                return False
            part = os.read(ready, 2)
            if not part:
                return False
            seen += part
        return True

    def _gather(self, first: int, output: int, verdict: int, deadline: float) -> str:
        poll = select.poll()
        open_ends = {output, verdict} if self.kind == "check" else {output}
        for descriptor in (*open_ends, self.server.channels.control):
            poll.register(descriptor, select.POLLIN)
        while open_ends and (self.kind == "run" or verdict in open_ends):
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for descriptor, event in poll.poll(left * 1000):
                if descriptor == self.server.channels.control:
                    if event & select.POLLHUP:
                        os._exit(0)  # the parent is gone; the kernel takes the rest along
                    continue
                part = os.read(descriptor, 65536)
                if not part:
                    poll.unregister(descriptor)
                    open_ends.discard(descriptor)
                elif descriptor == verdict:
                    self.verdict += part
                else:
                    self.output += part
                    if len(self.output) > self.limits["output_bytes"]:
                        del self.output[self.limits["output_bytes"] :]
                        return "output"
        if self.kind == "run":
            # Its output is closed; it may go on for as long as it has time.
            while time.monotonic() < deadline:
                if _has_ended(first):
                    return ""
                time.sleep(0.002)
            return "timeout"
        return ""

    def _drain(self, output: int) -> None:
        os.set_blocking(output, False)
        try:
            while len(self.output) < self.limits["output_bytes"] and (part := os.read(output, 65536)):
                self.output += part
        except BlockingIOError:
            pass
        del self.output[self.limits["output_bytes"] :]

    def _bury(self, child: int) -> int | None:
        """Kill a child unless it ended by itself; its exit code, None where it was killed here."""
        until = time.monotonic() + (GRACE_SECONDS if b'"lost"' in self.verdict else 0)
        while not (ended := _has_ended(child)) and time.monotonic() < until:
            time.sleep(0.001)
        if not self.server.settings["isolated"]:
            _kill_group(child)
        elif not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) if ended else None

    def _status(self, stopped: str, codes: list[int | None]) -> dict[str, str]:
        if stopped == "timeout":
            return {"status": "timeout", "detail": f"ran longer than {self.limits['wall_seconds']:g} s"}
        if stopped == "output":
            return {"status": "output", "detail": f"wrote more than {self.limits['output_bytes']} bytes"}
        # The kernel ends with SIGKILL what has used up its processor time.
        if (self.kind == "run" or b'"lost"' in self.verdict) and codes[0] in (-signal.SIGXCPU, -signal.SIGKILL):
            allowed = self.limits["resources"]["CPU"]
            return {"status": "timeout", "detail": f"was killed for more than {allowed} s of processor, or for memory"}
        if self.kind == "run":
            return {"status": "finished" if (codes[0] or 0) >= 0 else "died", "detail": ""}
        try:
            found: dict[str, str] = json.loads(self.verdict[4:])
        except ValueError:
            return {"status": "died", "detail": f"the tests ended with status {codes[1]}"}
        return found


def _kill_group(leader: int) -> None:
    """The best that can be done without a namespace, whose first process would take all others along."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        os.kill(leader, signal.SIGKILL)


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main() -> None:
    """Serve; see :mod:`foretell.tasks.code.sandbox_start` for the arguments."""
    settings = json.loads(sys.argv[1])
    channels = Channels(**settings["channels"])
    filter_program = wire.receive_bytes(channels.control) or b""
    server = Server(channels, settings, filter_program)
    try:
        if settings["isolated"]:
            if settings["view"]:
                from . import view

                view.enter(settings["view"], rooted=bool(settings["user"]))
            server.lower()
            server.probe()
    except OSError as error:
        wire.send(channels.results, {"refused": str(error)})
        return
    wire.send(channels.results, {"refused": None})
    server.serve()
