"""Maximal update parametrization: hyper-parameters found at one width hold at every width.

Source: Yang et al. 2022, *Tensor Programs V* (arXiv 2203.03466), Table 8 (Adam), written with multipliers on the output
so that a tied head is possible. With r = width / base_width:

=================  =====================  =======================  ==========
tensor             initial std            learning rate            multiplier
=================  =====================  =======================  ==========
token embedding    1                      base                     1
hidden matrices    1 / sqrt(fan-in)       base / r                 1
head               0, see below           base                     1 / r
norm gains         (ones)                 base                     1
biases             (zeros)                base                     1
attention logits                                                   sqrt(E0) / E
=================  =====================  =======================  ==========

E is the head dimension and E0 :data:`BASE_HEAD_DIM`; with a fixed head dimension this is a constant, with a growing one
it is the 1/d attention of the paper. Starting the head at zero removes the width-dependent noise of the first logits
(appendix D.2). A model with a vision half starts it at 1 / sqrt(base_width) instead, the table's own value: behind a
head of zeros the frequencies of answers are learned first and alone, and the model takes several times as many steps
until it looks at the image (docs/log.md). ``base_width=None`` is the standard parametrization: r = 1, attention scale
1 / sqrt(E).

The vision half has a width W and a base width of its own, r_v = W / vision.base_width. By the same table, whose cases
are told apart by which dimensions of a matrix grow:

=======================  =====================  =======================
tensor                   initial std            learning rate
=======================  =====================  =======================
patch embedding          1 / sqrt(fan-in)       base W0 / C
encoder's matrices       1 / sqrt(fan-in)       base / r_v
projector's first        see below              base / r_v
projector's second       see below              base / r
=======================  =====================  =======================

A patch embedding's inputs are pixels, whose number does not grow with width: an input layer. But a step of Adam moves
each of its outputs by the rate times C, the values of a patch, where a token's embedding moves by the rate; W0 / C,
with W0 the encoder's base width, lets them move as far as those of the encoder's matrices. The projector's first matrix
reads W channels and writes D. Where both grow it is a hidden one, where W grows alone an output layer, and the spectral
condition (Yang, Simon & Bernstein 2023, arXiv 2310.17813, Parametrization 1) has both: 1 / sqrt(W) min(1, sqrt(D / W)).
The second, D by D, starts so that features are as large as the embeddings of text beside them: its std is that of a
hidden matrix times the embeddings', divided by the root of GELU's mean square of standard normal inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from foretell.model.config import ModelConfig
from foretell.model.vision_config import VisionConfig

BASE_HEAD_DIM = 16
GELU_MEAN_SQUARE = 0.4252  # of standard normal inputs
RESIDUAL = ("attention.output.weight", "feed_forward.down.weight")  # what adds to the residual stream


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning-rate multiplier; ``decayed`` says whether weight decay applies to them."""

    names: tuple[str, ...]
    learning_rate_multiplier: float
    decayed: bool


