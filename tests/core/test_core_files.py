import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.files import (
    atomic_directory,
    canonical_json,
    read_json,
    require_space,
    require_writable,
    storage_errors,
    write_atomic,
    write_json,
)
from foretell.core.runlog import RunLog, read_log, truncate_log


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "a") as folder:
        (folder / "x").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with atomic_directory(tmp_path / "a") as folder:
        (folder / "x").write_text("whole")
    assert (tmp_path / "a" / "x").read_text() == "whole"


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "cannot be written"), (errno.ENOTDIR, "in the way")],
)
def test_refusals_of_the_system_become_sentences(number: int, words: str) -> None:
    with pytest.raises(UserError, match=words), storage_errors(Path("here")):
        raise OSError(number, "no", "here/file")


def test_a_file_where_a_folder_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="in the way"):
        require_writable(tmp_path / "a")
    with pytest.raises(UserError, match="in the way"):
        write_atomic(tmp_path / "a" / "b", "x")


def test_space_is_asked_for_before_work(tmp_path: Path) -> None:
    require_space(tmp_path, 1, "this")
    with pytest.raises(UserError, match="needs about"):
        require_space(tmp_path, 1e18, "this")


def test_a_full_disk_is_a_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with (
        pytest.raises(UserError, match="disk is full"),
        storage_errors(Path("/dev/full")),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x")


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(UserError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_a_log_survives_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = RunLog(path)
    for step in range(5):
        log.write("step", step=step, loss=float("nan"))
    log.close()
    path.write_bytes(path.read_bytes()[:-7])
    assert [record["step"] for record in read_log(path)] == [0, 1, 2, 3]
    again = RunLog(path)
    again.write("step", step=4)
    assert [record["step"] for record in read_log(path, "step")] == [0, 1, 2, 3, 4]
    assert next(read_log(path))["loss"] is None
    truncate_log(path, "step", 2)
    assert [record["step"] for record in read_log(path)] == [0, 1, 2]
    assert list(read_log(tmp_path / "none")) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(values)
def test_canonical_json_round_trips_and_ignores_key_order(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text
