"""A whole run, small enough for a test: every stage on real text, interrupted anywhere, never done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.core.files import read_json, sha256_file, write_json
from foretell.core.runlog import read_log
from foretell.ladder.plan import plan_record
from foretell.recipes.config import Recipe, built_in_recipes, load_recipe
from foretell.recipes.pipeline import run_recipe
from foretell.recipes.planning import plan_of
from foretell.recipes.workspace import Workspace

STDLIB = Path(sysconfig.get_paths()["stdlib"])
TINY = {
    "name": "tiny",
    # not the whole environment, which may change while the tests run
    "corpus": {"sources": [{"path": str(STDLIB / name / "*.py")} for name in ("json", "email", "asyncio", "logging")],
               "max_bytes": 1_500_000, "heldout_bytes": 30_000},
    "tokenizer": {"vocab_size": 300},
    "model": {"depth": 1, "context": 64, "head_dim": 8},
    "target": {"flops": 1e10},
    "ladder": {"ratio": 20, "sizes": 3, "span": 4, "seeds": 2, "width_step": 1, "minimum_width": 2,
               "learning_rates": [1e-2, 2e-2], "tuning_sizes": 1},
    "training": {"compile": "off", "checkpoints": 5, "evaluations": 4, "evaluation_rows": 16},
    "samples": {"tokens": 20, "count": 2},
}  # fmt: skip


def recipe_file(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(TINY))
    return path


def command(folder: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "foretell", "run", str(recipe_file(folder)), "--anyway", "--output", str(output)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(command(folder, folder / "out")[3:]) == 0
    return folder / "out"


def test_every_record_is_there_and_the_forecast_is_older_than_the_target(finished: Path) -> None:
    names = "forecast.json forecast.svg report.html score.json samples.json model/config.json model/model.safetensors "
    names += "model/tokenizer.json corpus/manifest.csv target/log.jsonl"
    for name in names.split():
        assert (finished / name).stat().st_size > 0, name
    registered = read_json(finished / "forecast.json")
    start = next(read_log(finished / "target" / "log.jsonl", "start"))
    assert registered["created_unix"] < start["time"]
    assert registered["context"]["target_config_hash"] == read_json(finished / "target" / "result.json")["config_hash"]
    score = read_json(finished / "score.json")
    assert score["outcome"] == read_json(finished / "target" / "result.json")["heldout"]["bits_per_byte"]
    assert f"{score['outcome']:.3f}"[:4] in (finished / "report.html").read_text()


def test_transformers_loads_the_model_with_the_same_loss(finished: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    from foretell.data.tokens import TokenDataset

    model = transformers.AutoModelForCausalLM.from_pretrained(finished / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(finished / "model")
    dataset = TokenDataset(finished / "tokens", "heldout")
    ids = torch.tensor([*dataset.tokens.tolist(), dataset.end_of_text_id])
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, 64):
            window = ids[start : start + 65]
            logits = model(window[None, :-1]).logits[0].double().log_softmax(-1)
            total -= logits.gather(1, window[1:, None]).sum().item()
    recorded = read_json(finished / "target" / "result.json")["heldout"]
    assert total / recorded["tokens"] == pytest.approx(recorded["nats_per_token"], rel=1e-4)
    assert tokenizer.decode(tokenizer("def f(x): return x")["input_ids"]) == "def f(x): return x"


def test_again_nothing_is_recomputed(finished: Path, tmp_path: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name in ("result.json", "log.jsonl")
    }
    stages = len(list(read_log(finished / "run.jsonl", "stage")))
    assert main(command(tmp_path, finished)[3:]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(list(read_log(finished / "run.jsonl", "stage"))) == stages


def test_the_other_verbs_read_it(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["forecast", str(finished), "--figure", str(tmp_path / "f.svg")])
    assert "hash verified" in capsys.readouterr().out and (tmp_path / "f.svg").read_text().startswith("<")
    main(["forecast", str(finished), "--flops", "1e11"])
    assert "1e+11" in capsys.readouterr().out
    assert main(["report", str(finished)]) == 0
    assert main(["generate", str(finished), "--seed", "1", "--tokens", "12", "def "]) == 0
    first = capsys.readouterr().out
    assert "def " in first
    main(["generate", str(finished), "def ", "--tokens", "12", "--seed", "1"])
    assert capsys.readouterr().out == first[first.index("def ") :]
    assert main(["generate", str(finished), "def ", "--top-p", "0"]) == 2


def test_a_changed_forecast_is_noticed(finished: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    forecast = copy / "forecast.json"
    forecast.chmod(0o644)
    forecast.write_text(forecast.read_text().replace('"median": ', '"median": 1', 1))
    with pytest.raises(UserError, match="changed since it was sealed"):
        run_recipe(load_recipe(str(recipe_file(tmp_path)), ["--output", str(copy)]), anyway=True)
    forecast.unlink()
    with pytest.raises(UserError, match="target has already started"):
        run_recipe(load_recipe(str(recipe_file(tmp_path)), ["--output", str(copy)]), anyway=True)


def outcome(folder: Path) -> tuple:
    forecast = read_json(folder / "forecast.json")["forecast"]
    return (
        forecast["median"], forecast["low"], forecast["high"], read_json(folder / "score.json")["outcome"],
        read_json(folder / "corpus" / "summary.json")["digest"], read_json(folder / "ladder" / "tuning.json")["chosen"],
        sha256_file(folder / "model" / "model.safetensors"),
    )  # fmt: skip


def test_interrupted_in_every_long_stage_the_result_is_the_same(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "broken"
    for number, begun in (
        (signal.SIGKILL, "ladder/runs/tuning-*/log.jsonl"),
        (signal.SIGTERM, "ladder/runs/rung-*/log.jsonl"),
        (signal.SIGKILL, "target/checkpoints/*/checksums.json"),
    ):
        child = subprocess.Popen(command(tmp_path, output), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        while not any(output.glob(begun)) and child.poll() is None:
            time.sleep(0.02)
        child.send_signal(number)
        assert child.wait(60) in (130, -number)
    assert main(command(tmp_path, output)[3:]) == 0
    assert outcome(output) == outcome(finished)


@pytest.mark.slow
def test_interrupted_anywhere_the_result_is_the_same(finished: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    output = tmp_path / "broken"
    signals = [signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]
    for number in signals:
        child = subprocess.Popen(command(tmp_path, output), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        time.sleep(chance.uniform(3, 9))
        child.send_signal(number)
        assert child.wait(60) in (0, 130, -signal.SIGKILL, -signal.SIGTERM)
    assert main(command(tmp_path, output)[3:]) == 0
    assert outcome(output) == outcome(finished)


def test_a_ladder_that_cannot_carry_is_refused(tmp_path: Path) -> None:
    """With a learning rate that teaches nothing the loss does not fall; the target must not start."""
    arguments = ["run", str(recipe_file(tmp_path)), "--output", str(tmp_path / "out"), "--ladder.seeds", "1",
                 "--ladder.processes", "1", "--ladder.learning_rates", "[1e-12]"]  # fmt: skip
    assert main(arguments) == 3
    assert not (tmp_path / "out" / "target" / "log.jsonl").exists()
    assert read_json(tmp_path / "out" / "refusal.json")["anyway"] is False
    assert (tmp_path / "out" / "report.html").exists()
    assert main([*arguments, "--anyway"]) == 0
    assert read_json(tmp_path / "out" / "refusal.json")["anyway"] is True
    assert (tmp_path / "out" / "score.json").exists()


def test_what_the_plan_alone_cannot_carry_is_refused_before_anything_is_trained(tmp_path: Path, capsys) -> None:
    """Two sizes say nothing about a third."""
    arguments = ["run", str(recipe_file(tmp_path)), "--output", str(tmp_path / "out"), "--ladder.sizes", "2"]
    assert main(arguments) == 3
    assert "a law needs three. Nothing was trained" in " ".join(capsys.readouterr().err.split())
    assert read_json(tmp_path / "out" / "refusal.json")["anyway"] is False
    assert not (tmp_path / "out" / "corpus").exists()
    assert "a law needs three" in (tmp_path / "out" / "report.html").read_text()
    assert main(["plan", *arguments[1:]]) == 0
    assert "refusal: The ladder has 2 sizes" in capsys.readouterr().out


def test_a_plan_of_other_settings_is_not_taken_from_the_folder(finished: Path, tmp_path: Path, capsys) -> None:
    arguments = ["plan", str(recipe_file(tmp_path)), "--output", str(finished)]
    assert main(arguments) == 0
    recorded = capsys.readouterr().out
    assert main([*arguments, "--target.flops", "9e10"]) == 0
    assert capsys.readouterr().out.splitlines()[5] != recorded.splitlines()[5]  # the target's line


def test_a_run_planned_by_other_rules_is_not_mixed_with_this_one(tmp_path: Path) -> None:
    recipe = load_recipe(str(recipe_file(tmp_path)), ["--output", str(tmp_path / "out")])
    Workspace(recipe).close()
    plan = plan_record(plan_of(recipe), 1e11, 2)
    plan["rungs"][0]["ffn_width"] += 2
    write_json(tmp_path / "out" / "plan.json", plan)
    with pytest.raises(UserError, match="other sizes than this version"):
        run_recipe(recipe)


def test_built_in_recipes_plan() -> None:
    recipes = [load_recipe(name, []) for name in built_in_recipes()]
    plans = {recipe.name: plan_of(recipe) for recipe in recipes if isinstance(recipe, Recipe)}
    for name, plan in plans.items():
        # Text alone is forecast over a wider gap than images and text.
        assert max(rung.flops for rung in plan.rungs) <= plan.target.flops / (200 if name == "laptop" else 20)
