"""Verdicts against the published definitions by brute force, and scores against numpy."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.cli import contamination as verb
from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.data.overlap.build import Index, build_index, open_index
from foretell.evals.contamination.bench import bench_contamination
from foretell.evals.contamination.check import Verdict, check_items, write_verdicts
from foretell.evals.contamination.items import ItemText, grams, read_items, substrings, task_items
from foretell.evals.contamination.scores import read_scores, split_scores
from foretell.tasks.registry import find_task
from foretell.tasks.task import Item, Option

SHARED = Path(__file__).parents[3] / "shared" / "data"
TASK = "planted"


def letters_only(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def make_index(folder: Path, documents: list[str]) -> Index:
    rows = folder / "corpus.jsonl"
    rows.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents), encoding="utf-8")
    build_index([str(rows)], folder / "index")
    return open_index(folder / "index")


def sentences(random_: random.Random, count: int) -> str:
    vocabulary = [f"{a}{b}" for a in ("Ka", "lo", "mé", "tu", "5") for b in ("rin", "sa", "VO", "1", "peß")]
    marks = (" ", ", ", ". ", "\n", " - ", "; ")
    return "".join(random_.choice(vocabulary) + random_.choice(marks) for _ in range(count))


@pytest.mark.parametrize("seed", range(3))
def test_verdicts_are_the_published_methods(seed: int, tmp_path: Path) -> None:
    """Items: cuts of documents, cuts with a few changes, cuts whose case or spaces differ, and others."""
    random_ = random.Random(seed)
    documents = [sentences(random_, random_.choice((3, 40, 300))) for _ in range(60)]
    items = []
    for number in range(300):
        document = random_.choice(documents)
        start = random_.randrange(len(document))
        text = document[start : start + random_.choice((5, 60, 150, 400))]
        kind = number % 5
        if kind == 1:
            text = text.replace(" ", "  --  ").replace("\n", "")
        elif kind == 2:
            text = text.upper()
        elif kind == 3:
            place = random_.randrange(len(text))
            text = text[:place] + "qq" + text[place + 2 :]
        elif kind == 4:
            text = sentences(random_, random_.choice((1, 5, 20, 60)))
        items.append(ItemText(TASK, str(number), text))
    verdicts = check_items(make_index(tmp_path, documents), items, seed=seed)

    processed = [letters_only(document) for document in documents]
    lowered = [f" {' '.join(filter(None, map(letters_only, document.split())))} ".lower() for document in documents]
    found = {"substring": 0, "ngram": 0}
    for item, verdict in zip(items, verdicts, strict=True):
        drawn = substrings(item, seed)
        expected = any(part in document for part in drawn for document in processed) if drawn else None
        assert verdict.substring == expected, item
        runs = grams(item)
        expected = any(f" {run} " in document for run in runs for document in lowered) if runs else None
        assert verdict.ngram == expected, item
        for method in found:
            found[method] += verdict.by(method) is True
    assert all(50 < count < 290 for count in found.values()), found


def test_planted_overlaps_are_all_found(tmp_path: Path) -> None:
    random_ = random.Random(9)
    documents = ["".join(random_.choice("abcdefgh ijklmno.P") for _ in range(2_000)) for _ in range(50)]
    items = [ItemText(TASK, str(number), f"Q: {documents[number][100:1000]}") for number in range(50)]
    clean = [ItemText(TASK, f"c{number}", "".join(random_.choice("abcdefgh ijklmno.P") for _ in range(300)))
             for number in range(50)]  # fmt: skip
    verdicts = check_items(make_index(tmp_path, documents), items + clean)
    assert all(verdict.ngram for verdict in verdicts[:50])
    assert all(verdict.substring for verdict in verdicts[:50])
    assert not any(verdict.ngram or verdict.substring for verdict in verdicts[50:])
    assert [verdict.substring_document for verdict in verdicts[:50]] == [
        f"{tmp_path / 'corpus.jsonl'} line {number + 1}" for number in range(50)
    ]


@given(st.text(), st.integers(0, 1000))
def test_substrings_are_drawn_as_the_report_says(text: str, seed: int) -> None:
    item = ItemText(TASK, "1", text)
    whole, drawn = letters_only(text), substrings(item, seed)
    assert drawn == substrings(item, seed)
    if len(whole) <= 50:
        assert drawn == ([whole] if whole else [])
    else:
        assert 1 <= len(drawn) <= 3
        assert all(len(part) == 50 and part in whole for part in drawn)


def test_substrings_are_spread_over_an_item() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(150))  # every character once: its place is known
    starts = [text.index(substrings(ItemText(TASK, str(number), text), 0)[0]) for number in range(2_000)]
    counts = np.bincount(starts, minlength=101)
    assert len(counts) == 101 and counts.min() > 0
    assert abs(np.mean(starts) - 50) < 3 * 29.2 / math.sqrt(2_000)  # uniform on 0..100


def test_items_and_their_texts(tmp_path: Path) -> None:
    path = tmp_path / "quiz.v1.jsonl"
    path.write_text(
        '{"question": "Who?", "choices": ["A", {"text": "B"}], "answer": "A", "n": 3}\n\n'
        '{"task": "t", "id": 7, "text": "only this", "question": "Who?"}\n'
    )
    assert read_items(path) == [ItemText("quiz", "1", "Who? A B"), ItemText("t", "7", "only this")]
    assert read_items(path, ["question"])[1].text == "Who?"
    with pytest.raises(UserError, match="line 3 has no field 'choices'"):
        read_items(path, ["choices"])
    path.write_text('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}\n')
    with pytest.raises(UserError, match="line 2 is a second item '1'"):
        read_items(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no item"):
        read_items(path)
    with pytest.raises(UserError, match="does not exist"):
        read_items(tmp_path / "none.jsonl")
    item = Item("x", "Pick one:", "a", (Option(" left"), Option(" right")), (0,))
    assert task_items("t", [item]) == [ItemText("t", "x", "Pick one:  left  right")]


def verdict(item: str, substring: bool | None) -> Verdict:
    return Verdict("t", item, 10, substring)


def test_scores_side_by_side(tmp_path: Path) -> None:
    flags: list[bool | None] = [True, True, False, False, False, None]
    correct = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    path = tmp_path / "items.parquet"
    table = {"task": ["t"] * 7, "item": [*map(str, range(6)), "unchecked"], "correct": [*correct, 0.5]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    (row,) = split_scores(read_scores(path), [verdict(str(n), flag) for n, flag in enumerate(flags)], ["substring"])
    values = np.array([*correct, 0.5])
    assert row.all.mean == pytest.approx(values.mean())
    assert row.all.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(7))
    assert (row.clean.n, row.clean.mean, row.contaminated.n, row.contaminated.mean) == (3, pytest.approx(1 / 3), 2, 1)
    assert (row.unknown, row.headline) == (2, pytest.approx(1 / 3))
    (row,) = split_scores({("t", "0"): 0.25}, [verdict("0", True)], ["substring"])
    assert (row.clean.mean, row.headline, row.all.stderr) == (None, 0.25, None)
    with pytest.raises(UserError, match="No scored item was checked"):
        split_scores({("t", "z"): 1.0}, [verdict("0", True)], ["substring"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,item\nt,1\n", "no column 'correct'"),
        ("task,item,correct\nt,1,2\n", "correct is '2'"),
        ("task,item,correct\nt,1,yes\n", "correct is 'yes'"),
        ("task,item,correct\nt,1,1\nt,1,0\n", "second score of item '1'"),
    ],
)
def test_scores_that_cannot_be_read(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_scores(path)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passage = "The quick brown fox jumps over the lazy dog while thirteen words are counted by the careful reader."
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text(f"Before. {passage} After.")
    assert main(["contamination", "index", str(tmp_path / "corpus"), "--out", str(tmp_path / "index")]) == 0
    rows = [
        {"item": "in", "text": passage},
        {"item": "out", "text": "Something else, which no document of the corpus has at all."},
    ]
    (tmp_path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "scores.csv").write_text("task,item,correct\nquiz,in,1\nquiz,out,0\n")
    common = ["contamination", "check", str(tmp_path / "index"), str(tmp_path / "quiz.jsonl")]
    for name in ("v.jsonl", "v.parquet"):
        assert main([*common, "--output", str(tmp_path / name), "--scores", str(tmp_path / "scores.csv")]) == 0
    printed = capsys.readouterr().out
    assert "1 (50.0%)" in printed and "headline" in printed
    written = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pylist() == written
    assert [(row["item"], row["substring"], row["ngram"]) for row in written] == [
        ("in", True, True),
        ("out", False, False),
    ]
    assert written[0]["ngram_document"].endswith("a.txt")
    assert main([*common, "--scores", str(tmp_path / "scores.csv"), "--json", "--no-verify"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["tasks"] == [{"task": "quiz", "items": 2, "contaminated": {"substring": 1, "ngram": 1}, "no_text": 0}]
    assert record["scores"][0]["headline"] == 0.0
    assert main([*common, "--output", str(tmp_path / "v.txt")]) == 2
    assert main(["contamination", "check", str(tmp_path), str(tmp_path / "quiz.jsonl")]) == 2


@pytest.mark.parametrize("name", ["v.txt", "v.csv", "v", "taken/v.jsonl", "folder.jsonl"])
def test_where_verdicts_go_is_seen_to_before_the_search(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_index(tmp_path, ["some text"])
    (tmp_path / "quiz.jsonl").write_text('{"item": "1", "text": "other text"}\n')
    (tmp_path / "taken").write_text("")
    (tmp_path / "folder.jsonl").mkdir()

    def never(*_: object) -> None:
        raise AssertionError("something was looked for")

    monkeypatch.setattr(verb, "check_items", never)
    check = ["contamination", "check", str(tmp_path / "index"), str(tmp_path / "quiz.jsonl")]
    assert main([*check, "--output", str(tmp_path / name)]) == 2
    assert str(tmp_path / name.partition("/")[0]) in capsys.readouterr().err.replace("\n", "")


def test_another_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="method is 'bloom'"):
        check_items(make_index(tmp_path, ["a"]), [ItemText("t", "1", "a")], ["bloom"])
    with pytest.raises(UserError, match="ends in"):
        write_verdicts(tmp_path / "v.csv", [])


def test_the_benchmark_misses_nothing() -> None:
    record = bench_contamination(1_500_000, 200)
    assert record["missed"] == record["false_alarms"] == {"substring": 0, "ngram": 0}
    with pytest.raises(UserError, match="least of them"):
        bench_contamination(10, 200)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not here")
def test_real_questions_in_real_text(tmp_path: Path) -> None:
    """GSM8K's test questions: clean against English text, all found once that is followed by a copy of the set."""
    import gzip

    questions = SHARED / "evals" / "gsm8k" / "test.jsonl.gz"
    items = read_items(questions, ["question"])
    build_index([str(SHARED / "text" / "tinyshakespeare.txt")], tmp_path / "clean")
    assert not any(v.substring or v.ngram for v in check_items(open_index(tmp_path / "clean"), items))
    with gzip.open(questions, "rt", encoding="utf-8") as lines:
        copied = " ... ".join(json.loads(line)["question"] for line in lines)
    (tmp_path / "copy.txt").write_text(copied, encoding="utf-8")
    build_index([str(SHARED / "text" / "tinyshakespeare.txt"), str(tmp_path / "copy.txt")], tmp_path / "dirty")
    assert all(v.substring and v.ngram for v in check_items(open_index(tmp_path / "dirty"), items))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not here")
