import json
from pathlib import Path

import pytest

from conftest import run_settings
from foretell.core.errors import InterruptedRunError, UserError
from foretell.ladder import jobs
from foretell.ladder.jobs import job_folder, run_jobs
from foretell.ladder.records import training_curve


def test_rungs_run_side_by_side_and_never_again(small_corpus: Path, tmp_path: Path) -> None:
    tokens = small_corpus / "tokens"
    settings = [run_settings(tokens, seed=seed, role="rung") for seed in (1, 2, 3)]
    results = run_jobs(settings, tokens, tmp_path, 2, 1e11, "rungs")
    assert [result["seed"] for result in results] == [1, 2, 3]
    assert [result["config_hash"] for result in results] == [run.digest() for run in settings]
    again = run_jobs([*settings[:2], run_settings(tokens, seed=4)], tokens, tmp_path, 2, 1e11, "rungs")
    assert again[:2] == results[:2]  # the recorded results, times and all
    assert len(training_curve(job_folder(tmp_path, settings[0]))) >= 20


def test_a_diverged_run_is_recorded_without_a_loss(small_corpus: Path, tmp_path: Path) -> None:
    tokens = small_corpus / "tokens"
    settings = run_settings(tokens, learning_rate=1e30)
    (result,) = run_jobs([settings], tokens, tmp_path, 1, 1e11, "rungs")
    assert "diverged" in result and "heldout" not in result
    assert json.loads((job_folder(tmp_path, settings) / "result.json").read_text()) == result


def test_a_workers_error_reaches_the_user(small_corpus: Path, tmp_path: Path) -> None:
    settings = run_settings(small_corpus / "tokens")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        run_jobs([settings], tmp_path / "empty", tmp_path / "jobs", 1, 1e11, "rungs")


def test_a_stop_saves_and_the_next_call_goes_on(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = small_corpus / "tokens"
    settings = [run_settings(tokens, seed=seed, steps=150) for seed in (1, 2, 3)]
    whole = run_jobs(settings, tokens, tmp_path / "whole", 2, 1e11, "rungs")
    first = job_folder(tmp_path / "broken", settings[0]) / "log.jsonl"
    monkeypatch.setattr(jobs, "stop_requested", first.exists)
    with pytest.raises(InterruptedRunError):
        run_jobs(settings, tokens, tmp_path / "broken", 2, 1e11, "rungs")
    monkeypatch.undo()
    again = run_jobs(settings, tokens, tmp_path / "broken", 2, 1e11, "rungs")
    assert [result["heldout"] for result in again] == [result["heldout"] for result in whole]
