"""Recipes that ask micro-code of rungs and target: real training, a sealed forecast of pass rates, and its score."""

import itertools
import json
import signal
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foretell.cli.main import main
from foretell.core.errors import InterruptedRunError, UserError
from foretell.core.files import read_json
from foretell.core.runlog import read_log
from foretell.data.config import CorpusConfig, SourceConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.records import read_documents
from foretell.data.tokenizer import Tokenizer
from foretell.evals.cache import AnswerCache
from foretell.evals.models import Decoding, Prompt
from foretell.laws.capability.passrate_registry import load_pass_rates
from foretell.model.config import ModelConfig
from foretell.model.decoder import build_decoder
from foretell.recipes.code_exam import CodeExam, counted_run, counts_of_sizes, require_sandbox, summary_of
from foretell.recipes.config import CodeConfig
from foretell.recipes.text_generators import GENERATORS
from foretell.tasks.code.micro import micro_data, micro_documents
from foretell.train.config import RunSettings, TrainingConfig
from foretell.train.interrupt import graceful_stop
from isolation import isolated

STDLIB = Path(sysconfig.get_paths()["stdlib"])
TINY = {
    "name": "tiny",
    "corpus": {"sources": [{"generated": "micro-code"}, {"path": str(STDLIB / "json" / "*.py"), "weight": 0.25}],
               "max_bytes": 1_000_000, "heldout_bytes": 20_000, "near_duplicates": False},
    "tokenizer": {"vocab_size": 400},
    "model": {"depth": 1, "context": 128, "head_dim": 8},
    "target": {"flops": 5e9, "max_epochs": 20},
    "ladder": {"ratio": 6, "sizes": 2, "span": 2, "seeds": 2, "width_step": 1, "minimum_width": 2,
               "learning_rates": [2e-2], "tuning_sizes": 1, "processes": 1},
    "training": {"compile": "off", "checkpoints": 2, "evaluations": 2, "evaluation_rows": 16},
    "samples": {"tokens": 8, "count": 1},
    "code": {"problems": 8, "samples": 3, "shots": 0, "split": "train"},
}  # fmt: skip


@pytest.fixture(scope="module")
def _sandbox() -> None:
    isolated(require_sandbox)


