"""Built-in tasks on real data: what they ask, how many items they have, and how answers are graded.

Expected prompts are those that lm-evaluation-harness 0.4.13 makes of the same rows.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from shared_data import EVALS, IMAGES, needs_data

from foretell.core.errors import UserError
from foretell.tasks.prompting import IMAGE, choose_examples, text_prompt
from foretell.tasks.registry import built_in, find_task
from foretell.tasks.sets.mmlu import CATEGORIES, SUBJECTS
from foretell.tasks.sets.passages import race_item
from foretell.tasks.sets.pictures import options_in
from foretell.tasks.task import Response

COUNTS = {
    "mmlu": 14042, "mmlu_anatomy": 135, "arc_easy": 570, "arc_challenge": 299, "hellaswag": 500, "winogrande": 634,
    "piqa": 1838, "openbookqa": 500, "commonsense_qa": 1221, "truthfulqa_mc1": 817, "truthfulqa_mc2": 817, "race": 500,
    "race_middle": 500, "drop": 19, "hotpotqa": 1000, "gsm8k": 1319, "gsm8k_cot": 1319, "gsm8k_cot_zeroshot": 1319,
    "svamp": 1000, "multiarith": 600, "addsub": 395, "singleeq": 508, "coin_flip": 500, "last_letters": 500,
    "date_understanding": 369, "strategyqa": 2290, "hindsight_neglect": 315, "bbh": 6511, "bbh_direct_snarks": 178,
    "vqav2": 50, "scienceqa": 100, "scienceqa_cot": 100, "mmmu_pro": 16, "mmmu_pro_cot": 16,
}  # fmt: skip
PICTURES = ("vqav2", "scienceqa", "scienceqa_cot", "mmmu_pro", "mmmu_pro_cot", "easy_vqa")


@needs_data
@pytest.mark.parametrize("name", COUNTS)
def test_items_are_complete_and_their_right_answers_grade_as_right(name: str) -> None:
    task = find_task(name)
    data = task.load(IMAGES if name in PICTURES else EVALS)
    assert len(data.items) == COUNTS[name] and data.source
    assert max(Counter(item.identity for item in data.items).values()) == 1
    for item in data.items:
        assert item.prompt and item.answer and item.gold
        assert item.prompt.count(IMAGE) == len(item.images)
        if task.kind == "choice":
            assert len(item.options) >= 2
            first = item.gold[0]
            assert (item.options[first].prompt or item.prompt) + item.options[first].text == item.prompt + item.answer
            right = Response(
                likelihoods=tuple(0.0 if place in item.gold else -99.0 for place in range(len(item.options)))
            )
            wrong = Response(
                likelihoods=tuple(-99.0 if place in item.gold else -1.0 for place in range(len(item.options)))
            )
            assert task.grade(item, right).scores[task.metric] == pytest.approx(1)
            if len(item.gold) < len(item.options):
                assert task.grade(item, wrong).scores[task.metric] < 1e-6
        else:
            least = 0.6 if name == "vqav2" else 1  # people disagree
            if task.grade(item, Response(texts=(item.answer,))).scores[task.metric] < least:
                assert name == "vqav2" and len(set(item.gold)) > 3, (item.identity, item.answer)
            assert task.grade(item, Response(texts=("~",))).scores[task.metric] == 0


@needs_data
@pytest.mark.parametrize(
    ("name", "place", "prompt", "options", "gold"),
    [
        (
            "piqa", 1, "Question: dresser\nAnswer:",
            (" replace drawer with bobby pin", " finish, woodgrain with  bobby pin"), 1,
        ),
        (
            "arc_easy", 0, "Question: Which technology was developed most recently?\nAnswer:",
            (" cellular telephone", " television", " refrigerator", " airplane"), 0,
        ),
        (
            "openbookqa", 2, "Predators eat", (" lions", " humans", " bunnies", " grass"), 2,
        ),
        (
            "commonsense_qa", 1,
            "Question: What do people aim to do at work?\nA. complete job\nB. learn from each other\nC. kill animals\n"
            "D. wear hats\nE. talk to each other\nAnswer:", (" A", " B", " C", " D", " E"), 0,
        ),
        (
            "hellaswag", 0,
            "Pole vault: Pole vault is a sport where you run with a pole and stop and swing your body. A few women",
            (
                " go down a rock and stop.", " watch from around a pole vault.", " are in the wading pool.",
                " are in the gym practicing to do this pole vault, trying to do their best.",
            ), 3,
        ),
        (
            "mmlu_anatomy", 0,
            "A lesion causing compression of the facial nerve at the stylomastoid foramen will cause ipsilateral\n"
            "A. paralysis of the facial muscles.\nB. paralysis of the facial muscles and loss of taste.\n"
            "C. paralysis of the facial muscles, loss of taste and lacrimation.\n"
            "D. paralysis of the facial muscles, loss of taste, lacrimation and decreased salivation.\nAnswer:",
            (" A", " B", " C", " D"), 0,
        ),
    ],
)  # fmt: skip
def test_choices_are_asked_as_the_harness_asks_them(
    name: str, place: int, prompt: str, options: tuple[str, ...], gold: int
) -> None:
    item = find_task(name).load(EVALS).items[place]
    assert (item.prompt, tuple(option.text for option in item.options), item.gold) == (prompt, options, (gold,))


@needs_data
def test_piqa_equals_the_recorded_strings_of_an_evaluation() -> None:
    reference = EVALS.parent / "weights" / "smollm2_135m_instruct" / "eval_reference_piqa_first200.jsonl"
    rows = [json.loads(line) for line in reference.read_text().splitlines()][1:]
    task = find_task("piqa")
    right = []
    for item, row in zip(task.load(EVALS).items, rows, strict=False):
        assert item.prompt == row["context"] and [option.text for option in item.options] == row["continuations"]
        right.append(task.grade(item, Response(likelihoods=tuple(row["ll"]))).scores)
    assert sum(one["acc"] for one in right) / 200 == 0.645
    assert sum(one["acc_norm"] for one in right) / 200 == 0.655


def test_race_asks_the_last_question_after_the_others() -> None:
    """As the harness's preprocess_race.py, which keeps the last five characters of a question with a blank."""
    problems = [
        {"question": "What is it?  _  .", "options": ["a", "b", "c", "d"], "answer": "B"},
        {"question": "Why?", "options": ["e", "f", "g", "h"], "answer": "C"},
        {"question": "The end is", "options": ["i", "j", "k", "l"], "answer": "D"},
    ]
    item = race_item("1", "Text.", problems, "here")
    assert item.prompt == "Article: Text.\n\n _  .b\nQuestion: Why?\nAnswer: g\nThe end is"
    assert item.answer == " l" and item.bare == "Answer:"
    with pytest.raises(UserError, match=r"the field 'answer' is \"E\"; one of the first 4 letters is expected"):
        race_item("1", "Text.", [{**problems[0], "answer": "E"}], "here")


