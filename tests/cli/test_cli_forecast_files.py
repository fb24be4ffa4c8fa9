"""What ``foretell forecast`` leaves behind: figures, pages and registrations, and what verify makes of these."""

import json
import shlex
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foretell
from foretell.cli.forecast_options import MEANING, command_of
from foretell.cli.main import build_parser, main
from foretell.core.files import sha256_file
from foretell.laws.registry import load_registered

ROOT = Path(__file__).parents[2]
SEALED = ROOT / "docs" / "forecasts" / "python-seed0" / "forecast.json"


def law(flops: float) -> float:
    return 12.0 * flops**-0.05 + 1.0


def row(number: int, flops: float, loss: float) -> str:
    params = (flops / 120) ** 0.5
    return f"r{number},{flops:.6g},{params:.6g},{20 * params:.6g},{loss:.6f}"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    rows = [row(number, 1e17 * 3**number, law(1e17 * 3**number)) for number in range(6)]
    path.write_text("\n".join(["run,C,N,D,val_loss", *rows]) + "\n")
    return path


@pytest.fixture
def sealed(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "seal.json"
    assert main(["forecast", str(table), "--flops", "1e21", "--register", str(path)]) == 0
    capsys.readouterr()
    return path


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return " ".join(captured.out.split()), " ".join(captured.err.split())


def test_figures_pages_and_seals_are_written_and_named(table: Path, tmp_path: Path, capsys) -> None:
    files = {name: tmp_path / "out" / name for name in ("f.svg", "F.PNG", "p.html", "s.json")}
    command = ["forecast", str(table), "--flops", "1e21", "--figure", str(files["f.svg"]), "--page",
               str(files["p.html"]), "--register", str(files["s.json"])]  # fmt: skip
    assert main(command) == 0
    out = said(capsys)[0]
    assert all(f"{files[name]}" in out for name in ("f.svg", "p.html", "s.json"))
    ElementTree.fromstring(files["f.svg"].read_text())
    assert main(["forecast", str(table), "--flops", "1e21", "--figure", str(files["F.PNG"]), "--json"]) == 0
    assert files["F.PNG"].read_bytes().startswith(b"\x89PNG")
    record = json.loads(capsys.readouterr().out)
    seal = load_registered(files["s.json"])
    context = seal["context"]
    assert seal["forecast"]["median"] == record["value"] and "registered" not in record
    assert context["source"] == {"path": str(table), "kind": "table", "sha256": sha256_file(table)}
    assert context["command"] == shlex.join(["foretell", *command[:2], "--flops", "1e+21", *command[4:]])
    assert context["foretell"] == foretell.__version__ and context["runs_read"] == 6 and context["anyway"] is False
    assert context["options"]["flops"] == 1e21 and context["options"]["metric"] is None
    assert seal["sha256"] in out and seal["sha256"] in files["p.html"].read_text()


def test_a_run_directory_has_its_figure_and_page_too(tmp_path: Path, capsys) -> None:
    page = tmp_path / "p.html"
    for name in ("f.svg", "f.png"):
        options = ["--figure", str(tmp_path / name), "--page", str(page)]
        assert main(["forecast", str(SEALED.parent), *options]) == 0
        assert "hash verified" in said(capsys)[0] and (tmp_path / name).stat().st_size > 5000
    assert "outcome" in (tmp_path / "f.svg").read_text() and "bits per byte" in (tmp_path / "f.svg").read_text()
    assert load_registered(SEALED)["sha256"] in page.read_text()


def test_the_commit_of_the_working_folder_is_sealed(table: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["forecast", str(table), "--flops", "1e21", "--register", "a.json"]) == 0
    assert load_registered(Path("a.json"))["context"]["git_commit"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for arguments in (["init", "-q"], ["add", "runs.csv"], ["commit", "-qm", "runs"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert main(["forecast", str(table), "--flops", "1e21", "--register", "b.json"]) == 0
    assert load_registered(Path("b.json"))["context"]["git_commit"] == f"{head}+dirty"  # a.json is not committed


def test_nothing_is_overwritten(table: Path, sealed: Path, tmp_path: Path, capsys) -> None:
    before = sealed.read_bytes()
    page = tmp_path / "p.html"
    command = ["forecast", str(table), "--flops", "2e21", "--register", str(sealed), "--page", str(page)]
    assert main(command) == 2
    assert "never overwrites" in said(capsys)[1]
    assert sealed.read_bytes() == before and not page.exists()


def test_a_refused_forecast_is_sealed_only_anyway(tmp_path: Path, capsys) -> None:
    table, seal = tmp_path / "two.csv", tmp_path / "s.json"
    table.write_text("flops,loss\n1e18,3\n1e19,2.8\n")
    command = ["forecast", str(table), "--flops", "1e20", "--register", str(seal), "--json"]
    assert main(command) == 3
    out, err = said(capsys)
    assert "--anyway" in err and json.loads(out)["refused"] and not seal.exists()
    assert main([*command, "--anyway"]) == 3
    record = json.loads(capsys.readouterr().out)
    assert (
        load_registered(seal)["context"]["anyway"] is True and record["registered"] == load_registered(seal)["sha256"]
    )
    assert main(["forecast", "verify", str(seal), "--outcome", "2.7"]) == 0
    assert "refused beforehand" in said(capsys)[0]


def test_verify_says_what_was_sealed_and_scores_it(sealed: Path, capsys) -> None:
    assert main(["forecast", "verify", str(sealed)]) == 0
    out = said(capsys)[0]
    seal = load_registered(sealed)
    for words in (
        seal["sha256"],
        seal["created"],
        f"forecast at {seal['forecast']['median']:.3f}",
        "foretell forecast ",
    ):
        assert words in out
    assert main(["forecast", "verify", str(sealed), "--outcome", "1.5", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verified"] and record["value"] == seal["forecast"]["median"] and record["table"] is None
    assert record["score"]["outcome"] == 1.5 and not record["score"]["inside"]
    assert record["score"]["relative_error"] == pytest.approx(1.5 / record["value"] - 1)
    assert main(["forecast", "verify", str(sealed), "--outcome", "1.5"]) == 0
    assert "The target's val_loss is 1.500, below the 90 % interval" in said(capsys)[0]


def test_a_changed_seal_is_noticed(sealed: Path, capsys) -> None:
    sealed.chmod(0o644)
    sealed.write_text(sealed.read_text().replace('"level": 0.9', '"level": 0.8', 1))
    assert main(["forecast", "verify", str(sealed), "--outcome", "2.2"]) == 2
    out, err = said(capsys)
    assert "changed since it was sealed" in err and not out


def test_the_outcome_is_taken_from_the_table_once_it_is_there(table: Path, sealed: Path, capsys) -> None:
    verify = ["forecast", "verify", str(sealed), "--table", str(table)]
    assert main(verify) == 0
    assert "unchanged: its SHA-256" in (out := said(capsys)[0]) and "No outcome yet: no run from 1e+21 to" in out
    with table.open("a") as file:
        file.write("\n".join([row(90, 1.2e21, 9.0), row(91, 9e20, 9.0), row(92, 1.05e21, law(1.05e21))]) + "\n")
    assert main([*verify, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["score"]["inside"] and record["score"]["outcome"] == pytest.approx(law(1.05e21), abs=1e-6)
    assert record["score"]["context"]["names"] == ["r92"] and record["score"]["context"]["flops"] == 1.05e21
    assert record["table"] == {"path": str(table), "sha256": sha256_file(table), "unchanged": False,
                               "used": 6, "there": 6}  # fmt: skip
    table.write_text(table.read_text().replace(f"{law(1e17):.6f}", "4.000000"))
    assert main(verify) == 0
    assert "has changed since; 5 of 6 runs that the forecast was made from" in said(capsys)[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["TABLE", "--flops", "1e21", "--gaps", "10"],
            "--gaps is for foretell forecast backtest, not for tables of runs",
        ),
        (["TABLE", "--flops", "1e21", "--outcome", "2"], "--outcome is for foretell forecast verify"),
        (["TABLE", "--flops", "1e21", "--output", "d"], "--output is for foretell forecast backtest"),
        (["TABLE", "--flops", "1e21", "--schedule", "wsd"], "--schedule is for tables of training curves"),
        (["TABLE", "--flops", "1e21", "--figure", "a.pdf"], "--figure is 'a.pdf'; a file that ends in .svg or .png"),
        (["TABLE", "--flops", "1e21", "--page", "a.txt"], "--page is 'a.txt'; a file that ends in .html or .htm"),
        (["TABLE", "--flops", "1e21", "--register", "a"], "--register is 'a'; a file that ends in .json"),
        (["TABLE", "--flops", "1e21", "--anyway"], "without --register it does nothing"),
        (
            ["verify", "SEAL", "--flops", "1e21"],
            "--flops is for tables of runs, tables of samples per problem and run directories, not for",
        ),
        (["verify", "SEAL", "--level", "0.5"], "--level is for"),
        (["verify", "SEAL", "--figure", "a.svg"], "--figure is for"),
        (["verify", "SEAL", "--outcome", "2", "--table", "TABLE"], "give one of them"),
        (["verify", "SEAL", "--outcome", "-2"], "outcome's loss is -2"),
        (["verify", "SEAL", "--outcome", "nan"], "outcome's loss is nan"),
        (["verify", "SEAL", "--table", "nowhere.csv"], "nowhere.csv does not exist"),
        (["verify", str(SEALED), "--table", "TABLE"], "not registered from a table of runs"),
        (["verify"], "verify takes one file, not 0"),
        (["verify", "SEAL", "SEAL"], "verify takes one file, not 2"),
        (["backtest", ".", "--metric", "loss"], "--metric is for"),
        (["backtest"], "backtest takes one folder of tables, not 0"),
        (["FOLDER", "--register", "a.json"], "--register is for tables of runs, not for run directories"),
        (["FOLDER", "--figure", "a.jpg"], "--figure is 'a.jpg'"),
    ],
)
def test_options_that_mean_nothing_are_errors(
    options: list[str], words: str, table: Path, sealed: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    named = {"TABLE": "runs.csv", "SEAL": "seal.json", "FOLDER": "folder"}
    before = sorted(tmp_path.rglob("*"))
    assert main(["forecast", *(named.get(option, option) for option in options)]) == 2
    out, err = said(capsys)
    assert words in err and not out
    assert sorted(tmp_path.rglob("*")) == before


def test_every_option_of_the_parser_has_its_meaning() -> None:
    arguments = vars(build_parser().parse_args(["forecast", "a.csv"]))
    assert set(arguments) - {"verb", "traceback", "runs", "json"} == set(MEANING)


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=2),
    st.floats(1, 1e30),
    st.one_of(st.none(), st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1)),
)
def test_the_command_makes_the_same_arguments_again(runs: list[str], flops: float, family: str | None) -> None:
    runs = [f"x{name}" for name in runs]
    arguments = build_parser().parse_args(["forecast", *runs, f"--flops={flops!r}", "--json"])
    arguments.family = None if family is None else f"x{family}"
    words = shlex.split(command_of(arguments))
    assert words[0] == "foretell"
    assert build_parser().parse_args(words[1:]) == arguments


def test_a_backtest_is_written_where_it_is_asked_for(tmp_path: Path, capsys) -> None:
    lines = ["family,run,flops,metric,value,stage"]
    lines += [f"a,r{i},{1e17 * 3**i:.6g},loss_x,{law(1e17 * 3**i):.6f},final" for i in range(9)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert (
        main(["forecast", "backtest", str(tmp_path), "--gaps", "10", "--output", str(tmp_path / "docs"), "--json"]) == 0
    )
    record = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "docs" / "backtest.json").read_text()) == record
    assert "| 10 | 1 |" in (tmp_path / "docs" / "backtest.md").read_text()
