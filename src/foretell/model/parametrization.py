"""Maximal update parametrization: hyper-parameters found at one width hold at every width.

Source: Yang et al. 2022, *Tensor Programs V* (arXiv 2203.03466), Table 8 (Adam), written with multipliers on the output
so that a tied head is possible. With r = width / base_width:

=================  =====================  =======================  ==========
tensor             initial std            learning rate            multiplier
=================  =====================  =======================  ==========
token embedding    1                      base                     1
hidden matrices    1 / sqrt(fan-in)       base / r                 1
head               0                      base                     1 / r
norm gains         (ones)                 base                     1
biases             (zeros)                base                     1
attention logits                                                   sqrt(E0) / E
=================  =====================  =======================  ==========

E is the head dimension and E0 :data:`BASE_HEAD_DIM`; with a fixed head dimension this is a constant, with a growing one
it is the 1/d attention of the paper. Starting the head at zero removes the width-dependent noise of the first logits
(appendix D.2). ``base_width=None`` is the standard parametrization: r = 1, attention scale 1 / sqrt(E).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from foretell.model.config import ModelConfig

BASE_HEAD_DIM = 16


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
        if self.config.base_width is None:
            return 1.0 / math.sqrt(self.config.head_dim)
        return math.sqrt(BASE_HEAD_DIM) / self.config.head_dim

    def is_hidden_matrix(self, name: str, parameter: torch.Tensor) -> bool:
        """Whether both dimensions of the tensor grow with width."""
        return parameter.ndim == 2 and not name.startswith(("embedding", "head"))

    def initial_std(self, name: str, parameter: torch.Tensor) -> float:
        """Standard deviation of the initial values of a matrix."""
        if self.is_hidden_matrix(name, parameter):
            std = 1.0 / math.sqrt(parameter.shape[1])
            # Each block adds two terms to the residual stream; this keeps their sum at order one (GPT-2, section 2.3).
            return std / math.sqrt(2 * self.config.depth) if name.endswith(("output.weight", "down.weight")) else std
        if name.startswith("head"):
            return 0.0 if self.config.base_width else 1.0 / math.sqrt(self.config.width)
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

    def groups(self, model: nn.Module) -> list[ParameterGroup]:
        """The optimizer's groups: hidden matrices, tables (embedding and head), gains."""
        named = list(model.named_parameters())
        hidden = tuple(name for name, parameter in named if self.is_hidden_matrix(name, parameter))
        tables = tuple(name for name, parameter in named if parameter.ndim == 2 and name not in hidden)
        gains = tuple(name for name, parameter in named if parameter.ndim == 1)
        return [
            ParameterGroup(hidden, 1.0 / self.ratio, decayed=True),
            ParameterGroup(tables, 1.0, decayed=False),
            ParameterGroup(gains, 1.0, decayed=False),
        ]
