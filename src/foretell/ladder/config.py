"""Settings of a target and its ladder."""

from __future__ import annotations

from pydantic import Field, field_validator

from foretell.core.config import Settings


class VisionShape(Settings):
    """The vision encoder that every model of a ladder has; its width follows the decoder's."""

    patch: int = Field(default=8, ge=1)
    """Pixels of a patch's side."""
    longest: int = Field(default=64, ge=8)
    """Pixels of an image's longest edge at most; larger ones are shrunk."""
    depth: int = Field(default=2, ge=1)
    """Layers."""
    width_ratio: float = Field(default=1.0, gt=0)
    """Its width over the decoder's, about."""
    head_dim: int = Field(default=16, ge=4, multiple_of=4)
    """Width of an attention head; its width is a multiple of it."""


class ShapeConfig(Settings):
    """What every model of a ladder shares; widths are planned."""

    depth: int = Field(default=3, ge=1)
    """Layers."""
    head_dim: int = Field(default=16, ge=2, multiple_of=2)
    """Width of an attention head; the target's width is a multiple of it."""
    context: int = Field(default=256, ge=8)
    """Positions of a row."""
    queries_per_key: int = Field(default=1, ge=1)
    """Query heads that share a key and value head, where that divides the heads."""
    qk_norm: bool = False
    """Normalise queries and keys per head, as Qwen3 does; the model then leaves as Qwen3."""
    tied: bool = False
    """One matrix for embedding and head."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary frequencies."""
    base_width: int = Field(default=64, ge=1)
    """Width at which muP changes nothing (Yang et al. 2022)."""
    vision: VisionShape = VisionShape()
    """The encoder of images, where there are visual documents to learn from."""


class TargetConfig(Settings):
    """The run to be forecast. One dial, ``flops``; size and tokens follow from it."""

    flops: float = Field(gt=0)
    """Training compute of the target in FLOPs."""
    tokens_per_parameter: float = Field(default=20.0, gt=0)
    """Training tokens per parameter, the head counted (Hoffmann et al. 2022)."""
    max_epochs: float = Field(default=4.0, gt=0)
    """How often the target may read its corpus; up to four times costs little (Muennighoff et al. 2023)."""


class LadderConfig(Settings):
    """The small runs."""

    ratio: float = Field(default=200.0, ge=2)
    """Target's compute over the largest rung's, at least."""
    sizes: int = Field(default=5, ge=1)
    """How many sizes the rungs have."""
    span: float = Field(default=16.0, gt=1)
    """Compute of the largest rung over the smallest's, about."""
    seeds: int = Field(default=3, ge=1)
    """Seeds of each size."""
    width_step: int = Field(default=4, ge=1)
    """Widths of rungs are multiples of this."""
    minimum_width: int = Field(default=8, ge=2)
    """The smallest width."""
    learning_rates: tuple[float, ...] = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
    """Base learning rates tried on the smallest rungs, in rising order."""
    tuning_sizes: int = Field(default=2, ge=1)
    """How many of the smallest rungs tune."""
    tuning_seeds: int = Field(default=1, ge=1)
    """Seeds of each size and learning rate."""
    processes: int | None = Field(default=None, ge=1)
    """Rungs trained side by side; as many as there are cores where it is left out."""

    @field_validator("learning_rates")
    @classmethod
    def _positive(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not rates or any(rate <= 0 for rate in rates) or list(rates) != sorted(set(rates)):
            raise ValueError("give one or more positive learning rates in rising order")
        return rates
