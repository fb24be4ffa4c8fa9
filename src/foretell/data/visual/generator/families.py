"""The families by name."""

from __future__ import annotations

from foretell.data.visual.generator.family import Family
from foretell.data.visual.generator.scene_questions import SCENES
from foretell.data.visual.generator.words import WORDS

FAMILIES: dict[str, Family] = {family.name: family for family in (SCENES, WORDS)}