@pytest.fixture(scope="module")
def finished(_sandbox: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rungs are too small to carry a forecast; the first command stops before its target, as it must."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    command = ["run", str(folder / "tiny.json"), "--output", str(folder / "out"), "--forecast.anyway"]
    assert main([*command, "false"]) == 3
    assert not (folder / "out" / "ladder").exists()  # two sizes cannot carry a loss: nothing is trained
    assert main([*command, "true"]) == 0
    return folder / "out"


def test_every_rung_and_the_target_are_asked_the_same(finished: Path) -> None:
    rungs, target = read_json(finished / "ladder" / "code.json"), read_json(finished / "code.json")
    assert len(rungs) == 4 and {rung["seed"] for rung in rungs} == {100, 101}
    items = micro_data(0, 8, "train").items
    for record in (*rungs, target):
        assert record["problems"] == [item.identity for item in items] and record["samples"] == 3
        assert record["groups"] == [item.group for item in items] == list(record["levels"])
        assert all(0 <= right <= 3 for right in record["correct"]) and record["prompts_cut"] == 0
        assert record["pass_rate"] == pytest.approx(sum(record["correct"]) / 24)
    assert not list(finished.glob("ladder/runs/*/checkpoints")) and not list(finished.rglob("answers.sqlite*"))
    for folder in finished.glob("ladder/runs/rung-*"):
        assert read_json(folder / "code.json") in rungs


def test_pass_rates_are_sealed_before_the_target_and_scored_after(finished: Path) -> None:
    registered, scored = load_pass_rates(finished / "forecast-code.json"), read_json(finished / "score-code.json")
    assert registered["created_unix"] < next(read_log(finished / "target" / "log.jsonl", "start"))["time"]
    result = read_json(finished / "target" / "result.json")
    assert registered["context"]["target_config_hash"] == result["config_hash"] == scored["context"]["target"]
    assert registered["target_flops"] == pytest.approx(result["flops"])
    rungs = read_json(finished / "ladder" / "code.json")
    for run in registered["counts"]:
        seeds = [rung for rung in rungs if rung["flops"] == run["flops"]]
        assert len(seeds) == 2 and set(run["samples"]) == {6}
        assert run["correct"] == [a + b for a, b in zip(*(seed["correct"] for seed in seeds), strict=True)]
    assert scored["sha256"] == registered["sha256"] and scored["refused"]
    refusals = [finding["sentence"] for finding in registered["findings"] if finding["severity"] == "refusal"]
    assert refusals and set(refusals) <= set(read_json(finished / "refusal.json")["sentences"])
    page = (finished / "report.html").read_text()
    assert scored["sentence"].split(".")[0].replace('"', "&#34;") in page
    assert "Pass rates of every model that was asked" in page


def test_the_corpus_has_the_training_documents(finished: Path) -> None:
    sources = read_json(finished / "corpus" / "summary.json")["sources"]
    assert [source["name"] for source in sources] == ["micro-code", str(STDLIB / "json" / "*.py")]
    texts = {document["text"] for document in read_documents(finished / "corpus", ["text"], "train")}
    made = {document.text for document in itertools.islice(micro_documents(0), 100)}
    assert len(texts & made) > 5  # the scarce source beside it leaves room for a part of what was made
    assert sum(text.startswith("def ") for text in texts) > 100
    assert sources[0]["split_by"] == "project" and sources[0]["kind"] == "generated"


def test_again_nothing_is_asked(finished: Path) -> None:
    def written() -> dict[Path, int]:
        found = [path for path in finished.rglob("*.json") if path.name != "refusal.json"]
        return {path: path.stat().st_mtime_ns for path in found}

    before = written()
    command = ["run", str(finished.parent / "tiny.json"), "--output", str(finished), "--forecast.anyway", "true"]
    assert main(command) == 0 and written() == before


class Scripted:
    """Answers each problem rightly in as many samples as ``right`` says."""

    name, digest, digest_of, start, cut = "scripted", "s", "weights", False, 0

    def __init__(self, right: dict[str, int], answers: dict[str, str]) -> None:
        self.right, self.answers = right, answers

    def generate(self, prompts: Iterator[Prompt], decoding: Decoding) -> Iterator[tuple[int, tuple[str, ...]]]:
        asked = [str(prompt.content) for prompt in prompts]
        for place in reversed(range(len(asked))):  # in another order than asked
            right = self.right[asked[place]]
            answer = self.answers[asked[place]]
            yield place, tuple(answer if one < right else "return nothing" for one in range(decoding.samples))


def test_right_samples_are_counted_for_their_problem(_sandbox: None, small_corpus: Path) -> None:
    items = micro_data(5, 24).items
    right = {item.prompt: place % 5 for place, item in enumerate(items)}
    config = CodeConfig(problems=24, samples=4, shots=0, seed=5)
    tokenizer = Tokenizer.from_file(small_corpus / "tokenizer" / "tokenizer.json")
    model = Scripted(right, {item.prompt: item.answer for item in items})
    with CodeExam(config, tokenizer) as exam, AnswerCache(None) as cache:
        counted = exam.right_samples(model, cache)  # type: ignore[arg-type]
    assert counted == [right[item.prompt] for item in items]
    assert sorted(set(counted)) == [0, 1, 2, 3, 4]
    summary = summary_of(counted, [item.group for item in items], 4)
    assert summary["pass_rate"] == pytest.approx(sum(counted) / 96)
    assert summary["levels"]["copy"]["pass_rate"] == pytest.approx((counted[1] + counted[9] + counted[17]) / 12)


def test_an_interrupted_exam_goes_on_to_the_same_counts(
    _sandbox: None, small_corpus: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = ModelConfig(vocab_size=400, width=16, depth=1, heads=2, kv_heads=1, head_dim=8, ffn_width=48, context=128,
                        base_width=16)  # fmt: skip
    settings = RunSettings(label="small", model=model, steps=1, rows=1, learning_rate=1e-2, seed=3, data="d",
                           training=TrainingConfig())  # fmt: skip
    exam = CodeExam(CodeConfig(problems=8, samples=2, seed=1), Tokenizer.from_file(
        small_corpus / "tokenizer" / "tokenizer.json"))  # fmt: skip
    request.addfinalizer(exam.close)

    def load(settings: RunSettings):
        return build_decoder(settings.model, settings.seed)

    whole = exam.ask(load, settings, tmp_path / "whole" / "code.json")
    assert whole["prompts_cut"] == 8  # two worked examples do not fit 64 tokens
    record = tmp_path / "parts" / "code.json"
    with graceful_stop():
        threading.Timer(0, signal.raise_signal, [signal.SIGTERM]).run()
        with pytest.raises(InterruptedRunError, match="asking small"):
            exam.ask(load, settings, record)
    assert record.with_name("answers.sqlite").exists() and not record.exists()
    assert exam.ask(load, settings, record) == whole
    assert list(record.parent.iterdir()) == [record]

    def unwanted(settings: RunSettings):
        raise AssertionError("it was asked already")

    assert exam.ask(unwanted, settings, record) == whole
    assert counted_run(whole).flops == settings.flops


def test_seeds_of_a_size_are_one_run() -> None:
    def record(width: int, seed: int, correct: list[int]) -> dict:
        return {"width": width, "seed": seed, "flops": 1e9 * width, "name": f"{width}/{seed}", "benchmark": "b",
                "problems": ["p", "q"], "samples": 4, "correct": correct}  # fmt: skip

    counts = counts_of_sizes([record(8, 0, [4, 0]), record(4, 0, [1, 0]), record(4, 1, [2, 1])])
    assert [(run.flops, run.samples.tolist(), run.correct.tolist()) for run in counts.runs] == [
        (4e9, [8, 8], [3, 1]), (8e9, [4, 4], [4, 0])]  # fmt: skip


def test_what_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    for change, words in ((["--model.context", "64"], "128 or more"), (["--code.temperature", "0"], "temperature"),
                          (["--code.split", "both"], "'held' or 'train'")):  # fmt: skip
        assert main(["run", str(tmp_path / "tiny.json"), "--output", str(tmp_path / "out"), *change]) == 2
        assert words in " ".join(capfd.readouterr().err.split())
    config = CorpusConfig(sources=(SourceConfig(generated="micro-code"),), max_bytes=20_000, heldout_bytes=2_000)
    with pytest.raises(UserError, match="generated is 'micro-code'"):
        freeze_corpus(config, 0, tmp_path / "corpus")
    summary = freeze_corpus(config, 0, tmp_path / "corpus", GENERATORS)
    assert summary["digest"] == freeze_corpus(config, 0, tmp_path / "again", GENERATORS)["digest"]
