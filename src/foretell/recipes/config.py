"""A recipe: everything a run needs, from corpus to forecast, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from foretell.core.config import Settings, build, merge, parse_overrides, read_yaml
from foretell.core.errors import UserError
from foretell.data.config import CorpusConfig, TokenizerConfig
from foretell.data.visual.config import VisualConfig
from foretell.ladder.config import LadderConfig, ShapeConfig, TargetConfig
from foretell.train.config import TrainingConfig

if TYPE_CHECKING:
    from foretell.recipes.graft_config import GraftRecipe


CODE_CONTEXT = 128  # half of it for the answer; with its two worked examples a problem fits 256


class ForecastConfig(Settings):
    """The forecast."""

    level: float = Field(default=0.9, ge=0.5, le=0.999)
    """Probability of the interval."""
    anyway: bool = False
    """Train the target even where the ladder cannot carry a forecast of it; the refusal is recorded."""
    without: str = ""
    """A corpus among the references that must not speak, to test what the others teach."""
    references: str = ""
    """A file of `foretell references`; else those that come with Foretell are taken, where they are of this recipe."""


class CodeConfig(Settings):
    """micro-code's problems (docs/code.md) for every rung and the target, whose pass rates are foretold."""

    problems: int = Field(default=0, ge=0)
    """Small functions to complete, of eight levels in turn; nothing is asked or foretold where it is 0."""
    samples: int = Field(default=20, ge=1)
    """Answers to each, of each rung and the target."""
    temperature: float = Field(default=0.8, gt=0, le=2)
    """Of sampling."""
    shots: int = Field(default=2, ge=0, le=16)
    """Worked examples before each."""
    split: Literal["held", "train"] = "held"
    """``held``: functions that the source ``generated: micro-code`` never shows; ``train``: those that it shows."""
    seed: int = Field(default=0, ge=0)
    """Of problems and samples; runs with the same one are asked the same problems."""


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
    visual: VisualConfig = VisualConfig()
    model: ShapeConfig = ShapeConfig()
    target: TargetConfig
    ladder: LadderConfig = LadderConfig()
    training: TrainingConfig = TrainingConfig()
    forecast: ForecastConfig = ForecastConfig()
    samples: SamplesConfig = SamplesConfig()
    code: CodeConfig = CodeConfig()

    @model_validator(mode="after")
    def _questions_fit(self) -> Self:
        if self.visual.sources and self.visual.room > self.model.context:
            raise ValueError(
                f"visual.room must not exceed model.context; {self.visual.room} exceeds {self.model.context}"
            )
        if self.code.problems and self.model.context < CODE_CONTEXT:
            raise ValueError(
                f"code.problems needs a model.context of {CODE_CONTEXT} or more, for a problem and its answer; "
                f"{self.model.context} is less"
            )
        return self

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


def load_recipe(name: str, overrides: Sequence[str]) -> Recipe | GraftRecipe:
    """Read a recipe by the name of a built-in one or by path, with dotted overrides laid over it.

    One with a key ``graft`` is a graft's.

    Raises:
        UserError: for an unknown name or file, an unknown key, or a value that is not accepted.
    """
    known = built_in_recipes()
    path = known.get(name) or Path(name)
    if name not in known and not path.exists():
        raise UserError(f"The recipe '{name}' is neither a file nor one of the built-in ones: {', '.join(known)}.")
    return recipe_of(merge(read_yaml(path), parse_overrides(overrides)))


def recipe_of(values: dict[str, Any]) -> Recipe | GraftRecipe:
    """The recipe that a mapping is.

    Raises:
        UserError: for an unknown key, or a value that is not accepted.
    """
    if "graft" not in values:
        return build(Recipe, values)
    from foretell.recipes.graft_config import GraftRecipe  # torch: two seconds that others need not wait for

    return build(GraftRecipe, values)


def recipe_text(recipe: Recipe | GraftRecipe) -> str:
    """The resolved recipe as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
