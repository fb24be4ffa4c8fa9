"""Eyes for a language model: an image encoder and a projector grafted onto it.

The language model stays as it is. First encoder and projector learn its words: those of answers are read off the
features by its own head, as in :mod:`foretell.train.looking`, and none of its layers is computed. Then they are
trained before it, with an adapter beside them (Liu et al. 2023, *LLaVA*, arXiv 2304.08485, has two stages too, of which
the first goes through the language model and the second trains all of it). Without the adapter, text is read to the bit
as before.
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
from foretell.model.config import ModelConfig, count_parameters, forward_flops_per_token
from foretell.model.decoder import Decoder
from foretell.model.lora import Adapter, LoRAConfig, lora_parameter_count
from foretell.model.parametrization import GELU_MEAN_SQUARE, ParameterGroup, Parametrization
from foretell.model.vision_config import VisionConfig, count_vision_parameters
from foretell.train.config import RunSettings, encoder_flops
from foretell.train.looking import Looking, LookSettings, Readout
from foretell.train.multimodal import VisualPretraining
from foretell.train.optimizer import trained_parameters

ENCODER_RATE = 0.3  # of an encoder's weights, which are trained already, over the others'


def _seeing_parameters(model: ModelConfig) -> int:
    assert model.vision is not None
    return count_vision_parameters(model.vision, model.width)


class ProjectorSettings(LookSettings):
    """The first stage in full."""

    base: str  # SHA-256 of the weights of the graft as it begins, the language model's among them
    questions: float = Field(ge=0)  # of a row on average

    @property
    def trained_parameters(self) -> int:
        """Encoder and projector; the readout stays behind."""
        return _seeing_parameters(self.model)

    @property
    def flops_per_step(self) -> float:
        """Of encoder and projector, and of the head for each question, forward and for the gradient of its inputs."""
        assert self.visual is not None
        head = 4.0 * self.model.width * self.model.vocab_size
        return super().flops_per_step + self.visual.rows * self.questions * head


class GraftSettings(RunSettings):
    """The second stage in full."""

    base: str  # SHA-256 of the weights of the graft as it begins, the language model's among them
    start: str  # digest of the first stage's settings
    lora: LoRAConfig

    @property
    def trained_parameters(self) -> int:
        """Encoder, projector and adapter."""
        return _seeing_parameters(self.model) + lora_parameter_count(self.model, self.lora.rank, self.lora.targets)

    @property
    def flops_per_step(self) -> float:
        """Training FLOPs; the backward pass of frozen weights computes no gradients of them."""
        assert self.visual is not None
        frozen = 2.0 * count_parameters(self.model).with_head
        position = 3.0 * forward_flops_per_token(self.model, self.row_length) - frozen
        return self.tokens_per_step * position + encoder_flops(self.model, self.visual)


def grafted(base: Decoder, encoder: Decoder, image_token: int, seed: int) -> Decoder:
    """``base`` with the image encoder of ``encoder`` and a new projector.

    The projector starts so that its features are as large as the base's embeddings.

    Raises:
        UserError: where ``encoder`` has no vision half, or one that transformers runs (CLIP, SigLIP).
    """
    if encoder.config.vision is None or encoder.vision is None:
        raise UserError("The model whose encoder is to be grafted reads no images; a multimodal one is expected.")
    if encoder.config.vision.foreign is not None:
        kind = encoder.config.vision.foreign.kind
        raise UserError(f"The encoder to be grafted is a {kind}; one of the Pixtral kind is expected.")
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


def _size(model: Decoder) -> float:
    """Root mean square of the language model's embeddings, which features of patches are to have."""
    return float(model.embedding.weight.detach().pow(2).mean().sqrt())


def _new_projector(vision: VisionConfig, base: Decoder, generator: torch.Generator) -> dict[str, Tensor]:
    width = base.config.width
    size = _size(base)
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


def _groups(model: Decoder) -> list[ParameterGroup]:
    """Gains and biases do not decay. The rate of what makes features is as large as they are, and patches' is muP's."""
    trained = trained_parameters(model)
    rates = {name: ENCODER_RATE if name.startswith("vision.") else 1.0 for name in trained}
    rates["vision.patch_embedding.weight"] *= Parametrization(model.config).patch_multiplier
    rates |= {name: 1.0 for name in trained if name.startswith("vision.projector.input.")}
    rates |= {name: _size(model) for name in trained if name.startswith("vision.projector.output.")}
    kinds = sorted({(rates[name], parameter.ndim > 1) for name, parameter in trained.items()})
    return [
        ParameterGroup(tuple(n for n in trained if (rates[n], trained[n].ndim > 1) == (rate, matrix)), rate, matrix)
        for rate, matrix in kinds
    ]


class Projecting(Looking):
    """The first stage; see :class:`foretell.train.work.Work`.

    Args:
        settings: of the stage.
        decoder: the grafted model; its vision half is trained in place, the rest is frozen.
        data: the folder that holds ``tokens`` and ``visual``.
    """

    def __init__(self, settings: ProjectorSettings, decoder: Decoder, data: Path) -> None:
        super().__init__(settings, data)
        self.stage, self.decoder = settings, decoder

    def build(self, device: torch.device) -> Decoder:
        """The grafted model with a readout, which :meth:`finish` takes away."""
        model = self.decoder.to(device).requires_grad_(False)
        assert model.vision is not None
        model.vision.requires_grad_(True)
        model.add_module("readout", Readout(model.config.width, _size(model), prior=True, device=device))
        return model.train()

    def groups(self, model: Decoder) -> list[ParameterGroup]:
        """Encoder, projector and readout."""
        return _groups(model)

    def finish(self) -> None:
        """Take the readout off."""
        del self.decoder.readout

    def identity(self) -> dict[str, Any]:
        """What the stage began with."""
        return {"base": self.stage.base}

    def results(self) -> dict[str, Any]:
        """What was trained."""
        return {"trained_parameters": self.stage.trained_parameters}


class Grafting(VisualPretraining):
    """The second stage; see :class:`foretell.train.work.Work`.

    Args:
        settings: of the stage.
        decoder: the grafted model; its vision half is trained in place, the rest is frozen.
        adapter: attached to the decoder when the loop builds the model.
        data: the folder that holds ``tokens`` and ``visual``.
    """

    def __init__(self, settings: GraftSettings, decoder: Decoder, adapter: Adapter, data: Path) -> None:
        super().__init__(settings, data / "tokens", data / "visual")
        self.stage, self.decoder, self.adapter = settings, decoder, adapter

    def build(self, device: torch.device) -> Decoder:
        """The grafted model: encoder and projector trainable, the adapter attached."""
        model = self.decoder.to(device).requires_grad_(False)
        self.adapter.attach(model)  # freezes all but itself
        assert model.vision is not None
        model.vision.requires_grad_(True)
        return model.train()

    def groups(self, model: Decoder) -> list[ParameterGroup]:
        """Encoder, projector and adapter."""
        return _groups(model)

    def identity(self) -> dict[str, Any]:
        """What the stage began with."""
        return {"base": self.stage.base, "start": self.stage.start}

    def results(self) -> dict[str, Any]:
        """What was trained."""
        return {"trained_parameters": self.stage.trained_parameters, "lora": self.stage.lora.model_dump()}
