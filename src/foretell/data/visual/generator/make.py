"""Any document by its number: what it shows and asks first, its pictures then."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from foretell.core.errors import UserError
from foretell.data.visual.documents import Exchange, VisualDocument
from foretell.data.visual.generator.config import GeneratorConfig
from foretell.data.visual.generator.draws import Draws
from foretell.data.visual.generator.families import FAMILIES
from foretell.data.visual.generator.family import Family, Question, Setting, Split
from foretell.data.visual.generator.wording import worded

SPLITS: tuple[Split, ...] = ("train", "heldout")
TRIES = 4  # for each question wanted, before a document has fewer


@dataclass(frozen=True)
class Plan:
    """A document that is not drawn yet.

    Attributes:
        description: what its pictures show, of the family's own type.
        questions: what is asked, one for each exchange.
    """

    family: Family
    setting: Setting
    description: Any
    questions: tuple[Question, ...]
    exchanges: tuple[Exchange, ...]
    identity: str

    def document(self) -> VisualDocument:
        """The document, with its pictures drawn."""
        return VisualDocument(self.family.draw(self.description), self.exchanges, self.identity)


def plan(config: GeneratorConfig, index: int, split: Split) -> Plan:
    """Describe a document without drawing it; see :func:`generate`."""
    if split not in SPLITS:
        raise UserError(f"split is {split!r}: one of {' and '.join(SPLITS)} is expected.")
    if index < 0:
        raise UserError(f"index is {index}: a number from 0 on is expected.")
    draws = Draws(config.seed, split, index)
    family = FAMILIES[draws.weighted(config.families)]
    level = draws.between(*config.levels)
    (width, height) = (draws.between(*ends) for ends in config.ranges(family.name))
    if config.square(family.name):
        height = width
    setting = Setting(level, width, height, split)
    questions: tuple[Question, ...] = ()
    while not questions:
        description = family.describe(draws, setting)
        questions = _asked(draws, family, description, config)
    exchanges = tuple(
        replace(worded(draws, q, family.phrasings, split, config.multiple_choice), spelled=q.kind in family.printed)
        for q in questions
    )
    return Plan(family, setting, description, questions, exchanges, f"{split}/{index:07d}/{family.name}/{level}")


def generate(config: GeneratorConfig, index: int, split: Split) -> VisualDocument:
    """Make a document.

    It depends on the settings, its number and its split alone: any process makes any of them, in any order.

    Args:
        config: families, levels, sizes, and how much is asked.
        index: 0 or more.
        split: ``train``, or ``heldout``, whose phrasings, fonts, words and styles occur in no training document.

    Returns:
        RGB images, 1 to ``config.questions`` exchanges; ``identity`` is ``split/index/family/level``.

    Raises:
        UserError: for another split, or a negative index.
    """
    return plan(config, index, split).document()


def _asked(draws: Draws, family: Family, description: Any, config: GeneratorConfig) -> tuple[Question, ...]:
    """Up to as many questions as are wanted, on different topics, of all kinds in turn."""
    kinds, count = config.asked_of(family), config.questions
    found: dict[Hashable, Question] = {}
    turn: list[str] = []
    for _ in range(TRIES * count + len(kinds)):
        turn = turn or draws.shuffled(kinds)
        question = family.askers[turn.pop()](draws, description)
        if question is not None:
            found.setdefault(question.topic, question)
        if len(found) == count:
            break
    return tuple(found.values())
