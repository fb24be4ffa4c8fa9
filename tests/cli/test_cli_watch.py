"""``foretell watch`` on run directories and on files that other trainers write."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from foretell.cli.main import main
from foretell.core.runlog import RunLog
from foretell.laws.records import Forecast, Observation
from foretell.laws.registry import register

TARGET = 1e15
TOKENS = 1e9


def loss_at(progress: float) -> float:
    """Of a run that ends at 2.0."""
    return 2.0 * progress**-0.07


def rung(flops: float, seed: int) -> Observation:
    scale = (flops / TARGET) ** -0.05
    curve = tuple((flops * part / 20, scale * loss_at(part / 20)) for part in range(1, 21))
    return Observation(flops, scale * 2.0, seed=seed, curve=curve)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory whose forecast is sealed and whose target has not started."""
    rungs = tuple(rung(flops, seed) for flops in (1e11, 1e12, 1e13) for seed in range(3))
    made = Forecast({}, TARGET, 2.0, 1.9, 2.1, observations=rungs)
    register(tmp_path / "run" / "forecast.json", made, {"plan": {"target": {"tokens": TOKENS, "steps": 1000}}})
    return tmp_path / "run"


def write_steps(run: Path, until: float, worse: float = 1.0) -> None:
    log = RunLog(run / "target" / "log.jsonl")
    log.write("start", step=0)
    for step in range(10, int(1000 * until) + 1, 10):
        log.write("step", step=step, tokens=step * 1e6, flops=step * 1e12, bits_per_byte=worse * loss_at(step / 1000))
    log.close()


def say_once(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["watch", *arguments, "--once"])
    captured = capsys.readouterr()
    return code, " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize(("worse", "code", "word"), [(1.0, 0, "on track"), (1.3, 3, "above"), (0.7, 3, "below")])
