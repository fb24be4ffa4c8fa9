"""What the documents claim is what the records say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from foretell.cli.forecast import backtest_document
from foretell.cli.main import main
from foretell.core.files import read_json
from foretell.laws.capability.passrate_registry import load_pass_rates
from foretell.laws.registry import load_registered

ROOT = Path(__file__).parents[1]
FORECASTS = ROOT / "docs" / "forecasts"
KEPT = sorted(path.parent.name for path in FORECASTS.glob("*/forecast.json"))
KEPT_RATES = sorted(path.parent.name for path in FORECASTS.glob("*/forecast-code.json"))


@pytest.mark.parametrize("name", KEPT)
def test_kept_forecasts_are_sealed_and_their_table_is_true(name: str) -> None:
    registered, score = load_registered(FORECASTS / name / "forecast.json"), read_json(FORECASTS / name / "score.json")
    assert score["sha256"] == registered["sha256"]
    forecast = registered["forecast"]
    cells = [f"{forecast[key]:.3f}" for key in ("median", "low", "high")] + [f"{score['outcome']:.3f}"]
    row = next(line for line in (FORECASTS / "README.md").read_text().splitlines() if f"({name}/" in line)
    for cell in cells:
        assert cell in row, (cell, row)
    assert ("inside" in row) == score["inside"]


@pytest.mark.parametrize("name", KEPT_RATES)
def test_kept_forecasts_of_pass_rates_are_sealed_and_their_table_is_true(name: str) -> None:
    registered = load_pass_rates(FORECASTS / name / "forecast-code.json")
    score = read_json(FORECASTS / name / "score-code.json")
    assert score["sha256"] == registered["sha256"]
    values = [score["median"], score["low"], score["high"], score["outcome"]["log_pass"], score["error"],
              score["baseline_error"]]  # fmt: skip
    row = next(line for line in (FORECASTS / "README.md").read_text().splitlines() if f"({name}/forecast" in line)
    assert [f"{value:.3f}" for value in values] == re.findall(r"-?\d\.\d{3}", row)
    assert abs(score["error"]) < abs(score["baseline_error"])


def test_the_table_of_micro_code_is_its_record() -> None:
    folder, page = FORECASTS / "micro-code-3e13", (ROOT / "docs" / "code.md").read_text()
    runs = load_pass_rates(folder / "forecast-code.json")["counts"] + [read_json(folder / "score-code.json")["counts"]]
    rows = re.findall(r"^\| (\d+)(, the target)? \| [\d,]+ \| (\S+) \| (\S+) % \|$", page, re.MULTILINE)
    assert len(rows) == len(runs) == 7
    for (width, target, flops, rate), run in zip(rows, runs, strict=True):
        assert run["name"] == ("target" if target else f"width {width}")
        assert float(flops) == float(f"{run['flops']:.1e}")
        passed = 100 * sum(run["correct"]) / sum(run["samples"])
        assert rate == (f"{passed:.0f}" if 10 <= passed < 99 else f"{passed:.1f}")


@pytest.mark.parametrize(("record", "kept"), [("forecast", KEPT), ("forecast-code", KEPT_RATES)])
def test_every_table_row_has_its_record(record: str, kept: list[str]) -> None:
    linked = re.findall(rf"\((\S+?)/{record}\.json\)", (FORECASTS / "README.md").read_text())
    assert sorted(linked) == kept and kept


def test_links_between_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_quick_start_has_exactly_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("pip install . && foretell run") == text.count("pip install '.[dev]' && pytest") == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_help_answers_without_torch() -> None:
    code = "import sys; from foretell.cli.main import build_parser; build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_of_settings_is_what_the_command_writes(capsys) -> None:
    assert main(["settings", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page == (ROOT / "docs" / "settings.md").read_text()
    assert not re.search(r"\|\s*\|$", page, re.MULTILINE), "a setting without a meaning"


def test_the_benchmark_table_is_its_record() -> None:
    record = read_json(ROOT / "docs" / "benchmarks" / "train-cpu.json")
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for row in record["rows"]:
        line = next(line for line in page.splitlines() if line.startswith(f"| {row['width']} |"))
        figures = [f"{row[f'{peer}_tokens_per_second']:,.0f}" for peer in ("foretell", "eager", "transformers")]
        figures += [f"**{row['ratio']:.2f}**", f"{row['eager_ratio']:.2f}", f"{row['peak_share'] * 100:.0f} %"]
        for figure in figures:
            assert figure in line, (figure, line)


def test_the_table_of_serving_is_its_record() -> None:
    record = read_json(ROOT / "docs" / "benchmarks" / "serve-cpu.json")
    page, readme = ((ROOT / name).read_text() for name in ("docs/benchmarks.md", "README.md"))
    for peer, rates in record["tokens_per_second"].items():
        ratios = record["ratio"][peer]
        cells = [f"{rate:,.0f}" + ("" if peer == "foretell" else f" ({ratios[name]:.2f})")
                 for name, rate in rates.items()]  # fmt: skip
        last = "" if peer == "foretell" else f" {record['same_tokens'][peer]:.0%}".replace("%", " %")
        assert f"| {peer} | {' | '.join(cells)} |{last} |" in page, peer
    ours, theirs = record["tokens_per_second"]["foretell"], record["ratio"]["llama.cpp"]
    assert f"{ours['decode']:.0f} tokens/s, {theirs['decode']:.1f} times as fast as llama.cpp" in readme
    assert round(theirs["prefill"]) == 2 and "reads prompts twice as fast" in readme


def test_the_table_of_evaluation_is_its_record() -> None:
    record = read_json(ROOT / "docs" / "benchmarks" / "eval-cpu.json")
    lines = (ROOT / "docs" / "benchmarks.md").read_text().splitlines()
    for task, row in record["rows"].items():
        cells = [f"{seconds:.0f}" + (f" ({row['ratio'][peer]:.2f})" if peer != "foretell" else "")
                 for peer, seconds in row["seconds"].items()]  # fmt: skip
        start = f"| {task} |".lower()
        (line,) = [line for line in lines if line.lower().startswith(start)]
        assert line.split("| ", 2)[2] == f"{' | '.join(cells)} | {row['log_likelihoods_apart_at_most']:.4f} |"


def test_the_table_of_fine_tuning_is_its_record() -> None:
    record = read_json(ROOT / "docs" / "benchmarks" / "sft-cpu.json")
    page = " ".join((ROOT / "docs" / "benchmarks.md").read_text().split())
    names = {"foretell-lora": "foretell, LoRA", "foretell-full": "foretell, all weights",
             "peft-lora": "PEFT with transformers, LoRA"}  # fmt: skip
    for peer, row in record["rows"].items():
        memory = f"{row['peak_memory_bytes'] / 1e6:,.0f} MB " if "peak_memory_bytes" in row else ""
        trained, rate = row["trained_parameters"], row["tokens_per_second"]
        assert f"| {names[peer]} | {trained:,} | {rate:,.0f} | {memory}|" in page, peer
    assert f"takes {record['memory_share_of_full']:.0%} of".replace("%", " %") in page
    assert f"{record['speed_against_peft']:.2f} times as fast as PEFT" in page


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def test_the_backtest_figures_are_those_of_its_record() -> None:
    """What the pages and the README say of the backtest is in docs/backtest.json, which one command writes."""
    record = read_json(ROOT / "docs" / "backtest.json")
    page, readme, shares = (" ".join(path.read_text().split()) for path in (
        ROOT / "docs" / "forecast.md", ROOT / "README.md", ROOT / "docs" / "capabilities.md"))  # fmt: skip
    clean, everything = [row for row in record["clean"] if row["gap"] is not None], record["all"]
    for row in clean:
        figures = [percent(row["median_error"]), percent(row["p90_error"]), percent(row["coverage"], 0),
                   percent(row["bootstrap_median_error"]), percent(row["bootstrap_coverage"], 0)]  # fmt: skip
        assert f"| {row['gap']:,.0f} | {row['cases']} | {' | '.join(figures)} |" in page
    held, usual = percent(everything["coverage"], 0), percent(everything["bootstrap_coverage"], 0)
    assert f"Of all {everything['cases']} cases" in page and f"interval held {held}; a bootstrap" in page
    assert f"{everything['winkler']:.2f} against {everything['bootstrap_winkler']:.2f}" in page
    errors = [percent(row["median_error"]) for row in clean]
    assert f"families is {errors[0]} and {errors[1]}" in readme and f"at 1,000 times {errors[2]}" in readme
    assert f"of all {everything['cases']} cases" in readme and f"held {held} (the usual bootstrap: {usual})" in readme
    for row in record["shares"]["summary"]:
        assert f"| {row['gap']:,.0f} | {row['cases']} | {100 * row['median_error']:.1f} |" in shares
    assert (ROOT / "docs" / "backtest.md").read_text() == backtest_document(record)
