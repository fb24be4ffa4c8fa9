"""Recipes with images, small enough for a test: a multimodal run with two forecasts, and a graft of its encoder."""

import json
import math
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foretell.cli.main import RECIPE_EPILOG, main
from foretell.core.files import read_json
from foretell.core.runlog import read_log
from foretell.data.tokenizer import Tokenizer
from foretell.infer.loading import load_model
from foretell.laws.registry import load_registered
from foretell.model.config import ModelConfig
from foretell.model.decoder import build_decoder
from foretell.model.hf import load_hf, save_hf
from foretell.model.peft import read_adapter
from foretell.recipes.config import built_in_recipes, load_recipe
from foretell.recipes.forecasts import Forecasts
from foretell.recipes.planning import foreseen, plan_of, text_share
from foretell.recipes.visual_exam import _off, _said, by_kind, not_begun, stderr
from foretell.report.findings import training_began
from foretell.report.records import Record, gather
from foretell.report.visual_tables import answers_table

STDLIB = Path(sysconfig.get_paths()["stdlib"])
CORPUS = {
    "sources": [{"path": str(STDLIB / name / "*.py")} for name in ("json", "email", "asyncio", "logging")],
    "max_bytes": 1_500_000, "heldout_bytes": 30_000,
}  # fmt: skip
GENERATOR = {"levels": 1, "size": {"scenes": 48}, "questions": 2, "multiple_choice": 0}
SINGLE = {"families": {"single": 1}, "levels": 1, "size": {"single": 48}, "questions": 2, "multiple_choice": 0}
CHARTS = {"families": {"charts": 1}, "levels": 1, "questions": 2, "kinds": {"value": 5}, "multiple_choice": 0}
VISUAL = {
    "sources": [{"generator": GENERATOR, "documents": 60, "heldout": 20},
                {"generator": CHARTS, "documents": 20, "heldout": 6, "name": "charts"},
                {"generator": SINGLE, "documents": 40, "heldout": 10, "name": "single", "look": True}],
    "look": 0.5, "share": 0.5, "room": 160,
}  # fmt: skip
TINY = {
    "name": "tiny", "corpus": CORPUS, "visual": VISUAL, "tokenizer": {"vocab_size": 300},
    "model": {"depth": 1, "context": 160, "head_dim": 8,
              "vision": {"patch": 16, "longest": 48, "depth": 1, "head_dim": 8}},
    "target": {"flops": 1e10},
    "ladder": {"ratio": 6, "sizes": 3, "span": 4, "seeds": 1, "width_step": 1, "minimum_width": 2,
               "learning_rates": [2e-2], "tuning_sizes": 1},
    "training": {"compile": "off", "checkpoints": 2, "evaluations": 2, "evaluation_rows": 16},
    "forecast": {"anyway": True}, "samples": {"tokens": 8, "count": 1},
}  # fmt: skip
IMAGE_TOKENS = ["<|image|>", "<|reserved_0|>", "<|reserved_1|>"]


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("visual")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    assert main(["run", str(folder / "tiny.json"), "--output", str(folder / "out")]) == 0
    return folder / "out"


def test_both_losses_are_foretold_and_scored(seeing: Path) -> None:
    result = read_json(seeing / "target" / "result.json")
    for suffix, key, unit in (("", "bits_per_byte", "bits per byte"),
                              ("-answers", "nats_per_answer_token", "nats per answer token")):  # fmt: skip
        registered = load_registered(seeing / f"forecast{suffix}.json")
        assert registered["forecast"]["metric"] == unit
        assert registered["context"]["target_config_hash"] == result["config_hash"]
        assert registered["forecast"]["target_flops"] == pytest.approx(result["flops"])
        assert read_json(seeing / f"score{suffix}.json")["outcome"] == result["heldout"][key]
        assert (seeing / f"forecast{suffix}.svg").stat().st_size > 0


