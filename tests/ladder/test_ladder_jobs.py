import json
from pathlib import Path

import pytest

from foretell.core.errors import InterruptedRunError, UserError
from foretell.ladder import jobs
from foretell.ladder.jobs import job_folder, run_jobs, train_job
from foretell.ladder.records import training_curve
from small_runs import run_settings


def test_rungs_run_side_by_side_and_never_again_and_a_diverged_one_has_no_loss(
    small_corpus: Path, tmp_path: Path
) -> None:
    tokens = small_corpus / "tokens"
    settings = [run_settings(tokens, seed=seed, role="rung") for seed in (1, 2, 3)]
    results = run_jobs(settings, small_corpus, tmp_path, 2, 1e11, "rungs")
    assert [result["seed"] for result in results] == [1, 2, 3]
    assert [result["config_hash"] for result in results] == [run.digest() for run in settings]
    assert len(training_curve(job_folder(tmp_path, settings[0]))) >= 20
    wild = run_settings(tokens, seed=4, learning_rate=1e30)
    again = run_jobs([*settings[:2], wild], small_corpus, tmp_path, 2, 1e11, "rungs")
    assert again[:2] == results[:2]  # the recorded results, times and all
    assert "diverged" in again[2] and "heldout" not in again[2]
    assert json.loads((job_folder(tmp_path, wild) / "result.json").read_text()) == again[2]


def test_a_workers_error_reaches_the_user(small_corpus: Path, tmp_path: Path) -> None:
    settings = run_settings(small_corpus / "tokens")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        run_jobs([settings], tmp_path / "empty", tmp_path / "jobs", 1, 1e11, "rungs")


def test_a_stop_saves_and_the_next_call_goes_on(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = small_corpus / "tokens"
    settings = [run_settings(tokens, seed=seed, steps=100) for seed in (1, 2, 3)]
    whole = [train_job(run, small_corpus, job_folder(tmp_path / "whole", run), 1e11) for run in settings]
    first = job_folder(tmp_path / "broken", settings[0]) / "log.jsonl"
    monkeypatch.setattr(jobs, "stop_requested", first.exists)
    with pytest.raises(InterruptedRunError):
        run_jobs(settings, small_corpus, tmp_path / "broken", 2, 1e11, "rungs")
    assert not all((job_folder(tmp_path / "broken", run) / "result.json").exists() for run in settings)
    monkeypatch.undo()
    again = run_jobs(settings, small_corpus, tmp_path / "broken", 2, 1e11, "rungs")
    assert [result["heldout"] for result in again] == [result["heldout"] for result in whole]
