"""Questions about pictures: VQAv2, ScienceQA, easy-VQA; few-shot with pictures in the examples too."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from foretell.core.errors import UserError
from foretell.tasks.extract import short_answer
from foretell.tasks.extract_options import chosen_option
from foretell.tasks.files import Row, parse_json
from foretell.tasks.folders import Folder, find_folder
from foretell.tasks.grading import cut, grade_samples
from foretell.tasks.prompting import IMAGE
from foretell.tasks.sets.arithmetic import STEP_BY_STEP
from foretell.tasks.task import LETTERS, Grade, Item, Response, Task, TaskData, lettered
from foretell.tasks.vqa import normalised, vqa_accuracy

SHORT = "Answer the question using a single word or phrase."
LETTER = "Answer with the option’s letter from the given choices directly."
STOP = ("\n\n", "\nQuestion:", IMAGE)
MOST_OPTIONS = 10


def load_vqav2(folder: Path) -> TaskData:
    """VQA v2: its two JSON files and folder of COCO pictures, or one ``questions.json`` beside its pictures.

    Raises:
        UserError: where a file or picture is missing, or a question has not its answers.
    """
    found = find_folder(folder, "vqav2", "VQAv2", "vqa", "vqav2_50")
    if file := found.find("questions.json"):
        items = [_own_vqa_item(found, row) for row in found.rows(file)]
        return TaskData(items, {"": items}, source=found.place.name)
    asked = found.require("v2_OpenEnded_mscoco_val2014_questions.json")
    answered = found.require("v2_mscoco_val2014_annotations.json")
    questions = _list_of(found, asked, "questions")
    answers = {row.integer("question_id"): row for row in _list_of(found, answered, "annotations")}
    items = []
    for row in questions:
        number = row.integer("question_id")
        if number not in answers:
            raise UserError(f"{found.place}: {answered} has no answers to the question {number}.")
        people = [one.text("answer") for one in answers[number].objects("answers")]
        name = f"COCO_val2014_{row.integer('image_id'):012d}.jpg"
        items.append(_vqa_item(str(number), row.text("question"), people, found.image(f"val2014/{name}", name), row))
    return TaskData(items, {"": items}, source=found.place.name)


def _list_of(folder: Folder, name: str, field: str) -> list[Row]:
    held = parse_json(folder.text(name), f"{folder.place}: {name}")
    return Row(f"{folder.place}: {name}", held if isinstance(held, dict) else {}).objects(field)


def _own_vqa_item(folder: Folder, row: Row) -> Item:
    question = row.text("question", "prompt").removesuffix(SHORT).strip()
    return _vqa_item(row.text("id"), question, row.texts("answer", "answers"), folder.image(row.text("image")), row)


def _vqa_item(identity: str, question: str, people: Sequence[str], picture: Image | Path, row: Row) -> Item:
    if len(people) < 2:
        raise row.fault("answers", list(people), "answers of two people or more (ten in VQA v2)")
    common = Counter(people).most_common(1)[0][0]
    prompt = f"{IMAGE}\n{question}\n{SHORT}\nAnswer:"
    return Item(identity, prompt, f" {common}", gold=tuple(people), images=(picture,))


def grade_vqa(item: Item, response: Response) -> Grade:
    """``vqa``: accuracy of the short answer against all people's."""
    people = [str(one) for one in item.gold]
    return grade_samples(
        response, "vqa", lambda text: normalised(short_answer(cut(text, STOP[1:]))) or None,
        lambda answer: vqa_accuracy(answer, people),
    )  # fmt: skip


def load_easy_vqa(folder: Path) -> TaskData:
    """easy-VQA (github.com/vzhou842/easy-VQA): ``questions.json`` of [question, answer, image number] and its pictures.

    Raises:
        UserError: where something of it is missing or broken.
    """
    found = find_folder(folder, "easy_vqa_test", "easy_vqa", "easy-vqa", "easy_vqa_train")
    name = found.require("test/questions.json", "questions.json")
    rows = parse_json(found.text(name), f"{found.place}: {name}")
    pictures: dict[int, Image | Path] = {}
    items = []
    split = name.rpartition("/")[0]
    for place, row in enumerate(rows if isinstance(rows, list) else ()):
        if not (isinstance(row, list) and len(row) == 3 and isinstance(row[2], int)):
            raise UserError(f"{found.place}: {name} row {place + 1} is not [question, answer, image number].")
        question, answer, number = row
        if number not in pictures:
            pictures[number] = found.image(f"{split}/images/{number}.png" if split else f"images/{number}.png")
        prompt = f"{IMAGE}\nQuestion: {question}\nAnswer:"
        items.append(Item(str(place), prompt, f" {answer}", gold=(str(answer),), images=(pictures[number],)))
    if not items:
        raise UserError(f"{found.place}: {name} is no list of [question, answer, image number].")
    return TaskData(items, {"": items}, source=f"{found.place.name}: {name}")


def grade_word(item: Item, response: Response) -> Grade:
    """``exact``: whether the short answer is the item's, case aside."""
    return grade_samples(
        response, "exact", lambda text: short_answer(cut(text, STOP[1:])).lower() or None,
        lambda answer: answer == str(item.gold[0]).lower(),
    )  # fmt: skip


