"""Arbitrary input ends in runs or in a sentence, and every row of it is a run or is named as left out."""

import json
import math
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foretell
from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.tables.runs import Runs, runs_of
from foretell.laws.tables.sources import read_source

EXAMPLES = 150
RELAXED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
NAMES = st.one_of(
    st.sampled_from(["flops", "C", "N", "D", "params", "tokens", "loss", "val_loss", "bpb", "run", "name", "stage",
                     "State", "seed", "family", "metric", "value", "step", "epochs", "unique_tokens", "config.n_params",
                     "Step", "a - loss", "b - loss", "a - loss__MIN", "a - loss__MAX", "tokenizer", "eval/loss", "acc",
                     ""]),
    st.text(max_size=6),
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["", " ", "nan", "inf", "-1", "0", "1e400", "7B", "x", "1e18", "-", "None", "finished", "crashed",
                     "loss", "a", "{", "{'a': 1}", '{"loss": 3}', "1,5", "=1+1", '"', "\u202e", "1" * 400, "ａ"]),
    st.floats(1e-3, 1e25).map(str),
    st.text(max_size=8),
)  # fmt: skip
CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**30), st.floats(), st.floats(1.0, 9.0), st.floats(1e6, 1e22), TEXTS,
    st.just(10**5000), st.binary(max_size=3), st.recursive(
        TEXTS | st.floats(), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
        max_leaves=4,
    ),
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, cells: st.SearchStrategy) -> list[dict]:
    """A good table of runs under some of the usual names, with a few cells of anything and a few rows twice."""
    names = draw(st.permutations(draw(st.sampled_from([
        ("C", "loss"), ("run", "N", "D", "val_loss", "loss", "State"), ("flops", "params", "tokens", "bpb", "seed"),
        ("name", "tokens", "config.n_params", "eval/loss", "step"), ("Step", "a - loss", "b - loss", "a - C", "b - C"),
        ("C", "metric", "value", "family", "epochs"),
    ]))))  # fmt: skip
    size = draw(st.integers(1, 7))
    usual = {"N": 1e7, "params": 1e7, "config.n_params": 1e7, "D": 1e9, "tokens": 1e9, "flops": 6e16, "C": 6e16}
    words = {
        "run": "r{}",
        "name": "r",
        "State": "finished",
        "metric": "loss",
        "family": "a",
        "step": "{}",
        "seed": "{}",
    }
    rows: list[dict] = [
        {name: words[name].format(i) if name in words else repr(usual.get(name.split(" ")[-1], 3.0) * 2 ** (
            i if name in ("tokens", "D", "C", "flops") else -i if "loss" in name else 0)) for name in names}
        for i in range(size)
    ]  # fmt: skip
    for _ in range(draw(st.integers(0, 2))):
        rows[draw(st.integers(0, size - 1))][draw(st.sampled_from(names))] = draw(cells)
    return rows + draw(st.lists(st.sampled_from(rows), max_size=2))


@st.composite
def junk(draw: st.DrawFn, cells: st.SearchStrategy) -> list[dict]:
    """Rows of some columns, with cells that are left out, rows that are repeated, and likely ones among them."""
    names = draw(st.lists(NAMES, min_size=1, max_size=7, unique=True))
    likely = {name: draw(st.sampled_from([cells, st.floats(1.0, 9.0).map(str), st.just("1e18")])) for name in names}
    rows = draw(st.lists(st.fixed_dictionaries({}, optional=likely), max_size=8))
    return rows + draw(st.lists(st.sampled_from(rows), max_size=2)) if rows else rows


def tables(cells: st.SearchStrategy) -> st.SearchStrategy[list[dict]]:
    return st.one_of(spoilt(cells), spoilt(cells), junk(cells))


def taken(table: Table, metric: str | None, family: str | None) -> Runs | None:
    """The runs, or ``None`` where a sentence says why there are none; every row is accounted for."""
    try:
        runs = runs_of(table, metric, family)
    except UserError as error:
        assert str(error).strip()
        return None
    rows = [run.row for run in runs.runs] + [row for rows in runs.left_out.values() for row in rows]
    assert sorted(rows) == sorted(table.numbers)
    codes = {finding.code for finding in runs.findings}
    assert set(runs.left_out) <= codes | {"other-metric", "other-family"}
    for run in runs.runs:
        assert 0 < run.flops < math.inf and 0 <= run.value < math.inf
        assert all(figure is None or 0 < figure < math.inf for figure in (run.params, run.tokens, run.epochs))
    return runs


