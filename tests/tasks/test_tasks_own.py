"""A user's own tasks, OpenAI's Evals, the registry, files and folders."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shared_data import EVALS, needs_data

from foretell.core.errors import UserError
from foretell.tasks.files import find_file, read_rows
from foretell.tasks.folders import find_folder
from foretell.tasks.own import exact_form
from foretell.tasks.prompting import chat_prompt, choose_examples, text_prompt
from foretell.tasks.registry import all_tasks, built_in, find_task, find_tasks, list_tasks
from foretell.tasks.task import Grade, Response


def write(path: Path, *rows: object) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def score(name: str, *texts: str, place: int = 0) -> float:
    task = find_task(name)
    return task.grade(task.load(Path()).items[place], Response(texts=texts)).scores[task.metric]


def test_one_jsonl_of_questions_is_a_task(tmp_path: Path) -> None:
    name = write(tmp_path / "capitals.jsonl", {"question": "Capital of France?", "answer": ["Paris", "paris city"]},
                 {"id": "two", "question": "Of Peru?", "answer": "Lima", "group": "south"})  # fmt: skip
    task = find_task(name)
    data = task.load(Path("anywhere"))
    assert (task.name, task.kind, task.metric) == ("capitals", "generate", "exact")
    assert data.items[0].prompt == "Question: Capital of France?\nAnswer:" and data.items[1].group == "south"
    assert data.items[1].identity == "two" and len(data.items[0].identity) == 12
    assert score(name, " **Paris**.\n\nIt is large.") == 1 and score(name, "Lyon") == 0
    assert len(choose_examples(task, data, data.items[0], 1)) == 1


def test_choices_by_text_letter_and_place(tmp_path: Path) -> None:
    row = {"question": "2 + 2?", "choices": ["three", "four"]}
    name = write(
        tmp_path / "sums.jsonl",
        {**row, "answer": "four"},
        {**row, "id": "b", "answer": "B"},
        {**row, "id": "c", "answer": 1},
    )
    task = find_task(name)
    items = task.load(tmp_path).items
    assert task.kind == "choice" and [item.gold for item in items] == [(1,)] * 3
    assert [option.text for option in items[0].options] == [" three", " four"]
    assert task.grade(items[0], Response(likelihoods=(-2.0, -1.0))).scores["acc"] == 1
    with pytest.raises(
        UserError, match="'answer' is \"C\"; one of the choices, a letter from A to B or a place from 0"
    ):
        find_task(write(tmp_path / "bad.jsonl", {**row, "answer": "C"}))


def test_a_yaml_file_says_how_it_is_asked_and_graded(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "look.yaml").write_text(
        'name: look\nversion: 3\nprompt: "Q ({hint}): {question}\\n{choices}\\nA:"\noptions: letters\nshots: 1\n'
        'instruction: "Look.\\n"\nsource: mine; CC0\naverage: groups\n'
        "items:\n- {question: 'What?', hint: big, choices: [cat, dog], answer: dog, images: [a.png]}\n"
        "examples:\n- {question: 'Who?', hint: small, choices: [x, y], answer: 0, reasoning: So.}\n"
    )
    task = find_task(str(tmp_path / "look.yaml"))
    data = task.load(tmp_path)
    assert (task.name, task.version, task.shots, task.average, task.source) == ("look", "3.2", 1, "groups", "mine; CC0")
    prompt = text_prompt(task, data, data.items[0], choose_examples(task, data, data.items[0], 1))
    assert prompt.text == "Look.\nQ (small): Who?\nA. x\nB. y\nA: So. A\n\n<image>\nQ (big): What?\nA. cat\nB. dog\nA:"
    assert prompt.images == (tmp_path / "a.png",)


@pytest.mark.parametrize(
    ("grader", "answer", "right", "wrong"),
    [
        ("number", "1,200", "I add them. The answer is $1200.", "1201"),
        ("includes", "blue", "It is a blue bird", "It is red"),
        ("starts", "blue", " blue bird", "a blue bird"),
        ("yes_no", "yes", "Well, the answer is Yes.", "no"),
        ("letter", "C", "I think (C).", "Answer: B"),
        ("f1", "the blue bird", "blue bird", "x"),
    ],
)
def test_graders_of_ones_own_answers(tmp_path: Path, grader: str, answer: str, right: str, wrong: str) -> None:
    write(tmp_path / "rows.jsonl", {"question": "?", "answer": answer})
    (tmp_path / "t.yaml").write_text(f"grader: {grader}\ndata: rows.jsonl\n")
    assert score(str(tmp_path / "t.yaml"), right) == 1 and score(str(tmp_path / "t.yaml"), wrong) == 0


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("A", "A", True),
        ("A", "Answer: **a**.", True),
        ("A", "An", False),
        ("+", "+", True),
        ("*", "Answer: *", True),
        ("...", "...", True),
        ("-5", "5", False),
        ("-5", "The answer is -5.", True),
        ("3.5", "35", False),
        ("3.5", "3.5.", True),
        ("1/2", "12", False),
        ("C++", "C#", False),
        ("C++", "c++", True),
        ("1,000", "1000", True),
        ("1,2", "12", False),
        ("May 5, 1990", "may 5 1990.", True),
        ("a + b", "b", False),
        ("a_b", "ab", False),
        ("€", "$", False),
        ("The Eiffel Tower", "eiffel tower!", True),
        ("well-known", "Well-Known", True),
        ("It's him", "its him", True),
    ],
)
def test_exact_keeps_what_tells_answers_apart(tmp_path: Path, answer: str, text: str, right: bool) -> None:
    name = write(tmp_path / "rows.jsonl", {"question": "?", "answer": answer})
    assert score(name, text) == right


@given(st.text(min_size=1, max_size=20).filter(lambda text: text.strip()))
def test_an_answer_equals_itself(answer: str) -> None:
    assert exact_form(answer) and exact_form(answer) == exact_form(f"  {answer}\n")


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from(["{}", "{}/7", "{}.5", "x = {}", "{} %"]))
def test_different_figures_are_different_answers(one: int, other: int, form: str) -> None:
    assert (exact_form(form.format(one)) == exact_form(form.format(other))) == (one == other)


@pytest.mark.parametrize(
    ("grader", "answer", "message"),
    [
        ("letter", "B. Paris", "'answer' is \"B. Paris\"; one letter from A to Z, as the grader is letter, is"),
        ("letter", "AB", "one letter from A to Z"),
        ("yes_no", "true", "'answer' is \"true\"; the text yes or no, as the grader is yes_no, is expected"),
        ("yes_no", "Yes.", "the text yes or no"),
        ("yes_no", True, "'answer' is true"),
        ("includes", "", "'answer' is \"\"; an answer (a text that is not blank or a finite number)"),
        ("starts", " ", "'answer' is \" \""),
        ("exact", ["Paris", "\n"], "a text that is not blank"),
        ("exact", float("nan"), "'answer' is NaN"),
        ("exact", float("inf"), "'answer' is Infinity"),
        ("number", "", "a text that is not blank"),
    ],
)
def test_answers_that_none_or_any_text_would_be_right_by_are_refused(
    tmp_path: Path, grader: str, answer: object, message: str
) -> None:
    for row in ({"question": "?", "answer": answer}, {"input": "?", "ideal": answer}):
        write(tmp_path / "rows.jsonl", row)
        (tmp_path / "t.yaml").write_text(f"grader: {grader}\ndata: rows.jsonl\n")
        with pytest.raises(UserError) as caught:
            find_task(str(tmp_path / "t.yaml"))
        assert message.replace("answer'", "ideal'" if "ideal" in row else "answer'") in str(caught.value)
        assert "rows.jsonl line 1" in str(caught.value)


def test_a_letter_or_yes_may_be_written_in_any_case(tmp_path: Path) -> None:
    for grader, answer, text in (("letter", " b", "Answer: B"), ("yes_no", "YES", "yes"), ("yes_no", ["No"], "No.")):
        write(tmp_path / "rows.jsonl", {"question": "?", "answer": answer})
        (tmp_path / "t.yaml").write_text(f"grader: {grader}\ndata: rows.jsonl\n")
        assert score(str(tmp_path / "t.yaml"), text) == 1


def test_blank_cells_of_a_table_are_absent(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,group,reasoning,images,question,answer\n,,,,a,b\n, ,,,c,d\nx,g,So.,,e,f\n")
    (tmp_path / "t.yaml").write_text("data: rows.csv\n")
    items = find_task(str(tmp_path / "t.yaml")).load(tmp_path).items
    assert [(len(item.identity), item.group, item.answer) for item in items] == [
        (12, "", " b"), (12, "", " d"), (1, "g", " So. The answer is f.")
    ]  # fmt: skip


def test_a_place_that_is_another_choice_is_refused(tmp_path: Path) -> None:
    row = {"question": "?", "choices": ["1", "2", "3"]}
    with pytest.raises(UserError, match="the answer 2 is the place of the choice '3' and the text of another; "):
        find_task(write(tmp_path / "bad.jsonl", {**row, "answer": 2}))
    for answer, gold in (("2", 1), ("C", 2), (0, 0)):
        assert find_task(write(tmp_path / "t.jsonl", {**row, "answer": answer})).load(tmp_path).items[0].gold == (gold,)
    same = {"question": "?", "choices": ["0", "1"], "answer": 1}
    assert find_task(write(tmp_path / "t.jsonl", same)).load(tmp_path).items[0].gold == (1,)


def test_rows_of_evals_are_graded_as_match_wherever_they_stand(tmp_path: Path) -> None:
    evals, own = {"input": "Capital of France?", "ideal": "Paris"}, {"question": "Of Peru?", "answer": "Lima"}
    text = "Paris is the capital"
    mixed = write(tmp_path / "mixed.jsonl", evals, own)
    assert score(mixed, text) == 1 and score(mixed, "Lima", place=1) == 1
    assert score(mixed, "Lima is the capital", place=1) == 0
    for name, told, right in (("t", "", 1), ("exact", "grader: exact\n", 0), ("includes", "grader: includes\n", 1)):
        (tmp_path / f"{name}.yaml").write_text(told + "data: mixed.jsonl\n")
        assert score(str(tmp_path / f"{name}.yaml"), text) == right


def test_several_samples_are_graded_by_their_majority(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", {"question": "?", "answer": "7"})
    (tmp_path / "t.yaml").write_text("grader: number\ndata: rows.jsonl\n")
    task = find_task(str(tmp_path / "t.yaml"))
    grade = task.grade(task.load(tmp_path).items[0], Response(texts=("so 7", "it is 8", "7.0", "none")))
    assert grade.scores == {"exact": 1.0, "exact_mean": 0.5}
    assert task.grade(task.load(tmp_path).items[0], Response(texts=("none", "?"))) == Grade(
        {"exact": 0.0, "exact_mean": 0.0}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("shots: 1\n", "has neither 'data' and 'items'; one of them"),
        (
            "items: [{question: a, answer: b}]\ntoken: 3\n",
            "token: Extra inputs are not permitted; the fields are name, ver",
        ),
        ("items: [{question: a, answer: b}]\nshots: -1\n", "shots: Input should be greater than or equal to 0"),
        ("items: [{question: a}]\n", "item 1 has no field 'answer'"),
        ("items: [{answer: a}]\n", "item 1 has no field 'question'"),
        (
            "items: [{question: a, answer: b}, {question: a, answer: b, choices: [b, c]}]\n",
            "all of one kind are expected",
        ),
        ("items: [{question: a, answer: b}, {question: a, answer: b}]\n", "is also that of"),
        ("items: [{question: a, answer: b}]\nprompt: '{nothing}'\n", "has no field 'nothing'"),
        ("items: [{question: a, answer: b, images: [no.png]}]\n", "images are expected beside the task's file"),
        ("grader: number\nitems: [{question: a, answer: b}]\n", "the answer 'b' is no number"),
        ("- a\n", "holds no settings of a task"),
        ("a: [\n", "is not readable as YAML"),
        ("version: 2021-13-45\n", "is not readable as YAML"),
        ("data: no.jsonl\n", "does not exist"),
    ],
)
def test_what_is_wrong_with_ones_own_task_is_said(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        find_task(str(path))
    assert message in str(caught.value) and str(tmp_path) in str(caught.value)


@given(st.binary(max_size=200))
def test_no_file_is_read_with_another_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("own")
    for name in ("t.jsonl", "t.yaml", "t.jsonl.gz"):
        (folder / name).write_bytes(data)
        try:
            find_task(str(folder / name))
        except UserError as error:
            assert str(folder) in str(error)


def test_samples_of_openai_evals(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Translate."}, {"role": "system", "name": "example_user", "content": "a"},
                {"role": "system", "name": "example_assistant", "content": "b"},
                {"role": "user", "content": "c"}]  # fmt: skip
    name = write(tmp_path / "samples.jsonl", {"input": messages, "ideal": ["d", "D"]}, {"input": "Say e", "ideal": "e"})
    task = find_task(name)
    data = task.load(tmp_path)
    assert data.items[0].prompt == "System: Translate.\nUser: a\nAssistant: b\nUser: c\nAssistant:"
    chat = chat_prompt(task, data, data.items[0])
    assert [turn["role"] for turn in chat.messages] == ["system", "user", "assistant", "user"]
    assert score(name, "D is it") == 1 and score(name, "it is d") == 0 and score(name, " e.", place=1) == 1
    with pytest.raises(UserError, match=r"input\[0\] is no message; 'role' \(system, user, assistant\)"):
        find_task(write(tmp_path / "bad.jsonl", {"input": [{"role": "bot", "content": ""}], "ideal": "x"}))
    with pytest.raises(UserError, match="the last message of 'input' is the assistant's"):
        find_task(write(tmp_path / "worse.jsonl", {"input": [{"role": "assistant", "content": ""}], "ideal": "x"}))


def test_an_unknown_task_names_the_nearest() -> None:
    for name, near in (("helaswag", "hellaswag"), ("MMLU-anatomy", "mmlu_anatomy"), ("truthfulqa", "truthfulqa_mc1")):
        with pytest.raises(UserError, match=f"There is no task '{name}'; did you mean .*'{near}'"):
            find_task(name)
    with pytest.raises(
        UserError, match=r"There is no task 'zzzz'\. A file that ends in \.jsonl, \.yaml, \.yml is a task too"
    ):
        find_task("zzzz")
    with pytest.raises(UserError, match="is empty"):
        find_task(" ")
    with pytest.raises(UserError, match="does not exist"):
        find_task("nowhere/t.jsonl")


def test_tasks_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "from foretell.tasks.task import Task, TaskData\n"
        "made = Task('theirs', 1, 'generate', 'exact', lambda folder: TaskData([]), None, 'theirs; MIT')\n"
        "def several():\n    return [made]\n"
        "taken = Task('piqa', 1, 'generate', 'exact', None, None, '')\nnumber = 3\n"
    )
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for value in ("elsewhere:made", "elsewhere:several"):
        (info / "entry_points.txt").write_text(f"[foretell.tasks]\nours = {value}\n")
        assert find_task("theirs").source == "theirs; MIT"
        assert any(entry.name == "theirs" for entry in list_tasks())
    for value, message in (
        ("elsewhere:taken", "gives a task 'piqa', a name that is taken"),
        ("elsewhere:number", "gives 3; a Task, several, or a function"),
        ("elsewhere:missing", "cannot be loaded (AttributeError"),
    ):
        (info / "entry_points.txt").write_text(f"[foretell.tasks]\nours = {value}\n")
        with pytest.raises(UserError) as caught:
            all_tasks()
        assert message in str(caught.value) and value in str(caught.value)


def test_names_and_metrics_of_built_in_tasks() -> None:
    tasks = built_in()
    assert len(tasks) == sum(1 + len(entry.parts) for entry in list_tasks()) > 140
    for name, task in tasks.items():
        assert name == task.name == name.lower() and task.files and task.source and task.version >= 1
        assert task.metric in ("acc", "acc_norm", "exact", "f1", "mc1", "mc2", "vqa", "pass@1")
        assert not task.family or task.family in tasks
    assert [task.name for task in find_tasks(["piqa", "bbh", "piqa"])] == ["piqa", "bbh"]


@needs_data
def test_the_listing_counts_what_is_there() -> None:
    entries = {entry.name: entry for entry in list_tasks(EVALS)}
    assert entries["mmlu"].items == 14042 and len(entries["mmlu"].parts) == 61
    assert entries["vqav2"].items is None and "CC BY 4.0" in entries["vqav2"].source
    with pytest.raises(UserError, match="does not exist or is no folder"):
        list_tasks(EVALS / "nowhere")


def test_the_listing_tells_damaged_data_from_missing(tmp_path: Path) -> None:
    (tmp_path / "piqa_val.jsonl").write_text('{"query": "q"}\n')
    (tmp_path / "bbh.zip").write_bytes(b"nothing")
    (tmp_path / "data").mkdir()  # which MMLU would be in
    (tmp_path / "easy_vqa").mkdir()
    (tmp_path / "easy_vqa" / "questions.json").write_text('[["q", "a", 0]]')
    (tmp_path / "race_high.jsonl").write_text(json.dumps(
        {"article": "a", "problems": [{"question": "q", "options": ["a", "b"], "answer": "A"}]}
    ))  # fmt: skip
    entries = {entry.name: entry for entry in list_tasks(tmp_path)}
    damage = {name: entry.damage for name, entry in entries.items() if entry.damage}
    assert set(damage) == {"piqa", "bbh", "bbh_direct", "easy_vqa"}
    assert "piqa_val.jsonl line 1 has no field 'choices'" in damage["piqa"] and "bbh.zip" in damage["bbh"]
    assert "images/0.png" in damage["easy_vqa"]
    assert entries["piqa"].items is None and entries["mmlu"].items is None and entries["race"].items == 1


@needs_data
def test_nothing_that_is_whole_is_listed_as_damaged() -> None:
    assert [entry.damage for folder in (EVALS, EVALS.parent) for entry in list_tasks(folder) if entry.damage] == []


def test_files_and_folders_in_every_compression(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write('x,y\n1,"two\nlines"\n')
    assert find_file(tmp_path, "b.csv", "a.csv").name == "a.csv.gz"
    assert read_rows(tmp_path / "a.csv.gz")[0].cells == {"x": "1", "y": "two\nlines"}
    (tmp_path / "short.csv").write_text("x,y\n1\n")
    with pytest.raises(UserError, match="row 1 has 1 cells; 2 are expected"):
        read_rows(tmp_path / "short.csv")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("outer/inner/q.jsonl", '{"a": 1}\n')
    folder = find_folder(tmp_path, "set")
    assert folder.find("inner/q.jsonl") == "outer/inner/q.jsonl" and folder.find("nner/q.jsonl") is None
    assert folder.rows("outer/inner/q.jsonl")[0].text("a") == "1"
    for broken in ("broken.zip", "broken.tar.gz", "broken.tar"):
        (tmp_path / broken).write_bytes(b"nothing" * 300)
        with pytest.raises(UserError, match=broken):
            find_folder(tmp_path, broken.split(".")[0])
        (tmp_path / broken).unlink()