def test_winogrande_in_its_original_form(tmp_path: Path) -> None:
    row = {"sentence": "The trophy doesn't fit into the suitcase because the _ is too large.", "option1": "trophy",
           "option2": "suitcase", "answer": "1"}  # fmt: skip
    (tmp_path / "winogrande").mkdir()
    (tmp_path / "winogrande" / "dev.jsonl").write_text(json.dumps(row))
    item = find_task("winogrande").load(tmp_path).items[0]
    assert item.prompt == "The trophy doesn't fit into the suitcase because the"
    assert item.answer == " trophy is too large."
    assert item.options[1].prompt == "The trophy doesn't fit into the suitcase because the suitcase"
    assert item.options[1].text == " is too large."


def test_piqa_in_its_original_form_has_labels_beside_it(tmp_path: Path) -> None:
    (tmp_path / "piqa").mkdir()
    rows = [{"goal": "Boil water", "sol1": "Heat it.", "sol2": "Cool it."}] * 2
    (tmp_path / "piqa" / "valid.jsonl").write_text("\n".join(map(json.dumps, rows)))
    labels = tmp_path / "piqa" / "valid-labels.lst"
    labels.write_text("0\n1\n")
    assert [item.gold for item in find_task("piqa").load(tmp_path).items] == [(0,), (1,)]
    labels.write_text("0\n")
    with pytest.raises(UserError, match=r"has 1 labels and .* 2 rows; one label a row is expected"):
        find_task("piqa").load(tmp_path)