def read(source: object) -> Table | None:
    try:
        return read_source(source)
    except UserError as error:
        assert str(error).strip()
        return None


CHOICES = st.tuples(st.sampled_from([None, None, None, "loss", "acc"]), st.sampled_from([None, None, None, None, "a"]))


@RELAXED
@given(tables(CELLS), CHOICES)
def test_records(rows: list[dict], choice: tuple[str | None, str | None]) -> None:
    table = read(rows)
    if table is not None:
        assert table.labels or len(table.rows) == len(rows)
        taken(table, *choice)


@RELAXED
@given(tables(TEXTS), CHOICES, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
def test_delimited_text(
    tmp_path: Path, rows: list[dict], choice: tuple[str | None, str | None], separator: str, end: str
) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    text = end.join(separator.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines)
    path = tmp_path / ("a.tsv" if separator == "\t" else "a.csv")
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    table = read(path)
    if table is not None:
        taken(table, *choice)


@RELAXED
@given(st.lists(st.lists(TEXTS, max_size=6).map(",".join), max_size=8).map("\n".join), CHOICES)
def test_ragged_text(tmp_path: Path, text: str, choice: tuple[str | None, str | None]) -> None:
    (tmp_path / "a.csv").write_text("C,N,D,loss\n" + text, encoding="utf-8", errors="surrogatepass", newline="")
    table = read(tmp_path / "a.csv")
    if table is not None:
        taken(table, *choice)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


@RELAXED
@given(tables(JSON), st.lists(TEXTS, max_size=1), CHOICES)
def test_lines_of_json(
    tmp_path: Path, rows: list[dict], junk: list[str], choice: tuple[str | None, str | None]
) -> None:
    text = "\n".join([json.dumps(row) for row in rows] + junk)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    table = read(tmp_path / "a.jsonl")
    if table is not None:
        assert table.labels or len(table.rows) == len(rows) + sum(bool(line.strip()) for line in junk)
        taken(table, *choice)


@RELAXED
@given(tables(st.floats() | st.none()), CHOICES)
def test_parquet(tmp_path: Path, rows: list[dict], choice: tuple[str | None, str | None]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [str(row[name]) if name in row else None for row in rows] for name in names}
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    except UnicodeEncodeError:
        return
    table = read(tmp_path / "a.parquet")
    if table is not None:
        taken(table, *choice)


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_under_any_name(tmp_path: Path, content: bytes) -> None:
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet", ".txt"):
        (tmp_path / f"a{suffix}").write_bytes(content)
        table = read(tmp_path / f"a{suffix}")
        if table is not None:
            taken(table, None, None)


@given(st.none() | st.integers() | st.text(max_size=9) | st.dictionaries(st.text(max_size=3), CELLS, max_size=3))
@settings(max_examples=100, deadline=None)
def test_what_is_no_table_at_all(anything: object) -> None:
    with pytest.raises(UserError):
        foretell.forecast(anything, flops=1e22)


def test_good_rows_survive_the_company_of_others() -> None:
    good = [
        {"run": f"r{i}", "C": 1e18 * 2**i, "loss": 3 - i / 10, "State": "finished", "family": "a"} for i in range(5)
    ]
    crashed = [row | {"run": f"x{i}", "State": "crashed", "loss": None} for i, row in enumerate(good)]
    others = [row | {"family": "b"} for row in good]
    table = read_source([*good, *crashed, *others, *good])
    runs = taken(table, None, "a")
    assert runs is not None and [run.row for run in runs.runs] == [1, 2, 3, 4, 5]
    assert {reason: len(rows) for reason, rows in runs.left_out.items()} == {
        "other-family": 5, "checkpoints": 5, "copies": 5,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_ten_thousand_rows_are_read_within_two_seconds(tmp_path: Path, name: str) -> None:
    rows = [{"run": f"r{i % 2500}", "N": 1e7 * (1 + i % 2500), "D": 1e9 * (1 + i // 2500), "State": "", "lr": i / 7,
             "loss": 3 / (1 + i // 2500), "step": i // 2500} for i in range(10_000)]  # fmt: skip
    rows += [rows[i] | {"State": "crashed"} for i in range(2_000)]
    names = list(rows[0])
    if name.endswith("csv"):
        text = "\n".join([",".join(names), *(",".join(str(row[key]) for key in names) for row in rows)])
    else:
        text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / name).write_text(text)
    start = time.process_time()
    runs = runs_of(read_source(tmp_path / name))
    assert time.process_time() - start < 2
    assert len(runs.runs) == 10_000
