"""References that come with Foretell: what finished runs of a recipe teach about the next one, found by the recipe.

:mod:`foretell.ladder.learning` makes them, :class:`foretell.laws.token_law.TokenLaw` is what they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foretell.core.files import content_hash, read_json
from foretell.ladder.finished import FEATURES, RUNGS
from foretell.ladder.plan import Plan, Size
from foretell.laws.token_law import TokenLaw

FOLDER = Path(__file__).with_name("learned")  # one file a recipe, made by ``foretell references``
FEED = ("rows", "room", "share", "look_steps", "lead_steps")  # of what a run learns of images
WITHOUT_EFFECT = ("compile", "evaluations", "evaluation_rows", "checkpoints", "keep_checkpoints", "micro_rows")


def recipe_key(plan: Plan, features: Sequence[str] = FEATURES) -> str:
    """Digest of what a reference shares with what it speaks of: shape, steps and training of the target and of the
    rungs whose costs are among ``features``.

    Corpus, seeds and the tuned learning rate are not in it.
    """
    rungs = [_size(rung) for name, rung in zip(RUNGS, plan.told_by, strict=True) if name in features]
    return content_hash({
        "target": _size(plan.target), **({"rung": rungs[0]} if len(rungs) == 1 else {"rungs": rungs}),
        "seeds": plan.ladder.seeds, "training": plan.training.model_dump(mode="json", exclude=set(WITHOUT_EFFECT)),
    })  # fmt: skip


def _size(size: Size) -> dict[str, Any]:
    feed = {} if size.visual is None else size.visual.model_dump(mode="json", include=set(FEED))
    return {"model": size.model.model_dump(mode="json"), "steps": size.steps, "rows": size.rows, "visual": feed}


@functools.cache
def built_in() -> tuple[TokenLaw, ...]:
    """The references that come with Foretell."""
    return tuple(TokenLaw.from_dict(read_json(path)) for path in sorted(FOLDER.glob("*.json")))
