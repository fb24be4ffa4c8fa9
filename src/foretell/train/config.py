"""Settings of training: what a recipe says (:class:`TrainingConfig`) and one run in full (:class:`RunSettings`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from foretell.core.config import Settings
from foretell.model.config import ModelConfig, count_parameters, training_flops_per_token


class GuardConfig(Settings):
    """When a step is not trusted: skip its update, then roll back, then stop."""

    spike_nats: float = Field(default=1.0, gt=0)
    """Nats above the recent median from which a loss is a spike, whose update is left out."""
    window: int = Field(default=64, ge=4)
    """How many steps the recent median is taken over."""
    skips_before_rollback: int = Field(default=5, ge=1)
    """Updates left out in a row before the run goes back to its last checkpoint."""
    rollbacks_before_stop: int = Field(default=2, ge=0)
    """Rollbacks after which the run stops with a sentence."""


class TrainingConfig(Settings):
    """How a model is trained; shared by every rung of a ladder and its target."""

    schedule: Literal["linear", "cosine", "wsd"] = "linear"
    """Shape of the learning rate after the warmup."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Share of the steps over which a wsd schedule falls."""
    final_fraction: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the end, as a share of the peak."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW's, independent of the learning rate's muP multiplier."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW's decay of the second moment."""
    epsilon: float = Field(default=1e-10, gt=0)
    """AdamW's, added to the root of the second moment."""
    clip: float = Field(default=1.0, gt=0)
    """Largest global norm of a gradient."""
    micro_rows: int = Field(default=8, ge=1)
    """Rows of one forward and backward pass at most; a larger batch is cut into equal parts."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of activations; weights and moments are float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compilation of the target: `auto` where it is long enough to pay for it. Rungs are not compiled."""
    evaluations: int = Field(default=20, ge=0)
    """Held-out evaluations of the target on the way, besides the one at the end."""
    evaluation_rows: int = Field(default=128, ge=1)
    """Rows of each evaluation on the way."""
    checkpoints: int = Field(default=20, ge=1)
    """How many are saved on the way of the target; a rung saves four."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """How many of the newest stay on disk; one of a rung."""
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
    def row_length(self) -> int:
        """Tokens of a row."""
        return self.model.context

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.rows * self.row_length

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def trained_parameters(self) -> int:
        """Parameters that the optimizer changes."""
        return count_parameters(self.model).total

    @property
    def flops_per_token(self) -> float:
        """Training FLOPs of a token, counted from the shape."""
        return training_flops_per_token(self.model)

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run."""
        return self.tokens * self.flops_per_token