def test_rows_of_the_hub_in_parquet(tmp_path: Path) -> None:
    (tmp_path / "arc").mkdir()
    question = {"id": "q", "question": "Which?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([question]), tmp_path / "arc" / "ARC-Easy-Test.parquet")
    item = find_task("arc_easy").load(tmp_path).items[0]
    assert (item.prompt, item.answer, item.gold) == ("Question: Which?\nAnswer:", " y", (1,))

    (tmp_path / "MMMU" / "Art").mkdir(parents=True)
    held = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(held, "PNG")
    picture = {"bytes": held.getvalue(), "path": "a.png"}
    rows = [
        {"id": "validation_Art_1", "question": "<image 2> or <image 1>?",
         "options": "['<image 1>', 'b']", "answer": "A",
         "image_1": picture, "image_2": picture, "image_3": None},
        {"id": "validation_Art_2", "question": "How many in <image 1>?", "options": "[]", "answer": "['3', 'three']",
         "image_1": picture, "image_2": None, "image_3": None},
    ]  # fmt: skip
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows), tmp_path / "MMMU" / "Art" / "validation-0-of-1.parquet"
    )
    task = find_task("mmmu")
    first, second = task.load(tmp_path).items
    assert first.prompt == (
        "<image> or <image>?\n\n(A) <image>\n(B) b\n\nAnswer with the option's letter from the given choices directly."
    )
    assert [image.size for image in first.images if isinstance(image, Image.Image)] == [(3, 2)] * 3
    assert first.group == second.group == "Art" and not second.options
    assert task.grade(second, Response(texts=("There are three.",))).scores == {"exact": 1, "exact_reread": 1}
    assert task.grade(first, Response(texts=("(B)",))).scores == {"exact": 0, "exact_reread": 0}


def test_race_in_its_original_form(tmp_path: Path) -> None:
    folder = tmp_path / "RACE" / "test" / "high"
    folder.mkdir(parents=True)
    article = {"id": "high1.txt", "article": "Text.", "questions": ["Why?", "So"], "answers": ["A", "D"],
               "options": [["a", "b", "c", "d"], ["e", "f", "g", "h"]]}  # fmt: skip
    (folder / "1.txt").write_text(json.dumps(article))
    item = find_task("race").load(tmp_path).items[0]
    assert item.prompt == "Article: Text.\n\nQuestion: Why?\nAnswer: a\nSo" and item.answer == " h"
    (folder / "1.txt").write_text(json.dumps({**article, "answers": ["A"]}))
    with pytest.raises(UserError, match="lists of one length are expected"):
        find_task("race").load(tmp_path)
    with pytest.raises(UserError, match="no folder test/middle"):
        find_task("race_middle").load(tmp_path)


def mmlu_tar(path: Path, subject: str, rows: str, outer: str = "mmlu") -> None:
    with tarfile.open(path, "w:xz") as archive:
        for split in ("test", "dev"):
            info = tarfile.TarInfo(f"{outer}/{split}/{subject}_{split}.csv")
            info.size = len(rows.encode())
            archive.addfile(info, io.BytesIO(rows.encode()))


def test_mmlu_in_another_language(tmp_path: Path) -> None:
    mmlu_tar(tmp_path / "mmlu_de.tar.xz", "anatomy", '"Was, genau?",a,b,c,d,B\n', "data")
    with pytest.raises(UserError, match=r"no file 'test/abstract_algebra_test\.csv'"):
        find_task("mmlu:de").load(tmp_path)
    openai = tmp_path / "mmmlu"
    openai.mkdir()
    (openai / "mmlu_SW-KE.csv").write_text(
        ",Question,A,B,C,D,Answer,Subject\n0,Nini?,a,b,c,d,C,anatomy\n1,Nani?,a,b,c,d,A,virology\n"
    )
    task = find_task("mmlu:sw_ke")
    data = task.load(tmp_path)
    assert [(item.group, item.gold) for item in data.items] == [("anatomy", (2,)), ("virology", (0,))]
    assert text_prompt(task, data, data.items[0]).text == "Nini?\nA. a\nB. b\nC. c\nD. d\nAnswer:"