def test_questions_are_scored_by_kind_beside_swapped_images_and_none(seeing: Path) -> None:
    record, index = read_json(seeing / "images.json"), read_json(seeing / "visual" / "index.json")
    assert record["all"]["n"] == index["splits"]["heldout"]["questions"] == sum(
        row["n"] for kind, row in record.items() if kind != "all"
    )  # fmt: skip
    assert all({"exact", "stderr", "swapped", "question_only"} <= set(row) for row in record.values())
    blind = read_json(seeing / "question-only" / "settings.json")
    assert blind["visual"]["blank"] and blind["steps"] < read_json(seeing / "target" / "settings.json")["steps"]
    page = (seeing / "report.html").read_text()
    assert "Held-out questions answered exactly" in page and "Figure 4." in page


def test_numbers_read_off_a_scale_are_scored_within_a_tick(seeing: Path) -> None:
    record = read_json(seeing / "images.json")
    value = next(row for kind, row in record.items() if kind.endswith(": value"))
    assert {"near", "near_swapped", "near_question_only"} <= set(value) and value["near"] >= value["exact"]
    assert not any("near" in row for kind, row in record.items() if not kind.endswith(": value"))
    assert "with another image, within a tick" in (seeing / "report.html").read_text()


@pytest.mark.parametrize(("written", "near"), [("7", True), ("9", True), ("9.0", True), ("10", False), ("4", False),
                                               ("seven", False), ("", False), ("nan", False)])  # fmt: skip
def test_what_is_within_a_tick(written: str, near: bool) -> None:
    assert (_off(written, "7") <= 2.0) == near


def test_rungs_and_target_look_first(seeing: Path) -> None:
    folders = [seeing / "target", *(seeing / "ladder" / "runs").iterdir()]
    for folder in folders:
        looked, result = read_json(folder / "looking" / "result.json"), read_json(folder / "result.json")
        assert looked["steps"] == result["looking"]["steps"] == max(1, round(0.5 * result["steps"]))
        assert read_json(folder / "looking" / "settings.json")["visual"]["look"] == ["single"]
    assert sum((folder / "looking" / "checkpoints").exists() for folder in folders) == 1  # the target's
    assert not (seeing / "question-only" / "looking").exists()


def test_a_source_with_a_dot_in_its_name_is_in_the_table(seeing: Path) -> None:
    run, named = gather(seeing), "easy.v2.zip: shape"
    scores = {"all": run.images.data["all"], named: {"n": 40, "exact": 0.75, "stderr": 0.07, "swapped": 0.125}}
    table = answers_table(replace(run, images=Record("images.json", scores)))
    assert [cell.text for cell in table.rows[1]][:5] == [named, "40", "75.0 %", "7.0 %", "12.5 %"]


