"""Each mistake: one clear sentence, exit code 2, no traceback, nothing destroyed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from foretell.cli.main import main, split_overrides

TINY = {
    "name": "tiny",
    "corpus": {"max_bytes": 400_000, "heldout_bytes": 20_000},
    "tokenizer": {"vocab_size": 300},
    "model": {"depth": 1, "context": 32, "head_dim": 8},
    "target": {"flops": 4e10},
    "ladder": {"ratio": 20, "sizes": 3, "span": 4, "seeds": 1, "width_step": 1, "minimum_width": 2,
               "learning_rates": [1e-2], "tuning_sizes": 1},
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(TINY))
    return path


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return " ".join(captured.err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--target.flop", "1e13"], "did you mean 'target.flops'"),
        (["run", "--flops", "1e13"], "did you mean 'target.flops'"),
        (["run", "--model.width", "64"], "accepted here: depth"),
        (["run", "--target.tokens", "5"], "accepted here: flops"),
        (["run", "--corpus.sources", "a.txt"], "a list of mappings is expected, as [{KEY: VALUE}], of python, path"),
        (["run", "--samples.prompts", "hi"], 'as ["...", "..."]'),
        (["run", "--target", "1e13"], "a mapping of keys to values is expected, of flops"),
        (["run", "--ladder.learning_rates", "0.1"], "a list is expected"),
        (["run", "--forecast.level", "0.3"], "forecast.level is 0.3"),
        (["run", "--dryrun"], "did you mean --dry-run"),
        (["run", "laptop", "--resume", "nowhere"], "Both a recipe (laptop) and --resume"),
        (["run", "--target.flops", "lots"], "target.flops is 'lots'"),
        (["run", "--target.flops", "-1"], "target.flops is -1"),
        (["run", "--training.schedule", "cosin"], "training.schedule is 'cosin'"),
        (["run", "--ladder.learning_rates", "[0.1, 0.01]"], "rising order"),
        (["run", "--target.flops", "1e9"], "Raise target.flops"),
        (["run", "--target.flops"], "needs a value"),
        (["run", "nowhere.yaml"], "neither a file nor one of the built-in ones: graft, laptop"),
        (["plan", "--tokenizer.vocab_size", "10"], "tokenizer.vocab_size is 10"),
        (["sing"], "invalid choice: 'sing'"),
        ([], "required: VERB"),
        (["generate", "nowhere", "x"], "There is no model 'nowhere'; 'smollm2', a .gguf file"),
        (["report", "nowhere"], "nowhere is not a run directory"),
        (["forecast", "nowhere"], "nowhere is not a run directory"),
        (["run", "--resume", "nowhere"], "nowhere is not a run directory"),
        (["bench", "train", "--steps", "2"], "--steps is 2"),
        (["bench", "train", "--widths", "65"], "multiple of 64"),
    ],
)
def test_arguments(arguments: list[str], words: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in complaint(capsys, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (bytes(range(256)) * 40, "binary"), (b"A few words.\n" * 20, "hold")],
)
def test_empty_binary_and_single_document_corpora(content, words, recipe, capsys, tmp_path) -> None:
    text = tmp_path / "corpus.txt"
    text.write_bytes(content)
    sources = json.dumps([{"path": str(text)}])
    message = complaint(capsys, "run", recipe, "--output", tmp_path / "out", "--corpus.sources", sources)
    assert words in message.lower()


def test_a_corpus_too_small_for_the_plan(recipe, capsys, tmp_path) -> None:
    for number in range(30):
        words = " ".join(f"{a}{number}" for a in ("alpha", "beta", "gamma", "delta") for _ in range(100))
        (tmp_path / f"{number}.txt").write_text(words + f" {number}" * 300 + "\n")
    sources = json.dumps([{"path": str(tmp_path / "*.txt")}])
    message = complaint(capsys, "run", recipe, "--output", tmp_path / "out", "--target.flops", "1e13",
                        "--corpus.sources", sources)  # fmt: skip
    assert "too small for the plan" in message or "vocab_size" in message


def test_folders_that_are_not_ours(recipe, capsys, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert "not a run of foretell" in complaint(capsys, "run", recipe, "--output", tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    assert "in the way" in complaint(capsys, "run", recipe, "--output", tmp_path / "file")


@pytest.mark.skipif(not Path("/proc/1").exists(), reason="needs a folder that nobody can write, as /proc on Linux")
def test_an_unwritable_folder(recipe, capsys) -> None:
    message = complaint(capsys, "run", recipe, "--output", "/proc/foretell")
    assert "/proc/foretell" in message


def test_a_run_directory_of_another_recipe(recipe, capsys, tmp_path) -> None:
    from foretell.recipes.config import load_recipe
    from foretell.recipes.workspace import Workspace

    Workspace(load_recipe(str(recipe), ["--output", str(tmp_path / "out")])).close()
    (tmp_path / "out" / "corpus").mkdir()
    message = complaint(capsys, "run", recipe, "--output", tmp_path / "out", "--target.flops", "5e10")
    assert "target.flops (40000000000.0 there, 50000000000.0 now)" in message


def test_a_mistyped_corpus_can_be_corrected_in_place(recipe, capsys, tmp_path) -> None:
    arguments = ["run", recipe, "--output", tmp_path / "out", "--corpus.sources"]
    assert "none.txt" in complaint(capsys, *arguments, json.dumps([{"path": str(tmp_path / "none.txt")}]))
    (tmp_path / "empty.txt").write_text("")
    assert "empty" in complaint(capsys, *arguments, json.dumps([{"path": str(tmp_path / "empty.txt")}])).lower()


def test_two_at_once(recipe, capsys, tmp_path) -> None:
    from foretell.recipes.config import load_recipe
    from foretell.recipes.workspace import Workspace

    workspace = Workspace(load_recipe(str(recipe), ["--output", str(tmp_path / "out")]))
    assert "Another foretell is at work" in complaint(capsys, "run", recipe, "--output", tmp_path / "out")
    workspace.close()


def test_a_full_disk_ends_with_a_sentence_and_leaves_what_was_there(tmp_path) -> None:
    """A file-size limit refuses writes as a full disk does; the child meets it in the middle of its first stages."""
    resource = pytest.importorskip("resource")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(json.dumps(TINY))

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    command = [sys.executable, "-m", "foretell", "run", str(recipe), "--output", str(tmp_path / "out")]
    child = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, env={**os.environ}, timeout=120)
    assert child.returncode == 2, child.stderr
    assert "Traceback" not in child.stderr
    assert "disk is full" in child.stderr or "too large" in child.stderr
    assert (tmp_path / "out" / "recipe.yaml").exists()
    assert not (tmp_path / "out" / "corpus").exists()


def test_settings_and_options_are_told_apart() -> None:
    known, overrides = split_overrides(
        ["run", "x.yaml", "--target.flops", "1e14", "--anyway", "--seed=3", "--resume", "d"]
    )
    assert known == ["run", "x.yaml", "--anyway", "--resume", "d"]
    assert overrides == ["--target.flops", "1e14", "--seed=3"]


def test_help_fits_a_screen(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100
