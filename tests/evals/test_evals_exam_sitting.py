"""Models that sit exams: what they are asked, and sittings that go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from answering import local
from exam_papers import EXAM, make_exam

from foretell.cli import exam as verb
from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.core.files import sha256_file
from foretell.evals.exams.asking import ask_exam, prompt_hash, question_prompt, user_turn
from foretell.evals.exams.form import Exam
from foretell.evals.models import Decoding, Prompt

PAPER = make_exam({"s": 3})


class Sitter:
    """Answers A to everything and counts what it was asked."""

    digest, digest_of, start, cut = "", "weights", False, 0

    def __init__(self, name: str = "sitter") -> None:
        self.name, self.asked = name, 0

    def generate(self, prompts: Iterable[Prompt], decoding: Decoding) -> Iterator[tuple[int, tuple[str, ...]]]:
        for place, _ in enumerate(prompts):
            self.asked += 1
            yield place, ("A",)

    def likelihoods(self, pairs: Iterable[tuple[Prompt, str]]) -> Iterator[tuple[int, object]]:
        raise AssertionError("no exam asks for likelihoods")


def test_what_a_model_is_asked() -> None:
    section = EXAM.sections[0].model_copy(update={"instruction": "Read."})
    prompt = question_prompt(section, section.items[0])
    assert prompt.startswith("Read.\n\nPick.\n\nA) p\nB) q\n\n") and '"Answer: X"' in prompt
    assert question_prompt(EXAM.sections[1], EXAM.sections[1].items[0]) == "How does water enter?"
    turn = user_turn("What?", [Path("a.png")])
    assert turn.content[0]["content"] == [{"type": "image"}, {"type": "text", "text": "What?"}]  # type: ignore[index]


def test_a_model_sits_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.jsonl"
    path.parent.mkdir()
    path.write_text('{"item": "choice/1", "response": "A"}\n')
    found = ask_exam(EXAM, tmp_path, local(), path, tokens=8)
    assert found["choice", "1"].text == "A"  # what was there is kept
    (expected,) = dict(
        local().generate([user_turn(question_prompt(EXAM.sections[1], EXAM.sections[1].items[0]))], Decoding(8))
    )[0]
    assert found["essay", "1"].text == expected
    assert len(path.read_text().splitlines()) == 2
    assert ask_exam(EXAM, tmp_path, local(), path, tokens=8) == found


KEPT = '{"item": "s/0", "response": "B"}'


@pytest.mark.parametrize(
    ("content", "asked", "first"),
    [
        (KEPT, 2, "B"),  # written by hand, or by a program that ends no line
        (KEPT + "\n", 2, "B"),
        (KEPT + "\n" + '{"item": "s/1", "respo', 2, "B"),  # torn by a kill
        (KEPT + "\n" + '{"item": "s/1", "response": "\u00e9', 2, "B"),
        (KEPT + "\n{", 2, "B"),
        ('{"item": "s/0"', 3, "A"),
        ("", 3, "A"),
        (KEPT + "\n\n  ", 2, "B"),
    ],
)
def test_a_sitting_goes_on_after_any_last_line(content: str, asked: int, first: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(content, encoding="utf-8")
    model = Sitter()
    found = ask_exam(PAPER, tmp_path, model, path)
    assert (model.asked, found["s", "0"].text, found["s", "2"].text) == (asked, first, "A")
    assert ask_exam(PAPER, tmp_path, model, path) == found and model.asked == asked


@pytest.mark.parametrize(
    "content",
    ["[\n" + KEPT + "\n]", KEPT + "\nNotes of mine", "{\n " + KEPT, '{"sections": [', "x\n" + '{"item": "s'],
)
def test_files_of_another_kind_stay_as_they_are(content: str, tmp_path: Path) -> None:
    path, model = tmp_path / "r.jsonl", Sitter()
    path.write_text(content)
    with pytest.raises(UserError, match="is not JSON"):
        ask_exam(PAPER, tmp_path, model, path)
    assert path.read_text() == content and model.asked == 0
    with pytest.raises(UserError, match="is compressed"):
        ask_exam(PAPER, tmp_path, model, tmp_path / "r.jsonl.gz")


def test_answers_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    ask_exam(PAPER, tmp_path, Sitter("A"), path)
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:2]) + "\n")
    other = Sitter("B")
    with pytest.raises(UserError, match=r"'s/0' was answered by 'A' and the model is 'B'; give its answers a file"):
        ask_exam(PAPER, tmp_path, other, path)
    assert other.asked == 0 and len(path.read_text().splitlines()) == 2
    mixed = [json.loads(row) | {"model": name} for row, name in zip(rows, "ABA", strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in mixed))
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(PAPER.model_dump(mode="json")))
    assert main(["exam", str(tmp_path / "e.yaml"), "--responses", str(path)]) == 2


def test_a_changed_question_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    (tmp_path / "figure.png").write_bytes(b"one")
    content = PAPER.model_dump(mode="json")
    content["sections"][0]["items"][1]["images"] = ["figure.png"]
    exam = Exam.model_validate(content)
    ask_exam(exam, tmp_path, Sitter(), path)
    row = json.loads(path.read_text().splitlines()[1])
    assert (row["model"], row["prompt_hash"]) == (
        "sitter", prompt_hash(exam.sections[0], exam.sections[0].items[1], tmp_path)
    )  # fmt: skip
    (tmp_path / "figure.png").write_bytes(b"two")
    with pytest.raises(UserError, match="'s/1' was asked in other words or with another picture"):
        ask_exam(exam, tmp_path, Sitter(), path)
    (tmp_path / "figure.png").write_bytes(b"one")
    content["sections"][0]["items"][0]["question"] = "Which?"
    with pytest.raises(UserError, match="'s/0' was asked in other words"):
        ask_exam(Exam.model_validate(content), tmp_path, Sitter(), path)


def test_the_record_names_the_model_and_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "open_model", lambda *_: Sitter("tiny"))
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(PAPER.model_dump(mode="json")))
    common = ["exam", str(tmp_path / "e.yaml"), "--responses", str(tmp_path / "r.jsonl"), "--json"]
    assert main([*common, "--model", "tiny"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["model"], record["responses_sha256"]) == ("tiny", sha256_file(tmp_path / "r.jsonl"))
    assert main(common) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "tiny"
    (tmp_path / "r.jsonl").write_text("".join(f'{{"item": "s/{n}", "response": "A"}}\n' for n in range(3)))
    assert main(common) == 0
    assert json.loads(capsys.readouterr().out)["model"] is None
