"""Other people's tables: every usual form is read, every fault is named with its rows, nothing is dropped unsaid."""

import json
import math
import string
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.laws.tables.runs import quantity, read_runs

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"
RUNS = [
    {"compute": 6e15 * 4**i, "N": 1e7 * 2**i, "D": 1e8 * 2**i, "loss": 4 - 0.3 * i, "run": f"r{i}"} for i in range(5)
]


def csv_of(rows: list[dict], separator: str = ",") -> str:
    names = list(rows[0])
    lines = [separator.join(names), *(separator.join(str(row[name]) for name in names) for row in rows)]
    return "\n".join(lines) + "\n"


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        path.write_text(csv_of(rows, "\t" if path.suffix == ".tsv" else ","))
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_every_format_gives_the_same_runs(tmp_path: Path, name: str) -> None:
    found = read_runs(write(tmp_path / name, list(reversed(RUNS))))
    assert [run.value for run in found.runs] == pytest.approx([row["loss"] for row in RUNS])
    assert [run.flops for run in found.runs] == [row["compute"] for row in RUNS]
    assert found.runs[0].params == 1e7 and found.runs[0].name == "r0" and found.metric == "loss"
    assert not found.findings


@pytest.mark.parametrize(
    "header",
    ["C;n_params;Training Tokens;val_loss", "flops;Parameters;D;loss", "total_flops;model size;tokens;final loss"],
)
def test_usual_names_of_columns(tmp_path: Path, header: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f"\ufeff{header}\n6e15;1e7;1e8;3.9\n2.4e16;2e7;2e8;3.5\n")
    assert [run.value for run in read_runs(path).runs] == [3.9, 3.5]


def test_compute_follows_from_parameters_and_tokens_and_suffixes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text('N,D,loss\n70M,"1,400M",3.4\n1.3B,26B,2.6\n')
    assert [run.flops for run in read_runs(path).runs] == pytest.approx([6 * 7e7 * 1.4e9, 6 * 1.3e9 * 2.6e10])


@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
@pytest.mark.parametrize("name", ["gadre", "gemstones", "porian", "steplaw", "openclip", "datablations", "dclm"])
def test_public_tables(name: str) -> None:
    table = read_table(SCALING / f"{name}.csv")
    pairs = sorted({(row["family"], row["metric"]) for row in table.rows if row["flops"]})
    for family, metric in pairs[:6]:
        wanted = [
            n for n, r in zip(table.numbers, table.rows, strict=True) if (r["family"], r["metric"]) == (family, metric)
        ]
        try:
            found = read_runs(SCALING / f"{name}.csv", metric, family)
        except UserError as error:
            assert "row" in str(error) or "no finished run" in str(error)
            continue
        assert len(found.runs) <= len(wanted)
        assert len(found.runs) == len(wanted) or found.findings, "rows were dropped unsaid"
    with pytest.raises(UserError, match=r"--metric takes one of|--family takes one of"):
        read_runs(SCALING / f"{name}.csv")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": -1}, ["row 3", "loss", "-1"]),
        ({"loss": 0}, ["row 3", "loss"]),
        ({"loss": ""}, ["row 3", "missing"]),
        ({"loss": "nan"}, ["row 3", "nan"]),
        ({"compute": "lots"}, ["row 3", "compute", "lots"]),
        ({"compute": 6e18}, ["row 3", "6 N D", "units"]),
        ({"N": 0}, ["row 3", "N is"]),
        ({"run": "r0", "compute": 6e15, "N": 1e7, "D": 1e8}, ["rows 2 and 3", "several values of loss"]),
    ],
)
def test_faults_are_named_with_their_rows(tmp_path: Path, change: dict, words: list[str]) -> None:
    rows = [dict(row) for row in RUNS]
    rows[1] |= change
    with pytest.raises(UserError) as caught:
        read_runs(write(tmp_path / "runs.csv", rows))
    for word in words:
        assert word in str(caught.value)


