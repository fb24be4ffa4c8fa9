"""Tables that are still being written: no row twice, none lost, none made of halves."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.growing import GrowingTable

CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=8)


@given(rows=st.lists(st.tuples(st.integers(), CELL), min_size=1, max_size=8), cuts=st.lists(st.integers(0, 400)))
def test_rows_are_the_same_however_the_writing_was_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("t") / "log.jsonl"
    objects = [{"step": step, "note": note} for step, note in rows]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in objects).encode()
    table, read = GrowingTable(path), list[dict[str, Any]]()
    edges = sorted({min(cut, len(content)) for cut in cuts} | {len(content)})
    for start, end in zip([0, *edges], edges, strict=False):
        with path.open("ab") as file:
            file.write(content[start:end])
        read += table.read()
    assert read == objects and not table.skipped and not table.restarts


def test_csv_rows_come_when_their_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    table = GrowingTable(path)
    assert table.read() == []
    path.write_text("step;loss\n1;3.5\n2;3.")
    assert table.read() == [{"step": "1", "loss": "3.5"}] and table.columns == ("step", "loss")
    with path.open("a") as file:
        file.write("25\n\n3;3.1\r\n")
    assert table.read() == [{"step": "2", "loss": "3.25"}, {"step": "3", "loss": "3.1"}]
    assert table.read() == []


def test_a_last_line_without_an_end_counts_when_nothing_more_comes(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("\ufeffstep,loss\n1,3.5\n2,3.25")
    os.utime(path, (time.time() - 60, time.time() - 60))
    assert [row["loss"] for row in GrowingTable(path).read()] == ["3.5", "3.25"]


def test_a_file_that_is_replaced_or_cut_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n')
    table = GrowingTable(path)
    assert len(table.read()) == 2
    path.write_text('{"step": 1}\n')
    assert table.read() == [{"step": 1}] and table.restarts == 1
    other = tmp_path / "new"
    other.write_text('{"step": 1}\n{"step": 5}\n{"step": 6}\n')
    other.replace(path)
    assert [row["step"] for row in table.read()] == [1, 5, 6] and table.restarts == 2


def test_broken_lines_are_counted_and_passed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"st{"step": 2}\n[3]\n{"step": 4}\n' + "[" * 100_000 + "\n")
    table = GrowingTable(path)
    assert [row["step"] for row in table.read()] == [1, 4] and table.skipped == [2, 3, 5]
    csv = tmp_path / "log.csv"
    csv.write_text('a,b\n1,2\n3\n4,5,6\n"7,8\n9,10\n')
    table = GrowingTable(csv)
    assert [row["a"] for row in table.read()] == ["1", "9"] and table.skipped == [3, 4, 5]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "ends in '.txt'"),
        ("a.csv", b"a,b\n\xff\xfe1,2\n", "UTF-8"),
        ("a.csv", b"a,b\n\0,2\n", "binary"),
        ("a.csv", b"a,a\n1,2\n", "two columns called 'a'"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        GrowingTable(tmp_path / name).read()


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        GrowingTable(tmp_path / "a.csv").read()
