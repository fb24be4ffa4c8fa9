"""Checkpoints among finished runs: found, left out by name, and never confused with runs of their own."""

from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.core.tables import assemble
from foretell.laws.tables.run_records import Runs
from foretell.laws.tables.runs import runs_of

TOKENS = (1e8, 2e8, 4e8, 8e8)


def curves(sizes: dict[str, float], **more: object) -> list[dict]:
    return [
        {"run": name, "N": size, "D": tokens, "loss": 3 + size**-0.1 + (tokens / 1e8) ** -0.5} | more
        for name, size in sizes.items()
        for tokens in TOKENS
    ]


def read(rows: list[dict], metric: str | None = None) -> Runs:
    return runs_of(assemble(Path("t"), rows), metric)


def said(runs: Runs) -> dict[str, str]:
    return {finding.code: finding.sentence for finding in runs.findings}


def test_the_last_of_each_curve_is_kept_and_the_others_named() -> None:
    runs = read(curves({"a": 1e7, "b": 2e7}))
    assert [(run.name, run.tokens) for run in runs.runs] == [("a", 8e8), ("b", 8e8)]
    assert runs.left_out == {"curves": (1, 2, 3, 5, 6, 7)}
    assert "rows 1, 2, 3, 5, 6 and 1 more" in said(runs)["curves"] and "runs a, b" in said(runs)["curves"]
    assert runs.findings[0].severity == "warning"


def test_the_order_of_rows_does_not_matter() -> None:
    rows = curves({"a": 1e7, "b": 2e7})
    assert {run.value for run in read(rows[::-1]).runs} == {run.value for run in read(rows).runs}


def test_compute_and_tokens_tell_the_size_too() -> None:
    rows = [{"run": r["run"], "flops": 6 * r["N"] * r["D"], "D": r["D"], "loss": r["loss"]} for r in curves({"a": 1e7})]
    assert len(read(rows).runs) == 1


def test_steps_are_enough_and_rows_without_a_value_may_stand_between() -> None:
    rows = curves({"a": 1e7, "b": 1e7})
    rows = [
        row | {"_step": index % 4, "loss": row["loss"] if index % 4 < 3 else None} for index, row in enumerate(rows)
    ]
    runs = read(rows)
    assert [run.tokens for run in runs.runs] == [4e8, 4e8] and len(runs.left_out["curves"]) == 6


@pytest.mark.parametrize(
    "change",
    [
        lambda index, row: {"run": "7B"},  # a size, not the name of a run
        lambda index, row: {"run": f"r{index}"},
        lambda index, row: {"N": row["N"] * 2**index},
        lambda index, row: {"loss": 3 + (index % 2)},  # up and down: not one run's curve
        lambda index, row: {"stage": "final"},
        lambda index, row: {"seed": index},
    ],
)
def test_runs_of_their_own_stay(change) -> None:
    rows = [row | change(index, row) for index, row in enumerate(curves({"a": 1e7}))]
    assert len(read(rows).runs) == 4


def test_model_is_the_name_of_many_runs() -> None:
    rows = [{"model": "dense"} | {key: row[key] for key in ("N", "D", "loss")} for row in curves({"a": 1e7})]
    assert len(read(rows).runs) == 4


def test_what_cannot_be_told_is_warned_of() -> None:
    rows = [{"name": "a", "flops": 1e18 * 2**i, "loss": 3 - 0.1 * i} for i in range(4)]
    runs = read(rows)
    assert len(runs.runs) == 4 and "rows 1, 2, 3 and 4" in said(runs)["one-name"]
    nameless = [{"step": i, "flops": 1e18 * 2**i, "loss": 3 - 0.1 * i} for i in range(4)]
    assert "rows 1, 2, 3 and 4" in said(read(nameless))["one-name"] and len(read(nameless).runs) == 4


def test_accuracies_rise_along_a_run() -> None:
    rows = [row | {"acc": 0.2 + 0.1 * (index % 4)} for index, row in enumerate(curves({"a": 1e7, "b": 3e7}))]
    assert [run.value for run in read(rows, "acc").runs] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("state", ["finished", "Finished", "completed", "done", "success", "final", "", None, "nan"])
def test_states_that_are_an_end(state: str | None) -> None:
    rows = [{"C": 1e18 * 2**i, "loss": 3.0 - i / 9, "State": state} for i in range(3)]
    assert len(read(rows).runs) == 3


@pytest.mark.parametrize("state", ["crashed", "running", "failed", "killed", "checkpoint"])
def test_states_that_are_none(state: str) -> None:
    rows = [{"C": 1e18 * 2**i, "loss": 3.0 - i / 9, "State": state if i else "finished"} for i in range(3)]
    runs = read(rows)
    assert runs.left_out == {"checkpoints": (2, 3)}
    assert "rows 2 and 3" in said(runs)["checkpoints"] and f"State ({state})" in said(runs)["checkpoints"]
    with pytest.raises(UserError, match=rf"no finished run: every State .*\({state}\)"):
        read(rows[1:])
