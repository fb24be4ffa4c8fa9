"""Files of tasks in which anything may stand anywhere: they are read, or refused in a sentence that names the file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foretell.core.errors import UserError
from foretell.tasks.prompting import chat_prompt, text_prompt
from foretell.tasks.registry import find_task
from foretell.tasks.task import Response

QUESTION = {"stem": "s", "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}]}
DATE = {"day": "1", "month": "May", "year": ""}
ROWS: dict[str, tuple[str, Any]] = {
    "arc_easy": ("arc/ARC-Easy-Test.jsonl", {"id": "1", "question": QUESTION, "answerKey": "B"}),
    "openbookqa": ("openbookqa/test.jsonl", {"question_stem": "s", "answerKey": "A",
                                             "choices": {"text": ["a", "b"], "label": ["A", "B"]}}),
    "commonsense_qa": ("dev_rand_split.jsonl", {"id": "1", "question": QUESTION, "answerKey": "A"}),
    "hellaswag": ("hellaswag_val.jsonl", {"ind": 3, "activity_label": "l", "ctx_a": "a", "ctx_b": "b", "label": "1",
                                          "endings": ["c", "d"], "source_id": "wikihow~1"}),
    "winogrande": ("winogrande/dev.jsonl", {"sentence": "The _ is", "option1": "a", "option2": "b", "answer": "2"}),
    "piqa": ("piqa_val.jsonl", {"query": "Question: q", "choices": ["a", "b"], "gold": 1}),
    "race": ("race.jsonl", {"article": "a", "problems": [{"question": "q", "options": ["a", "b"], "answer": "A"}]}),
    "truthfulqa_mc2": ("mc_task.json", [{"question": "q", "mc2_targets": {"a": 1, "b": 0}}]),
    "drop": ("drop_dataset_dev.json", {"p": {"passage": "t", "qa_pairs": [
        {"question": "q", "query_id": "i", "answer": {"number": "", "spans": ["a", "b"], "date": DATE},
         "validated_answers": [{"number": "", "spans": [], "date": DATE}]}]}}),
    "hotpotqa": ("hotpot_dev_distractor_v1.json", [{"_id": "1", "question": "q", "answer": "a",
                                                    "context": [["t", ["s1", "s2"]]]}]),
    "gsm8k": ("gsm8k/test.jsonl", {"question": "q", "answer": "r\n#### 3"}),
    "svamp": ("SVAMP.json", [{"Body": "b", "Question": "q", "Answer": 3.0}]),
    "addsub": ("AddSub.json", [{"sQuestion": "q", "lSolutions": ["3"]}]),
    "coin_flip": ("coin_flip/coin_flip.json", {"examples": [{"question": "q", "answer": "yes"}]}),
    "strategyqa": ("strategyqa/task.json", {"examples": [{"input": "q", "target_scores": {"Yes": 1, "No": 0}}]}),
    "hindsight_neglect": ("hindsight_neglect_10shot.jsonl", {"prompt": "p\nAnswer:", "answer": "B"}),
    "vqav2": ("vqav2/questions.json", {"1": {"prompt": "q", "answer": ["a", "b"], "image": "a.png"}}),
    "scienceqa": ("scienceqa/questions.json", {"1": {"prompt": "Question: q\nOptions: (A): a (B): b \nAnswer with",
                                                     "answer": "B", "image": "a.png"}}),
    "easy_vqa": ("easy_vqa/questions.json", [["q", "a", 0]]),
    "mmmu": ("mmmu/questions.jsonl", {"id": "validation_Art_1", "question": "<image 1> q", "options": "['a', 'b']",
                                      "answer": "A", "images": ["a.png"]}),
    "mmmu_pro": ("mmmu_pro/questions.jsonl", {"id": "test_Art_1", "question": "q", "options": ["a", "b"], "answer": "B",
                                              "subject": "Art", "image_1": "a.png"}),
}  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from("AB12"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.deepcopy(value)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return changed


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=30)
@given(draw=st.data())
def test_anything_in_a_row_is_read_or_refused(
    name: str, draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, row = ROWS[name]
    place = draw.draw(st.sampled_from(places(row)))
    written = replaced(row, place, draw.draw(VALUES))
    folder = tmp_path_factory.mktemp("data")
    path = folder / file
    (path.parent / "images").mkdir(parents=True)
    for picture in ("a.png", "images/0.png"):
        Image.new("RGB", (2, 2)).save(path.parent / picture)
    path.write_text(json.dumps(written))
    task = find_task(name)
    try:
        data = task.load(folder)
    except UserError as error:
        assert str(folder) in str(error)
        return
    for item in data.items:
        text_prompt(task, data, item)
        chat_prompt(task, data, item)
        values = tuple(-1.0 - number for number in range(len(item.options)))
        grade = task.grade(item, Response(likelihoods=values, texts=("B", "The answer is 3.")))
        assert task.metric in grade.scores and all(0 <= score <= 1 for score in grade.scores.values())


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_themselves_are_read(name: str, tmp_path: Path) -> None:
    file, row = ROWS[name]
    path = tmp_path / file
    (path.parent / "images").mkdir(parents=True)
    for picture in ("a.png", "images/0.png"):
        Image.new("RGB", (2, 2)).save(path.parent / picture)
    path.write_text(json.dumps(row))
    assert len(find_task(name).load(tmp_path).items) == 1