def test_a_run_directory_on_its_way(
    run: Path, worse: float, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_steps(run, 0.5, worse)
    given, said = say_once(capsys, str(run))
    assert given == code and f"50% done, {word}" in said and "forecast 2.000 (1.900 to 2.100)" in said
    assert main(["watch", str(run), "--once", "--json"]) == code
    record = json.loads(capsys.readouterr().out)
    assert record["status"] == word and record["progress"] == 0.5 and record["forecast_high"] == 2.1
    assert record["low"] < record["projected"] < record["high"] and record["projected"] == pytest.approx(
        2 * worse, rel=0.03
    )
    assert record["ended"] is False and record["stalled_seconds"] is None


def test_a_finished_run_is_judged_by_its_record(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_steps(run, 1.0, 1.1)
    (run / "target" / "result.json").write_text(json.dumps({"heldout": {"bits_per_byte": 2.05}}))
    assert main(["watch", str(run)]) == 0  # ends by itself
    assert "finished at 2.050, on track" in capsys.readouterr().out


def test_a_job_is_followed_to_its_end(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.csv"

    def train() -> None:
        with path.open("w") as file:
            file.write("step,loss\n")
            for step in range(1, 41):
                for half in (f"{step},{loss_at(step / 40):.6f}"[:4], f"{step},{loss_at(step / 40):.6f}"[4:] + "\n"):
                    file.write(half)
                    file.flush()
                    time.sleep(0.002)

    path.touch()
    trainer = threading.Thread(target=train)
    trainer.start()
    code = main(["watch", str(path), "--forecast", str(run / "forecast.json"), "--total", "40", "--every", "0.05",
                 "--json"])  # fmt: skip
    trainer.join()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (
        code == 0
        and records[-1]["ended"]
        and records[-1]["progress"] == 1.0
        and records[-1]["notes"] == ["the file's column loss stands for bits per byte, which is forecast"]
    )
    progress = [record["progress"] for record in records if "progress" in record]
    assert progress == sorted(progress) and len(set(progress)) > 1


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("tokens,loss", lambda share: f"{share * TOKENS:.0f},{loss_at(share):.5f}"),
        ("C;val_loss", lambda share: f"{share * TARGET:.5g};{loss_at(share):.5f}"),
        (",progress,loss", lambda share: f"0,{share},{loss_at(share):.5f}"),
        ("global_step,max_steps,bpb", lambda share: f"{share * 50:.0f},50,{loss_at(share):.5f}"),
        ("step,train/lr,loss", lambda share: f"{share * 1000:.0f},,{loss_at(share):.5f}"),
    ],
)
def test_usual_columns(run: Path, tmp_path: Path, columns: str, row, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.csv"
    path.write_text("\n".join([columns, *(row(part / 50) for part in range(1, 31))]) + "\n")
    code, said = say_once(capsys, str(path), "--forecast", str(run / "forecast.json"))
    assert code == 0 and "60% done, on track" in said


def test_what_forecast_prints_is_a_forecast_and_has_a_generic_shape(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = {"metric": "val_loss", "flops": TARGET, "params": 1e6, "tokens": TOKENS, "value": 2.0, "low": 1.9,
               "high": 2.1, "level": 0.9}  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(printed))
    path = tmp_path / "train.jsonl"
    lines = [json.dumps({"tokens": part / 50 * TOKENS, "val_loss": loss_at(part / 50)}) for part in range(1, 31)]
    path.write_text("\n".join(lines) + "\n")
    width = []
    for forecast in (tmp_path / "f.json", run):
        assert main(["watch", str(path), "--forecast", str(forecast), "--once", "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        width.append(record["high"] / record["low"])
    assert width[0] > width[1]


def test_a_loss_that_is_not_finite_and_a_log_that_stands_still(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_steps(run, 0.4)
    log = RunLog(run / "target" / "log.jsonl")
    log.write("step", step=410, flops=4.1e14, bits_per_byte=math.nan)
    log.close()
    code, said = say_once(capsys, str(run))
    assert code == 3 and "the loss is not finite" in said
    old = time.time() - 7200
    os.utime(run / "target" / "log.jsonl", (old, old))
    assert "no new record for 2h00m" in say_once(capsys, str(run))[1]


def test_lines_that_are_not_whole_are_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_steps(run, 0.3)
    with (run / "target" / "log.jsonl").open("a") as file:
        file.write('{"kind": "st{"kind": "step"}\n')
    assert "they are not whole: 1 of the file's lines (32)" in say_once(capsys, str(run))[1]


def test_mistakes_are_one_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = str(run / "forecast.json")
    table = tmp_path / "train.csv"
    table.write_text("step,loss\n1,3\n")
    (tmp_path / "words.csv").write_text("step,loss\n1,three\n")
    (tmp_path / "negative.csv").write_text("step,loss\n1,-3\n")
    (tmp_path / "odd.csv").write_text("step,accuracy\n1,0.3\n")
    (tmp_path / "bare.csv").write_text("epoch,loss\n1,0.3\n")
    (tmp_path / "train.txt").write_text("loss 3")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "wrong.json").write_text(json.dumps({"metric": "loss", "flops": 1, "value": 2, "low": 3, "high": 4,
                                                     "level": 0.9}))  # fmt: skip
    (tmp_path / "changed.json").write_text((run / "forecast.json").read_text().replace("1.9", "1.8", 1))
    for arguments, words in (
        ([str(tmp_path / "none")], "does not exist"),
        ([str(run)], "holds no reading yet"),
        ([str(tmp_path)], "forecast.json is missing"),
        ([str(table)], "--forecast is needed"),
        ([str(tmp_path / "train.txt"), "--forecast", sealed], "ends in '.txt'"),
        ([str(table), "--forecast", str(tmp_path / "other.json")], "neither a registered forecast"),
        ([str(table), "--forecast", str(tmp_path / "wrong.json")], "are no forecast"),
        ([str(table), "--forecast", str(tmp_path / "changed.json")], "has been changed since"),
        ([str(tmp_path / "words.csv"), "--forecast", sealed], "loss is 'three'"),
        ([str(tmp_path / "negative.csv"), "--forecast", sealed], "loss is -3"),
        (
            [str(tmp_path / "odd.csv"), "--forecast", sealed],
            "a column is needed that is called 'bits per byte', loss or val_loss",
        ),
        ([str(tmp_path / "bare.csv"), "--forecast", sealed], "how far the run is"),
        ([str(table), "--forecast", sealed, "--total", "-1"], "--total is -1"),
        ([str(run), "--total", "5"], "--total is for files"),
        ([str(run), "--every", "0"], "--every is 0"),
    ):
        code, said = say_once(capsys, *arguments)
        assert code == 2 and words in said, (arguments, said)


def test_torch_is_never_imported(run: Path) -> None:
    write_steps(run, 0.5)
    code = (
        f"import sys; from foretell.cli.main import main; main(['watch', {str(run)!r}, '--once']); "
        "sys.exit(bool({'torch', 'pydantic', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
