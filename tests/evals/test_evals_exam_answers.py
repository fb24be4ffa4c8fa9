"""The answer in what was written for an item, and what it is equal to."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.evals.exams.answers import is_right, read_answer
from foretell.evals.exams.form import ExamItem


def item_of(**fields: Any) -> ExamItem:
    return ExamItem.model_validate({"id": "1", "question": "?", **fields})


def right(accepted: Any, text: str) -> bool:
    item = item_of(answer=accepted)
    return is_right(item, read_answer(item, text))


@pytest.mark.parametrize(
    ("fields", "text", "understood", "is_it"),
    [
        ({"choices": ["3", "4"], "answer": "B"}, "b", "B", True),
        ({"choices": ["3", "4"], "answer": "B"}, "First 3 seems right (A). But no.\nAnswer: B", "B", True),
        ({"choices": ["3", "4"], "answer": "B"}, "I cannot say.", None, False),
        ({"choices": ["red", "blue"], "answer": "A"}, "(B) blue", "B", False),
        ({"answer": 42}, "6 x 7 = 42, so\nAnswer: 42.", "42", True),
        ({"answer": "1,000"}, "Answer: 1000.0", "1000.0", True),
        ({"answer": "3/4"}, "Answer: 0.75", "0.75", True),
        ({"answer": 0.75}, "Answer: 3/4", "3/4", True),
        ({"answer": ["Paris", "City of Paris"]}, "It was Paris.\nAnswer: **Paris**", "Paris", True),
        ({"answer": ["Paris"]}, "Answer: Lyon", "Lyon", False),
        ({"answer": "4"}, "I do not know.", None, False),
        ({"answer": "Paris"}, "It is a big one.\nAnswer:", None, False),
        # the line after the last mark of the whole text, whatever follows
        ({"answer": "Paris"}, "Answer: Paris\n\nIt lies on the Seine.", "Paris", True),
        ({"answer": "Paris"}, "Answer: Paris\n\nI hope this answer is of use.", "Paris", True),
        ({"answer": "Paris"}, "Answer: Lyon? No.\nThe answer is Paris.", "Paris", True),
        ({"answer": "Paris"}, "**Answer**: Paris", "Paris", True),
        ({"answer": "Paris"}, "**Answer:** Paris", "Paris", True),
        ({"answer": "Paris"}, "**Answer: Paris**", "Paris", True),
        ({"answer": "Paris"}, "__Answer: *Paris*__.", "Paris", True),
        ({"answer": "Paris"}, "**Answer:**\n\nParis\n", "Paris", True),
        ({"answer": "Paris"}, "The answer (in French) is “Paris”.", "Paris", True),
        ({"answer": "Paris"}, "So $\\boxed{\\text{Paris}}$, I think.", "Paris", True),
        ({"answer": "Paris"}, "It has the Seine.\nParis!", "Paris", True),
        # numbers: a fraction of the line, else what the line or the text comes to
        ({"answer": 8}, "60 km/h * 2 = 120; 12/4\nAnswer: 8 apples", "8", True),
        ({"answer": 8}, "16/2 = 8\nThe answer is 8.\nLet me know if 1/2 is not clear.", "8", True),
        ({"answer": 8}, "**Answer**: 8 apples\n\nThat is for all 3 of us.", "8", True),
        ({"answer": 8}, "16/2 is 8", "8", True),
        ({"answer": 8}, "Answer: 16/2 = 8", "8", True),
        ({"answer": 8}, "Answer:\n$$\n\\boxed{8}\n$$", "8", True),
        ({"answer": "0.75"}, "Answer: 3/4 of a cup (= 0.75)", "3/4", True),
        ({"answer": "0.75"}, "He ate 3/4.", "3/4", True),
        ({"answer": "1 1/2"}, "Answer: 1.5", "1.5", True),
        ({"answer": "1 1/2"}, "Answer: 1 1/2 cups", "1 1/2", True),
        ({"answer": "1 1/2"}, "Answer: 5.5", "5.5", False),
        ({"answer": "1.5"}, "Answer: 11/2", "11/2", False),
        ({"answer": "12"}, "Answer: 12/0", "12", True),
        ({"answer": "0.00001"}, "1e-05", "1e-05", True),
        ({"answer": "100000"}, "Answer: 1e5", "1e5", True),
        ({"answer": "-5"}, "Answer: −5", "−5", True),
        ({"answer": "$1,000"}, "Answer: 1000 dollars", "1000", True),
        ({"answer": "40%"}, "Answer: **40 %**.", "40 %", True),
        ({"answer": ["8", "eight"]}, "Answer: Eight.", "Eight", True),
        ({"answer": ["8", "eight"]}, "Answer: 8.0", "8.0", True),
    ],
)  # fmt: skip
def test_answers_are_read(fields: dict[str, Any], text: str, understood: str | None, is_it: bool) -> None:
    item = item_of(**fields)
    assert (read_answer(item, text), is_right(item, read_answer(item, text))) == (understood, is_it)


@pytest.mark.parametrize(
    ("accepted", "answers"),
    [
        ("3, 5", {"3, 5": True, "3,5": True, "35": False, "3": False, "5": False}),
        ("x > 3", {"x > 3": True, "x>3": True, "$x > 3$": True, "x < 3": False, "x = 3": False, "x 3": False}),
        ("2^10", {"2^10": True, "2 ^ 10": True, "210": False, "2*10": False}),
        (".5", {".5": True, "0.5": True, "1/2": True, "5": False}),
        ("5!", {"5!": True, "5": False}),
        ("n!", {"n!": True, "n": False}),
        ("(1, 5)", {"(1,5)": True, "( 1, 5 )": True, "(1, 5).": True, "[1, 5]": False, "(15)": False, "1, 5": False}),
        ("x - 3", {"x-3": True, "x − 3": True, "x + 3": False, "x3": False}),
        ("O'Brien", {"O’Brien": True, "o'brien": True, "'O'Brien'": True, "OBrien": False}),
        ("Paris", {"paris": True, '"Paris."': True, "Paris!": True, "*Paris*?": True, "Par is": False}),
        ("U.S.A.", {"U.S.A": True, "u.s.a.": True, "USA": False}),
        ("1:30", {"1:30": True, "90": False}),
    ],
)
def test_only_equal_answers_are_equal(accepted: str, answers: dict[str, bool]) -> None:
    assert {text: right(accepted, f"Answer: {text}") for text in answers} == answers


@pytest.mark.parametrize("form", ["{}", "Answer: {}", "**Answer:** {}", "So\n**Answer: {}**", "Answer: ${}$\n\nSee?"])
@given(number=st.integers(-(10**6), 10**6), other=st.integers(-(10**6), 10**6))
def test_whole_numbers_are_equal_to_themselves_alone(form: str, number: int, other: int) -> None:
    for written in (str(number), f"{number:,}", f"{number}.0"):
        assert right(str(number), form.format(written))
        assert right(str(number), form.format(other)) == (number == other)


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_fractions_are_equal_by_value(number: Fraction, other: Fraction) -> None:
    assert right(str(number), f"Answer: {2 * number.numerator}/{2 * number.denominator}")
    near = 0 if number.denominator == other.denominator == 1 else Fraction(1, 10**6)  # decimals are rounded
    alike = abs(number - other) <= near * max(abs(number), abs(other))
    assert right(str(number), f"Answer: {other}") == alike


@given(st.text(st.characters(categories=["Ll", "Nd", "Zs"], include_characters="<>=^*(),.+-/'!"), min_size=1))
def test_an_accepted_text_is_right_as_it_stands(text: str) -> None:
    if read_answer(item_of(answer="x"), f"Answer: {text}") is not None:
        assert right(text, f"Answer: {text}")


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for accepted in ("8", "Paris"):
        found = read_answer(item_of(answer=accepted), text)
        assert found is None or found


@pytest.mark.parametrize("text", ["*" * 10**5, '"' * 10**5, "answer" * 10**4, " " * 10**5 + "x", "1" * 10**5,
                                  "1/" * 10**5, "{" * 10**5, "\\boxed{" * 10**4, "answer " + "*" * 10**5])  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    start = time.perf_counter()
    right("8", text), right("Paris", text)
    assert time.perf_counter() - start < 2
