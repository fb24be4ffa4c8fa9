"""``foretell forecast`` on a table of training curves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foretell.cli.main import main

CURVES = str(Path(__file__).parents[2] / "docs" / "examples" / "curves.csv")
RUNS = str(Path(__file__).parents[2] / "docs" / "examples" / "runs.csv")


def test_a_longer_run_is_forecast_from_curves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", CURVES, "--tokens", "1e6", "--schedule", "linear", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["low"] < record["value"] < record["high"] and 2.5 < record["value"] < 3.3
    assert record["schedule"] == "linear" and record["steps"] == 1953 and record["n_runs"] == 4
    assert record["law"]["name"] == "learning rate annealing" and record["law"]["alpha"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([CURVES], 2, "--tokens is needed"),
        ([CURVES, "--tokens", "-5"], 2, "tokens is -5.0; a finite number above zero"),
        (
            [CURVES, "--tokens", "1e6", "--flops", "1e20"],
            2,
            "run directories, not for tables of training curves",
        ),
        ([CURVES, "--tokens", "1e6", "--metric", "bleu"], 2, "and bleu"),
        ([CURVES, "--tokens", "1e6", "--schedule", "step"], 2, "invalid choice"),
        ([CURVES, "--tokens", "1e9"], 3, "up to 30 times"),
        ([RUNS, "--flops", "1e13", "--schedule", "linear"], 2, "--schedule is for tables of training curves"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", *arguments]) == code
    assert words in " ".join(capsys.readouterr().err.split())


def test_tokens_must_be_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,lr,loss\n" + "".join(f"{step},0.1,{3 + 1 / step}\n" for step in range(1, 80)))
    assert main(["forecast", str(path), "--tokens", "1e6"]) == 2
    assert "needs a column of tokens" in " ".join(capsys.readouterr().err.split())


def test_torch_is_never_imported() -> None:
    code = (
        f"import sys; from foretell.cli.main import main; main(['forecast', {CURVES!r}, '--tokens', '1e6']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