def test_a_task_of_the_registry_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PIQA against a text with its seventh question in it; the identities are those of the task's own records."""
    task = find_task("piqa")
    seventh = task.load(SHARED / "evals").items[6]
    options = " ".join(option.text for option in seventh.options)
    (tmp_path / "text.txt").write_text(f"{'Something else. ' * 50}{seventh.prompt} {options}")
    make = ["contamination", "index", str(tmp_path / "text.txt"), "--out", str(tmp_path / "index")]
    check = ["contamination", "check", str(tmp_path / "index"), "piqa", "--data-dir", str(SHARED / "evals")]
    assert main(make) == main([*check, "--output", str(tmp_path / "v.jsonl")]) == 0
    assert "1,838" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [row["item"] for row in rows if row["ngram"] or row["substring"]] == [seventh.identity]
    assert main([*check[:3], "piqua"]) == 2
    assert "did you mean 'piqa'" in capsys.readouterr().err


def test_what_a_task_says_of_all_its_items_is_none_of_theirs() -> None:
    """Instruction, worked examples and marks are in every copy of the benchmark's prompt."""
    asked = [f"question {n} of twelve, about a tree with birds: {n * 7}" for n in range(12)]
    items = [Item(str(n), f"Answer briefly. Question: {text}?\nAnswer:", "") for n, text in enumerate(asked)]
    found = task_items("t", items)
    assert [item.text for item in found] == [f"{n} of twelve, about a tree with birds: {n * 7}?" for n in range(12)]
    few = task_items("t", items[:3])
    assert few[0].text == "Answer briefly. Question: question 0 of twelve, about a tree with birds: 0?\nAnswer:"


def test_answers_in_rows_of_other_forms_are_not_compared(tmp_path: Path) -> None:
    row = {"id": 1, "text": "", "question": {"stem": "What is 2?", "choices": [{"text": "two", "label": "A"}]},
           "answerKey": "A", "canonical_solution": "return 2"}  # fmt: skip
    (tmp_path / "items.jsonl").write_text(json.dumps(row) + "\n")
    assert read_items(tmp_path / "items.jsonl")[0].text.split() == ["What", "is", "2?", "two"]
