"""Every escape fails, every bomb is stopped, and no forged verdict passes, by each means that this machine has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_escapes import BOMBS, PROGRAMS
from code_forgeries import FORGERIES

from foretell.tasks.code.sandbox import Check, Limits, Sandbox
from isolation import isolated

SECRET = "correct-horse-battery-staple"
LIMITS = Limits(cpu_seconds=1, wall_seconds=1.5, memory_bytes=256 << 20)


@pytest.fixture(scope="module", params=["namespaces", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    os.environ["FORETELL_TEST_SECRET"] = SECRET
    try:
        with isolated(lambda: Sandbox(LIMITS, workers=1, means=request.param), request.param) as made:
            yield made
    finally:
        del os.environ["FORETELL_TEST_SECRET"]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """A file, a server and a value in memory that no program may reach; the first two are tried from here."""
    marker = tmp_path_factory.mktemp("outside") / "marker"
    marker.write_text(SECRET)
    value = ctypes.create_string_buffer(SECRET.encode())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        server.accept()[0].close()
        yield {
            "port": port,
            "pid": os.getpid(),
            "marker": str(marker),
            "secret": SECRET,
            "mapped": ctypes.addressof(value),
        }
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def filled(program: str, outside: dict[str, object]) -> str:
    for name, value in outside.items():
        program = program.replace(f"{{{name}!r}}", repr(value)).replace(f"{{{name}}}", str(value))
    return program.replace("{{}}", "{}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_gets_out(name: str, sandbox: Sandbox, outside: dict[str, object]) -> None:
    outcome = sandbox.run(filled(PROGRAMS[name], outside))
    assert "ESCAPED" not in outcome.output, outcome
    assert SECRET not in outcome.output
    assert "HELD" in outcome.output or outcome.status == "died", outcome


@pytest.mark.parametrize("name", BOMBS)
def test_every_bomb_is_stopped(name: str, sandbox: Sandbox) -> None:
    program, status, words = BOMBS[name]
    started = time.monotonic()
    outcome = sandbox.run(program)
    assert time.monotonic() - started < LIMITS.wall_seconds + 2
    assert outcome.status == status, outcome
    assert words.lower() in outcome.output.lower(), outcome
    assert len(outcome.output) <= LIMITS.output_bytes
    assert sandbox.run("print('still here')").output == "still here\n"


@pytest.mark.parametrize("name", FORGERIES)
def test_no_verdict_is_forged(name: str, sandbox: Sandbox) -> None:
    tests = "SECRET = 8674665\nassert f(3) == SECRET\nassert list(map(f, [3, 4])) == [SECRET, 4]\nassert f(4) != f(3)\n"
    outcome = sandbox.check(Check(FORGERIES[name], tests, ("f",)))
    assert outcome.status in ("failed", "error", "lost", "timeout", "died"), outcome
    only_exception = "try:\n    f(1)\nexcept:\n    pass\nassert f(2) == 8674665"
    assert not sandbox.check(Check(FORGERIES[name], only_exception, ("f",))).passed


def test_a_right_program_passes_the_same_tests(sandbox: Sandbox) -> None:
    tests = "SECRET = 8674665\nassert f(3) == SECRET\nassert list(map(f, [3, 4])) == [SECRET, 4]\nassert f(4) != f(3)\n"
    outcome = sandbox.check(Check("def f(x): return 8674665 if x == 3 else x", tests, ("f",)))
    assert outcome.passed, outcome


def test_no_process_is_left(sandbox: Sandbox) -> None:
    def below(parent: int) -> set[int]:
        pairs = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it may end meanwhile
                    after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                    pairs.append((int(entry.name), int(after_name[1])))
        found = {parent}
        while more := {child for child, above in pairs if above in found} - found:
            found |= more
        return found

    sandbox.run("pass")
    before = below(os.getpid())
    for name in ("fork bomb", "threads without end", "daemon by setsid"):
        sandbox.run(PROGRAMS[name])
    sandbox.check(Check("import time\ndef f(x): time.sleep(100)", "f(1)", ("f",)))
    gone = time.monotonic() + 5
    while (left := below(os.getpid()) - before) and time.monotonic() < gone:
        time.sleep(0.05)
    assert not left


def test_memory_of_a_program_holds_no_test_and_no_other_program(sandbox: Sandbox) -> None:
    """A program reads all the memory that it can find mapped, by following pointers of the C library's heap."""
    sandbox.check(Check("def f(x): return 'Xq7vProgram'", "assert f(1) == 'Xq7vTest'", ("f",)))
    # The pattern does not match itself, and the last word, made here, shows that the search finds what is there.
    search = """
import ctypes, gc, os, re
pattern, mine = re.compile(rb"X[q]7[v](Test|Program|Mine)"), "".join(["X", "q", "7", "v", "Mine"]).encode() * 3
libc, (read, write) = ctypes.CDLL(None), os.pipe()
objects = [id(o) for o in gc.get_objects()] + [id(mine)]
pages = {(address & ~0xFFF) + step * 4096 for address in objects for step in range(-64, 65)}
found, seen = set(), 0
for page in sorted(pages):
    if libc.write(write, ctypes.c_void_p(page), 4096) == 4096:  # where nothing is mapped it fails with EFAULT
        found |= set(pattern.findall(os.read(read, 4096)))
        seen += 1
print(seen, found)
"""
    outcome = sandbox.run(search)
    assert outcome.output.endswith("{b'Mine'}\n"), outcome
    assert int(outcome.output.split()[0]) > 500


def test_the_scratch_folder_is_new_for_every_program(sandbox: Sandbox) -> None:
    for _ in range(2):
        assert sandbox.run("import os\nprint(os.listdir('.'))\nopen('left', 'w').write('x')").output == "[]\n"


def test_programs_in_parallel_do_not_meet(sandbox: Sandbox) -> None:
    with Sandbox(LIMITS, workers=2, means=sandbox.means) as both:
        results: list[str] = []
        program = "import os, time\nopen('/tmp/x', 'x').close()\ntime.sleep(0.3)\nprint(os.listdir('/tmp'))"
        threads = [threading.Thread(target=lambda: results.append(both.run(program).output)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == ["['x']\n"] * 4


# Programs that do no harm where nothing holds them.
HARMLESS = (
    "fork", "clone by ctypes", "subprocess", "os.system", "pidfd of the parent", "/proc of the parent",
    "/proc of itself",
    "reading a file outside", "reading /etc/passwd", "listing the root", "symbolic link", "walking up", "device null",
    "memfd", "TCP by ctypes", "UDP", "Unix socket",
)  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_the_programs_do_escape_where_nothing_is_isolated(
    name: str, outside: dict[str, object], tmp_path: Path
) -> None:
    program = filled(PROGRAMS[name].replace("/tmp/", f"{tmp_path}/"), outside)
    with Sandbox(LIMITS, workers=1, unsafe=True, means="none") as open_box:
        assert "ESCAPED" in open_box.run(program).output


def test_marker_is_readable_from_outside(outside: dict[str, object]) -> None:
    assert Path(str(outside["marker"])).read_text() == SECRET
