"""Settings of training: what a recipe says (:class:`TrainingConfig`) and one run in full (:class:`RunSettings`)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from foretell.core.config import Settings
from foretell.model.config import ModelConfig, count_parameters, training_flops_per_token
from foretell.model.vision_config import vision_training_flops


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


class VisualFeed(Settings):
    """Questions about images, as one run learns from them."""

    rows: int = Field(ge=1)
    """Of one optimizer step, beside the text's."""
    room: int = Field(ge=2)
    """Positions of such a row."""
    share: float = Field(gt=0, lt=1)
    """Of the step's loss; the rest is the text's."""
    patches: float = Field(ge=0)
    """Of a row on average, for the count of FLOPs."""
    image_patches: float = Field(ge=0)
    """Of an image on average."""
    data: str = ""
    """Digest of the encoded documents."""
    look: tuple[str, ...] = ()
    """Labels of the sources whose images the encoder looks at before the run's own steps."""
    only_looked_at: tuple[str, ...] = ()
    """Labels of those among them that the run takes nothing of after its lead."""
    look_steps: int = Field(default=0, ge=0)
    """How many steps it looks for, of ``rows`` rows each."""
    lead_steps: int = Field(default=0, ge=0)
    """First steps of the run itself, which ask about the sources that are looked at alone."""
    blank: bool = False
    """Show blank images: what can be answered from the questions alone."""


def step_positions(rows: int, length: int, visual: VisualFeed | None) -> int:
    """Positions of a step of ``rows`` rows of text and what it sees of images."""
    return rows * length + (visual.rows * visual.room if visual else 0)


def encoder_flops(model: ModelConfig, visual: VisualFeed) -> float:
    """Training FLOPs of the vision encoder for the images of a step."""
    assert model.vision is not None
    images = visual.rows * visual.patches / visual.image_patches if visual.image_patches else 0.0
    return images * vision_training_flops(model.vision, round(visual.image_patches), model.width)


def looking_flops(model: ModelConfig, visual: VisualFeed | None) -> float:
    """Training FLOPs of what an encoder does alone before the run's own steps."""
    return visual.look_steps * encoder_flops(model, visual) if visual and visual.look_steps else 0.0


def visual_flops(model: ModelConfig, visual: VisualFeed | None) -> float:
    """Training FLOPs of a step's questions about images: the decoder's and the vision encoder's."""
    if visual is None:
        return 0.0
    return visual.rows * visual.room * training_flops_per_token(model, visual.room) + encoder_flops(model, visual)


class RunSettings(Settings):
    """One training run in full; its digest names it."""

    label: str
    role: Literal["rung", "tuning", "target", "run"] = "run"
    model: ModelConfig
    steps: int = Field(ge=1)
    rows: int = Field(ge=1)  # of text in one optimizer step, over all micro-batches
    learning_rate: float = Field(gt=0)  # base, before muP's multipliers
    seed: int = 0
    data: str = ""  # digest of the tokens
    training: TrainingConfig = TrainingConfig()
    visual: VisualFeed | None = None

    @model_serializer(mode="wrap")
    def _without_idle_feed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs that were recorded and hashed before images came keep their digest.
        values: dict[str, Any] = handler(self)
        if self.visual is None:
            values.pop("visual", None)
        return values

    @property
    def row_length(self) -> int:
        """Tokens of a row."""
        return self.model.context

    @property
    def shared_rows(self) -> int:
        """Rows that processes can share out: those of the smallest of a step's feeds."""
        return min(self.rows, self.visual.rows) if self.visual else self.rows

    @property
    def turn(self) -> int:
        """Step before which the data changes its kind; 0 where it never does."""
        return self.visual.lead_steps if self.visual else 0

    @property
    def tokens_per_step(self) -> int:
        """Positions of one optimizer step, those of images and questions included."""
        return step_positions(self.rows, self.row_length, self.visual)

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
    def flops_per_step(self) -> float:
        """Training FLOPs of one optimizer step."""
        return self.rows * self.row_length * self.flops_per_token + visual_flops(self.model, self.visual)

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run, with those of what an encoder does alone before it."""
        return looking_flops(self.model, self.visual) + self.steps * self.flops_per_step

    def flops_at(self, step: int) -> float:
        """Those that are done after ``step`` steps."""
        return self.flops - (self.steps - step) * self.flops_per_step
