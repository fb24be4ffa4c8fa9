"""A registered forecast's table later: is it the same, and which of its runs is the outcome."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.files import sha256_file
from foretell.laws.records import Finding, Forecast, Observation
from foretell.laws.registered_source import outcome_among, source_hash, source_of
from foretell.laws.registry import load_registered, register, registered_forecast, score
from foretell.laws.tables.run_records import Run


def run(flops: float, value: float, params: float | None = None, tokens: float | None = None, row: int = 2) -> Run:
    return Run(row, f"r{row}", "", flops, params, tokens, value)


def test_the_outcome_is_the_run_of_least_compute_from_the_target_on() -> None:
    runs = (run(9e20, 2.1), run(1.08e21, 2.2, row=3), run(1.02e21, 2.3, row=4), run(1.2e21, 2.0))
    found = outcome_among(runs, 1e21, "loss")
    assert found is not None and (found.value, found.rows, found.names) == (2.3, (4,), ("r4",))
    assert outcome_among(runs, 1.3e21, "loss") is None
    assert outcome_among(runs, 2e20, "loss") is None
    assert outcome_among((run(1e21 * (1 - 1e-4), 2.0),), 1e21, "loss") is not None  # whole steps fall short a little


def test_of_several_sizes_the_shape_asked_for_or_the_best_is_the_outcome_and_seeds_are_averaged() -> None:
    runs = (run(1e21, 2.5, 1e9, 1.6e11, 2), run(1e21, 2.3, 4e9, 4e10, 3), run(1e21, 2.5, 4e9, 4e10, 4))
    best = outcome_among(runs, 1e21, "loss")
    assert best is not None and best.value == pytest.approx(2.4) and best.rows == (3, 4)
    shaped = outcome_among(runs, 1e21, "loss", 9e8, 1.8e11)
    assert shaped is not None and shaped.rows == (2,)
    share = outcome_among((run(1e21, 0.5, 1e9, 1.6e11, 2), run(1e21, 0.3, 4e9, 4e10, 3)), 1e21, "arc_acc")
    assert share is not None and share.value == 0.5


def test_a_folder_is_hashed_by_its_records(tmp_path: Path) -> None:
    training = tmp_path / "a"
    training.mkdir()
    (training / "log.jsonl").write_text("{}\n")
    before = source_of(tmp_path)
    assert before["kind"] == "folder" and len(before["sha256"]) == 64
    (training / "model.safetensors").write_text("weights")
    assert source_hash(tmp_path) == before["sha256"]
    (training / "events.out.tfevents.1").write_text("x")
    changed = source_hash(tmp_path)
    assert changed != before["sha256"]
    (training / "log.jsonl").rename(tmp_path / "log.jsonl")
    assert source_hash(tmp_path) != changed
    assert source_hash(tmp_path / "log.jsonl") == sha256_file(tmp_path / "log.jsonl")
    with pytest.raises(UserError, match="does not exist"):
        source_hash(tmp_path / "b")


numbers = st.floats(1e-300, 1e300)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
observations = st.builds(
    Observation, flops=numbers, loss=numbers, params=st.none() | numbers, tokens=st.none() | numbers,
    seed=st.integers(0, 10**6), label=texts,
)  # fmt: skip
findings = st.builds(Finding, texts, st.sampled_from(["note", "warning", "refusal"]), texts)
forecasts = st.builds(
    Forecast,
    law=st.dictionaries(texts, numbers | texts, max_size=3),
    target_flops=numbers, median=numbers, low=numbers, high=numbers, level=st.floats(0.5, 0.999), metric=texts,
    findings=st.lists(findings, max_size=2).map(tuple),
    band=st.just({}),
    rungs=st.lists(st.dictionaries(texts, numbers, max_size=2), max_size=2),
    observations=st.lists(observations, max_size=3).map(tuple),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(forecasts, st.dictionaries(texts, st.none() | texts | st.integers() | numbers, max_size=3))
def test_any_forecast_comes_out_of_its_seal_as_it_went_in(forecast: Forecast, context: dict) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seal.json"
        written = register(path, forecast, context)
        assert load_registered(path) == written
        assert registered_forecast(written) == forecast and written["context"] == context
        assert all(math.isfinite(run.flops) for run in registered_forecast(written).observations)


def test_a_share_is_scored_in_points_and_may_be_0(tmp_path: Path) -> None:
    made = Forecast({}, 1e21, 0.5, 0.0, 0.6, metric="arc_acc", rungs=[{"flops": 1e19}])
    registered = register(tmp_path / "seal.json", made, {})
    assert "50.0 points below the forecast of 0.500" in score(registered, 0.0, {})["sentence"]
    for outcome in (1.1, -0.1, math.nan):
        with pytest.raises(UserError, match="a share from 0 to 1"):
            score(registered, outcome, {})
