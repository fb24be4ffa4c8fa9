"""``foretell plan RUNS.csv``: what it prints, its JSON and figure, its exit codes; recipes are still planned."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foretell.cli.main import main
from foretell.cli.plan import _short
from foretell.cli.plan_arguments import is_table_plan

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sweep.csv"
LADDER = EXAMPLE.with_name("runs.csv")


def test_json_has_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(EXAMPLE), "--flops", "1e22", "--unique-tokens", "30B", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["metric"] == "loss" and record["n_runs"] == 30 and record["flops"] == 1e22
    # the table was made by this law, see docs/plan.md
    for name, true in (("E", 1.82), ("A", 480), ("B", 2080), ("alpha", 0.348), ("beta", 0.366)):
        assert record["law"]["constants"][name]["low"] < true < record["law"]["constants"][name]["high"]
    assert record["params"]["low"] < record["params"]["value"] < record["params"]["high"]
    assert 6 * record["params"]["value"] * record["tokens"]["value"] == pytest.approx(1e22, rel=1e-3)
    assert [row["factor"] for row in record["deviations"]] == [0.25, 0.5, 1, 2, 4]
    assert [row["inference_tokens"] for row in record["inference"]] == [1e9, 1e10, 1e11, 1e12, 1e13, 1e14]
    assert record["data"]["epochs"] > 4 and sum(row["advised"] for row in record["next_runs"]) == 1
    assert record["refused"] is False and isinstance(record["warnings"], list)


def test_text_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "plan.svg"
    options = ["--hardware", "h100", "--count", "64", "--hours", "240", "--price-per-hour", "2.5",
               "--inference-tokens", "2T", "--figure", str(figure)]  # fmt: skip
    assert main(["plan", str(EXAMPLE), *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "15,360 accelerator-hours, 10.0 days, 38,400 in money" in said
    assert "Best: " in said and "most per FLOP" in said and "Half the size, trained to the same loss" in said
    assert " 2T " in said and "100T" not in said and "Text:" not in said
    assert figure.read_text().startswith("<svg") and "interval of the size" in figure.read_text()


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = (EXAMPLE.parents[1] / "plan.md").read_text()
    blocks = page.split("```")
    options = blocks[1].replace("\\\n", " ").split()[4:]
    options[options.index("--figure") + 1] = str(tmp_path / "plan.svg")
    assert main(["plan", str(EXAMPLE), *options]) == 0

    def figures(text: str) -> list[float]:
        return [float(found.replace(",", "")) for found in re.findall(r"(?<![\w.])[\d,]+\.?\d*(?:e[+-]?\d+)?", text)
                if found.strip(",")]  # fmt: skip

    shown, printed = figures(blocks[3]), figures(capsys.readouterr().out)
    assert len(shown) > 150 and printed == pytest.approx(shown, rel=0.1, abs=0.2)


def test_numbers_take_the_suffixes_of_tables(capsys: pytest.CaptureFixture[str]) -> None:
    plain = [
        "--hours",
        "2000",
        "--count",
        "1000",
        "--hardware",
        "h100",
        "--unique-tokens",
        "3e11",
        "--max-flops",
        "5e18",
    ]
    short = [
        "--hours",
        "2k",
        "--count",
        "1k",
        "--hardware",
        "h100",
        "--unique-tokens",
        "300B",
        "--max-flops",
        "5000000T",
    ]
    said = []
    for options in (plain, short):
        assert main(["plan", str(EXAMPLE), *options, "--json"]) in (0, 3)
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] and said[0]["n_runs"] < 30


def test_one_of_a_thing_is_written_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text(
        "N,D,loss\n" + "".join(f"1e8,{tokens}e9,{3 - tokens / 50}\n" for tokens in range(1, 8))
    )
    assert main(["plan", str(tmp_path / "one.csv"), "--hours", "1", "--hardware", "h100"]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "There are 7 runs of 1 size; at least 6 runs of 3 sizes" in said
    assert "(1 hour of 1 accelerator, " in said and ": 1 accelerator-hour, " in said
    (tmp_path / "one.csv").write_text("N,D,loss\n1e8,1e9,3\n")
    assert main(["plan", str(tmp_path / "one.csv"), "--flops", "1e20"]) == 2
    assert "1 run makes no law" in capsys.readouterr().err


def test_a_ladder_of_one_shape_is_refused_with_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(LADDER), "--flops", "1e14"]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "cannot carry the plan" in said and "refusal: Tokens per parameter vary by a factor 1" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "A budget is missing"),
        (["--flops", "1e22", "--hours", "3"], "are both a budget"),
        (["--flops", "1e22", "--metric", "acc"], "no column 'acc'"),
        (["--flops", "1e22", "--max-flops", "1"], "--max-flops is 1"),
        (
            ["--flops", "1e22", "--unique-tokens", "many"],
            "argument --unique-tokens: 'many' is no number; one such as 5000, 1e22, 7B or 1.4T is expected",
        ),
        (["--flops", "1e22", "--inference-tokens", "0"], "inference_tokens is 0"),
        (["--flops", "1e22", "--form", "kaplan"], "'kaplan'; one of chinchilla"),
        (["--flops", "1e22", "--form", "data-constrained"], "neither a column epochs nor unique_tokens"),
        (["--flops", "1e22", "--target.flops", "3"], "unrecognized arguments: --target.flops"),
        (["--flops", "much"], "argument --flops: 'much' is no number"),
        (["--flops", "nan"], "argument --flops: 'nan' is no number"),
        (["--flops", "1e22", "--max-flops", "1e9999"], "argument --max-flops: '1e9999' is no number"),
        (["--money", "2,500", "--hardware", "h100"], "argument --money: '2,500' is no number"),
        (["--flops", "1e22", "--level", "2"], "level is 2"),
    ],
)
def test_mistakes(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(EXAMPLE), *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flops,loss\n1e18,3\n1e19,2.8\n1e20,2.7\n", "no column of params"),
        ("flops,N,loss\n1e18,1e8,3\n1e19,1e8,2.8\n1e20,1e8,2.7\n", "no column of tokens"),
        ("flops,N,D,loss\n1e18,1e8,1e9,3\n1e19,,1e9,2.8\n1e20,1e8,1e10,2.7\n", "Row 3 has no params"),
        ("N,D,loss\n1e8,1e9,3\n2e8,1e9,2.8\n", "2 runs make no law"),
        ("N,D,gsm_acc\n1e8,1e9,.3\n2e8,1e9,.2\n3e8,1e9,.4\n", "no column 'loss'"),
    ],
)
def test_tables_without_what_a_plan_needs(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert main(["plan", str(tmp_path / "a.csv"), "--flops", "1e21"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert main(["plan", str(tmp_path / "none.csv"), "--flops", "1e21"]) == 2
    assert "does not exist" in " ".join(capsys.readouterr().err.split())


def test_repeated_runs_choose_the_data_constrained_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = EXAMPLE.read_text().splitlines()
    (tmp_path / "a.csv").write_text(
        "\n".join([f"{head},epochs", *(f"{row},{1 + i % 3}" for i, row in enumerate(rows))])
    )
    main(["plan", str(tmp_path / "a.csv"), "--flops", "1e21", "--json"])
    law = json.loads(capsys.readouterr().out)["law"]
    assert law["form"] == "data-constrained" and law["constants"]["R_D"]["high"] > law["constants"]["R_D"]["low"]


def test_what_is_a_table_and_what_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert is_table_plan(["plan", "runs.csv"]) and is_table_plan(["plan", "--flops", "1e22", "runs.parquet"])
    assert is_table_plan(["plan", "--json", "RUNS.CSV"])
    assert not is_table_plan(["plan"]) and not is_table_plan(["plan", "laptop.yaml"])
    assert not is_table_plan(["forecast", "runs.csv", "--family", "plan"])
    assert not is_table_plan(["plan", "--corpus.sources", "texts.jsonl"])
    assert main(["plan", "--flops", "1e22"]) == 2
    assert "flops" in capsys.readouterr().err


def test_a_recipe_that_asks_for_programs_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "micro-code", "--code.samples", "1"]) == 0
    assert "160 problems, 1 answer of each of 7 models, 1,120 programs to run" in capsys.readouterr().out.replace(
        "\n", " "
    )


def test_torch_is_never_imported_and_help_is_quick() -> None:
    for options, limit in ((["--flops", "1e21"], 20.0), (["--help"], 1.5)):
        code = (
            "import sys\nfrom foretell.cli.main import main\n"
            f"try: main(['plan', {str(EXAMPLE)!r}, *{options!r}])\nexcept SystemExit: pass\n"
            "sys.exit(bool({'torch', 'pydantic', 'matplotlib'} & set(sys.modules)))"
        )
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        assert time.monotonic() - begin < limit


def test_short_numbers() -> None:
    assert [_short(value) for value in (8.62e9, 999.6e6, 1.5e15, 12.0, 1e3)] == ["8.62B", "1B", "1,500T", "12", "1k"]
