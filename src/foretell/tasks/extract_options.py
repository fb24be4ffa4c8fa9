"""Which of the lettered options a model chose, in whatever words it said so; and MMMU's own rules beside that.

:func:`chosen_option` tries from the surest to the weakest: a letter after "Answer:", one that the text begins with, one
in brackets, one by itself, an option's own words. :func:`published_option` reads as MMMU's and MMMU-Pro's
published code does (Yue et al. 2023, 2024), so that scores can be set beside published ones; it misreads some texts
("J. A dramatic increase" as A). That code guesses at random where it finds nothing; here that is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

# With up to three words behind it, of which none is a letter as in "Option B: ...".
_MARK = re.compile(
    r"(?<![^\W_])(?:answer|choice|option)(?![^\W_])(?:[\s*_]+(?:[^\W_]{2,}|\d|I)){0,3}?[\s*_]*(?:\bis(?![^\W_])(?:[\s*_]*:)?|:|=)"
    r"|\banswer\b\s*(?=\\boxed)|\\boxed\{(?:\\text\{)?",
    re.I,
)
_HEADING = re.compile(r"(?<![^\W_])answer[*_]*[^\S\n]*\n", re.I)  # "Final Answer" on a line of its own
_AROUND = r"[\s*_`\"'“‘$\\{(\[]{0,20}"
_SET_AROUND = (
    rf"{_AROUND}(?:(?:(?:most\s+|very\s+|quite\s+)?(?:[a-z]+ly|indeed|thus|then|therefore|[Oo]ption|[Cc]hoice)\s+)"
    rf"|(?:text|boxed|mathbf|textbf)\{{)?{_AROUND}"
)
# "A fox", "I think": an article or a pronoun, where no verb follows that neither could have.
_NO_WORD = r"(?!(?<=[AI])[^\S\n]+(?!(?:is|fits|seems|looks|appears|matches|makes|works|holds|has)\b)[a-z0-9])"
_NUMBERS = re.compile(
    r"-?\b\d{1,3}(?:,\d{3})+(?:\.\d+)?\b|-?\d+(?:\.\d+)?[eE][+-]?\d+|-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d)(?![,\d])"
)
_INDICATORS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = {":", ",", ".", "!", "?", ";", "'"}
FEWEST_WORDS = 5  # a shorter text is not searched for an option's own words
LONGEST_SEARCHED = 20_000  # characters from the end of a text that are read


@lru_cache(maxsize=64)
def _patterns(letters: str) -> tuple[re.Pattern[str], ...]:
    one = f"([{letters}])"
    return (
        re.compile(rf"{_SET_AROUND}(?:{one}(?![A-Za-z0-9])|{_lower_case(letters)})"),  # right after a mark
        re.compile(rf"{_AROUND}{one}(?![A-Za-z0-9]){_NO_WORD}"),  # under a heading
        re.compile(rf"{_SET_AROUND}{one}(?:\s*$|[\s*_]*[).:\]}}]|\*\*|\s*[-–]\s)"),  # the text begins with it
        re.compile(rf"\({one}\)"),
        re.compile(rf"(?<![A-Za-z0-9'’]){one}(?![A-Za-z0-9'’]){_NO_WORD}"),
    )


def _lower_case(letters: str) -> str:
    """A letter in lower case that is no word: in brackets, or with nothing but signs behind it on its line."""
    one = f"[{letters.lower()}]"
    return rf"(?<=[(\[{{])({one})(?=[)\]}}])|({one})(?=[).:](?!\w)|[\s*_`\"'”’$)\]}}.]*(?:\n|$))"


def chosen_option(text: str, options: Mapping[str, str]) -> str | None:
    """The letter that a text settles on.

    Args:
        text: what the model wrote.
        options: texts by letters, one upper-case letter each; texts may be empty where only letters are known.
    """
    text = text[-LONGEST_SEARCHED:].strip()
    after_mark, headed, beginning, bracketed, alone = _patterns("".join(options))
    for mark in reversed(list(_MARK.finditer(text))):
        if match := after_mark.match(text, mark.end()):
            return next(group for group in match.groups() if group).upper()
    for mark in reversed(list(_HEADING.finditer(text))):
        if match := headed.match(text, mark.end()):
            return match.group(1)
    if match := beginning.match(text):
        return match.group(1)
    if found := bracketed.findall(text):
        return found[-1]
    if found := alone.findall(text):
        return found[-1]
    return _by_words(text, options)


def _by_words(text: str, options: Mapping[str, str]) -> str | None:
    """The option whose words come last; one that is all of a short text; of two in one place the longer."""
    lowered = text.lower()
    texts = {letter: option.lower().strip() for letter, option in options.items() if option.strip()}
    whole = [letter for letter, option in texts.items() if option.rstrip(".") == lowered.rstrip(".")]
    if whole:
        return whole[0]
    if len(text.split()) <= FEWEST_WORDS:
        return None
    places = {letter: _last_place(option, lowered) for letter, option in texts.items()}
    ends = {letter: (place + len(texts[letter]), len(texts[letter])) for letter, place in places.items() if place >= 0}
    return max(ends, key=lambda letter: ends[letter]) if ends else None


def _last_place(words: str, text: str) -> int:
    """Where words stand last in a text, inside no other word or number; -1 where they do not."""
    whole = rf"(?<!\w)(?<!\d[.,]){re.escape(words)}(?!\w)(?![.,]\d)"
    return max((match.start() for match in re.finditer(whole, text)), default=-1)


def published_option(text: str, options: Mapping[str, str], *, pro: bool) -> str | None:
    """The letter that MMMU's code (``parse_multi_choice_response``) reads in a text.

    Args:
        text: what the model wrote.
        options: texts by letters.
        pro: whether by the rules of MMMU-Pro, which look after "Answer:" first and take a letter with a space or full
            stop behind it; else a letter between spaces.
    """
    if pro and "Answer:" in text:
        after = text.rsplit("Answer:", 1)[1]
        named = [letter for letter in options if letter in after]
        if len(named) == 1:
            return named[0]
    for sign in ",.!?;:'":
        text = text.strip(sign)
    text = f" {text} "
    lowered = text.lower()
    for form in ("({})", "{} ", "{}.") if pro else ("({})", " {} "):
        found = [letter for letter in options if form.format(letter) in text]
        if found:
            place = "({})" if form == "({})" else " {} "
            return max(found, key=lambda letter: text.rfind(place.format(letter)))
    if len(text.split()) <= FEWEST_WORDS:
        return None
    found = [letter for letter, option in options.items() if option.lower() in lowered]
    return max(found, key=lambda letter: lowered.rfind(options[letter].lower())) if found else None


def open_answers(text: str) -> list[str | float]:
    """What MMMU's rules take from a text as possible answers: ends of lines that announce one, and their numbers.

    Strings are in lower case, numbers rounded to two decimals (Yue et al. 2023, ``parse_open_response``).
    """
    lines = text.strip().strip(".").lower().split("\n")
    ends = []
    for place, line in enumerate(lines):
        indicators = (*_INDICATORS, "=") if place == len(lines) - 1 else _INDICATORS
        tails = [line.rsplit(sign, 1)[1].strip() for sign in indicators if sign in line]
        if tails and (shortest := min(tails, key=len)) and shortest not in _TRIVIAL:
            ends.append(shortest)
    ends = ends or ["\n".join(lines)]
    found = [*ends, *(number for end in ends for number in _NUMBERS.findall(end))]
    return list(dict.fromkeys(form for one in found for form in _forms(one)))


def open_answer_right(text: str, accepted: Sequence[str]) -> bool:
    """Whether one of the accepted answers is among :func:`open_answers`: a string within one, a number equal to one."""
    wanted = {form for answer in accepted for form in _forms(answer)}
    found = open_answers(text)
    numbers = {form for form in found if isinstance(form, float)}
    words = [form for form in found if isinstance(form, str)]
    return any(form in numbers if isinstance(form, float) else any(form in one for one in words) for form in wanted)


def _forms(text: str) -> list[str | float]:
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lowered = text.lower()
        # A single letter would be found in any word, so a space belongs to it.
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]
