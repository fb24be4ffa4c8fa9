"""What a training writes is what the forecast reads: the records themselves, not a copy of their form."""

from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.core.eventfiles import event_files, read_events
from foretell.laws.tables.runs import read_runs
from foretell.train.loop import Trainer
from small_runs import run_settings


@pytest.fixture(scope="module")
def trained(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("trained")
    results = []
    for steps in (8, 16):
        settings = run_settings(small_corpus / "tokens", steps=steps)
        results.append(Trainer(settings, small_corpus, folder / f"steps{steps}", threads=1).run())
    return folder, results


def test_a_folder_of_trainings_gives_their_results(trained: tuple[Path, list[dict]]) -> None:
    folder, results = trained
    runs = read_runs(folder)
    assert [run.value for run in runs.runs] == [result["heldout"]["bits_per_byte"] for result in results]
    assert [run.flops for run in runs.runs] == [result["flops"] for result in results]
    assert [run.tokens for run in runs.runs] == [result["tokens"] for result in results]
    assert [run.name for run in runs.runs] == ["steps8", "steps16"] and runs.runs[0].seed == 3


def test_an_unfinished_training_is_named(trained: tuple[Path, list[dict]], tmp_path: Path) -> None:
    folder, _ = trained
    for name in ("steps8", "steps16"):
        (tmp_path / name).mkdir()
        for file in ("settings.json", "log.jsonl", "result.json"):
            (tmp_path / name / file).write_bytes((folder / name / file).read_bytes())
    (tmp_path / "steps8" / "result.json").unlink()
    runs = read_runs(tmp_path)
    assert [run.name for run in runs.runs] == ["steps16"] and runs.left_out == {"checkpoints": (2,)}
    assert any("run steps8" in finding.sentence for finding in runs.findings)
    (tmp_path / "steps16" / "result.json").unlink()
    with pytest.raises(UserError, match="no finished run"):
        read_runs(tmp_path)


def test_its_tensorboard_files_are_read(trained: tuple[Path, list[dict]]) -> None:
    folder, results = trained
    run = read_events(event_files(folder / "steps16"))
    step, bits = run.scalars["heldout/bits_per_byte"][-1]
    assert step == 16 and bits == pytest.approx(results[1]["heldout"]["bits_per_byte"], rel=1e-6)
    with pytest.raises(UserError, match="compute is needed as a scalar"):
        read_runs(folder / "steps16" / "tensorboard")
