"""Tables from files and from memory: every cell arrives under its name, every fault is a sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.tables import assemble, read_records, read_table


class Frame:
    """What pandas and polars have in common with this stand-in: a method that gives records."""

    def __init__(self, method: str, rows: list[dict]) -> None:
        self.rows = rows
        setattr(self, method, lambda *arguments: self.rows)


ROWS = [{"C": 1e18, "loss": 3.0}, {"C": 1e19, "loss": 2.7}]


@pytest.mark.parametrize("method", ["to_dict", "to_dicts", "to_pylist"])
def test_data_frames_are_read_by_their_records(method: str) -> None:
    table = read_records(Frame(method, ROWS))
    assert table.columns == ("C", "loss") and list(table.rows) == ROWS and table.numbers == (1, 2)


def test_a_frame_of_pyarrow() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    assert list(read_records(pyarrow.Table.from_pylist(ROWS)).rows) == ROWS


def test_a_mapping_of_columns_and_an_iterator() -> None:
    assert list(read_records({"C": [1e18, 1e19], "loss": (3.0, 2.7)}).rows) == ROWS
    assert list(read_records(iter(ROWS)).rows) == ROWS


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "There are no runs"),
        (Frame("to_dict", []), "There are no runs"),
        (None, "runs is a NoneType; rows of named cells"),
        (7, "runs is a int"),
        (b"C,loss", "runs is a bytes"),
        ([1, 2], "row 1, is a int"),
        ([{"C": 1}, ["C"]], "row 2, is a list"),
        ([{1: 1, "1": 2}], "two cells called '1'"),
        ([{10**5000: 1}], "row 1, has a cell whose name cannot be printed"),
        ({"C": [1, 2], "loss": [1]}, "columns of one length"),
        ({"C": 1e18, "loss": 3}, "columns of one length"),
        ({"C": "abc"}, "columns of one length"),
        ({}, "columns of one length"),
    ],
)
def test_what_is_no_rows(records: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_records(records)


def test_names_that_are_no_texts_become_texts() -> None:
    assert read_records([{0: 1, ("a", "b"): 2}]).columns == ("0", "('a', 'b')")


def test_nested_cells_become_dotted_columns(tmp_path: Path) -> None:
    row = {"name": "a", "config": {"model": {"n_params": 7}, "lr": {"value": 1e-3}}, "summary": {"loss": 2.0}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    table = read_table(tmp_path / "a.jsonl")
    assert table.columns == ("name", "config.model.n_params", "config.lr.value", "summary.loss")
    assert list(table.rows[0].values()) == ["a", 7, 1e-3, 2.0]


def test_settings_written_as_text_become_columns(tmp_path: Path) -> None:
    text = 'summary,config,name\n"{\'loss\': 2.5, \'_step\': 9}","{""n_params"": 7}",a\n{not a mapping},{1},b\n'
    (tmp_path / "project.csv").write_text(text)
    table = read_table(tmp_path / "project.csv")
    assert table.rows[0]["summary.loss"] == 2.5 and table.rows[0]["config.n_params"] == 7
    assert table.rows[1]["summary"] == "{not a mapping}" and table.rows[1]["config"] == "{1}"


def test_a_mapping_inside_itself_ends() -> None:
    row: dict = {"C": 1}
    row["self"] = {"again": row}
    assert "C" in read_records([row]).columns


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, min_size=1, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), min_size=1, max_size=6))
def test_every_row_has_every_column_and_no_leaf_is_lost(rows: list[dict]) -> None:
    if not any(value != {} for row in rows for value in row.values()):
        with pytest.raises(UserError, match="without a cell"):
            assemble(Path("x"), rows)
        return
    table = assemble(Path("x"), rows)
    assert len(table.rows) == len(rows)
    for row, flat in zip(rows, table.rows, strict=True):
        assert set(flat) == set(table.columns)
        for name, value in row.items():
            if not isinstance(value, dict) and not (isinstance(value, str) and value[:1] == "{"):
                assert flat[name] is value


def test_rows_are_named_in_sentences() -> None:
    table = assemble(Path("x"), [{"a": i} for i in range(9)])
    assert table.name_rows([3]) == "row 3" and table.name_rows([9, 2, 2]) == "rows 2 and 9"
    assert table.name_rows(range(1, 10)) == "rows 1, 2, 3, 4, 5 and 4 more"
    runs = assemble(Path("x"), [{"a": 1}, {"a": 2}, {"a": 3}], labels=["big", "small", "small"])
    assert runs.name_rows([2, 3]) == "run small" and runs.name_rows([1, 2]) == "runs big and small"