def test_the_seal_is_older_than_the_first_look(seeing: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (first, *_) = read_log(seeing / "target" / "looking" / "log.jsonl", "start")
    assert read_json(seeing / "forecast.json")["created_unix"] < first["time"]
    page = (seeing / "report.html").read_text()
    assert "before the target" in page and "after its encoder had looked at images for" in page
    assert training_began(gather(seeing)) == first["time"]
    again = tmp_path / "out"
    shutil.copytree(seeing, again)
    for path in (again / "forecast.json", again / "target" / "log.jsonl", again / "target" / "result.json"):
        path.unlink()
    assert main(["run", str(seeing.parent / "tiny.json"), "--output", str(again)]) == 2
    assert "the target has already started" in " ".join(capfd.readouterr().err.split())


def test_a_figure_has_the_unit_of_its_forecast(seeing: Path) -> None:
    for name, unit in (("forecast-answers", "nats per answer token"), ("forecast", "bits per word")):
        label = (seeing / f"{name}.svg").read_text()
        assert f"Loss in {unit} against" in label
    text, answers = (read_json(seeing / f"forecast{suffix}.json")["forecast"] for suffix in ("", "-answers"))
    said = [finding.sentence for finding in Forecasts(seeing, 0.5).findings()]
    assert said == [
        *(finding["sentence"] for finding in text["findings"]),
        *(f"Answers about images: {finding['sentence']}" for finding in answers["findings"]),
    ]


def test_what_the_largest_rung_has_not_begun_to_see_is_not_foretold(seeing: Path) -> None:
    record = read_json(seeing / "ladder" / "images.json")
    assert set(record) == set(read_json(seeing / "images.json"))
    (refusal,) = not_begun(record)
    sealed = load_registered(seeing / "forecast-answers.json")["forecast"]["findings"]
    assert {"code": "not-begun", "severity": "refusal", "sentence": refusal.sentence} in sealed
    assert read_json(seeing / "score-answers.json")["refused"]
    assert not any((seeing / "ladder" / "runs").rglob("checkpoints"))
    stops = {share: [found.severity for found in Forecasts(seeing, share).findings() if found.code == "not-begun"]
             for share in (0.5, 0.9)}  # fmt: skip
    assert stops == {0.5: ["warning"], 0.9: ["refusal"]}


def test_looking_has_begun_where_other_images_make_answers_worse() -> None:
    def row(exact: float, swapped: float, n: int = 100) -> dict[str, float]:
        return {"n": n, "exact": exact, "swapped": swapped, "stderr": stderr(exact, n)}

    assert not_begun({"all": row(0.5, 0.5), "shape": row(0.6, 0.3), "colour": row(1.0, 0.1)}) == ()
    (refusal,) = not_begun(
        {"all": row(0.9, 0.1), "shape": row(0.6, 0.3), "count": row(0.30, 0.25), "exists": row(0.5, 0.5)}
    )
    assert "2 of 3 kinds" in refusal.sentence and "(count, exists)" in refusal.sentence
    assert not_begun({"count": row(0.30, 0.25, 10_000)}) == ()  # little, and beyond doubt


def test_rungs_with_another_share_of_text_do_not_carry_a_forecast_of_its_loss() -> None:
    plan = plan_of(load_recipe("vision", []))
    (refusal,) = text_share(plan)
    *rungs, target = (round(100 * size.text_tokens / size.tokens) for size in (*plan.rungs, plan.target))
    assert refusal.severity == "refusal" and max(rungs) > 1.25 * target
    assert f"{max(rungs)} % of their positions and the target in {target} %" in refusal.sentence
    assert replace(refusal, severity="warning") in foreseen(plan, load_recipe("vision", []))
    assert plan.target.visual is not None
    half = replace(plan.target, visual=plan.target.visual.model_copy(update={"share": 0.5}))
    assert refusal in foreseen(replace(plan, target=half), load_recipe("vision", []))  # half is text: the run stops
    assert text_share(plan_of(load_recipe("laptop", []))) == ()


def test_the_same_command_does_nothing_twice(seeing: Path) -> None:
    def written() -> dict[Path, int]:
        found = [path for path in seeing.rglob("*.json") if path.name != "refusal.json"]  # says the same each time
        return {path: path.stat().st_mtime_ns for path in found}

    before = written()
    assert main(["run", str(seeing.parent / "tiny.json"), "--output", str(seeing)]) == 0
    assert written() == before


def test_the_model_is_a_llava_that_transformers_reads(seeing: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlavaForConditionalGeneration.from_pretrained(seeing / "model").eval()
    ours = load_hf(seeing / "model")
    ids = torch.randint(20, 300, (1, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=ids).logits, ours(ids), rtol=1e-4, atol=1e-4)
    processor = read_json(seeing / "model" / "processor_config.json")
    assert processor["image_token"] == IMAGE_TOKENS[0]


@pytest.fixture(scope="module")
def base(seeing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model that cannot see."""
    folder = tmp_path_factory.mktemp("base")
    config = ModelConfig(vocab_size=300, width=32, depth=2, heads=2, kv_heads=1, head_dim=16, ffn_width=64, context=512)
    save_hf(build_decoder(config, 1), folder, {"eos_token_id": [0, 299]})  # two of its tokens end an answer
    Tokenizer.from_file(seeing / "tokenizer" / "tokenizer.json").save(folder)
    return folder


def test_an_encoder_is_grafted_onto_a_language_model(seeing: Path, base: Path, tmp_path: Path) -> None:
    recipe = {
        "name": "graft", "corpus": CORPUS, "visual": {**VISUAL, "look": 0},
        "graft": {"model": str(base), "encoder": str(seeing), "image_tokens": IMAGE_TOKENS, "rows": 3, "text_rows": 1,
                  "projector_steps": 4, "adapter_steps": 6, "projector_rate": 1e-2, "adapter_rate": 1e-2},
        "training": {"compile": "off", "checkpoints": 1, "evaluations": 1, "evaluation_rows": 8},
    }  # fmt: skip
    (tmp_path / "graft.json").write_text(json.dumps(recipe))
    command = ["run", str(tmp_path / "graft.json"), "--output", str(tmp_path / "out")]
    assert main(command) == 0 and main(command) == 0
    out = tmp_path / "out"
    text, record = read_json(out / "text.json"), read_json(out / "images.json")
    assert text["with_adapter"] != text["without"] and 0 <= record["all"]["exact"] <= 1
    before, after = load_model(str(base)).decoder, load_model(str(out / "model"))
    ids = torch.randint(20, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(before(ids), after.decoder(ids))  # text is read to the bit as before
    config = read_json(out / "model" / "config.json")
    assert 299 in config["eos_token_id"] and 299 in config["text_config"]["eos_token_id"]  # other programs stop there
    encoder, vision = load_hf(seeing / "model").vision, after.decoder.vision
    assert encoder is not None and vision is not None
    assert not torch.equal(encoder.patch_embedding.weight, vision.patch_embedding.weight)  # it went on to learn
    adapter = read_adapter(out / "adapter" / "peft", after.decoder.config)
    assert sum(float(b.detach().abs().sum()) for _, _, b in adapter.tensors()) > 0


def test_what_a_graft_refuses(seeing: Path, base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    graft = {"model": str(base), "encoder": str(tmp_path / "none"), "image_tokens": IMAGE_TOKENS}
    recipe = {"name": "graft", "corpus": CORPUS, "visual": {**VISUAL, "look": 0}, "graft": graft}
    for number, (change, sentence) in enumerate([
        ({}, "graft.encoder is"), ({"encoder": str(base)}, "reads no images"),
        ({"image_tokens": ["<|image|>", "<|x|>", "<|y|>"]}, "'<|x|>'"),
        ({"image_tokens": ["<|image|>"] * 3}, "three different"), ({"room": 513}, "reads 512 positions at most"),
    ]):  # fmt: skip
        path, room = tmp_path / f"{number}.json", change.pop("room", 160)
        visual = {**VISUAL, "look": 0, "room": room}
        path.write_text(json.dumps({**recipe, "visual": visual, "graft": {**graft, **change}}))
        assert main(["run", str(path), "--output", str(tmp_path / f"out{number}")]) == 2
        assert sentence in " ".join(capfd.readouterr().err.split())


def test_a_graft_does_not_look_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"name": "graft", "corpus": CORPUS, "visual": VISUAL, "graft": {}}))
    for more, said in (
        ([], "visual.look is 0.5"),
        (["--visual.look", "0", "--visual.lead", "0.2"], "visual.lead is 0.2"),
    ):
        assert main(["run", str(path), "--output", str(tmp_path / "out"), *more]) == 2
        assert said in " ".join(capfd.readouterr().err.split())


def test_built_in_recipes_are_valid_and_named_in_the_help() -> None:
    for name in built_in_recipes():
        assert name in RECIPE_EPILOG
        assert load_recipe(name, []).name == name


def test_what_is_written_behind_the_end_is_not_read() -> None:
    assert _said([9, 0, 7], [1, 2, 0]) == [9] and _said([9, 8], [1, 0]) == [9, 8] and _said([0, 5], [1, 0]) == []


def test_near_is_of_the_questions_that_have_a_tolerance() -> None:
    hits, near = np.array([True, False, True]), np.array([1.0, 0.0, math.nan])  # the last lists choices
    record = by_kind({"exact": hits, "near": near}, ["value", "value", "value"])
    assert record["value"]["near"] == 0.5 and record["value"]["n"] == 3 and "near" not in record["all"]
