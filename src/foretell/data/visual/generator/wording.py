"""From a question to its text: a phrasing of the split, filled in, with choices where they are wanted."""

from __future__ import annotations

from collections.abc import Mapping

from foretell.data.visual.documents import Exchange
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.family import Phrasings, Question, Split

CHOICES = 4
LETTERS = "ABCD"
CAPITALISED = 0.5

# {choices} stands for all choices, each written as the second text with {letter} and {choice}, joined by the third.
# Where a format has letters the letter is the answer, else the choice itself.
FORMATS = {
    "train": (
        ("{question} {choices}", "({letter}) {choice}", " "),
        ("{question} {choices}", "{letter}) {choice}", ", "),
        ("{question}\n{choices}", "{letter}. {choice}", "\n"),
        ("{question} Choose one: {choices}.", "({letter}) {choice}", ", "),
        ("{question}\nOptions: {choices}\nAnswer with the letter.", "{letter}: {choice}", "; "),
        ("{question} Answer with one of: {choices}.", "{choice}", ", "),
        ("{question} Options: {choices}.", "{choice}", " or "),
    ),
    "heldout": (
        ("{question}\nChoose one: {choices}", "{letter}) {choice}", " "),
        ("{question} Options: {choices}", "({letter}) {choice}", "; "),
        ("{question} Answer with the letter. {choices}", "{letter}. {choice}", " "),
        ("{question} Choose one of: {choices}.", "{choice}", ", "),
    ),
}


def with_article(noun: str) -> str:
    """``a red circle``, ``an orange star``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """Of the last word: ``red crosses``."""
    return noun + ("es" if noun.endswith(("s", "x", "sh", "ch")) else "s")


def quoted(text: str) -> str:
    """A printed word in quotes, so that it is none of the question's own words; ``A`` and ``7`` as they are."""
    return f'"{text}"' if text.islower() else text


def worded(
    draws: Draws, question: Question, phrasings: Mapping[str, Phrasings], split: Split, multiple_choice: float
) -> Exchange:
    """A question in words of its split; with choices in a share ``multiple_choice`` of those that can have them."""
    text = draws.choose(phrasings[question.form].of(split)).format(**question.slots)
    if draws.coin(CAPITALISED):
        text = text[0].upper() + text[1:]
    wrong = [answer for answer in dict.fromkeys(question.pool) if answer != question.answer]
    if not draws.coin(multiple_choice) or not wrong:
        return Exchange(text, question.answer, question.kind, tolerance=question.tolerance)
    chosen = draws.shuffled([question.answer, *draws.sample(wrong, CHOICES - 1)])
    # where a choice is itself a letter, lettering them would have two meanings
    formats = [f for f in FORMATS[split] if "{letter}" not in f[1] or not set(chosen) & set(LETTERS)]
    whole, each, joint = draws.choose(formats)
    listed = joint.join(
        each.format(letter=letter, choice=choice) for letter, choice in zip(LETTERS, chosen, strict=False)
    )
    lettered = "{letter}" in each
    answer = LETTERS[chosen.index(question.answer)] if lettered else question.answer
    return Exchange(whole.format(question=text, choices=listed), answer, question.kind, tuple(chosen))
