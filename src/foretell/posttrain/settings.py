"""Settings of supervised fine-tuning: what a user says (:class:`SFTOptions`) and one run in full."""

from __future__ import annotations

from pydantic import Field

from foretell.core.config import Settings
from foretell.model.config import count_parameters, forward_flops_per_token
from foretell.model.lora import LoRAConfig, lora_parameter_count
from foretell.train.config import RunSettings

# Peak rates: QLoRA's for models of 7 to 13 billion (Dettmers et al. 2023, table 9), which is LoRA's own for GPT-2 too
# (Hu et al. 2021, table 11); Stanford Alpaca's for full fine-tuning (Taori et al. 2023).
LORA_RATE, FULL_RATE = 2e-4, 2e-5


class SFTOptions(Settings):
    """What to fine-tune on what, and how."""

    data: str
    """A JSONL file of conversations."""
    model: str = "smollm2"
    """The model to start from."""
    output: str = "runs/sft"
    """The run's folder; the same command goes on with what is in it."""
    full: bool = False
    """Train all weights instead of an adapter."""
    lora: LoRAConfig = LoRAConfig()
    """The adapter, where one is trained."""
    epochs: int = Field(default=1, ge=1)
    """How often every conversation is seen."""
    learning_rate: float | None = Field(default=None, gt=0)
    """The peak; 2e-4 of an adapter and 2e-5 of all weights where it is not given."""
    batch_tokens: int = Field(default=8_192, ge=1)
    """Positions of one optimizer step, padding included; about QLoRA's 16 conversations."""
    held_out: float = Field(default=0.05, ge=0, lt=1)
    """Share of the conversations that measures the loss and is not trained on."""
    context: int | None = Field(default=None, ge=2)
    """Positions of a conversation at most; the model's own where it is not given."""
    checkpointing: bool = False
    """Keep less of the forward pass and compute it again: a third more time, a fraction of the memory."""
    seed: int = Field(default=0, ge=0)
    """Of order, split, dropout and the adapter's initial values."""

    @property
    def peak_rate(self) -> float:
        """The peak learning rate."""
        return self.learning_rate or (FULL_RATE if self.full else LORA_RATE)


class SFTSettings(RunSettings):
    """One fine-tuning run in full."""

    base: str  # SHA-256 of the weights it starts from
    base_name: str
    lora: LoRAConfig | None  # all weights are trained where there is none
    room: int = Field(ge=1)  # positions of a row
    epochs: int = Field(ge=1)
    held_out: float
    checkpointing: bool

    @property
    def row_length(self) -> int:
        """Positions of a row, padding included."""
        return self.room

    @property
    def trained_parameters(self) -> int:
        """Counted from shape and adapter."""
        if self.lora is None:
            return super().trained_parameters
        return lora_parameter_count(self.model, self.lora.rank, self.lora.targets)

    @property
    def flops_per_token(self) -> float:
        """Training FLOPs of a position; the backward pass of frozen weights computes no gradients of them."""
        everything = 3.0 * forward_flops_per_token(self.model, self.room)
        if self.lora is None:
            return everything
        return everything - 2.0 * count_parameters(self.model).with_head + 6.0 * self.trained_parameters
