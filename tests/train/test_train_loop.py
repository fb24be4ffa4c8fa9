import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foretell.core.errors import DivergedError, InterruptedRunError, UserError
from foretell.core.runlog import read_log
from foretell.data.stream import Batch
from foretell.train import loop
from foretell.train.checkpoint import checkpoint_folders
from foretell.train.config import GuardConfig, RunSettings, TrainingConfig
from foretell.train.loop import Trainer, recorded_result, trained_model
from foretell.train.objective import micro_batches
from small_runs import run_settings

CHILD = """
import json, pathlib, sys
from foretell.train.config import RunSettings
from foretell.train.interrupt import graceful_stop
from foretell.train.loop import Trainer
settings = RunSettings.model_validate_json(pathlib.Path(sys.argv[1]).read_text())
with graceful_stop():
    Trainer(settings, pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), threads=int(sys.argv[4])).run()
"""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint_folders(folder / "checkpoints")[-1] / "model.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    keep = ("step", "loss", "grad_norm", "bits_per_byte")
    logs = [
        [{key: record.get(key) for key in keep} for record in read_log(folder / "log.jsonl", kind)]
        for folder in (one, other)
        for kind in ("step", "eval")
    ]
    assert logs[:2] == logs[2:]


def train(settings: RunSettings, data: Path, folder: Path, threads: int = 1) -> dict:
    return Trainer(settings, data, folder, threads=threads).run()


def test_a_run_learns_and_leaves_its_records(small_corpus: Path, tmp_path: Path) -> None:
    settings = run_settings(small_corpus / "tokens", steps=60)
    result = train(settings, small_corpus, tmp_path)
    steps = list(read_log(tmp_path / "log.jsonl", "step"))
    assert [record["step"] for record in steps] == list(range(1, 61))
    # With muP's zero head the first loss is the logarithm of the vocabulary, exactly.
    assert steps[0]["loss"] == pytest.approx(torch.log(torch.tensor(400.0)).item(), abs=1e-4)
    assert steps[-1]["loss"] < steps[0]["loss"] - 1
    assert result["heldout"]["bits_per_byte"] < steps[0]["bits_per_byte"]
    assert result["flops"] == settings.flops and result["tokens"] == 60 * 4 * 32
    assert recorded_result(tmp_path, settings) == json.loads((tmp_path / "result.json").read_text())
    assert list((tmp_path / "tensorboard").iterdir())
    assert trained_model(tmp_path, settings).config == settings.model


def test_accumulation_gives_the_same_gradient_step(small_corpus: Path, tmp_path: Path) -> None:
    """Micro-batches of unequal token counts are weighted by tokens over the whole step."""
    batch = Batch(torch.zeros(5, 8), torch.zeros(5, 8), 40)
    assert [len(inputs) for inputs, _ in micro_batches(batch, 2)] == [2, 2, 1]
    for micro in (5, 3, 2):
        training = TrainingConfig(micro_rows=micro, evaluations=0, compile="off")
        settings = run_settings(small_corpus / "tokens", training=training, steps=5, rows=5)
        train(settings, small_corpus, tmp_path / str(micro))
    for micro in (3, 2):
        for name, tensor in weights(tmp_path / "5").items():
            torch.testing.assert_close(weights(tmp_path / str(micro))[name], tensor, rtol=1e-3, atol=2e-5, msg=name)


def test_replicas_give_the_gradients_of_one_process(small_corpus: Path, tmp_path: Path) -> None:
    settings = run_settings(small_corpus / "tokens", rows=5, steps=6)
    one = train(settings, small_corpus, tmp_path / "1")
    two = train(settings, small_corpus, tmp_path / "2", threads=2)
    assert json.loads((tmp_path / "2" / "execution.json").read_text())["replicas"] == 2
    assert two["heldout"]["nats_per_token"] == pytest.approx(one["heldout"]["nats_per_token"], rel=1e-4)
    for name, tensor in weights(tmp_path / "1").items():
        torch.testing.assert_close(weights(tmp_path / "2")[name], tensor, rtol=1e-3, atol=2e-5, msg=name)


