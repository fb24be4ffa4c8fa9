"""Graders against what real models wrote and how others graded it."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from shared_data import EVALS, json_lines, needs_data

from foretell.tasks.extract import final_number, same_number
from foretell.tasks.extract_options import chosen_option, open_answer_right, published_option
from foretell.tasks.registry import find_task
from foretell.tasks.task import Response

pytestmark = needs_data
LETTERS = "ABCDEFGHIJ"


@pytest.mark.parametrize(
    ("model", "percent"),
    [("6b_finetuning", 21.7), ("6b_verification", 39.0), ("175b_finetuning", 34.7), ("175b_verification", 56.3)],
)
def test_gsm8k_solutions_are_graded_as_they_are_labelled(model: str, percent: float) -> None:
    rows = json_lines("gsm8k/example_model_solutions.jsonl.gz")
    task = find_task("gsm8k")
    items = task.load(EVALS).items
    assert [item.prompt for item in items[:50]] == [
        f"Question: {row['question'].strip()}\nAnswer:" for row in rows[:50]
    ]
    by_prompt = {item.prompt: item for item in items}
    right, agree = 0.0, 0
    for row in rows:
        item = by_prompt[f"Question: {row['question'].strip()}\nAnswer:"]
        score = task.grade(item, Response(texts=(row[model]["solution"],))).scores["exact"]
        right += score
        agree += bool(score) == row[model]["is_correct"]
    assert 100 * right / len(rows) == pytest.approx(percent, abs=0.05)
    assert agree / len(rows) >= 0.995


def test_gsm8k_reference_solutions_end_in_their_own_number() -> None:
    for split in ("test", "train"):
        for row in json_lines(f"gsm8k/{split}.jsonl.gz"):
            final = Decimal(row["answer"].split("####")[1].strip().replace(",", ""))
            found = final_number(row["answer"])
            assert found is not None and same_number(found, final), row["answer"]


@pytest.mark.parametrize(("name", "kind", "percent"), [("bbh", "cot", 73.9), ("bbh_direct", "direct", 56.6)])
def test_codex_on_bbh_scores_as_published(name: str, kind: str, percent: float) -> None:
    """Suzgun et al. 2022, table 2: Codex, average of the 23 tasks."""
    task = find_task(name)
    items = {item.identity: item for item in task.load(EVALS).items}
    scores: dict[str, list[float]] = defaultdict(list)
    for row in json_lines("bbh_codex_outputs.jsonl.xz"):
        if row["kind"] == kind:
            item = items[f"{row['task']}/{row['i']}"]
            assert item.gold == (row["target"],)
            scores[item.group].append(task.grade(item, Response(texts=(row["prediction"],))).scores["exact"])
    assert len(scores) == 23 and sum(map(len, scores.values())) == 6511
    assert 100 * sum(sum(one) / len(one) for one in scores.values()) / 23 == pytest.approx(percent, abs=0.1)


def lettered(row: dict[str, Any]) -> dict[str, str]:
    return dict(zip(LETTERS, map(str, ast.literal_eval(row["options"])), strict=False))


@pytest.mark.parametrize(("mode", "published", "reread"), [("cot", 55.0, 55.0), ("direct", 40.1, 42.9)])
def test_gpt_4o_on_mmmu_pro_is_graded_as_its_authors_did(mode: str, published: float, reread: float) -> None:
    rows = json_lines(f"mmmu/mmmu_pro_gpt-4o_standard10_{mode}.jsonl.xz")
    assert len(rows) == 1730
    right = [published_option(row["response"], lettered(row), pro=True) == row["answer"] for row in rows]
    assert sum(one == row["if_right"] for one, row in zip(right, rows, strict=True)) / len(rows) >= 0.99
    again = [chosen_option(row["response"], lettered(row)) == row["answer"] for row in rows]
    assert 100 * sum(right) / len(rows) == pytest.approx(published, abs=0.05)
    assert 100 * sum(again) / len(rows) == pytest.approx(reread, abs=0.05)


def test_rereading_differs_from_the_authors_where_they_misread() -> None:
    """In direct answers theirs takes the article "A" for a letter; with "Answer: X" lines the two agree."""
    rows = json_lines("mmmu/mmmu_pro_gpt-4o_standard10_cot.jsonl.xz")
    agree = [(chosen_option(row["response"], lettered(row)) == row["answer"]) == row["if_right"] for row in rows]
    assert sum(agree) / len(rows) >= 0.995
    rows = json_lines("mmmu/mmmu_pro_gpt-4o_standard10_direct.jsonl.xz")
    begins = [row for row in rows if row["response"][1:3] == ". " and row["response"][0] in LETTERS]
    assert len(begins) > 1000
    assert all(chosen_option(row["response"], lettered(row)) == row["response"][0] for row in begins)


def test_llava_on_mmmu() -> None:
    answers = json.loads((EVALS / "mmmu" / "answer_dict_val.json").read_text())
    predictions = json.loads((EVALS / "mmmu" / "llava1.5_13b_val.json").read_text())
    options = dict.fromkeys(LETTERS, "")
    choices = {name: one["ground_truth"] for name, one in answers.items() if one["question_type"] == "multiple-choice"}
    right = [published_option(predictions[name], options, pro=False) == truth for name, truth in choices.items()]
    assert len(right) == 847 and 100 * sum(right) / 847 == pytest.approx(38.0, abs=0.05)
    open_ones = [name for name, one in answers.items() if one["question_type"] != "multiple-choice"]
    truths = {name: answers[name]["ground_truth"] for name in open_ones}
    found = [
        name for name, truth in truths.items()
        if open_answer_right(predictions[name], [truth] if isinstance(truth, str) else truth)
    ]  # fmt: skip
    assert sorted(predictions[name] for name in found) == ["3", "Step b"]
