"""Starting a server inside an isolation: through bubblewrap where it is installed, else by the same kernel calls."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foretell.core.errors import UserError
from foretell.tasks.code.inside import kernel, wire
from foretell.tasks.code.sandbox_filter import filter_program

INSIDE = Path(__file__).parent / "inside"
NOBODY = 65534
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store")
START_SECONDS = 30.0
BOOT = "import sys; sys.path.insert(0, {folder!r}); from inside import server; del sys.path[0]; server.main()"

Means = Literal["bubblewrap", "namespaces", "none"]


@dataclass
class Pipes:
    """A running server and this side's ends of its pipes."""

    process: subprocess.Popen[bytes]
    control: int
    programs: int
    tests: int
    results: int
    means: Means


def visible() -> dict[str, Any]:
    """What a program sees of the machine, read-only: interpreter, standard library, and the system's libraries."""
    executable = Path(sys.executable).resolve()
    library = Path(os.__file__).resolve().parent
    wanted = [str(library), str(Path(sys.base_prefix).resolve() / "lib")]
    links = {name: str(Path(name).readlink()) for name in LIBRARIES if Path(name).is_symlink()}
    wanted += [name for name in LIBRARIES if Path(name).is_dir() and name not in links]
    folders: list[str] = []
    for folder in sorted({name for name in wanted if Path(name).is_dir()}, key=lambda name: name.count("/")):
        if not _is_below(folder, folders):
            folders.append(folder)
    folders.append(str(executable))
    packages = [
        *library.glob("site-packages"),
        *library.glob("dist-packages"),
        library.parent / "python3/dist-packages",
    ]
    hidden = [str(path) for path in packages if path.is_dir()]
    return {"folders": folders, "hidden": [path for path in hidden if _is_below(path, folders)], "links": links}


def _is_below(path: str, folders: list[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def start(means: Means) -> Pipes:
    """Start a server and wait until it is ready.

    Raises:
        UserError: saying what the machine lacks for this means.
    """
    if means == "bubblewrap" and not bubblewrap_path():
        raise UserError("bwrap is not installed")
    program = filter_program() if means != "none" else b""
    view = visible()
    rooted = means != "none" and os.geteuid() == 0
    theirs, ours = _pipes()
    settings = {
        "isolated": means != "none",
        "view": view if means == "namespaces" else None,
        "user": NOBODY if rooted else 0,
        "landlock": kernel.landlock_version() if means != "none" else 0,
        "readable": [*view["folders"], *view["links"]],
        "channels": theirs,
    }
    # Own modules are found beside this file, or where bubblewrap shows them.
    boot = BOOT.format(folder="/sandbox" if means == "bubblewrap" else str(INSIDE.parent))
    executable = str(Path(sys.executable).resolve())
    # -S, -s, -P: no packages, no user's folder, no current folder; the hash seed keeps verdicts reproducible.
    command = [executable, "-S", "-s", "-P", "-B", "-c", boot, json.dumps(settings)]
    if means == "bubblewrap":
        command = [*_bubblewrap(view, rooted), *command]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PYTHONHASHSEED": "0"},
        cwd="/",
        pass_fds=tuple(theirs.values()),
        start_new_session=True,
    )
    for descriptor in theirs.values():
        os.close(descriptor)
    pipes = Pipes(process, means=means, **ours)
    wait_ready(pipes, program)
    return pipes


def wait_ready(pipes: Pipes, program: bytes) -> None:
    """Hand the filter over and hear whether the server stands.

    Raises:
        UserError: with the reason of its refusal.
    """
    try:
        wire.send_bytes(pipes.control, program)
        word = receive(pipes, START_SECONDS)
    except (OSError, wire.WireError, TimeoutError) as error:
        word = {"refused": str(error)}
    if word is None or word["refused"] is not None:
        reason = word["refused"] if word else ""
        stop(pipes)
        said = pipes.process.stderr.read().decode(errors="replace").strip() if pipes.process.stderr else ""
        raise UserError(said.rpartition("\n")[2] or reason or f"it ended with status {pipes.process.returncode}")


def receive(pipes: Pipes, seconds: float) -> Any:
    """The server's next message; None where it is gone.

    Raises:
        TimeoutError: where none comes in time.
    """
    poll = select.poll()
    poll.register(pipes.results, select.POLLIN)
    deadline = time.monotonic() + seconds
    while not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"no word within {seconds:g} s")
    return wire.receive(pipes.results)


def stop(pipes: Pipes) -> None:
    """End a server with everything in it: its process group, and with its first process the whole namespace."""
    for descriptor in (pipes.control, pipes.programs, pipes.tests, pipes.results):
        os.close(descriptor)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pipes.process.pid, 9)
    pipes.process.wait()


def _pipes() -> tuple[dict[str, int], dict[str, int]]:
    theirs, ours = {}, {}
    for name in ("control", "programs", "tests"):
        theirs[name], ours[name] = os.pipe()
    ours["results"], theirs["results"] = os.pipe()
    return theirs, ours


def _bubblewrap(view: dict[str, Any], rooted: bool) -> list[str]:
    command = [bubblewrap_path() or "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try"]
    # A root gives its identity up inside, for which it needs these two; another user gets a namespace to be user in.
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if rooted else ["--unshare-user"]
    shown = {*view["folders"], "/sandbox/inside"}
    # Folders on the way are made so that everyone may pass; bubblewrap alone would make them its user's.
    for parent in sorted({str(parent) for folder in shown for parent in Path(folder).parents} - {"/"}):
        command += ["--dir", parent]
    for folder in view["folders"]:
        command += ["--ro-bind", folder, folder]
    for folder in view["hidden"]:
        command += ["--tmpfs", folder, "--remount-ro", folder]
    for name, target in view["links"].items():
        command += ["--symlink", target, name]
    command += ["--ro-bind", str(INSIDE), "/sandbox/inside", "--proc", "/proc", "--dir", "/tmp"]
    return [*command, "--remount-ro", "/", "--chdir", "/", "--"]


def bubblewrap_path() -> str | None:
    """Where bubblewrap is, None where it is not installed."""
    return shutil.which("bwrap")


def choose() -> tuple[Pipes | None, list[str]]:
    """Start a server by the first means that this machine allows; else the reasons, one for each means tried."""
    reasons: list[str] = []
    if sys.platform != "linux":
        return None, [f"{sys.platform} has no Linux namespaces"]
    means: tuple[Means, ...] = ("bubblewrap", "namespaces")
    for mean in means:
        try:
            return start(mean), reasons
        except UserError as error:
            reasons.append(f"{mean}: {error}")
    return None, reasons