def test_compute_off_by_one_factor_is_said_with_one_figure(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("C,N,D,loss\n2.04e18,1e8,1e9,3.4\n4.08e18,2e8,1e9,3.2\n")
    assert "Compute is 3.4 times 6 N D in rows 2 and 3" in read_runs(tmp_path / "runs.csv").findings[0].sentence


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    rows = [row | {"stage": "final"} for row in RUNS] + [RUNS[0] | {"stage": "checkpoint", "run": "x"}]
    rows.append(dict(rows[2]))
    found = read_runs(write(tmp_path / "runs.csv", rows))
    assert len(found.runs) == 5
    said = {finding.code: finding.sentence for finding in found.findings}
    assert "row 7" in said["checkpoints"] and "row 8" in said["copies"]


def test_families_and_metrics_have_to_be_chosen(tmp_path: Path) -> None:
    rows = [row | {"family": "a" if i % 2 else "b"} for i, row in enumerate(RUNS)]
    path = write(tmp_path / "runs.csv", rows)
    with pytest.raises(UserError, match=r"2 families.*--family takes one of a, b"):
        read_runs(path)
    assert len(read_runs(path, family="b").runs) == 3
    with pytest.raises(UserError, match="no family 'c'"):
        read_runs(path, family="c")
    with pytest.raises(UserError, match="no column 'accuracy'; --metric takes one of"):
        read_runs(path, metric="accuracy", family="a")


def test_accuracies_in_percent_are_refused(tmp_path: Path) -> None:
    rows = [row | {"acc": 20 + 5 * i} for i, row in enumerate(RUNS)]
    with pytest.raises(UserError, match="acc is above 1"):
        read_runs(write(tmp_path / "runs.csv", rows), metric="acc")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "no line of column names"),
        ("a.csv", b"flops,loss\n", "no rows"),
        ("a.csv", b"flops,loss\n1e18,2,3\n", "line 2, has 3 cells"),
        ("a.csv", b"flops,flops\n1,2\n", "two columns called 'flops'"),
        ("a.csv", b"width,loss\n8,2\n", "a column of compute"),
        ("a.csv", bytes(range(256)), "UTF-8"),
        ("a.jsonl", b"{\n", "line 1, is not JSON"),
        ("a.jsonl", b"[1]\n", "holds a list"),
        ("a.parquet", b"PAR1 not really", "not a Parquet file"),
        ("a.xlsx", b"PK", "'.xlsx'"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        read_runs(tmp_path / name)


def test_a_missing_file() -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_runs(Path("nowhere.csv"))


@given(st.text(alphabet=string.printable, max_size=300), st.sampled_from([".csv", ".tsv", ".jsonl"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_ends_in_runs_or_a_sentence(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"fuzz{suffix}"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = read_runs(path)
    except UserError as error:
        assert str(error)
    else:
        assert all(run.flops > 0 and math.isfinite(run.value) for run in found.runs)


CELLS = st.one_of(st.just(""), st.sampled_from(["nan", "inf", "-1", "0", "1e400", "7B", "x", "1e18"]),
                  st.floats(1e-3, 1e25).map(str))  # fmt: skip


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=12))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_row_is_lost_without_a_word(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    path = tmp_path / "fuzz.csv"
    path.write_text("flops,N,D,loss\n" + "\n".join(",".join(row) for row in rows) + "\n")
    try:
        found = read_runs(path)
    except UserError as error:
        assert "row" in str(error)
    else:
        blank = sum(not any(row) for row in rows)
        assert len(found.runs) == len(rows) - blank or any(f.code == "copies" for f in found.findings)


@given(st.floats(1e-3, 1e30))
def test_quantities(number: float) -> None:
    assert quantity(str(number)) == quantity(number) == number
    assert quantity(f"{number}M") == pytest.approx(number * 1e6)


@pytest.mark.parametrize("text", ["3,577", "2,31", "1,2,3"])
def test_a_decimal_comma_is_refused_rather_than_read_as_thousands(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(f"flops;loss\n6e15;{text}\n")
    with pytest.raises(UserError, match=r"row 2.*with a decimal point"):
        read_runs(tmp_path / "a.csv")


def test_shapes_of_one_model_name_and_rows_that_differ_elsewhere_are_kept(tmp_path: Path) -> None:
    shapes = [{"model": "dense", "flops": 6e18, "N": n, "D": 1e18 / n, "loss": 3 + n / 1e9} for n in (1e8, 2e8, 3e8)]
    assert len(read_runs(write(tmp_path / "a.csv", shapes)).runs) == 3
    rates = [RUNS[0] | {"run": "", "lr": lr} for lr in (1e-3, 2e-3)]
    found = read_runs(write(tmp_path / "b.csv", rates))
    assert len(found.runs) == 2 and not found.findings
