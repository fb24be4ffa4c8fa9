"""Eyes for a language model: an image encoder and a projector grafted onto it.

The language model stays as it is. First encoder and projector are trained before it, frozen; then an adapter beside
them (Liu et al. 2023, *LLaVA*, arXiv 2304.08485, in two stages, with LoRA instead of full fine-tuning in the second).
Without the adapter, text is read to the bit as before.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from foretell.core.errors import UserError
from foretell.data.tokenizer import Tokenizer
from foretell.model.assemble import assembled
from foretell.model.config import count_parameters, forward_flops_per_token
from foretell.model.decoder import Decoder
from foretell.model.lora import Adapter, LoRAConfig, lora_parameter_count
from foretell.model.parametrization import GELU_MEAN_SQUARE, ParameterGroup
from foretell.model.vision_config import VisionConfig, count_vision_parameters, vision_training_flops
from foretell.train.config import RunSettings, step_positions
from foretell.train.multimodal import ANSWERS, VisualPretraining
from foretell.train.optimizer import trained_parameters
from foretell.train.work import Feed


class GraftSettings(RunSettings):
    """One stage in full."""

    base: str  # SHA-256 of the language model's weights
    start: str  # SHA-256 of encoder and projector as the stage begins
    lora: LoRAConfig | None  # of the second stage
    room: int = Field(ge=2)  # positions of a row, of text too

    @property
    def row_length(self) -> int:
        """Positions of a row."""
        return self.room

    @property
    def tokens_per_step(self) -> int:
        """Positions of a step; the first stage reads no text, for there is nothing that could learn from it."""
        return step_positions(self.rows if self.lora else 0, self.room, self.visual)

    @property
    def trained_parameters(self) -> int:
        """Encoder, projector and adapter."""
        assert self.model.vision is not None
        eyes = count_vision_parameters(self.model.vision, self.model.width)
        return eyes + (lora_parameter_count(self.model, self.lora.rank, self.lora.targets) if self.lora else 0)

    @property
    def flops_per_step(self) -> float:
        """Training FLOPs; the backward pass of frozen weights computes no gradients of them."""
        assert self.visual is not None and self.model.vision is not None
        position = 3.0 * forward_flops_per_token(self.model, self.room) - 2.0 * count_parameters(self.model).with_head
        images = self.visual.rows * self.visual.patches / max(1.0, self.visual.image_patches)
        eyes = vision_training_flops(self.model.vision, round(self.visual.image_patches), self.model.width)
        return self.tokens_per_step * position + images * eyes


def grafted(base: Decoder, encoder: Decoder, image_token: int, seed: int) -> Decoder:
    """``base`` with the image encoder of ``encoder`` and a new projector.

    The projector starts so that its features are as large as the base's embeddings.

    Raises:
        UserError: where ``encoder`` has no vision half.
    """
    if encoder.config.vision is None or encoder.vision is None:
        raise UserError("The model whose encoder is to be grafted reads no images; a multimodal one is expected.")
    vision = encoder.config.vision.model_copy(update={"image_token": image_token, "projector_bias": True})
    config = base.config.model_copy(update={"vision": vision})
    weights = {name: tensor.detach() for name, tensor in base.named_parameters()}
    weights |= {
        f"vision.{name}": tensor.detach().clone()
        for name, tensor in encoder.vision.named_parameters()
        if not name.startswith("projector.")
    }
    weights |= _new_projector(vision, base, torch.Generator().manual_seed(seed))
    return assembled(config, weights, "the graft")


def _new_projector(vision: VisionConfig, base: Decoder, generator: torch.Generator) -> dict[str, Tensor]:
    width = base.config.width
    size = float(base.embedding.weight.detach().pow(2).mean().sqrt())
    first = torch.empty(width, vision.width).normal_(generator=generator) / math.sqrt(vision.width)
    second = torch.empty(width, width).normal_(generator=generator) * size / math.sqrt(width * GELU_MEAN_SQUARE)
    return {
        "vision.projector.input.weight": first, "vision.projector.input.bias": torch.zeros(width),
        "vision.projector.output.weight": second, "vision.projector.output.bias": torch.zeros(width),
    }  # fmt: skip


def image_token_ids(tokenizer: Tokenizer, names: tuple[str, str, str]) -> tuple[int, int, int]:
    """Ids of the three tokens.

    Raises:
        UserError: where one of them is none of the tokenizer's special tokens, or two are the same.
    """
    if len(set(names)) != 3:
        raise UserError(f"graft.image_tokens is {list(names)}; three different special tokens are expected.")
    unknown = next((name for name in names if name not in tokenizer.special_tokens), None)
    if unknown is not None:
        known = ", ".join(tokenizer.special_tokens)
        raise UserError(f"graft.image_tokens has {unknown!r}; the tokenizer's special tokens are {known}.")
    first, second, third = (tokenizer.special_token_id(name) for name in names)
    return first, second, third


class Grafting(VisualPretraining):
    """See :class:`foretell.train.work.Work`.

    Args:
        settings: of the stage.
        decoder: the grafted model; its vision half is trained in place, the rest is frozen.
        adapter: attached to the decoder when the loop builds the model, or none.
        data: the folder that holds ``tokens`` and ``visual``.
    """

    def __init__(self, settings: GraftSettings, decoder: Decoder, adapter: Adapter | None, data: Path) -> None:
        super().__init__(settings, data / "tokens", data / "visual")
        self.stage, self.decoder, self.adapter = settings, decoder, adapter

        if adapter is None:
            self.unit, self.per_nat = ANSWERS, 1.0

    def open_feeds(self) -> dict[str, Feed]:
        """Questions about images; with an adapter, text beside them."""
        feeds = super().open_feeds()
        if self.adapter is not None:
            return feeds
        feeds["text"].stream.close()
        return {"answers": Feed(feeds["answers"].stream)}

    def build(self, device: torch.device) -> Decoder:
        """The grafted model: encoder and projector trainable, the adapter attached."""
        model = self.decoder.to(device).requires_grad_(False)
        if self.adapter is not None:
            self.adapter.attach(model)  # freezes all but itself
        assert model.vision is not None
        model.vision.requires_grad_(True)
        return model.train()

    def groups(self, model: Decoder) -> list[ParameterGroup]:
        """One learning rate; gains and biases do not decay."""
        trained = trained_parameters(model)
        matrices = tuple(name for name, parameter in trained.items() if parameter.ndim > 1)
        others = tuple(name for name in trained if name not in matrices)
        return [ParameterGroup(matrices, 1.0, decayed=True), ParameterGroup(others, 1.0, decayed=False)]

    def identity(self) -> dict[str, Any]:
        """What the stage began with."""
        return {"base": self.stage.base, "start": self.stage.start}

    def results(self) -> dict[str, Any]:
        """What was trained."""
        lora = self.stage.lora
        return {"trained_parameters": self.stage.trained_parameters, "lora": lora.model_dump() if lora else None}
