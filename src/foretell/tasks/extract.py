"""Answers in what a model wrote: numbers, words after "the answer is", yes or no, dates.

Each function takes a text and gives the answer in the form its grader compares, or None where there is none. Tested on
real outputs of models.
"""

from __future__ import annotations

import re
from decimal import Decimal

from foretell.core.errors import UserError

# A sign with a space behind it is a bullet or an operation.
_NUMBER = re.compile(
    r"[-−+]?(?:[$€£]\s?)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+)?(?:(?<=\d)e[-+]?\d{1,3}(?!\w))?",
    re.I,
)
_DIGITS = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.I)
_LATEX_COMMA = re.compile(r"\{,\}|,\\!|\\,")  # 1{,}234, 1,\!234 and 1\,234 are 1,234
# What announces a final answer: GSM8K's own sign before a number that is no heading's, the "A:" line of OpenAI's first
# solutions, LaTeX's box, and words. Markdown may stand around each.
_NUMBER_MARKS = re.compile(
    r"####(?=[\s*_`]*[-−+]?[$€£]?\s*\.?\d)(?![\s*_`]*\d+[.)][^\S\n]+\S)|(?:^|\n)[ \t*_]*A[*_]*:|\\boxed\{"
    r"|answer[\s*_]*(?:is\b[\s*_]*)?[:=]|answer[\s*_]+(?:\([^)]*\)[\s*_]*)?(?:is\b|would be\b|=)",
    re.I,
)
_ANSWER_IS = re.compile(r"\banswer\s+is\b\s*:?\s*", re.I)
_WORD_MARKS = re.compile(
    r"(?<![^\W_])answer(?:[\s*_]+is(?![^\W_])(?:[\s*_]*:)?|[\s*_]*:)(?:[*_]+(?=\s))?\s*|\\boxed\{(?:\\text\{)?", re.I
)
_ASIDE = re.compile(r"\([^()]*=[^()]*\)?")  # a sum in brackets behind the answer
_YES_NO = re.compile(r"\b(yes|no)\b", re.I)
_WORD = re.compile(r"[^\W\d_]{2,}")  # x is an operator
_DATE = re.compile(r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b")
_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]")
_DECORATION = " \t\r\n*_`\"'“”‘’$\\{}()[]"
LONGEST_NUMBER = 100  # characters; a model that repeats a digit has named no number
RELATIVE_TOLERANCE = Decimal("1e-6")  # of decimals: solutions of some sets are rounded floats


def final_number(text: str) -> Decimal | None:
    """The number a solution ends in: the first after the last mark of an answer, else the last in the text.

    Thousands separators, currency signs and percent signs are passed over. Where no number follows the mark, the last
    one of the text counts.
    """
    text = _LATEX_COMMA.sub(",", text)
    marks = list(_NUMBER_MARKS.finditer(text))
    if marks:
        after = text[marks[-1].end() :]
        # "The answer is 5 + 3 = 8": what a first line of sums comes to, not what it begins with.
        line = after.strip().split("\n", 1)[0]
        outside = _ASIDE.sub("", line)
        line = outside if numbers(outside) else line
        sum_, equals, total = line.rpartition("=")
        found = numbers(total) if equals and not _WORD.search(sum_) else []
        found = found or numbers(after)
        if found:
            return found[0]
    found = numbers(text)
    return found[-1] if found else None


def numbers(text: str) -> list[Decimal]:
    """All numbers of a text in order; "1,234" and "1.2e3" are one each, "3-4" are 3 and 4."""
    found = []
    text = _LATEX_COMMA.sub(",", text)
    for match in _NUMBER.finditer(text):
        written = match.group()
        digits = re.sub(r"[,$€£\s]", "", written).replace("−", "-")
        if len(digits) > LONGEST_NUMBER or not _DIGITS.fullmatch(digits):
            continue
        before = text[match.start() - 1] if match.start() else " "
        signed = written[0] in "+-−"
        # A sign after a digit, letter or bracket is an operation or a hyphen.
        number = Decimal(digits.lstrip("+-") if signed and (before.isalnum() or before in ")%") else digits)
        if len(format(number, "f")) <= LONGEST_NUMBER:
            found.append(number)
    return found


def as_number(text: str, place: str) -> Decimal:
    """A reference answer as a number.

    Raises:
        UserError: naming the place, where it is none.
    """
    found = numbers(text)
    if len(found) != 1:
        raise UserError(f"{place}: the answer '{text[:60]}' is no number; one number is expected.")
    return found[0]


def same_number(left: Decimal, right: Decimal) -> bool:
    """Whether two numbers are equal; decimals up to a relative difference of one millionth."""
    if left == left.to_integral_value() and right == right.to_integral_value():
        return left == right
    return abs(left - right) <= RELATIVE_TOLERANCE * max(abs(left), abs(right))


def after_answer_is(text: str) -> str:
    """What follows the first "answer is" on its line, without a final full stop; the first line where nothing does.

    This is how BIG-Bench Hard's outputs are read (Suzgun et al. 2022).
    """
    match = _ANSWER_IS.search(text)
    answer = first_line(text[match.end() :] if match else text)
    return answer.removesuffix(".").rstrip() if match else answer


def first_line(text: str) -> str:
    """The first line that is not blank."""
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else ""


def answer_line(text: str) -> str:
    """The line that holds the answer: what follows the last mark of one, else the first line."""
    marks = list(_WORD_MARKS.finditer(text))
    return first_line(text[marks[-1].end() :] if marks else text)


def short_answer(text: str) -> str:
    """A word or phrase: :func:`answer_line` without quotes, brackets and full stop around it."""
    return undecorated(answer_line(text))


def undecorated(text: str) -> str:
    """A text without quotes, brackets, Markdown and a full stop around it."""
    return text.strip(_DECORATION).rstrip(".").strip(_DECORATION)


def yes_or_no(text: str) -> str | None:
    """``yes`` or ``no``: after the last mark of an answer, else at the very beginning, else the last of the text."""
    marks = list(_WORD_MARKS.finditer(text))
    if marks and (match := _YES_NO.search(text[marks[-1].end() :])):
        return match.group(1).lower()
    if match := _YES_NO.match(text.lstrip(_DECORATION)):
        return match.group(1).lower()
    found = _YES_NO.findall(text)
    return found[-1].lower() if found else None


def date(text: str) -> str | None:
    """A date MM/DD/YYYY: the first after the last mark of an answer, else the last of the text."""
    marks = list(_WORD_MARKS.finditer(text))
    after = _DATE.findall(text[marks[-1].end() :]) if marks else []
    found = after[:1] or _DATE.findall(text)[-1:]
    return "{:0>2}/{:0>2}/{}".format(*found[0]) if found else None


def letters_only(text: str) -> str | None:
    """A made-up word (last letters joined): the letters of the answer in lower case, hyphens and spaces left out.

    The answer stands after the last mark of one; without a mark it is the last word in double quotes, else the last.
    """
    if _WORD_MARKS.search(text):
        found = short_answer(text)
    else:
        quoted, words = _QUOTED.findall(text), text.split()
        found = quoted[-1] if quoted else words[-1] if words else ""
    return re.sub(r"[^a-z]", "", found.lower()) or None
