"""Prompts: worked examples by a seed, instruction, turns of a chat, and images in their places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.data.messages import checked_messages
from foretell.tasks.grading import grade_choice
from foretell.tasks.prompting import chat_prompt, choose_examples, text_prompt
from foretell.tasks.task import Item, Option, Response, Task, TaskData


def item(number: int, **more: object) -> Item:
    return Item(str(number), f"Q{number}?\nA:", f" {number}", gold=(str(number),), **more)  # type: ignore[arg-type]


ITEMS = [item(number) for number in range(30)]
DATA = TaskData(ITEMS, {"": ITEMS})
TASK = Task("t", 1, "generate", "exact", lambda folder: DATA, grade_choice, "made up", files="f.jsonl.")


@given(st.integers(0, 29), st.integers(0, 29), st.integers())
def test_examples_are_others_and_the_same_for_a_seed(place: int, shots: int, seed: int) -> None:
    drawn = choose_examples(TASK, DATA, ITEMS[place], shots, seed)
    assert len({one.identity for one in drawn}) == shots and ITEMS[place] not in drawn
    assert drawn == choose_examples(TASK, DATA, ITEMS[place], shots, seed)


def test_items_share_their_examples_and_seeds_differ() -> None:
    first = choose_examples(TASK, DATA, ITEMS[0], 5, 1)
    same = [choose_examples(TASK, DATA, one, 5, 1) == first for one in ITEMS]
    assert sum(same) == 25  # all but the five that are the examples
    for one in first:
        others = choose_examples(TASK, DATA, one, 5, 1)
        assert [other for other in first if other != one] == list(others[:4])
    drawn = [tuple(one.identity for one in choose_examples(TASK, DATA, item(99), 5, seed)) for seed in range(20)]
    assert len(set(drawn)) > 15


def test_fixed_examples_are_taken_in_order_and_twins_left_out() -> None:
    data = replace(DATA, fixed=True)
    assert [one.identity for one in choose_examples(TASK, data, ITEMS[1], 3)] == ["0", "2", "3"]
    twin = replace(ITEMS[1], identity="other")
    assert [one.identity for one in choose_examples(TASK, data, twin, 3)] == ["0", "2", "3"]


def test_a_group_has_its_own_examples() -> None:
    data = TaskData(ITEMS, {"g": [item(50, group="g")], "": ITEMS[:3]}, fixed=True)
    assert choose_examples(TASK, data, item(1, group="g"), 1)[0].identity == "50"
    assert choose_examples(TASK, data, item(60, group="h"), 1)[0].identity == "0"


def test_too_few_examples_are_an_error_that_says_where_they_come_from() -> None:
    with pytest.raises(UserError, match=r"t has 2 worked examples for '0'; 4 were asked.* f\.jsonl\."):
        choose_examples(TASK, TaskData(ITEMS, {"": ITEMS[:3]}), ITEMS[0], 4)
    with pytest.raises(UserError, match="t has 0 worked examples"):
        choose_examples(TASK, TaskData(ITEMS), ITEMS[0], 1)
    with pytest.raises(UserError, match="is -1; 0 or more is expected"):
        choose_examples(TASK, DATA, ITEMS[0], -1)


def test_text_and_turns_say_the_same() -> None:
    task = replace(TASK, instruction="About {group}.\n\n")
    asked = replace(ITEMS[9], group="high_art")
    text = text_prompt(task, DATA, asked, ITEMS[:2])
    assert text.text == "About high art.\n\nQ0?\nA: 0\n\nQ1?\nA: 1\n\nQ9?\nA:" and text.images == ()
    chat = chat_prompt(task, DATA, asked, ITEMS[:2])
    assert [(turn["role"], turn["content"]) for turn in chat.messages] == [
        ("user", "About high art.\n\nQ0?\nA:"), ("assistant", "0"), ("user", "Q1?\nA:"), ("assistant", "1"),
        ("user", "Q9?\nA:"),
    ]  # fmt: skip


def test_instructions_of_groups_come_first() -> None:
    data = replace(DATA, instructions={"g": "For g: "})
    task = replace(TASK, instruction="For all: ")
    assert text_prompt(task, data, item(1, group="g")).text == "For g: Q1?\nA:"
    assert text_prompt(task, data, item(1)).text == "For all: Q1?\nA:"


def test_an_option_may_have_its_own_prompt() -> None:
    option = Option(" is too large.", "Because the trophy")
    asked = Item("1", "Because the", " trophy is too large.", (option,), (0,))
    assert text_prompt(TASK, DATA, asked, [asked], option).text == (
        "Because the trophy is too large.\n\nBecause the trophy"
    )
    assert chat_prompt(TASK, DATA, asked, (), option).messages[0]["content"] == "Because the trophy"


def test_images_stay_in_order_in_examples_and_item() -> None:
    example = Item("e", "<image>\nWhat?\nA:", " a cat", images=(Path("1.png"),))
    asked = Item("q", "From <image> to <image>:", " x", images=(Path("2.png"), Path("3.png")))
    text = text_prompt(TASK, DATA, asked, [example])
    assert text.text == "<image>\nWhat?\nA: a cat\n\nFrom <image> to <image>:"
    assert text.images == (Path("1.png"), Path("2.png"), Path("3.png"))
    chat = chat_prompt(replace(TASK, instruction="Look."), DATA, asked, [example])
    assert chat.images == text.images
    assert chat.messages[0]["content"] == [
        {"type": "text", "text": "Look.\n\n"}, {"type": "image"}, {"type": "text", "text": "\nWhat?\nA:"},
    ]  # fmt: skip
    assert [part["type"] for part in chat.messages[2]["content"]] == ["text", "image", "text", "image", "text"]
    checked_messages(chat.messages, images=True)
    with pytest.raises(UserError, match=r"'q' has 1 image and 2 places '<image>' in its prompt"):
        text_prompt(TASK, DATA, replace(asked, images=(Path("2.png"),)))


def test_an_item_with_messages_is_asked_by_them_after_the_examples() -> None:
    own = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    asked = replace(ITEMS[3], messages=own)
    chat = chat_prompt(TASK, DATA, asked, ITEMS[:1])
    assert [turn["role"] for turn in chat.messages] == ["user", "assistant", "system", "user"]
    assert chat.messages[-1] == own[-1]


def test_choices_are_graded_raw_per_byte_and_against_the_unconditional() -> None:
    asked = Item("1", "Q", " b", (Option(" a"), Option(" bbbb"), Option(" é")), (1,), bare="Answer:")
    response = Response(likelihoods=(-3.0, -4.0, -5.0), bare=(-1.0, -9.0, -5.0))
    grade = grade_choice(asked, response)
    # Per byte -3, -1, -2.5; against the unconditional -2, 5, 0.
    assert grade.scores == {"acc": 0, "acc_norm": 1, "acc_unconditional": 1} and grade.answer == "a"
    assert "acc_unconditional" not in grade_choice(replace(asked, bare=None), response).scores
    with pytest.raises(ValueError, match="has 3 options; 2 likelihoods"):
        grade_choice(asked, Response(likelihoods=(-1.0, -2.0)))
