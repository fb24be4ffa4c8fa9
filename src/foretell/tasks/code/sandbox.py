"""Running programs that nobody has read: isolated, limited, and judged by a process that they cannot reach."""

from __future__ import annotations

import math
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from foretell.core.errors import UserError
from foretell.tasks.code import sandbox_start
from foretell.tasks.code.inside import wire

Status = Literal["passed", "failed", "error", "lost", "died", "timeout", "output", "finished"]
ANSWER_SECONDS = 60.0
MAX_BYTES = wire.MAX_MESSAGE // 8  # what is sent as JSON may take six bytes for one


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    Attributes:
        cpu_seconds: processor time, rounded up to whole seconds.
        wall_seconds: time on the clock, after which it is killed.
        memory_bytes: address space; what it maps beyond raises MemoryError.
        threads: at once; processes it can start none.
        output_bytes: of standard output and error together; one byte more ends it.
        file_bytes: of one file in the scratch folder.
        scratch_bytes: of the scratch folder, which is in memory and vanishes with the program.
        open_files: descriptors at once.
    """

    cpu_seconds: float = 3.0
    wall_seconds: float = 6.0
    memory_bytes: int = 512 << 20
    threads: int = 8
    output_bytes: int = 64 << 10
    file_bytes: int = 8 << 20
    scratch_bytes: int = 16 << 20
    open_files: int = 32

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and value > 0 and math.isfinite(value)):
                raise UserError(f"The sandbox's limit {name} is {value!r}; a positive number is expected.")

    def resources(self) -> dict[str, int]:
        """As setrlimit(2) takes them."""
        return {
            "CPU": math.ceil(self.cpu_seconds),
            "AS": self.memory_bytes,
            "FSIZE": self.file_bytes,
            "NOFILE": self.open_files,
            "NPROC": self.threads + 3,  # the server, the evaluator and the program itself count too
            "CORE": 0,
            "MEMLOCK": 0,
            "MSGQUEUE": 0,
            "RTPRIO": 0,
        }


@dataclass(frozen=True)
class Check:
    """A program and the tests it must pass.

    Attributes:
        program: source that defines the function under test.
        tests: code that raises unless all is well.
        names: functions and classes that the tests take from the program; it can give them no other.
        context: code the tests rely on, from the task and never from the program.
    """

    program: str
    tests: str
    names: tuple[str, ...]
    context: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a program.

    Attributes:
        status: ``passed`` (every test ran to its end), ``failed`` (an assertion), ``error`` (another exception),
            ``lost`` (it ended or broke the protocol while it was tested), ``died`` (by a signal), ``timeout``,
            ``output`` (too much of it), ``finished`` (a program without tests).
        detail: a short reason.
        output: standard output and error, cut at the limit.
        code: exit status of a program without tests; None where it was killed.
        seconds: on the clock.
    """

    status: Status
    detail: str = ""
    output: str = ""
    code: int | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every test ran and held."""
        return self.status == "passed"


class Sandbox:
    """Runs untrusted Python, several programs side by side; a context manager.

    Args:
        limits: of each program.
        workers: programs at once; as many as processors where None.
        unsafe: run without isolation where the machine allows none.
        means: ``bubblewrap``, ``namespaces``, or ``none``, which needs ``unsafe``; the first that works where None.

    Raises:
        UserError: where the machine cannot isolate programs and ``unsafe`` is False.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        workers: int | None = None,
        unsafe: bool = False,
        means: sandbox_start.Means | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.workers = workers or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers or 2
        self._scratch = tempfile.TemporaryDirectory(prefix="foretell-code-")
        first = _first_server(means, unsafe)
        self.means = first.means
        self._idle: queue.Queue[sandbox_start.Pipes | None] = queue.Queue()
        self._idle.put(first)
        for _ in range(self.workers - 1):
            self._idle.put(None)
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every server; calls after this one raise RuntimeError."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self.workers):
            pipes = self._idle.get()
            if pipes is not None:
                sandbox_start.stop(pipes)
        self._scratch.cleanup()

    def run(self, program: str, stdin: str = "") -> Outcome:
        """Run a whole program, which may read ``stdin``, as Python would run a file."""
        return self._job("run", program, stdin.encode(errors="replace"), None)

    def check(self, check: Check) -> Outcome:
        """Run a program against its tests, which it never sees."""
        spec = {"tests": check.tests, "names": check.names, "context": check.context}
        return self._job("check", check.program, b"", spec)

    def check_all(self, checks: Sequence[Check], done: Callable[[Outcome], None] | None = None) -> list[Outcome]:
        """:meth:`check` of each, side by side, in the order given; ``done`` is called as each ends."""

        def one(check: Check) -> Outcome:
            outcome = self.check(check)
            if done:
                with self._lock:
                    done(outcome)
            return outcome

        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(one, checks))

    def _job(self, kind: str, program: str, stdin: bytes, spec: dict[str, Any] | None) -> Outcome:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        # Text that is no Unicode is no program; it is refused by the compiler, not here.
        source = program.encode(errors="surrogatepass")
        if len(source) > MAX_BYTES or len(stdin) > MAX_BYTES:
            return Outcome("error", f"a program or its input is longer than {MAX_BYTES:,} bytes")
        if spec is not None and sum(map(len, (spec["tests"], spec["context"]))) > MAX_BYTES:
            raise UserError(
                f"The tests of a program are longer than {MAX_BYTES:,} characters, the most that are taken."
            )
        for _ in range(2):  # a server can fall victim to a machine that is out of memory; a second one is tried
            result = self._attempt(kind, source, stdin, spec)
            if result is not None:
                return Outcome(**result)
        return Outcome("died", "the sandbox's server was killed twice; the machine may be out of memory")

    def _attempt(self, kind: str, source: bytes, stdin: bytes, spec: dict[str, Any] | None) -> dict[str, Any] | None:
        """The result of a job; None where the server died of it."""
        pipes = self._idle.get()
        result = None
        try:
            if pipes is not None and pipes.process.poll() is not None:
                sandbox_start.stop(pipes)
                pipes = None
            if pipes is None:
                pipes = sandbox_start.start(self.means)
            result = self._converse(pipes, kind, source, stdin, spec)
        finally:
            well = result is not None and result["status"] != "unready"
            if pipes is not None and not well:
                sandbox_start.stop(pipes)
            self._idle.put(pipes if well else None)
        if result is not None and result["status"] == "unready":
            raise UserError(f"The sandbox could not isolate a program, which was not run: {result['detail'][:300]}.")
        return result

    def _converse(
        self, pipes: sandbox_start.Pipes, kind: str, program: bytes, stdin: bytes, spec: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        limits = {
            "resources": self.limits.resources(),
            "wall_seconds": self.limits.wall_seconds,
            "output_bytes": self.limits.output_bytes,
            "scratch_bytes": self.limits.scratch_bytes,
            "scratch": self._scratch.name,
        }
        try:
            wire.send(pipes.control, {"kind": kind, "limits": limits})
            wire.send_bytes(pipes.programs, program)
            wire.send_bytes(pipes.programs, stdin)
            if spec is not None:
                wire.send(pipes.tests, spec)
        except BrokenPipeError:
            pass  # the server says why
        try:
            return sandbox_start.receive(pipes, self.limits.wall_seconds + ANSWER_SECONDS)
        except (OSError, wire.WireError, TimeoutError):
            return None


def _first_server(means: sandbox_start.Means | None, unsafe: bool) -> sandbox_start.Pipes:
    if means == "none" and not unsafe:
        raise UserError("The sandbox's means is 'none', which isolates nothing; it needs unsafe=True (--unsafe-code).")
    if means is not None:
        try:
            return sandbox_start.start(means)
        except UserError as error:
            raise UserError(_refusal([f"{means}: {error}"])) from error
    pipes, reasons = sandbox_start.choose()
    if pipes is None and unsafe:
        pipes = sandbox_start.start("none")
    if pipes is None:
        raise UserError(_refusal(reasons))
    return pipes


def _refusal(reasons: Sequence[str]) -> str:
    return (
        "Programs written by a model are not run here, because this machine cannot isolate them "
        f"({'; '.join(reasons)}); install bubblewrap or allow unprivileged user namespaces, "
        "or run them unprotected with unsafe=True (--unsafe-code)."
    )