def load_scienceqa(chain_of_thought: bool, folder: Path) -> TaskData:
    """ScienceQA (Lu et al. 2022), questions with a picture: ``problems.json`` with a folder for each split, or one
    ``questions.json`` beside its pictures.

    Raises:
        UserError: where a file or picture is missing, or a question has no options and answer.
    """
    found = find_folder(folder, "scienceqa", "ScienceQA", "scienceqa_100")
    if file := found.find("questions.json"):
        items = [_own_science_item(found, row, chain_of_thought) for row in found.rows(file)]
        return TaskData(items, {"": items}, source=found.place.name)
    file = found.require("problems.json")
    split: dict[str, list[Item]] = {"train": [], "test": []}
    for row in found.rows(file):
        if row.cells.get("split") in split and row.has("image"):
            split[row.cells["split"]].append(_science_item(found, row, chain_of_thought))
    if not split["test"]:
        raise UserError(f"{found.place}: {file} has no question of the split 'test' with a picture.")
    return TaskData(split["test"], {"": split["train"]}, source=f"{found.place.name}: test, with pictures")


def _science_item(folder: Folder, row: Row, chain_of_thought: bool) -> Item:
    texts = row.texts("choices")
    options = lettered(texts[:MOST_OPTIONS])
    gold = list(options)[row.place_of("answer", len(options))]
    hint = str(row.cells.get("hint") or "").strip()
    listed = " ".join(f"({letter}): {text}" for letter, text in options.items())
    question = f"Context: {hint}\n" * bool(hint) + f"Question: {row.text('question')}\nOptions: {listed}"
    name = f"{row.cells['split']}/{row.text('id')}/{row.text('image')}"
    reasoning = " ".join(str(row.cells.get(part) or "").strip() for part in ("lecture", "solution")).strip()
    return _letter_item(row.text("id"), question, options, gold, folder.image(name), chain_of_thought, reasoning)


def _own_science_item(folder: Folder, row: Row, chain_of_thought: bool) -> Item:
    question = row.text("prompt").split("\nAnswer with the option")[0].strip()
    options = options_in(question.rpartition("Options:")[2])
    answer = row.text("answer")
    if answer not in options:
        raise row.fault("answer", answer, f"one of the letters of its options ({', '.join(options) or 'it has none'})")
    picture = folder.image(row.text("image"))
    return _letter_item(row.text("id"), question, options, answer, picture, chain_of_thought, "")


def options_in(text: str) -> dict[str, str]:
    """Options in "(A): iron (B): vitamin (C)": each mark is the next letter, with a colon if the first has one."""
    sign = "({}):" if text.lstrip().startswith("(A):") else "({})"
    found: dict[str, str] = {}
    pieces = text
    for letter in LETTERS:
        before, mark, pieces = pieces.partition(sign.format(letter))
        if found:
            found[LETTERS[len(found) - 1]] = before.strip().partition("\n")[0].strip()
        if not mark:
            break
        found[letter] = pieces
    return found


def _letter_item(
    identity: str, question: str, options: Mapping[str, str], letter: str, picture: Image | Path,
    chain_of_thought: bool, reasoning: str,
) -> Item:  # fmt: skip
    if chain_of_thought:
        prompt, answer = f"{question}\nAnswer: {STEP_BY_STEP}", f" {reasoning} The answer is ({letter})."
    else:
        prompt, answer = f"{question}\n{LETTER}\nAnswer:", f" {letter}"
    return Item(
        identity, f"{IMAGE}\n{prompt}", answer.replace("  ", " "), gold=(letter,), images=(picture,),
        extra={"options": dict(options)},
    )  # fmt: skip


def grade_letter(item: Item, response: Response) -> Grade:
    """``exact``: whether the option that the text settles on is the right one."""
    options = item.extra["options"]
    return grade_samples(
        response,
        "exact",
        lambda text: chosen_option(cut(text, STOP[1:]), options),
        lambda letter: letter == item.gold[0],
    )


def tasks() -> list[Task]:
    """The sets of this module."""
    shared: dict[str, Any] = {"stop": STOP, "tokens": 16}
    science = "Lu et al. 2022, scienceqa.github.io; CC BY-NC-SA 4.0"
    science_files = "scienceqa/problems.json with train and test folders of pictures, or scienceqa/questions.json."
    return [
        Task("vqav2", 2, "generate", "vqa", load_vqav2, grade_vqa,
             "Goyal et al. 2017, visualqa.org; CC BY 4.0, pictures of Flickr", files="vqav2/ (or .zip) with "
             "v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json and val2014/, or "
             "questions.json and pictures.", **shared),
        Task("easy_vqa", 2, "generate", "exact", load_easy_vqa, grade_word,
             "Zhou 2019, github.com/vzhou842/easy-VQA; MIT",
             files="easy_vqa_test/ (or easy_vqa_train, or .zip) with questions.json and images/.", **shared),
        Task("scienceqa", 2, "generate", "exact", functools.partial(load_scienceqa, False), grade_letter, science,
             files=science_files, **shared),
        Task("scienceqa_cot", 2, "generate", "exact", functools.partial(load_scienceqa, True), grade_letter, science,
             stop=STOP[1:], tokens=512, family="scienceqa", files=science_files),
    ]  # fmt: skip
