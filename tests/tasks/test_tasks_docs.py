"""What docs/tasks.md says is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from shared_data import EVALS, needs_data

from foretell.tasks.prompting import choose_examples, text_prompt
from foretell.tasks.registry import built_in, find_task, list_tasks

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_lists_every_task_as_it_is() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines()]
    rows = [row for row in rows if row[0].strip("`") in built_in() and len(row) == 6]
    asks = {"choice": "options", "generate": "answer"}
    expected = [
        [f"`{entry.name}`", asks[entry.kind], f"`{entry.metric}`", str(built_in()[entry.name].shots),
         entry.files.rstrip("."), entry.source]
        for entry in list_tasks()
    ]  # fmt: skip
    assert rows == expected


def test_scores_are_explained() -> None:
    for task in built_in().values():
        assert f"`{task.metric}`" in PAGE.split("## Scores")[1]


@needs_data
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(EVALS)
    exec(compile(next(text for kind, text in BLOCKS if kind == "python"), "docs/tasks.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("{'exact': 1.0} 18\n") and "mmlu choice acc 14042" in printed


def test_ones_own_task_as_it_is_shown(tmp_path: Path) -> None:
    rows = next(text for kind, text in BLOCKS if kind == "json")
    (tmp_path / "questions.jsonl").write_text(rows)
    assert len(find_task(str(tmp_path / "questions.jsonl")).load(tmp_path).items) == 2
    told = "\n".join(json.dumps({**json.loads(row), "continent": "x"}) for row in rows.splitlines())
    (tmp_path / "questions.jsonl").write_text(told)
    (tmp_path / "solved.jsonl").write_text(told)
    (tmp_path / "capitals.yaml").write_text(next(text for kind, text in BLOCKS if kind == "yaml"))
    task = find_task(str(tmp_path / "capitals.yaml"))
    data = task.load(tmp_path)
    assert task.shots == 2 and task.stop == ("\n",)
    shown = choose_examples(task, data, data.items[0], 1)
    assert text_prompt(task, data, data.items[0], shown).text == (
        "Answer in one word.\n\nQ (x): Capital of France?\nA: Paris\n\nQ (x): Capital of Peru?\nA:"
    )
