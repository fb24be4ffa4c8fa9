"""The recipe of a graft: a language model, an image encoder, what both learn from, and for how long."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from foretell.core.config import Settings
from foretell.data.config import CorpusConfig
from foretell.data.visual.config import VisualConfig
from foretell.model.lora import ALL_LINEAR, LoRAConfig
from foretell.train.config import TrainingConfig


class GraftConfig(Settings):
    """What is grafted onto what, and for how long each stage trains."""

    model: str = "smollm2"
    """The language model."""
    encoder: str = "runs/vision"
    """A model that reads images, whose encoder is taken; a run directory or a Llava directory with a Pixtral tower."""
    image_tokens: tuple[str, str, str] = ("<jupyter_script>", "<empty_output>", "<jupyter_output>")
    """Special tokens of the language model that nothing else needs: for a patch, the end of a line, and the end."""
    rows: int = Field(default=8, ge=1)
    """Rows of questions of a step."""
    text_rows: int = Field(default=2, ge=1)
    """Rows of plain text of a step of the second stage, which keep the adapter from unlearning it."""
    projector_steps: int = Field(default=1500, ge=1)
    """Steps of the first stage: words of answers are read off the features by the language model's head, and none of
    its layers is computed."""
    projector_rate: float = Field(default=1e-3, gt=0)
    """Its peak learning rate."""
    adapter_steps: int = Field(default=500, ge=1)
    """Steps of the second stage, with the adapter."""
    adapter_rate: float = Field(default=5e-4, gt=0)
    """Its peak learning rate."""
    lora: LoRAConfig = LoRAConfig(rank=16, alpha=32, targets=ALL_LINEAR)
    """The adapter."""


class GraftRecipe(Settings):
    """A graft in full."""

    name: str = Field(min_length=1, max_length=100)
    """What records call the run."""
    seed: int = Field(default=0, ge=0)
    """Of data order, the projector's and the adapter's initial values, and the held-out split."""
    output: str = "runs/graft"
    """The run directory."""
    corpus: CorpusConfig = CorpusConfig()
    visual: VisualConfig
    graft: GraftConfig = GraftConfig()
    training: TrainingConfig = TrainingConfig(schedule="cosine", weight_decay=0.01, compile="off")

    @model_validator(mode="after")
    def _has_looked(self) -> GraftRecipe:
        for name in ("look", "lead"):
            value = getattr(self.visual, name)
            if value:
                long = "graft.projector_steps says how long a graft looks at its images before it answers"
                raise ValueError(f"visual.{name} is {value:g}; 0 is expected, since {long}")
        return self

    def comparable(self) -> dict[str, Any]:
        """What decides the result: all but the folder."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key != "output"}
