"""What the sandbox runs, refuses and reports."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from foretell.core.errors import UserError
from foretell.tasks.code import sandbox_start
from foretell.tasks.code.inside import wire
from foretell.tasks.code.sandbox import Check, Limits, Sandbox
from isolation import isolated


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with isolated(lambda: Sandbox(workers=2)) as made:
        yield made


def test_a_program_reads_its_input_and_writes_both_streams(sandbox: Sandbox) -> None:
    program = "import sys\nname = input()\nprint('hello', name)\nprint('so', file=sys.stderr)\nsys.exit(3)"
    outcome = sandbox.run(program, "Ada\n")
    assert outcome.status == "finished" and outcome.code == 3
    assert sorted(outcome.output.splitlines()) == ["hello Ada", "so"]


def test_main_blocks_run_in_programs_and_not_under_tests(sandbox: Sandbox) -> None:
    program = "done = __name__ == '__main__'\nprint(done)\ndef f(): return done"
    assert sandbox.run(program).output == "True\n"
    assert sandbox.check(Check(program, "assert f() is False", ("f",))).passed


def test_the_standard_library_is_there_and_threads_work(sandbox: Sandbox) -> None:
    program = """
        import collections, ctypes, csv, dataclasses, decimal, email, sqlite3, hashlib, threading, tempfile, unicodedata
        found = []
        threads = [threading.Thread(target=found.append, args=(number,)) for number in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        with tempfile.TemporaryFile() as file:
            file.write(b'abc')
        @dataclasses.dataclass
        class Point:
            x: int
        print(sorted(found), sqlite3.connect(':memory:').execute('select 1').fetchone(), Point(1))
    """
    outcome = sandbox.run(textwrap.dedent(program))
    assert outcome.output == "[0, 1, 2, 3] (1,) Point(x=1)\n", outcome


def test_programs_give_the_same_every_time(sandbox: Sandbox) -> None:
    program = "import random\nprint(random.random(), hash('x'), list({'a', 'b', 'c'}))"
    assert sandbox.run(program).output == sandbox.run(program).output


VALUES = [
    (None, True, 1, -1.5, "text", b"bytes", 1j, range(3)),
    [[], {}, set(), frozenset({1}), {1: [2, (3,)]}, {(1, 2): "key"}],
    [10**5000, -(1 << 70), float("inf"), "\ud800", "\x00", 0.1],
]


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back_as_they_went(value: object, sandbox: Sandbox) -> None:
    tests = (
        f"""
        import sys
        sys.set_int_max_str_digits(0)
        inf = float('inf')
        value = {value!r}
        found = f(value)
        assert found == value and type(found) is type(value)
        assert all(type(a) is type(b) for a, b in zip(found, value))
    """
        if value is not VALUES[2]
        else "v = [10**5000, -(1 << 70), float('inf'), '\\ud800', '\\x00', 0.1]\nassert f(v) == v"
    )
    outcome = sandbox.check(Check("def f(x): return x", textwrap.dedent(tests), ("f",)))
    assert outcome.passed, outcome


def test_subclasses_come_back_as_plain_values(sandbox: Sandbox) -> None:
    program = "import collections\ndef f(x): return collections.Counter(x)"
    assert sandbox.check(
        Check(program, "assert f('aab') == {'a': 2, 'b': 1}\nassert type(f('')) is dict", ("f",))
    ).passed


def test_arguments_changed_in_place_are_changed_for_the_tests(sandbox: Sandbox) -> None:
    tests = "v = [3, 1]\nassert f(v, d := {}) is None\nassert v == [1, 3] and d == {'n': 2}"
    assert sandbox.check(Check("def f(x, d):\n    x.sort()\n    d['n'] = len(x)", tests, ("f",))).passed


def test_exceptions_reach_the_tests_by_their_class(sandbox: Sandbox) -> None:
    tests = "try:\n    f()\nexcept ValueError as error:\n    assert str(error) == 'no'\nelse:\n    assert False"
    assert sandbox.check(Check("def f(): raise ValueError('no')", tests, ("f",))).passed
    assert sandbox.check(Check("def f(): raise KeyError('no')", tests, ("f",))).status == "error"


def test_objects_of_the_program_can_be_made_and_used_by_tests(sandbox: Sandbox) -> None:
    program = """
        class Node:
            def __init__(self, value):
                self.value, self.left, self.right = value, None, None
        def total(node):
            return node.value + total(node.left) + total(node.right) if node else 0
        def numbers():
            yield from (1, 2)
    """
    tests = "root = Node(1)\nroot.left = Node(2)\nassert total(root) == 3\nassert list(numbers()) == [1, 2]"
    outcome = sandbox.check(Check(textwrap.dedent(program), tests, ("Node", "total", "numbers")))
    assert outcome.passed, outcome


def test_a_function_named_like_a_built_in_one_is_the_one_tested(sandbox: Sandbox) -> None:
    assert sandbox.check(Check("def sum(a, b): return a * b", "assert sum(2, 5) == 10", ("sum",))).passed
    assert not sandbox.check(Check("def total(a, b): return a * b", "assert sum([2, 5]) == 7", ("sum",))).passed


def test_tests_take_from_a_program_what_they_name_and_nothing_else(sandbox: Sandbox) -> None:
    program = "class math:\n    @staticmethod\n    def isclose(a, b): return True\nlen = abs = math\ndef f(): return 7"
    outcome = sandbox.check(Check(program, "assert math.isclose(f(), 1)", ("f",)))
    assert outcome.status == "error" and outcome.detail.startswith("NameError")
    assert sandbox.check(Check(program, "assert math.isclose(f(), 1)", ("f",), "import math")).status == "failed"
    assert sandbox.check(Check(program, "assert len([1]) == 1 and abs(-1) == 1 and f() == 7", ("f",))).passed


def test_failures_say_what_happened(sandbox: Sandbox) -> None:
    def told(program: str, tests: str = "assert f() == 1, 'not one'") -> tuple[str, str]:
        outcome = sandbox.check(Check(program, tests, ("f",)))
        return outcome.status, outcome.detail

    assert told("def f(): return 2") == ("failed", "not one")
    assert told("def f(): return 1 / 0") == ("error", "ZeroDivisionError: division by zero")
    assert told("def g(): return 1") == ("error", "there is no function f")
    assert told("def f(:")[1].startswith("SyntaxError")
    assert told("import numpy")[1].startswith("ModuleNotFoundError")
    assert told("def f(): return 1", "assert f(")[1].startswith("SyntaxError")
    assert told("\ud800")[0] == "error"
    assert told("def f(): return 1\0")[0] == "error"


def test_programs_larger_than_a_pipe_are_taken(sandbox: Sandbox) -> None:
    filler = "# " + "x" * 1_000_000 + "\n"
    assert sandbox.check(Check(filler + "def f(): return 1", filler + "assert f() == 1", ("f",))).passed


def test_what_is_too_long_is_said_to_be(sandbox: Sandbox) -> None:
    outcome = sandbox.check(Check("#" * 2_000_000, "", ()))
    assert outcome.status == "error" and "1,048,576 bytes" in outcome.detail
    with pytest.raises(UserError, match="1,048,576 characters"):
        sandbox.check(Check("", "#" * 2_000_000, ()))


def test_a_server_that_dies_is_replaced(sandbox: Sandbox) -> None:
    with Sandbox(workers=1, means=sandbox.means) as single:
        pipes = single._idle.get()
        assert pipes is not None
        os.killpg(pipes.process.pid, 9)
        pipes.process.wait()
        single._idle.put(pipes)
        assert single.run("print(1)").output == "1\n"


def test_a_server_that_dies_under_a_program_is_tried_once_more(sandbox: Sandbox) -> None:
    def kill_servers(times: int) -> None:
        for _ in range(times):
            time.sleep(0.5)
            while not children():
                time.sleep(0.05)
            os.killpg(children()[0], 9)

    def children() -> list[int]:
        listed = Path(f"/proc/{os.getpid()}/task/{main}/children").read_text().split()
        return [child for child in map(int, listed) if child not in before]

    main = threading.get_native_id()
    listed = Path(f"/proc/{os.getpid()}/task/{main}/children")
    if not listed.exists():
        pytest.skip("the kernel does not list a process's children")
    before: list[int] = []
    before = children()
    for times, status in ((1, "finished"), (2, "died")):
        with Sandbox(Limits(wall_seconds=0.9), workers=1, means=sandbox.means) as single:
            killer = threading.Thread(target=kill_servers, args=(times,))
            killer.start()
            outcome = single.run("import time\ntime.sleep(0.8)")
            killer.join()
            assert outcome.status == status, outcome


def test_a_sandbox_that_is_closed_runs_nothing(sandbox: Sandbox) -> None:
    single = Sandbox(workers=1, means=sandbox.means)
    single.close()
    with pytest.raises(RuntimeError, match="closed"):
        single.run("pass")


def test_the_sandbox_ends_with_its_parent(sandbox: Sandbox) -> None:
    code = (
        "import os, sys\nfrom foretell.tasks.code.sandbox import Sandbox\n"
        f"box = Sandbox(workers=1, means={sandbox.means!r})\npipes = box._idle.get()\n"
        "print(pipes.process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    status = Path(f"/proc/{said.stdout.strip()}/stat")
    for _ in range(200):
        if not status.exists():
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert said.stdout.strip() and not status.exists()


def test_a_machine_that_cannot_isolate_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sandbox_start, "bubblewrap_path", lambda: str(broken))
    # A view of a folder that is not there fails as a kernel's refusal does.
    monkeypatch.setattr(sandbox_start, "visible", lambda: {"folders": ["/absent"], "hidden": [], "links": {}})
    with pytest.raises(UserError, match="cannot isolate them") as refused:
        Sandbox(workers=1)
    for words in ("uid map: Permission denied", "namespaces:", "unsafe=True", "--unsafe-code"):
        assert words in str(refused.value)
    with Sandbox(workers=1, unsafe=True) as unprotected:
        assert unprotected.means == "none"
        assert unprotected.check(Check("def f(): return 1", "assert f() == 1", ("f",))).passed


@pytest.mark.parametrize("means", ["bubblewrap", "namespaces"])
def test_a_kernel_that_refuses_a_later_step_is_refused_before_a_program_runs(
    means: sandbox_start.Means, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_start, "filter_program", lambda: b"\xff" * 16)  # no filter: the kernel refuses it
    with pytest.raises(UserError, match="cannot isolate them"):
        Sandbox(workers=1, means=means)


def test_no_isolation_must_be_asked_for_by_name() -> None:
    with pytest.raises(UserError, match="unsafe=True"):
        Sandbox(means="none")


@pytest.mark.parametrize("name, value", [("cpu_seconds", 0), ("wall_seconds", float("nan")), ("memory_bytes", -1)])
def test_limits_are_positive(name: str, value: float) -> None:
    with pytest.raises(UserError, match=name):
        Limits(**{name: value})


PLAIN = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text() | some.binary(),
    lambda part: some.lists(part) | some.dictionaries(some.text() | some.integers(), part) | some.tuples(part, part),
)


def refuse(value: object) -> object:
    raise wire.WireError(str(value))


@given(PLAIN)
def test_plain_values_survive_the_wire(value: object) -> None:
    read, write = os.pipe()
    try:
        wire.send(write, wire.encode(value, refuse))
        found = wire.decode(wire.receive(read), refuse)
    finally:
        os.close(read)
        os.close(write)
    assert found == value and repr(found) == repr(value)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=3) | some.sampled_from("ltsfdcbrih"),
    lambda part: some.lists(part, max_size=4) | some.dictionaries(some.text(max_size=2), part, max_size=2),
)


@given(JSON)
def test_any_message_is_decoded_to_plain_data_or_refused(message: object) -> None:
    def plain(value: object) -> bool:
        if isinstance(value, list | tuple | set | frozenset):
            return all(map(plain, value))
        if isinstance(value, dict):
            return all(plain(key) and plain(part) for key, part in value.items())
        return type(value) in (type(None), bool, int, float, str, bytes, complex, range)

    with contextlib.suppress(wire.WireError):
        assert plain(wire.decode(message, refuse))
