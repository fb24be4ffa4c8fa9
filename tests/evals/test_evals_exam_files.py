"""Files of exams and of responses: what is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from exam_papers import make_exam

from foretell.core.errors import UserError
from foretell.evals.exams.form import Exam, read_exam
from foretell.evals.exams.marking import mark_by_key, read_responses


def test_responses_are_read(tmp_path: Path) -> None:
    exam = make_exam({"one": 2, "two": 1})
    path = tmp_path / "r.jsonl"
    rows = [
        {"item": "one/0", "response": "A"},
        {"item": "1", "response": None},
        {"section": "two", "item": "0", "response": " "},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_responses(path, exam)
    assert [found[key].text for key in exam.item_keys] == ["A", None, None]
    assert [mark.share for mark in mark_by_key(exam, found).values()] == [1.0, None, None]
    path.write_text('{"item": "one/0", "response": "A"}\n')
    with pytest.raises(UserError, match="no response to 'one/1', 'two/0'"):
        read_responses(path, exam)
    assert read_responses(path, exam, blank_missing=True)["one", "1"].text is None
    assert list(read_responses(path, exam, partial=True)) == [("one", "0")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"item": "0", "response": "A"}, "no item '0'"),
        ({"item": "three/0", "response": "A"}, "no item 'three/0'"),
        ({"item": "one/0"}, "response is None; a text, or null"),
        ({"item": "one/0", "response": ["A"]}, "response is"),
        ({"item": "one/0", "response": "A", "score": 1}, "only for items with a rubric"),
        ({"item": "one/0", "response": True}, "line 1: response is True"),
        ({"item": "one/0", "response": float("nan")}, "line 1: response is nan; a text"),
        ({"item": "one/0", "response": float("-inf")}, "line 1: response is -inf; a text"),
    ],
)
def test_responses_that_cannot_be_used(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=said):
        read_responses(tmp_path / "r.jsonl", make_exam({"one": 1, "two": 1}))
    (tmp_path / "r.jsonl").write_text('{"item": "one/0", "response": "A"}\n' * 2)
    with pytest.raises(UserError, match="second response"):
        read_responses(tmp_path / "r.jsonl", make_exam({"one": 1, "two": 1}))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"response": "x", "score": True}, "line 1: score is True; points from 0 to 3"),
        ({"response": "x", "score": 4}, "line 1: score is 4; points from 0 to 3"),
        ({"response": "x", "score": float("nan")}, "line 1: score is nan; points"),
        ({"response": None, "score": 3}, "line 1: score is 3 and response is a blank"),
        ({"response": " ", "score": 3}, "a blank has no score"),
        ({"response": "x", "score": 2.5}, None),
        ({"response": None, "score": None}, None),
    ],
)
def test_scores_by_people(row: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    essay = {"name": "s", "items": [{"id": "1", "question": "?", "rubric": "r", "points": 3}]}
    exam = Exam.model_validate({"name": "e", "sections": [essay]})
    (tmp_path / "r.jsonl").write_text(json.dumps({"item": "s/1", **row}))
    if said is None:
        assert read_responses(tmp_path / "r.jsonl", exam)["s", "1"].score == row["score"]
    else:
        with pytest.raises(UserError, match=said):
            read_responses(tmp_path / "r.jsonl", exam)


SMALL = {"name": "small", "sections": [{"name": "s", "items": [{"id": 1, "question": "?", "answer": 4}]}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sections": []}, "sections is"),
        ({"nmae": "x"}, "did you mean 'name'"),
        ({"sections": [SMALL["sections"][0]] * 2}, "two sections are called 's'"),
        ({"sections": [{"name": "s", "items": [{"id": 1, "question": "?"}]}]}, "needs an answer or a rubric"),
        (
            {"sections": [{"name": "s", "items": [{"id": 1, "question": "?", "choices": ["a"], "answer": "B"}]}]},
            "from A to A",
        ),
        ({"sections": [{"name": "s", "items": [{"id": 1, "question": "?", "answer": 1}] * 2}]}, "two items '1'"),
        (
            {
                "sections": [
                    {"name": "a", "items": [{"id": "b/c", "question": "?", "answer": 1}]},
                    {"name": "a/b", "items": [{"id": "c", "question": "?", "answer": 1}]},
                ]
            },
            "the exam is .*: two items are called 'a/b/c'",
        ),
        ({"scale": {"table": [[1, 2], [1, 3]]}}, "raw scores of a table must rise"),
        ({"scale": {"table": [[1, 2], [2, 1]]}}, "must not fall"),
        ({"scale": {"slope": 0}}, "slope must be greater"),
        ({"human": {"below": [[1, 50]]}}, "need their source and year"),
        ({"human": {}}, "exactly one of table, below and shares"),
        ({"human": {"below": [[1, 150]], "source": "s", "year": 2000}}, "150"),
    ],
)
def test_exams_that_cannot_be_read(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(SMALL | change))
    with pytest.raises(UserError, match=said):
        read_exam(tmp_path / "e.yaml")


def test_exam_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_exam(tmp_path / "none.yaml")
    (tmp_path / "e.json").write_text("[]")
    with pytest.raises(UserError, match="holds a list"):
        read_exam(tmp_path / "e.json")
    (tmp_path / "e.yaml").write_text("name: !!timestamp 2020-01-01\n")
    with pytest.raises(UserError, match="what JSON cannot"):
        read_exam(tmp_path / "e.yaml")
    item = {"id": 1, "question": "?", "answer": 4, "images": ["figure.png"]}
    (tmp_path / "e.json").write_text(json.dumps({"name": "e", "sections": [{"name": "s", "items": [item]}]}))
    with pytest.raises(UserError, match="'s/1' has no picture figure"):
        read_exam(tmp_path / "e.json")
    (tmp_path / "figure.png").write_bytes(b"")
    assert read_exam(tmp_path / "e.json").sections[0].items[0].accepted == ("4",)


def test_what_yaml_would_rewrite_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("""\
name: 2020
year: 2019
clip: no
scale: {slope: 1e2, intercept: -.5, table: [[0, 010], [1, 1_000]], least: ~}
human: {shares: {1: 50, 2.5: 50}, source: made, year: 2020}
sections:
  - name: 1:30
    rule: {right: 6, wrong: -0.25}
    items:
      - {id: 010, question: 12, answer: 1:30, weight: null}
      - {id: 2, question: "?", choices: [1:30, 2:45, 010, 1.50, yes, =, 2020-01-01, 0x1F], answer: B}
      - {id: 3, question: "?", answer: [0.00001, 1e5, no, true]}
      - {id: 4, question: "?", rubric: Yes, points: 3}
""")
    exam = read_exam(path)
    items = exam.sections[0].items
    assert (exam.name, exam.year, exam.clip, exam.sections[0].name, items[0].id) == ("2020", 2019, False, "1:30", "010")
    assert items[1].choices == ("1:30", "2:45", "010", "1.50", "yes", "=", "2020-01-01", "0x1F")
    assert [item.accepted for item in items] == [("1:30",), ("B",), ("0.00001", "1e5", "no", "true"), ()]
    assert exam.scale is not None and exam.human is not None and exam.sections[0].rule.wrong == -0.25
    assert (exam.scale.slope, exam.scale.intercept, exam.scale.table) == (100, -0.5, ((0, 10), (1, 1000)))
    assert (exam.human.shares, items[0].weight, items[3].points) == ({1: 50, 2.5: 50}, None, 3)


@pytest.mark.parametrize(("content", "said"), [("- a", "The exam .* holds a list"), ("a: [", "The exam .* not YAML")])
def test_an_exam_is_called_one(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        read_exam(tmp_path / "e.yaml")
