"""``foretell forecast`` on a table of runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foretell.cli.main import main


def law(flops: float) -> float:
    return 12.0 * flops**-0.05 + 1.0


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Seven frontier runs of a known law, and one at each compute that is 5 % worse."""
    lines = ["run,C,N,D,val_loss"]
    for i in range(7):
        flops = 1e17 * 3**i
        params = (flops / 120) ** 0.5
        lines.append(f"good{i},{flops:.6g},{params:.6g},{20 * params:.6g},{law(flops):.6f}")
        lines.append(f"poor{i},{flops:.6g},{params / 3:.6g},{60 * params:.6g},{1.05 * law(flops):.6f}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines))
    return path


def test_the_interval_holds_the_known_law(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(table), "--flops", "1e22", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["low"] < law(1e22) < record["high"] and record["value"] == pytest.approx(law(1e22), rel=0.03)
    assert record["n_runs"] == 14 and record["metric"] == "val_loss" and record["flops"] == 1e22
    assert record["level"] == 0.9 and record["params"] is None
    assert any("averages over 14 of 14 runs corrected for their tokens" in warning for warning in record["warnings"])


def test_larger_runs_can_be_kept_back(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(table), "--flops", "7.29e19", "--max-flops", "1e19", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n_runs"] == 10 and record["low"] < law(7.29e19) < record["high"]
    assert main(["forecast", str(table), "--params", "1e9", "--tokens", "2e10"]) == 0
    assert "val_loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--flops is missing"),
        (["--flops", "1e15"], "above the largest rung"),
        (["--flops", "1e22", "--max-flops", "1"], "max_flops is 1"),
        (["--flops", "1e22", "--level", "2"], "level is 2"),
        (["--flops", "1e22", "--metric", "accuracy"], "no column 'accuracy'"),
        (["--flops", "1e22", "--family", "a"], "no column 'family'"),
    ],
)
def test_mistakes(table: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(table), *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_few_runs_are_refused_with_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("flops,loss\n1e18,3\n1e19,2.8\n")
    assert main(["forecast", str(tmp_path / "two.csv"), "--flops", "1e20"]) == 3


def test_options_of_tables_are_not_for_run_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(tmp_path), "--metric", "loss"]) == 2
    assert "--metric is for tables" in capsys.readouterr().err


def test_torch_is_never_imported(table: Path) -> None:
    code = (
        "import sys; from foretell.cli.main import main; "
        f"main(['forecast', {str(table)!r}, '--flops', '1e22']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_backtest_and_a_seal_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["family,run,flops,metric,value,stage"]
    lines += [f"a,r{i},{1e17 * 3**i:.6g},loss_x,{law(1e17 * 3**i):.6f},final" for i in range(9)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert main(["forecast", "backtest", str(tmp_path), "--gaps", "10,100"]) == 0
    assert "| 100 | 1 |" in capsys.readouterr().out
    assert main(["forecast", "backtest", str(tmp_path), "--gaps", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["others"][0]["coverage"] == 1
    assert main(["forecast", "backtest", str(tmp_path), "--gaps", "ten"]) == 2
    sealed = Path(__file__).parents[2] / "docs" / "forecasts" / "python-seed0" / "forecast.json"
    assert main(["forecast", "verify", str(sealed)]) == 0
    assert "Unchanged since it was registered" in capsys.readouterr().out
    changed = tmp_path / "forecast.json"
    changed.write_text(sealed.read_text().replace("0.9", "0.8", 1))
    assert main(["forecast", "verify", str(changed)]) == 2
    assert main(["forecast", "a", "b"]) == 2


def test_shares_and_sweeps_are_not_taken_for_losses_and_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{1e17 * 3**i:.6g},{1e7 * 2**i},{1e8 * 2**i},{law(1e17 * 3**i) * k:.6f},{0.1 * i}" for i in range(6)
            for k in (1, 1.2)]  # fmt: skip
    (tmp_path / "a.csv").write_text("\n".join(["C,N,D,loss,gsm_acc", *rows]))
    assert main(["forecast", str(tmp_path / "a.csv"), "--flops", "1e21", "--metric", "gsm_acc", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert 0.45 < record["low"] < record["value"] < record["high"] < 1 and "pass-rate" in record["law"]["name"]
    main(["forecast", str(tmp_path / "a.csv"), "--flops", "1e21"])
    assert "keep the best of each size" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--flops", "1e22", "--params=-5", "--tokens", "1e10"], "params of the target is -5.0"),
        (["--params", "0", "--tokens", "1e9"], "params of the target is 0.0"),
        (["--params=-1", "--tokens=-1e25"], "params of the target is -1.0"),
        (["--flops", "nan"], "argument --flops: 'nan' is no number"),
        (["--flops", "1e22", "--params", "1e9", "--tokens", "1e9"], "give two of the three"),
        (["--params", "1e9"], "--flops is missing"),
    ],
)
def test_targets_that_are_none(table: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(table), *options]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and not captured.out


def test_the_missing_half_of_a_shape_follows_from_compute(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = []
    for options in (["--params", "1e9"], ["--params", "1e9", "--tokens", "1.6667e12"], ["--tokens", "1.6667e12"], []):
        assert main(["forecast", str(table), "--flops", "1e22", *options, "--json"]) == 0
        values.append(json.loads(capsys.readouterr().out)["value"])
    assert values[0] == pytest.approx(values[1], rel=1e-4) == pytest.approx(values[2], rel=1e-3)
    assert values[0] > 1.01 * values[3]