def test_an_interrupted_run_goes_on_exactly(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = run_settings(small_corpus / "tokens")
    train(settings, small_corpus, tmp_path / "whole")
    countdown = iter([False, False] * 6 + [True, True])
    monkeypatch.setattr(loop, "stop_requested", lambda: next(countdown))
    with pytest.raises(InterruptedRunError, match="goes on from there"):
        train(settings, small_corpus, tmp_path / "broken")
    monkeypatch.undo()
    assert not (tmp_path / "broken" / "result.json").exists()
    train(settings, small_corpus, tmp_path / "broken")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.slow
def test_twenty_kills_change_no_bit(small_corpus: Path, tmp_path: Path) -> None:
    settings = run_settings(small_corpus / "tokens", steps=600)
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    for threads in (1, 2):
        train(settings, small_corpus, tmp_path / f"whole{threads}", threads)
    chance = random.Random(0)
    kills = 0
    for number in range(20):
        threads = 1 + number % 2  # two: a replica in a process of its own, killed with the first or left behind
        folder = tmp_path / f"killed{number}"
        killed = 0
        while not (folder / "result.json").exists():
            paths = [tmp_path / "settings.json", small_corpus, folder]
            child = subprocess.Popen([sys.executable, "-c", CHILD, *paths, str(threads)], stderr=subprocess.DEVNULL)
            while not (folder / "log.jsonl").exists() and child.poll() is None:
                time.sleep(0.02)
            if killed < 1:
                time.sleep(chance.uniform(0, 3))
                child.send_signal(signal.SIGKILL)
                killed += child.wait() == -signal.SIGKILL
            assert child.wait() in (0, -signal.SIGKILL)
        kills += killed
        assert_same_run(tmp_path / f"whole{threads}", folder)
    assert kills >= 15


def test_sigterm_saves_first(small_corpus: Path, tmp_path: Path) -> None:
    training = TrainingConfig(evaluations=0, checkpoints=1, compile="off")
    settings = run_settings(small_corpus / "tokens", steps=20_000, training=training)
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    folder = tmp_path / "run"
    paths = [tmp_path / "settings.json", small_corpus, folder]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *paths, "1"], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(read_log(folder / "log.jsonl", "step")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(30) != 0
    assert len(checkpoint_folders(folder / "checkpoints")) == 1


@pytest.mark.parametrize("damage", ["flip", "missing", "checksums"])
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_used(
    small_corpus: Path, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = run_settings(small_corpus / "tokens")
    train(settings, small_corpus, tmp_path / "whole")
    train(settings, small_corpus, tmp_path / "damaged")
    (tmp_path / "damaged" / "result.json").unlink()
    newest = checkpoint_folders(tmp_path / "damaged" / "checkpoints")[-1]
    if damage == "flip":
        content = bytearray((newest / "model.safetensors").read_bytes())
        content[len(content) // 2] ^= 1
        (newest / "model.safetensors").write_bytes(content)
    else:
        (newest / {"missing": "optimizer.safetensors", "checksums": "checksums.json"}[damage]).unlink()
    train(settings, small_corpus, tmp_path / "damaged")
    message = " ".join(capfd.readouterr().err.split())
    assert newest.name in message and "The one before it is used" in message
    assert_same_run(tmp_path / "whole", tmp_path / "damaged")


def test_another_runs_folder_is_refused(small_corpus: Path, tmp_path: Path) -> None:
    train(run_settings(small_corpus / "tokens", steps=2), small_corpus, tmp_path)
    with pytest.raises(UserError, match=r"learning_rate \(0\.01 there, 0\.02 now\)"):
        train(run_settings(small_corpus / "tokens", steps=2, learning_rate=2e-2), small_corpus, tmp_path)


class Spoiled:
    """An objective whose loss is not finite at chosen calls."""

    def __init__(self, calls: range) -> None:
        self.calls, self.count = calls, 0

    def __call__(self, model, inputs, labels):
        self.count += 1
        loss = model.loss(inputs, labels)
        return loss * float("nan") if self.count in self.calls else loss


def test_the_guard_skips_then_rolls_back_then_stops(small_corpus: Path, tmp_path: Path) -> None:
    guard = GuardConfig(skips_before_rollback=3, rollbacks_before_stop=1)
    training = TrainingConfig(evaluations=0, checkpoints=6, compile="off", guard=guard)
    settings = run_settings(small_corpus / "tokens", training=training)

    def verdicts(folder: Path, spoiled: range) -> list[str]:
        Trainer(settings, small_corpus, folder, threads=1, objective=Spoiled(spoiled)).run()
        return [record["verdict"] for record in read_log(folder / "log.jsonl", "guard")]

    assert verdicts(tmp_path / "one", range(10, 12)) == ["skip", "skip"]
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "one").values())
    assert verdicts(tmp_path / "two", range(10, 13)).count("roll back") == 1
    with pytest.raises(DivergedError, match=r"not finite.*Lower the learning rate"):
        verdicts(tmp_path / "three", range(10, 100))
    with pytest.raises(DivergedError, match="before its first checkpoint"):
        verdicts(tmp_path / "four", range(1, 100))