@pytest.mark.parametrize("key", ["BC", "", "E", "b", "ABCD"])
def test_a_key_of_mmlu_is_one_letter(key: str, tmp_path: Path) -> None:
    for split in ("test", "dev"):
        (tmp_path / "mmlu" / split).mkdir(parents=True)
        (tmp_path / "mmlu" / split / f"anatomy_{split}.csv").write_text(f"Was?,a,b,c,d,{key}\n")
    with pytest.raises(UserError, match=r"row 1 is no question, four options and one of A, B, C and D"):
        find_task("mmlu_anatomy").load(tmp_path)
    (tmp_path / "mmlu_DE-DE.csv").write_text(f",Question,A,B,C,D,Answer,Subject\n0,Was?,a,b,c,d,{key},anatomy\n")
    with pytest.raises(UserError, match=f"'Answer' is \"{key}\"; one of A, B, C and D is expected"):
        find_task("mmlu:de_de").load(tmp_path)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (" (A): vitamin (C) (B): water", {"A": "vitamin (C)", "B": "water"}),
        (" (A) iron (B) water\n", {"A": "iron", "B": "water"}),
        ("(A): iron\n(B): water\nLook.", {"A": "iron", "B": "water"}),
        ("(A): see (B) below (B): 2 (D): 4", {"A": "see (B) below", "B": "2 (D): 4"}),
        ("none", {}),
    ],
)
def test_options_in_a_line(text: str, options: dict[str, str]) -> None:
    assert options_in(text) == options


def test_mmlu_has_57_subjects_in_four_categories() -> None:
    assert len(SUBJECTS) == 57 == sum(map(len, CATEGORIES.values())) and len(set(SUBJECTS)) == 57
    names = built_in()
    assert all(f"mmlu_{subject}" in names for subject in (*SUBJECTS, *CATEGORIES))


@needs_data
def test_the_five_shot_prompt_of_mmlu() -> None:
    task = find_task("mmlu")
    data = task.load(EVALS)
    item = next(item for item in data.items if item.group == "high_school_us_history")
    text = text_prompt(task, data, item, choose_examples(task, data, item, task.shots)).text
    assert text.startswith(
        "The following are multiple choice questions (with answers) about high school us history.\n\n"
    )
    assert text.endswith(item.prompt) and text.count("\nAnswer:") == 6
    assert text.count("\nAnswer: ") == 5 and "\nAnswer: B\n\n" in text


@needs_data
def test_prompts_of_bbh_have_their_instruction_and_three_examples() -> None:
    task = find_task("bbh")
    data = task.load(EVALS)
    assert {len(examples) for examples in data.examples.values()} == {3} and len(data.examples) == 23
    text = text_prompt(task, data, data.items[0], choose_examples(task, data, data.items[0], 3)).text
    with tarfile.open(EVALS / "bbh.tar.xz") as archive:
        file = archive.extractfile("cot-prompts/boolean_expressions.txt")
        assert file is not None
        original = file.read().decode().split("-----\n", 1)[1].strip()
    assert text == f"{original}\n\nQ: not ( True ) and ( True ) is\nA: Let's think step by step.\n"


@needs_data
def test_the_eight_shot_prompt_of_gsm8k() -> None:
    task = find_task("gsm8k_cot")
    data = task.load(EVALS)
    text = text_prompt(task, data, data.items[0], choose_examples(task, data, data.items[0], 8)).text
    assert text.startswith("Q: There are 15 trees in the grove.") and text.count("\nA: ") == 8
    assert text.endswith("every day at the farmers' market?\nA:") and text.count("The answer is ") == 8


@needs_data
def test_hindsight_neglect_ends_where_the_answer_begins() -> None:
    for item in find_task("hindsight_neglect").load(EVALS).items:
        assert item.prompt.endswith(
            "Did Susan make the right decision? Choose Y or N.\nAnswer:"
        ) or item.prompt.endswith("Choose Y or N.\nAnswer:")
        assert [option.text for option in item.options] == [" Y", " N"] and item.prompt.count("\nAnswer:") == 11


@needs_data
def test_pictures_come_in_the_order_of_their_places() -> None:
    items = find_task("mmmu_pro").load(IMAGES).items
    several = [item for item in items if len(item.images) > 1]
    assert several and all(isinstance(image, Image.Image) for item in items for image in item.images)
    assert all("<image 1>" not in item.prompt for item in items)


