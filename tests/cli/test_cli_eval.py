"""``foretell eval`` from the command line: a small model of our own, tasks from a user's files."""

import json
import sys
from pathlib import Path

import pytest

from foretell.cli.main import main
from foretell.evals.records import read_items, read_results
from foretell.infer.export import export_model

sys.path.append(str(Path(__file__).parents[1] / "evals"))
import answering


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    export_model(answering.loaded(), folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two tasks and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    choice = [{"question": f"text {n}", "choices": ["some", "more"], "answer": n % 2} for n in range(6)]
    (tmp_path / "pick.jsonl").write_text("\n".join(map(json.dumps, choice)))
    (tmp_path / "say.jsonl").write_text(
        "\n".join(json.dumps({"question": f"say {n}", "answer": "x"}) for n in range(3))
    )
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(["eval", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return " ".join((captured.out + captured.err).split())


def test_tasks_are_scored_recorded_and_compared(model: Path, place: Path, capsys) -> None:
    answering.small_model.built_kernels()
    text = said(capsys, "--model", model, "--tasks", "pick.jsonl,say.jsonl", "--out", "first")
    assert "pick acc" in text and "say exact" in text and "report.html" in text
    results = read_results(place / "first")
    assert set(results) == {"pick", "say"} and results["pick"]["n"] == 6
    assert len(results["pick"]["model_hash"]) == 64 and results["pick"]["model"] == "tiny"
    assert len(read_items(place / "first")) == 9
    assert (place / "cache" / "foretell" / "answers.sqlite").exists()
    text = said(capsys, "--model", model, "--tasks", "pick.jsonl", "--shots", 2, "--out", "second", "--compare",
                "first", "--cache", "own.sqlite")  # fmt: skip
    assert "pick was asked with shots 0 and 2" in text and (place / "own.sqlite").exists()
    assert "Compared with" in (place / "second" / "report.html").read_text()
    assert "pick acc" in said(capsys, "--out", "second", "--compare", "first")


def test_samples_and_limits_reach_the_record(model: Path, place: Path, capsys) -> None:
    answering.small_model.built_kernels()
    text = said(capsys, "--model", model, "--tasks", "say.jsonl", "--out", "o", "--samples", 3, "--limit", 2, "--chat",
                "--seed", 4, "--no-cache")  # fmt: skip
    assert "exact_mean" in text
    entry = read_results(place / "o")["say"]
    assert [entry[key] for key in ("samples", "temperature", "limit", "chat", "seed", "n")] == [3, 0.7, 2, True, 4, 2]
    assert entry["prompt"] == [{"role": "user", "content": entry["prompt"][0]["content"]}]
    assert not (place / "cache" / "foretell" / "answers.sqlite").exists()
    warned = said(capsys, "--model", model, "--tasks", "pick.jsonl", "--out", "o", "--samples", 3)
    assert "--samples has no effect" in warned
    assert set(read_results(place / "o")) == {"say", "pick"}


def test_the_list_names_every_task(place: Path, capsys) -> None:
    text = said(capsys, "--list")
    assert "mmlu (61 parts)" in text and "piqa" in text and "gsm8k" in text


def test_the_list_says_what_is_damaged(place: Path, tmp_path: Path, capsys) -> None:
    data = tmp_path / "sets"
    data.mkdir()
    (data / "piqa_val.jsonl").write_text('{"query": "q"}\n')
    text = " ".join(said(capsys, "--list", "--data-dir", data).split())
    assert text.count(" damaged ") == 1 and "piqa: " in text and "line 1 has no field 'choices'" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--tasks is missing; names of tasks are expected"),
        (["--tasks", "piqa"], "--out is missing; a folder for the results is expected"),
        (["--tasks", "piqqa", "--out", "o"], "There is no task 'piqqa'; did you mean 'piqa'"),
        (["--tasks", "piqa", "--out", "o", "--data-dir", "nowhere"], "--data-dir is 'nowhere'; a folder"),
        (["--tasks", "pick.jsonl", "--out", "o", "--limit", "0"], "--limit is 0; 1 or more is accepted"),
        (["--tasks", "pick.jsonl", "--out", "o", "--temperature", "9"], "temperature is 9"),
        (["--tasks", "pick.jsonl", "--out", "o", "--model", "no-such"], "There is no model 'no-such'"),
        (["--tasks", "pick.jsonl", "--out", "o", "--model", "gopher://x"], "The model's address is 'gopher://x'"),
        (["--out", "o", "--compare", "p"], "holds no results.json"),
        (["--tasks", "a,b", "--model"], "expected one argument"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], words: str, place: Path, capsys) -> None:
    assert words in said(capsys, *arguments, code=2)


def test_what_is_compared_with_is_read_before_anything_is_asked(
    model: Path, place: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering.small_model.built_kernels()
    said(capsys, "--model", model, "--tasks", "pick.jsonl", "--out", "before")

    def never(*_: object) -> None:
        raise AssertionError("something was asked")

    monkeypatch.setattr("foretell.evals.opening.open_model", never)
    common = ["--model", model, "--out", "after", "--compare"]
    assert "nowhere holds no results.json" in said(capsys, "--tasks", "pick.jsonl", *common, "nowhere", code=2)
    assert "before has no results of say; it has pick." in said(
        capsys, "--tasks", "pick.jsonl,say.jsonl", *common, "before", code=2
    )
    results = json.loads((place / "before" / "results.json").read_text())
    results["pick"]["version"] = 0
    (place / "before" / "results.json").write_text(json.dumps(results))
    text = said(capsys, "--tasks", "pick.jsonl", *common, "before", code=2)
    assert "before has pick by version 0, and it is scored by" in text
    (place / "before" / "items.parquet").write_bytes(b"")
    assert "no table of items" in said(capsys, "--tasks", "pick.jsonl", *common, "before", code=2)
    assert not (place / "after").exists()


def test_missing_data_is_said_with_what_is_expected(model: Path, place: Path, capsys) -> None:
    answering.small_model.built_kernels()
    text = said(capsys, "--model", model, "--tasks", "pick.jsonl,piqa", "--out", "o", code=2)
    assert "piqa" in text and not (place / "o" / "results.json").exists()
