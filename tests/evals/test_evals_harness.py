"""Five tasks beside lm-evaluation-harness: its own tasks and model, the same files, weights and items."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import smollm2
import yaml

from foretell.evals.asking import Asking
from foretell.evals.cache import AnswerCache
from foretell.evals.local import LocalModel
from foretell.evals.run import evaluate
from foretell.infer.export import export_model
from foretell.infer.loading import load_model
from foretell.tasks.registry import find_tasks

DATA = smollm2.SHARED / "evals"
ITEMS = 50
NEAR_TIE = 0.02  # nats: where the best two options are nearer, rounding decides

Row = dict[str, Any]


def lines(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def science(path: Path, asked: str) -> list[Row]:
    """In the form of the hub's data sets of ARC and OpenBookQA."""
    return [
        {"id": row["id"], asked: row["question"]["stem"], "answerKey": row["answerKey"],
         "choices": {key: [choice[key] for choice in row["question"]["choices"]] for key in ("text", "label")}}
        for row in lines(path)
    ]  # fmt: skip


def truthful() -> list[Row]:
    with gzip.open(DATA / "truthfulqa" / "mc_task.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    kinds = ("mc1_targets", "mc2_targets")
    return [
        {kind: {"choices": list(row[kind]), "labels": list(row[kind].values())} for kind in kinds}
        | {"question": row["question"]}
        for row in rows
    ]


def of_the_harness(tasks: Path, folder: Path, model: Path) -> dict[str, list[Row]]:
    """What the harness makes of each item: its tasks, told to read our files."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    files = {
        "arc_easy": ("arc/arc_easy.yaml", science(DATA / "arc" / "ARC-Easy-Dev.jsonl.gz", "question")),
        "arc_challenge": ("arc/arc_challenge.yaml", science(DATA / "arc" / "ARC-Challenge-Dev.jsonl.gz", "question")),
        "openbookqa": ("openbookqa/openbookqa.yaml", science(DATA / "openbookqa" / "test.jsonl.gz", "question_stem")),
        "hellaswag": ("hellaswag/hellaswag.yaml", lines(DATA / "hellaswag_val_500.jsonl.gz")),
        "truthfulqa_mc1": ("truthfulqa/truthfulqa_mc1.yaml", truthful()),
    }
    for name, (theirs, rows) in files.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / f"local_{name}.yaml").write_text(yaml.safe_dump({
            "include": str(tasks / theirs), "task": f"local_{name}", "dataset_path": "json", "dataset_name": None,
            "training_split": None, "test_split": None, "validation_split": "validation",
            "dataset_kwargs": {"data_files": {"validation": str(data)}},
        }))  # fmt: skip
    peer = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=8)
    found = lm_eval.simple_evaluate(
        peer, tasks=[f"local_{name}" for name in files],
        limit=ITEMS, num_fewshot=0, task_manager=TaskManager(include_path=str(folder)), log_samples=True,
        bootstrap_iters=0,
    )  # fmt: skip
    return {name: sorted(found["samples"][f"local_{name}"], key=lambda row: row["doc_id"]) for name in files}


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data of tasks are not here")
def test_five_tasks_score_as_the_harness_scores_them(tmp_path: Path) -> None:
    smollm2.require()
    harness = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    export_model(load_model("smollm2", dequantise=True), tmp_path / "model")
    theirs = of_the_harness(Path(harness.__file__).parent / "tasks", tmp_path, tmp_path / "model")
    with AnswerCache(None) as cache:
        ours = evaluate(find_tasks(list(theirs)), LocalModel.load("smollm2"), DATA, Asking(shots=0, limit=ITEMS), cache)
    for found in ours:
        rows = theirs[found.task]
        assert len(rows) == len(found.items) == ITEMS
        for row, item in zip(rows, found.items, strict=True):
            values = [float(answer[0][0]) for answer in row["resps"]]
            assert item.loglikelihoods == pytest.approx(values, abs=1e-2), (found.task, item.item)
            best, second = sorted(values, reverse=True)[:2]
            if best - second > NEAR_TIE:
                assert item.scores.get("acc", item.scores.get("mc1")) == row["acc"], (found.task, item.item)