def test_vqa_and_scienceqa_in_their_original_forms(tmp_path: Path) -> None:
    vqa = tmp_path / "vqav2"
    (vqa / "val2014").mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(vqa / "val2014" / "COCO_val2014_000000000042.jpg")
    asked = {"questions": [{"question_id": 7, "image_id": 42, "question": "What colour?"}]}
    told = {"annotations": [{"question_id": 7, "answers": [{"answer": "red"}] * 9 + [{"answer": "pink"}]}]}
    (vqa / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(json.dumps(asked))
    with gzip.open(vqa / "v2_mscoco_val2014_annotations.json.gz", "wt") as file:
        json.dump(told, file)
    task = find_task("vqav2")
    item = task.load(tmp_path).items[0]
    assert item.answer == " red" and item.images == (vqa / "val2014" / "COCO_val2014_000000000042.jpg",)
    assert task.grade(item, Response(texts=(" Red.",))).scores["vqa"] == 1

    science = tmp_path / "scienceqa"
    (science / "test" / "3").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(science / "test" / "3" / "image.png")
    problem = {"question": "Which?", "choices": ["one", "two"], "answer": 1, "hint": "Look.", "image": "image.png",
               "split": "test", "lecture": "L.", "solution": "S."}  # fmt: skip
    rich = {**problem, "choices": ["vitamin (C)", "water"], "answer": 0}
    (science / "problems.json").write_text(json.dumps({"3": rich}))
    assert find_task("scienceqa").load(tmp_path).items[0].extra["options"] == {"A": "vitamin (C)", "B": "water"}
    (science / "problems.json").write_text(json.dumps({"3": problem, "4": {**problem, "image": None}}))
    data = find_task("scienceqa_cot").load(tmp_path)
    assert len(data.items) == 1
    assert data.items[0].prompt == (
        "<image>\nContext: Look.\nQuestion: Which?\nOptions: (A): one (B): two\nAnswer: Let's think step by step."
    )
    assert data.items[0].answer == " L. S. The answer is (B)."
    (science / "test" / "3" / "image.png").unlink()
    with pytest.raises(UserError, match=r"no file 'test/3/image\.png'"):
        find_task("scienceqa").load(tmp_path)


@pytest.mark.parametrize("name", sorted(set(built_in()) - {"micro-code"}))  # which reads nothing
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no (file|folder) '.+'.* expected there") as caught:
        find_task(name).load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match="does not exist or is no folder"):
        find_task(name).load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("piqa", "piqa_val.jsonl", '{"query": "q", "choices": ["a", "b"], "gold": 2}',
         "'gold' is 2; an integer from 0 to 1"),
        ("piqa", "piqa_val.jsonl", '{"query": 1.5, "choices": ["a"], "gold": true}', "'gold' is true"),
        ("arc_easy", "arc/ARC-Easy-Test.jsonl", '{"question": {"stem": "s", "choices": []}, "answerKey": "A"}',
         "'choices' is"),
        ("gsm8k", "gsm8k/test.jsonl", '{"question": "q", "answer": "none"}', "the answer 'none' is no number"),
        ("gsm8k", "gsm8k/test.jsonl", '{"question": "q"}', "has no field 'answer'; its fields are 'question'"),
        ("truthfulqa_mc1", "mc_task.json", '[{"question": "q", "mc1_targets": {"a": 0}}]', "at least one true answer"),
        ("truthfulqa_mc1", "mc_task.json", "[", "is not JSON"),
        ("coin_flip", "coin_flip/coin_flip.json", '{"examples": []}', "holds no rows"),
        ("multiarith", "MultiArith/MultiArith.json", '[{"sQuestion": "q", "lSolutions": []}]',
         "a list of one solution"),
        ("hindsight_neglect", "hindsight_neglect_10shot.jsonl", '{"prompt": "p", "answer": "C"}', "A or 0"),
        ("drop", "drop_dataset_dev.json", "{}", "holds no passages"),
        ("commonsense_qa", "dev_rand_split.jsonl", json.dumps({"question": {"stem": "s", "choices": [
            {"label": str(number), "text": "t"} for number in range(27)]}, "answerKey": "3"}), "at most 26 of them"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_row_is_said(name: str, file: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as caught:
        find_task(name).load(tmp_path)
    assert path.name in str(caught.value)
