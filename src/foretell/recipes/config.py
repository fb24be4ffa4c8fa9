"""A recipe: everything a run needs, from corpus to forecast, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from foretell.core.config import Settings, build, merge, parse_overrides, read_yaml
from foretell.core.errors import UserError
from foretell.data.config import CorpusConfig, TokenizerConfig
from foretell.ladder.config import LadderConfig, ShapeConfig, TargetConfig
from foretell.train.config import TrainingConfig


class ForecastConfig(Settings):
    """The forecast."""

    level: float = Field(default=0.9, ge=0.5, le=0.999)
    """Probability of the interval."""


class SamplesConfig(Settings):
    """Texts that the trained target writes for the report; prompts come from held-out text where none are given."""

    prompts: tuple[str, ...] = ()
    """Texts to continue; the openings of held-out documents where none are given."""
    count: int = Field(default=3, ge=0)
    """How many, where no prompts are given."""
    tokens: int = Field(default=120, ge=1)
    """New tokens of each."""
    temperature: float = Field(default=0.8, ge=0)
    """Of sampling; 0 is greedy."""


class Recipe(Settings):
    """A run in full. ``output`` is the run directory; it is not part of what a run directory is compared by."""

    name: str = Field(min_length=1, max_length=100)
    """What the report calls the run."""
    seed: int = Field(default=0, ge=0)
    """Of the whole run: data order, initialisation, held-out split."""
    output: str = "runs/run"
    """The run directory."""
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ShapeConfig = ShapeConfig()
    target: TargetConfig
    ladder: LadderConfig = LadderConfig()
    training: TrainingConfig = TrainingConfig()
    forecast: ForecastConfig = ForecastConfig()
    samples: SamplesConfig = SamplesConfig()

    def comparable(self) -> dict[str, Any]:
        """What decides the result: all but the folder and the number of processes."""
        values = self.model_dump(mode="json")
        values.pop("output")
        values["ladder"].pop("processes")
        return values


def built_in_recipes() -> dict[str, Path]:
    """Recipes that ship with the package, by name."""
    folder = Path(str(resources.files("foretell.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, overrides: Sequence[str]) -> Recipe:
    """Read a recipe by the name of a built-in one or by path, with dotted overrides laid over it.

    Raises:
        UserError: for an unknown name or file, an unknown key, or a value that is not accepted.
    """
    known = built_in_recipes()
    path = known.get(name) or Path(name)
    if name not in known and not path.exists():
        raise UserError(f"The recipe '{name}' is neither a file nor one of the built-in ones: {', '.join(known)}.")
    return build(Recipe, merge(read_yaml(path), parse_overrides(overrides)))


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
