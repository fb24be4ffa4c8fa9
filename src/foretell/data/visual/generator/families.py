"""The families by name."""

from __future__ import annotations

from foretell.data.visual.generator.chart_questions import CHARTS
from foretell.data.visual.generator.code import CODE
from foretell.data.visual.generator.compare import COMPARE
from foretell.data.visual.generator.diagrams import DIAGRAMS
from foretell.data.visual.generator.family import Family
from foretell.data.visual.generator.scene_questions import COUNTED, SCENES, SINGLE
from foretell.data.visual.generator.tables import TABLES
from foretell.data.visual.generator.words import WORDS

FAMILIES: dict[str, Family] = {
    family.name: family for family in (SCENES, SINGLE, COUNTED, WORDS, CHARTS, TABLES, DIAGRAMS, COMPARE, CODE)
}
