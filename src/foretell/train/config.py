"""Settings of training: what a recipe says (:class:`TrainingConfig`) and one run in full (:class:`RunSettings`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from foretell.core.config import Settings
from foretell.model.config import ModelConfig, training_flops_per_token


class GuardConfig(Settings):
    """When a step is not trusted: skip its update, then roll back, then stop."""

    spike_nats: float = Field(default=1.0, gt=0)  # a loss this far above the recent median is a spike
    window: int = Field(default=64, ge=4)  # steps whose median is "recent"
    skips_before_rollback: int = Field(default=5, ge=1)  # in a row
    rollbacks_before_stop: int = Field(default=2, ge=0)


class TrainingConfig(Settings):
    """How a model is trained; shared by every rung of a ladder and its target."""

    schedule: Literal["linear", "cosine", "wsd"] = "linear"
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    decay_fraction: float = Field(default=0.2, gt=0, le=1)  # of a wsd schedule
    final_fraction: float = Field(default=0.0, ge=0, le=1)  # learning rate at the end, as a share of the peak
    weight_decay: float = Field(default=0.1, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-10, gt=0)
    clip: float = Field(default=1.0, gt=0)
    # Rows of one forward and backward pass; four stay in a core's cache (a fifth faster at width 64 than eight).
    micro_rows: int = Field(default=4, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: Literal["auto", "on", "off"] = "auto"
    evaluations: int = Field(default=20, ge=0)  # held-out evaluations on the way, besides the one at the end
    evaluation_rows: int = Field(default=128, ge=1)  # rows of each evaluation on the way
    checkpoints: int = Field(default=20, ge=1)  # saved on the way
    keep_checkpoints: int = Field(default=2, ge=1)
    guard: GuardConfig = GuardConfig()


class RunSettings(Settings):
    """One training run in full; its digest names it."""

    label: str
    role: Literal["rung", "tuning", "target", "run"] = "run"
    model: ModelConfig
    steps: int = Field(ge=1)
    rows: int = Field(ge=1)  # rows of one optimizer step, over all micro-batches
    learning_rate: float = Field(gt=0)  # base, before muP's multipliers
    seed: int = 0
    data: str = ""  # digest of the tokens
    training: TrainingConfig = TrainingConfig()

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.rows * self.model.context

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run, counted from the shape."""
        return self.tokens * training_flops_per_token(self.model)
