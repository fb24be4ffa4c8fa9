"""The answer in what was written for an item of an exam, and whether it is an accepted one."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from foretell.evals.exams.form import ExamItem
from foretell.tasks.extract import final_number, same_number
from foretell.tasks.extract_options import chosen_option
from foretell.tasks.task import lettered
from foretell.tasks.values import as_value

# "Answer:", "**Answer**:", "The answer (in km) is", GSM8K's sign, LaTeX's box; not "I hope this answer is of use"
_MARK = re.compile(
    r"(?<![^\W_])(?<!this )answer[ \t*_]*(?:\([^)\n]*\)[ \t*_]*)?(?:(?:is|would be)\b(?:[ \t]*:)?|[:=])[*_]*"
    r"|####|(?P<box>\\boxed\{(?:\\text\{)?)",
    re.IGNORECASE,
)
_MARKUP = ("**", "__", "*", "_", "$", "`", '"')
_AROUND = (
    *((sign, sign) for sign in ("**", "__", "*", "_", "$$", "$", "`", '"', "'")),
    ("“", "”"), ("‘", "’"), ("«", "»"), ("\\(", "\\)"), ("\\[", "\\]"),
)  # fmt: skip
# a full stop; ? after a letter; ! after a word, for n! is no n; both after markup
_STOP = re.compile(r'(?<=[^.\s])\.$|(?<=[^\W\d_])\?$|(?<=[^\W\d_][^\W\d_])!$|(?<=[*_`"”])[!?]$')
_ALIKE = str.maketrans("’‘“”−", "''\"\"-")
_SPACED = re.compile(r" ?([<>=≤≥≠^*()\[\]{},;:/+|]) ?")
DEEPEST = 100  # signs within signs
_WORD = re.compile(r"[^\W\d_]{2,}")  # x is an operator
_DIGITS = r"(?:\d+(?:[.,]\d+)*|\.\d+)"
_NUMERAL = re.compile(
    rf"(?:(?<![\w)])[-+−])?(?<![\d/.,])(?:\d+[ \t]+)?{_DIGITS}[ \t]*/[ \t]*{_DIGITS}(?!\d|[ \t]*/[ \t]*\d)|{_DIGITS}"
)
_UNIT = re.compile(r"^([-+−]?)[$€£]\s*|\s*[%$€£]$")


def read_answer(item: ExamItem, text: str) -> str | None:
    """The answer in a response: a letter, a number where the accepted answers are numbers, else a short text.

    The answer stands after the last mark of one ("Answer:"), else in the last line.

    Returns:
        None where none can be read; such a response is wrong.
    """
    if item.choices:
        options = lettered(item.choices)
        alone = text.strip(" .()*").upper()
        return alone if alone in options else chosen_option(text, options)
    marks = list(_MARK.finditer(text))
    line = _after(text, marks[-1]) if marks else _bare(text.strip().rpartition("\n")[2])
    if any(_value(accepted) is None for accepted in item.accepted):
        return line or None
    return _read_number(line, text, marked=bool(marks))


def is_right(item: ExamItem, understood: str | None) -> bool:
    """Whether an answer is the right letter, an accepted text, or has the value of an accepted number."""
    if understood is None:
        return False
    if item.choices:
        return understood == item.letter
    if any(_plain(accepted) == _plain(understood) for accepted in item.accepted):
        return True
    value, wanted = _value(understood), map(_value, item.accepted)
    return value is not None and any(same_number(_decimal(value), _decimal(one)) for one in wanted if one is not None)


def _after(text: str, mark: re.Match[str]) -> str:
    """The first line after a mark; what was opened before the mark (``**Answer: 4**``) is closed no more."""
    rest = text[mark.end() :]
    if mark["box"]:
        return _bare(rest[: _closing(rest)])
    line = next((line.strip() for line in rest.splitlines() if line.strip(" \t*_")), "")
    before = text[text.rfind("\n", 0, mark.start()) + 1 : mark.end()]
    for sign in _MARKUP:
        if before.count(sign) % 2:
            line = re.sub(re.escape(sign) + r"(?=[.!?]?$)", "", line)
    return _bare(line)


def _closing(text: str) -> int:
    """Where the brace closes that was opened before a text."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return place
    return len(text)


def _bare(text: str) -> str:
    """A text without the quotes and markup that stand around all of it, and without a final full stop."""
    for _ in range(DEEPEST):
        before = text
        text = text.strip()
        text = text[:-3] + _STOP.sub("", text[-3:])
        for opening, closing in _AROUND:
            if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
                text = text[len(opening) : -len(closing)]
        if text == before:
            break
    return text


def _read_number(line: str, text: str, *, marked: bool) -> str | None:
    """The number of a line, as it is written where it is one or a fraction; else that of the text."""
    if _value(line) is not None:
        return line
    sum_, _, total = line.rpartition("=")
    numerals = [] if _WORD.search(sum_) else _NUMERAL.findall(total)  # what a sum comes to
    numerals = numerals or _NUMERAL.findall(line)
    shown = numerals[0 if marked else -1] if numerals else ""
    if "/" in shown and as_value(shown) is not None:
        return shown.strip()
    number = final_number(f"Answer: {line}") if marked else None
    number = final_number(text) if number is None else number
    return None if number is None else str(number)


def _plain(text: str) -> str:
    """What equal answers share: case, spaces about signs and forms of quotes do not tell them apart, signs do."""
    bare = " ".join(_bare(text).casefold().translate(_ALIKE).split())
    return _SPACED.sub(r"\1", bare).replace(" - ", "-")


def _value(text: str) -> Fraction | None:
    """The number that a text is; a sign of currency before it or behind it, or of per cent, is passed over."""
    return as_value(_UNIT.sub(r"\1", _bare(text)))


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator) if value.denominator > 1 else Decimal(value.numerator)
