"""Visual documents without end: pictures that are drawn, and questions whose answers are known."""

from foretell.data.visual.generator.config import GeneratorConfig, SizeConfig
from foretell.data.visual.generator.families import FAMILIES
from foretell.data.visual.generator.folder import write_folder
from foretell.data.visual.generator.make import SPLITS, Plan, generate, plan
from foretell.data.visual.generator.sheet import contact_sheet

__all__ = [
    "FAMILIES", "SPLITS", "GeneratorConfig", "Plan", "SizeConfig", "contact_sheet", "generate", "plan", "write_folder",
]  # fmt: skip