@dataclass(frozen=True)
class Parametrization:
    """Everything about a model that follows from its width, derived from its :class:`ModelConfig`."""

    config: ModelConfig

    @property
    def ratio(self) -> float:
        """r = width / base_width; 1 for the standard parametrization."""
        return self.config.width / self.config.base_width if self.config.base_width else 1.0

    @property
    def output_scale(self) -> float:
        """Factor on the logits."""
        return 1.0 / self.ratio

    @property
    def attention_scale(self) -> float:
        """Factor on the products of queries and keys."""
        return _attention_scale(self.config.head_dim, self.config.base_width)

    @property
    def vision_ratio(self) -> float:
        """r_v; 1 for the standard parametrization and without a vision half."""
        vision = self.config.vision
        return vision.width / vision.base_width if vision is not None and vision.base_width else 1.0

    @property
    def patch_multiplier(self) -> float:
        """Of the patch embedding's learning rate, W0 / C and 1 at most.

        Raises:
            ValueError: for a model without a vision half.
        """
        vision = self._vision
        return min(1.0, (vision.base_width or vision.width) / vision.patch_values)

    @property
    def vision_attention_scale(self) -> float:
        """Factor on the encoder's products of queries and keys.

        Raises:
            ValueError: for a model without a vision half.
        """
        return _attention_scale(self._vision.head_dim, self._vision.base_width)

    @property
    def _vision(self) -> VisionConfig:
        if self.config.vision is None:
            raise ValueError("the model has no vision half")
        return self.config.vision

    def is_hidden_matrix(self, name: str, parameter: torch.Tensor) -> bool:
        """Whether both dimensions of the tensor grow with width."""
        return parameter.ndim == 2 and not name.startswith(("embedding", "head", "vision.patch_embedding"))

    def reads_encoder(self, name: str) -> bool:
        """Whether a hidden matrix has the encoder's width, or what grows with it, as its inputs."""
        return name.startswith("vision.") and name != "vision.projector.output.weight"

    def initial_std(self, name: str, parameter: torch.Tensor) -> float:
        """Standard deviation of the initial values of a matrix."""
        fan_in = 1.0 / math.sqrt(parameter.shape[1])
        if name == "vision.projector.output.weight":
            return self._embedding_std * fan_in / math.sqrt(GELU_MEAN_SQUARE)
        if name == "vision.projector.input.weight":
            outputs, inputs = parameter.shape
            return fan_in * min(1.0, math.sqrt(outputs / inputs))
        if name.startswith("vision."):
            return fan_in / math.sqrt(2 * self._vision.depth) if name.endswith(RESIDUAL) else fan_in
        if self.is_hidden_matrix(name, parameter):
            # Each block adds two terms to the residual stream; this keeps their sum at order one (GPT-2, section 2.3).
            return fan_in / math.sqrt(2 * self.config.depth) if name.endswith(RESIDUAL) else fan_in
        if name.startswith("head"):
            if self.config.base_width and self.config.vision is None:
                return 0.0
            return 1.0 / math.sqrt(self.config.base_width or self.config.width)
        return self._embedding_std

    @property
    def _embedding_std(self) -> float:
        return 1.0 if not self.config.tied else 1.0 / math.sqrt(self.config.base_width or self.config.width)

    @torch.no_grad()
    def initialise(self, model: nn.Module, seed: int) -> None:
        """Fill every parameter; equal seeds and shapes give equal values on every machine's CPU."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                values = torch.empty(parameter.shape).normal_(generator=generator)
                parameter.copy_(values * self.initial_std(name, parameter))
        if self.config.vision is not None and self.config.vision.foreign is None:
            self._mirror_values(dict(model.named_parameters()))

    def _mirror_values(self, named: dict[str, nn.Parameter]) -> None:
        """Make each attention of the encoder begin as minus its mean input, W_o = -W_v' times the usual share.

        Patches start by what they differ in from what they look at, which trained encoders of images do too (Trockman
        & Kolter 2023, arXiv 2305.09828); an encoder alone learns shapes from half of the images (docs/log.md).
        """
        width = self._vision.width
        for layer in range(self._vision.depth):
            block = f"vision.blocks.{layer}.attention."
            value = named[f"{block}qkv.weight"][2 * width :]
            named[f"{block}output.weight"].copy_(-value.t() / math.sqrt(2 * self._vision.depth))

    def groups(self, model: nn.Module) -> list[ParameterGroup]:
        """The optimizer's groups: hidden matrices, tables, vectors, the encoder's matrices, the patch embedding.

        What is frozen is in none.
        """
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        hidden = [name for name, parameter in named if self.is_hidden_matrix(name, parameter)]
        encoder = tuple(name for name in hidden if self.reads_encoder(name))
        patches = tuple(name for name, parameter in named if name == "vision.patch_embedding.weight")
        others = (*hidden, *patches)
        tables = tuple(name for name, parameter in named if parameter.ndim == 2 and name not in others)
        gains = tuple(name for name, parameter in named if parameter.ndim == 1)
        found = [
            ParameterGroup(tuple(name for name in hidden if name not in encoder), 1.0 / self.ratio, decayed=True),
            ParameterGroup(tables, 1.0, decayed=False),
            ParameterGroup(gains, 1.0, decayed=False),
        ]
        if encoder:
            found.append(ParameterGroup(encoder, 1.0 / self.vision_ratio, decayed=True))
        if patches:
            found.append(ParameterGroup(patches, self.patch_multiplier, decayed=False))
        return found


def _attention_scale(head_dim: int, base_width: int | None) -> float:
    return 1.0 / math.sqrt(head_dim) if base_width is None else math.sqrt(BASE_HEAD_DIM) / head_dim
