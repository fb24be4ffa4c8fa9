"""Answers in texts: numbers, letters, words, dates; and scores of spans."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.tasks.extract import (
    after_answer_is,
    as_number,
    date,
    final_number,
    letters_only,
    numbers,
    same_number,
    short_answer,
    yes_or_no,
)
from foretell.tasks.extract_options import chosen_option, open_answers, published_option
from foretell.tasks.spans import drop_scores, exact_match, word_f1
from foretell.tasks.vqa import normalised, vqa_accuracy

OPTIONS = {"A": "a red fox", "B": "the moon", "C": "nothing", "D": "I do not know"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 5 - 3 = 2 left.\n#### 2", "2"),
        ("The answer is $1,234.50.", "1234.50"),
        ("So it costs $80,000 + $50,000 = $130,000 in all.", "130000"),
        ("The answer is 12 + 6 = 18 eggs.", "18"),
        ("**Answer:** 18", "18"),
        ("Therefore $\\boxed{42}$, as 40 + 2 says.", "42"),
        ("A: -7", "-7"),
        ("The final answer is −3.", "-3"),
        ("The answer (in dollars) is 0.5", "0.5"),
        ("It rose by 20%, so the answer is 20%.", "20"),
        ("We take 10-4 and get 6", "6"),
        ("The answer is unclear, it may be 9", "9"),
        ("The answer is 3. Wait, I forgot one. The answer is 4.", "4"),
        ("The answer is 5 apples = 10 dollars.", "5"),
        ("Answer: 12 (since 4*3=12, 2 = 2 left)", "12"),
        (".5", "0.5"),
        ("**Answer**: 12 apples for 3 people", "12"),
        ("**Final Answer:** 12, for 3 people", "12"),
        ("__Answer__ is **12** for 3", "12"),
        ("The **answer** is 12 for 3", "12"),
        ("**A**: 12 for 3", "12"),
        ("She ends with:\n\n- 8", "8"),
        ("He has 10 - 2 left", "2"),
        ("It is -8 degrees", "-8"),
        ("It fell by -$8", "-8"),
        ("#### Step 3: Add\nJanet makes **$30**.", "30"),
        ("#### 3. Add\nJanet makes **$30**.", "30"),
        ("#### **18**\nas 2 of 3 said", "18"),
        ("#### -$1,800.50\nas 2 of 3 said", "-1800.50"),
        ("#### 18.\nas 2 of 3 said", "18"),
        ("\\boxed{1{,}234}", "1234"),
        ("\\boxed{1,\\!234\\,567}", "1234567"),
        ("It weighs 1.5e3 g", "1500"),
        ("About 2E-3", "0.002"),
        ("Room 1e3b", "3"),
        ("The answer is 70,000 (=100% profit of 3).", "70000"),
        ("The answer is (5 + 3) = 8.", "8"),
        ("The answer is (5 + 3 = 8).", "8"),
        ("The answer is 4(2) = 8.", "8"),
    ],
)
def test_final_number(text: str, number: str) -> None:
    found = final_number(text)
    assert found is not None and found == Decimal(number)


def test_a_number_too_long_to_write_out_is_none() -> None:
    assert numbers("1e99 and 1e100 and 1e-99 and 1e999") == [Decimal("1e99")]
    assert numbers("7" * 101) == []


@given(st.lists(st.sampled_from(["answer", " ", "*", "_", ":", "(", "=", "####", "1", "is", "\n"]), max_size=60))
def test_marks_in_any_order_are_read(parts: list[str]) -> None:
    text = "".join(parts)
    final_number(text), yes_or_no(text), short_answer(text)


UNITS = ("answer ", "answer_", "answer *", "(", "(=", "#### ", "1,", "_", " ", "\n", "answer\n", "A ", "(a")


@pytest.mark.parametrize("unit", UNITS)
def test_long_texts_are_read_at_once(unit: str) -> None:
    text = "answer" + unit * (20_000 // len(unit))
    final_number(text), yes_or_no(text), short_answer(text), chosen_option(text, OPTIONS)


def test_a_text_without_a_number_has_none() -> None:
    assert final_number("I cannot say.") is None
    assert final_number("") is None
    assert numbers("1,234 and 1,23 and 3-4 and -5 and x-2") == [
        Decimal(value) for value in ("1234", "1", "23", "3", "4", "-5", "2")
    ]


@given(
    st.integers(-(10**12), 10**12), st.sampled_from(["#### {}", "The answer is {}.", "Answer: ${}", "\\boxed{{{}}}"])
)
def test_numbers_written_in_common_ways_are_read_back(value: int, form: str) -> None:
    for written in (str(value), f"{value:,}"):
        assert final_number("We had 3 of 14 things.\n" + form.format(written)) == value


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    final_number(text), yes_or_no(text), date(text), short_answer(text), letters_only(text), after_answer_is(text)
    assert chosen_option(text, OPTIONS) in (*OPTIONS, None)
    assert published_option(text, OPTIONS, pro=True) in (*OPTIONS, None)
    open_answers(text)
    assert 0 <= word_f1(text, ["a b"]) <= 1 and 0 <= drop_scores([text], [("a b",)])[1] <= 1
    assert normalised(text) is not None


def test_reference_answers_that_are_no_numbers_are_refused() -> None:
    assert as_number("$1,200", "row 1") == 1200
    with pytest.raises(UserError, match=r"row 1: the answer 'about ten' is no number; one number is expected"):
        as_number("about ten", "row 1")


def test_decimals_are_equal_up_to_rounding_and_integers_exactly() -> None:
    assert same_number(Decimal("0.30000000000000004"), Decimal("0.3"))
    assert same_number(Decimal("18.00"), Decimal("18"))
    assert not same_number(Decimal("10000000"), Decimal("10000001"))
    assert not same_number(Decimal("0.31"), Decimal("0.3"))


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("B. The moon", "B"),
        ("**D**", "D"),
        ("D) I do not know", "D"),
        ("A dramatic change, so the answer is (B).", "B"),
        ("Let us see. A is wrong, B is wrong.\n\nAnswer: C", "C"),
        ("The correct option is **A**.", "A"),
        ("The final answer is $\\boxed{\\text{B}}$.", "B"),
        ("I think it must be D", "D"),
        ("In the sky we can clearly see the moon tonight.", "B"),
        ("the moon", "B"),
        ("I am not sure about that at all.", None),
        ("A fox is what I see", None),
        ("", None),
        ("**Answer**: A", "A"),
        ("The **correct answer** is **B**, not C.", "B"),
        ("I choose A.", "A"),
        ("I choose B.", "B"),
        ("It's A", "A"),
        ("The answer is clearly A.", "A"),
        ("The answer is most likely D, not C.", "D"),
        ("The answer is not A", "A"),  # as it is B of "not B"
        ("The answer I choose is B, not A.", "B"),
        ("It is option **C**:\nA: red\nC: white", "C"),
        ("Final Answer\n\nA", "A"),
        ("## Final Answer\nA (because of C)", "A"),
        ("Final Answer\n\nA fox, so B", "B"),
        ("Between B and C, A fits best", "A"),
        ("It is a toss-up. A is right", "A"),
        ("The answer is (b).", "B"),
        ("Answer: b", "B"),
        ("Answer: **c**\nIt is c.", "C"),
        ("Answer: d) I do not know", "D"),
        ("The answer is a red fox, as B says", "B"),
        ("The answer is a.", "A"),
        ("The answer is a.b", None),
        ("a fox or b fox", None),
    ],
)
def test_chosen_option(text: str, letter: str | None) -> None:
    assert chosen_option(text, OPTIONS) == letter


@pytest.mark.parametrize("form", ["I choose {}.", "It's {}", "{}", "({})", "The answer is clearly {}.", "So: {}!",
                                  "Final Answer\n\n{}", "**Answer**: {}", "The answer is ({}).", "I say {}\nas I must",
                                  "Between them {} fits best", "My choice is {} because it fits"])  # fmt: skip
def test_every_letter_is_read_alike(form: str) -> None:
    options = dict.fromkeys("ABCDEFGHIJ", "")
    assert [chosen_option(form.format(letter), options) for letter in options] == list(options)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("I really have no idea about this one, maybe 1345", None),
        ("I really have no idea about this one, maybe 3", "A"),
        ("I really have no idea about this one, maybe 3.5", None),
        ("It was the cats, and no dog, that did it", "D"),
        ("It was the cat, and no dogs, that did it", "C"),
    ],
)
def test_options_are_found_as_whole_words(text: str, letter: str | None) -> None:
    assert chosen_option(text, {"A": "3", "B": "5", "C": "cat", "D": "dog"}) == letter


def test_the_published_reading_is_kept_with_its_faults() -> None:
    assert published_option("Answer: B", OPTIONS, pro=True) == "B"
    assert published_option("D. A dramatic change", OPTIONS, pro=True) == "A"
    assert chosen_option("D. A dramatic change", OPTIONS) == "D"
    assert published_option("no idea", OPTIONS, pro=True) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So the answer is (B).", "(B)"),
        ("So the answer is ] } ].", "] } ]"),
        ("the answer is apple pear.\nMore words.", "apple pear"),
        (" False", "False"),
        ("False\n\nQ: next", "False"),
        ("", ""),
    ],
)
def test_after_answer_is(text: str, answer: str) -> None:
    assert after_answer_is(text) == answer


def test_words_dates_and_yes_or_no() -> None:
    assert short_answer("Answer: **Paris**.\nBecause it is.") == "Paris"
    assert short_answer('"red car"') == "red car"
    assert yes_or_no("No, they are not. The answer is yes.") == "yes"
    assert yes_or_no("Yes, because nobody said no.") == "yes"
    assert yes_or_no("The coin is flipped twice, so yes") == "yes"
    assert yes_or_no("maybe") is None
    assert yes_or_no("**Answer**: yes, there is no doubt") == "yes"
    assert yes_or_no("The **answer** is **yes**, there is no doubt") == "yes"
    assert short_answer("**Answer:**\n\n**Paris**\nIt is.") == short_answer("_Answer_: Paris") == "Paris"
    assert short_answer("The **answer is** Paris.") == "Paris"
    assert date("Today is 5/1/2021. The answer is 5/2/2021.") == "05/02/2021"
    assert date("1943") is None
    assert letters_only('The last letter of "Ann" is "n", of "Bo" is "o". Joined they make "no".') == "no"
    assert letters_only("So we have yajo") == "yajo"
    assert letters_only('The letters are "y", "a". The answer is "y-a J o".') == "yajo"


def test_spans_are_scored_as_in_squad_and_hotpotqa() -> None:
    assert exact_match("The Eiffel Tower!", ["eiffel tower"]) == 1
    assert word_f1("the tall tower", ["tower"]) == pytest.approx(2 / 3)
    assert word_f1("yes it is", ["yes"]) == 0
    assert word_f1("", ["x"]) == 0


def test_drop_scores_follow_its_evaluation() -> None:
    """Values computed with the published drop_eval.py."""
    assert drop_scores(["7 yards"], [("7",)]) == (0.0, 0.67)
    assert drop_scores(["8"], [("7 yards",)]) == (0.0, 0.0)
    assert drop_scores(["New York", "Boston"], [("Boston", "New York")]) == (1.0, 1.0)
    assert drop_scores(["Boston"], [("Boston", "New York")]) == (0.0, 0.5)
    assert drop_scores(["7"], [("8",), ("7.0",)]) == (1.0, 1.0)
    assert drop_scores(["3-4 5% yards", "12.5 5% inf"], [("inf yards a", "$5 nan York first")]) == (0.0, 0.32)


def test_vqa_accuracy_is_agreement_with_people() -> None:
    people = ["kite"] * 3 + ["picture"] * 2 + ["two dogs"] * 5
    assert vqa_accuracy("Kite.", people) == pytest.approx((3 * 2 / 3 + 7 * 1) / 10)
    assert vqa_accuracy("a picture", people) == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    assert vqa_accuracy("2 dogs", people) == 1
    assert vqa_accuracy("cat", people) == 0
    assert normalised("Dont know, it's 1,000!") == "don't know it's 1000"
