"""Settings of a target and its ladder."""

from __future__ import annotations

from pydantic import Field, field_validator

from foretell.core.config import Settings


class ShapeConfig(Settings):
    """What every model of a ladder shares; widths are planned."""

    depth: int = Field(default=3, ge=1)
    head_dim: int = Field(default=16, ge=2, multiple_of=2)
    context: int = Field(default=256, ge=8)
    queries_per_key: int = Field(default=1, ge=1)  # grouped-query attention where it divides the heads
    qk_norm: bool = False
    tied: bool = False
    rope_theta: float = Field(default=10_000.0, gt=0)
    base_width: int = Field(default=64, ge=1)  # muP's reference


class TargetConfig(Settings):
    """The run to be forecast. One dial, ``flops``; size and tokens follow from it."""

    flops: float = Field(gt=0)
    tokens_per_parameter: float = Field(default=20.0, gt=0)  # Hoffmann et al. 2022; parameters with the head counted
    max_epochs: float = Field(default=4.0, gt=0)  # Muennighoff et al. 2023: up to four cost little


class LadderConfig(Settings):
    """The small runs."""

    ratio: float = Field(default=200.0, ge=2)  # target's compute over the largest rung's, at least
    sizes: int = Field(default=5, ge=1)
    span: float = Field(default=16.0, gt=1)  # compute of the largest rung over the smallest's, about
    seeds: int = Field(default=3, ge=1)
    width_step: int = Field(default=4, ge=1)  # widths of rungs are multiples of this
    minimum_width: int = Field(default=8, ge=2)
    learning_rates: tuple[float, ...] = (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)  # tried on the smallest rungs
    tuning_sizes: int = Field(default=2, ge=1)  # how many of the smallest rungs tune
    tuning_seeds: int = Field(default=1, ge=1)
    processes: int | None = Field(default=None, ge=1)  # rungs side by side; all cores

    @field_validator("learning_rates")
    @classmethod
    def _positive(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not rates or any(rate <= 0 for rate in rates) or list(rates) != sorted(set(rates)):
            raise ValueError("give one or more positive learning rates in rising order")
        return rates
