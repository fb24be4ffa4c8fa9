"""What ``foretell forecast --json`` prints: one object of the same keys for runs, counts and curves, refused or not."""

import json
import math
from pathlib import Path

import pytest

from foretell.cli.main import main

CURVES = str(Path(__file__).parents[2] / "docs" / "examples" / "curves.csv")
KEYS = {"metric", "flops", "params", "tokens", "value", "low", "high", "level", "law", "n_runs", "warnings", "refused"}


@pytest.fixture
def runs(tmp_path: Path) -> str:
    path = tmp_path / "runs.csv"
    lines = []
    for i in range(7):
        grown = 3 ** (i / 2)
        lines.append(f"{1e17 * 3**i:.6g},{3e7 * grown:.6g},{6e8 * grown:.6g},{1.2 + 3 * 0.85**i:.5f},{0.3 + 0.05 * i}")
    path.write_text("\n".join(["C,N,D,loss,acc_x", *lines]))
    return str(path)


@pytest.fixture
def counts(tmp_path: Path) -> str:
    path = tmp_path / "counts.csv"
    lines = [f"r{i},{1e18 * 4**i:.6g},p{k},100,{round(100 * math.exp(-3 * (k + 1) / 12 * 0.8**i))}"
             for i in range(5) for k in range(12)]  # fmt: skip
    path.write_text("\n".join(["run,flops,problem,n_samples,n_correct", *lines]))
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    code = main(["forecast", *arguments, "--json"])
    out = capsys.readouterr().out
    record = json.loads(out)
    assert record.keys() >= KEYS and len(out.strip().splitlines()) == 1
    assert record["refused"] == (code == 3) == any(said.startswith("refusal: ") for said in record["warnings"])
    return code, record


def test_of_runs(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = printed(capsys, runs, "--params", "7B", "--tokens", "140B")
    assert code == 0 and record["flops"] == pytest.approx(5.88e21)
    assert (record["params"], record["tokens"]) == (7e9, 1.4e11) and record["value"] > 0
    code, record = printed(capsys, runs, "--flops", "1e22", "--params", "9.13B")
    assert record["tokens"] == pytest.approx(1e22 / 6 / 9.13e9)
    assert printed(capsys, runs, "--flops", "1e28")[0] == 3


def test_of_shares(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = printed(capsys, runs, "--metric", "acc_x", "--flops", "1e22")
    assert code == 0 and record["params"] is None and 0 < record["value"] < 1
    assert printed(capsys, runs, "--metric", "acc_x", "--flops", "1e28")[0] == 3
    assert main(["forecast", runs, "--metric", "acc_x", "--params", "7B", "--tokens", "140B"]) == 2
    assert "give --flops 5.88e+21 instead" in " ".join(capsys.readouterr().err.split())


def test_of_counts(counts: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = printed(capsys, counts, "--flops", "1e22")
    assert code == 0 and record["flops"] == 1e22 and record["params"] is None and record["value"] > 0
    assert printed(capsys, counts, "--flops", "1e28")[0] == 3


def test_of_curves(capsys: pytest.CaptureFixture[str]) -> None:
    code, record = printed(capsys, CURVES, "--tokens", "1M")
    assert code == 0 and record["flops"] is None and record["params"] is None and record["tokens"] == 1e6
    code, record = printed(capsys, CURVES, "--tokens", "1e18")
    assert code == 3 and record["value"] is None and "up to 30 times" in record["warnings"][0]


def test_scores_are_said_to_be_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(["C,mmlu", *(f"{1e18 * 4**i:g},{0.3 + 0.07 * i}" for i in range(6))]))
    assert main(["forecast", str(path), "--metric", "mmlu", "--flops", "1e23"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "mmlu rises with compute" in said and "--kind share" in said
    _, record = printed(capsys, str(path), "--metric", "mmlu", "--kind", "share", "--flops", "1e23")
    assert 0.5 < record["value"] < 1
    sealed = tmp_path / "sealed.json"
    assert main(["forecast", str(path), "--metric", "mmlu", "--kind", "share", "--flops", "1e23", "--register",
                 str(sealed), "--page", str(tmp_path / "page.html")]) == 0  # fmt: skip
    assert main(["forecast", "verify", str(sealed), "--outcome", "0.8"]) == 0
    assert "points" in capsys.readouterr().out
    path.write_text(path.read_text() + "\n1e23,0.75\n1e23,0.7\n")
    assert main(["forecast", "verify", str(sealed), "--table", str(path)]) == 0
    assert "mmlu is 0.725" in " ".join(capsys.readouterr().out.split())


def test_losses_beyond_all_numbers_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["C,loss", *(f"{1e18 * 4**i:g},{(4 - 0.2 * i)}e300" for i in range(6))]))
    assert main(["forecast", str(path), "--flops", "1e23", "--json"]) == 2
    captured = capsys.readouterr()
    assert "a loss from 1e-09 to 1e+09 is expected" in " ".join(captured.err.split()) and not captured.out


@pytest.mark.parametrize("text", ["7Q", "", "seven", "1,3"])
def test_no_numbers(text: str, runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", runs, f"--params={text}", "--tokens", "1T"]) == 2
    assert "1e22, 7B or 1.4T is expected" in " ".join(capsys.readouterr().err.split())
