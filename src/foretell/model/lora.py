"""Low-rank adaptation of linear layers (LoRA: Hu et al. 2021, arXiv 2106.09685, equation 3): W x + alpha / r B A x.

An adapter is named by the layers that Hugging Face names (q_proj, k_proj, ...). The decoder here keeps several of them
in one matrix; a :class:`Site` says which rows of which matrix a named layer is, and one :class:`LowRankUpdate` holds
all A/B pairs of a matrix. Letters: N outputs, K inputs, R rank, S pairs of one matrix; others:
:mod:`foretell.model.config`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from foretell.core.config import Settings
from foretell.core.errors import UserError
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder
from foretell.model.quantised import QuantisedLinear, dequantised

ALL_LINEAR = "all-linear"  # PEFT's word for every linear layer but the head


class LoRAConfig(Settings):
    """What an adapter is, in the terms of PEFT's ``LoraConfig``."""

    rank: int = Field(default=8, ge=1)
    """r, the rank of each update."""
    alpha: float = Field(default=16.0, gt=0)
    """Numerator of the factor on the update."""
    targets: tuple[str, ...] | str = ("q_proj", "v_proj")
    """Names that layers end with, or one regular expression of their full name, or ``all-linear``."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of A's inputs that training leaves out."""
    rslora: bool = False
    """Divide alpha by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732) instead of the rank."""

    @model_validator(mode="after")
    def _has_targets(self) -> LoRAConfig:
        if not self.targets:
            raise ValueError("targets is empty; names of linear layers are expected")
        return self

    @property
    def scale(self) -> float:
        """The factor on B A x."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


@dataclass(frozen=True)
class Site:
    """A linear layer under its Hugging Face name, and where it is in the decoder."""

    name: str  # model.layers.3.self_attn.k_proj; model.language_model.layers.3... beside a vision half
    module: str  # blocks.3.attention.qkv
    first_row: int
    rows: int
    inputs: int


def adaptable_sites(config: ModelConfig) -> list[Site]:
    """Every linear layer of the decoder's blocks, in the order of the layers; a vision half stays as it is."""
    layers = "model.layers" if config.vision is None else "model.language_model.layers"
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    of_block = (
        ("self_attn.q_proj", "attention.qkv", 0, query, config.width),
        ("self_attn.k_proj", "attention.qkv", query, key, config.width),
        ("self_attn.v_proj", "attention.qkv", query + key, key, config.width),
        ("self_attn.o_proj", "attention.output", 0, config.width, query),
        ("mlp.gate_proj", "feed_forward.gate", 0, config.ffn_width, config.width),
        ("mlp.up_proj", "feed_forward.up", 0, config.ffn_width, config.width),
        ("mlp.down_proj", "feed_forward.down", 0, config.width, config.ffn_width),
    )
    return [
        Site(f"{layers}.{layer}.{name}", f"blocks.{layer}.{module}", first_row, rows, inputs)
        for layer in range(config.depth)
        for name, module, first_row, rows, inputs in of_block
    ]


def _is_named(site: Site, target: str) -> bool:
    return site.name == target or site.name.endswith(f".{target}")


def targeted_sites(config: ModelConfig, targets: tuple[str, ...] | str) -> list[Site]:
    """The layers that ``targets`` name, by PEFT's rules for ``target_modules``.

    Raises:
        UserError: for a target that names nothing, with what there is.
    """
    sites = adaptable_sites(config)
    if targets == ALL_LINEAR:
        return sites
    if isinstance(targets, str):
        try:
            pattern = re.compile(targets)
        except re.error as error:
            raise UserError(f"targets is {targets!r}, which is not a regular expression ({error}).") from error
        found, unmatched = [site for site in sites if pattern.fullmatch(site.name)], [targets]
    else:
        found = [site for site in sites if any(_is_named(site, target) for target in targets)]
        unmatched = [target for target in targets if not any(_is_named(site, target) for site in sites)]
    if not found or (unmatched and not isinstance(targets, str)):
        kinds = ", ".join(dict.fromkeys(site.name.rpartition(".")[2] for site in sites))
        raise UserError(
            f"targets names {unmatched[0]!r}, and no layer is called so; there are {kinds} "
            f"(as in {sites[0].name}) and {ALL_LINEAR}."
        )
    return found


def lora_parameter_count(config: ModelConfig, rank: int, targets: tuple[str, ...] | str) -> int:
    """Trainable parameters of an adapter, r (N + K) a layer, from the shape alone."""
    return sum(rank * (site.rows + site.inputs) for site in targeted_sites(config, targets))


class LowRankUpdate(nn.Module):
    """The A/B pairs of one matrix: what they add to its outputs.

    Args:
        inputs: K of the matrix.
        outputs: N of the matrix.
        rows: for each pair by name, the first output that it adds to and how many.
        lora: rank, factor and dropout. All pairs of a matrix see the same inputs, dropout included.
    """

    def __init__(self, inputs: int, outputs: int, rows: dict[str, tuple[int, int]], lora: LoRAConfig) -> None:
        super().__init__()
        self.outputs, self.rows = outputs, rows
        self.scale, self.dropout = lora.scale, lora.dropout
        self.a = nn.ParameterDict({name: torch.empty(lora.rank, inputs) for name in rows})
        self.b = nn.ParameterDict({name: torch.empty(count, lora.rank) for name, (_, count) in rows.items()})

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """B zero, so that nothing changes at first; A Kaiming-uniform with a = sqrt 5, as in the paper's code."""
        for name in self.rows:
            nn.init.kaiming_uniform_(self.a[name], a=math.sqrt(5), generator=generator)
            nn.init.zeros_(self.b[name])

    def factors(self) -> tuple[Tensor, Tensor]:
        """All pairs as one: A [S R, K] and B [N, S R], which is zero where a pair does not reach."""
        if len(self.rows) == 1:  # most matrices: nothing to put together, so no copy that a backward pass would keep
            ((name, (_, count)),) = self.rows.items()
            if count == self.outputs:
                return self.a[name], self.b[name]
        columns = [
            F.pad(self.b[name], (0, 0, first, self.outputs - first - count))
            for name, (first, count) in self.rows.items()
        ]
        return torch.cat([self.a[name] for name in self.rows]), torch.cat(columns, dim=1)

    def delta(self) -> Tensor:
        """alpha / r B A, [N, K]: what merging adds to the weights."""
        a, b = self.factors()
        return (b @ a) * self.scale

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """[..., K] inputs and the [..., N] outputs of the matrix to the outputs with the update."""
        a, b = self.factors()
        if self.training and self.dropout:
            x = F.dropout(x, self.dropout)
        low = F.linear(x, a).flatten(0, -2)
        return torch.addmm(y.flatten(0, -2), low.to(y.dtype), b.t().to(y.dtype), alpha=self.scale).view(y.shape)


class LoRALinear(nn.Module):
    """A linear layer, frozen, with an update."""

    def __init__(self, base: nn.Linear | QuantisedLinear, update: LowRankUpdate) -> None:
        super().__init__()
        self.base, self.update = base, update

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        return self.update(x, self.base(x))


class Adapter:
    """The updates of a model's matrices: made for a shape, then attached to a model or merged into it.

    Args:
        config: of the models that it fits.
        lora: what it is.
        seed: decides the values of A.

    Raises:
        UserError: for a target that names nothing.
    """

    def __init__(self, config: ModelConfig, lora: LoRAConfig, seed: int = 0) -> None:
        self.config, self.lora = config, lora
        self.sites = targeted_sites(config, lora.targets)
        everywhere = adaptable_sites(config)
        self.updates: dict[str, LowRankUpdate] = {}
        generator = torch.Generator().manual_seed(seed)
        for module in dict.fromkeys(site.module for site in self.sites):
            rows = {_pair(site): (site.first_row, site.rows) for site in self.sites if site.module == module}
            beside = [site for site in everywhere if site.module == module]
            update = LowRankUpdate(beside[0].inputs, sum(site.rows for site in beside), rows, lora)
            update.initialise(generator)
            self.updates[module] = update
        counted = sum(parameter.numel() for parameter in self.parameters())
        expected = lora_parameter_count(config, lora.rank, lora.targets)
        if counted != expected:
            raise AssertionError(f"the adapter has {counted} parameters and its config says {expected}")

    def parameters(self) -> Iterator[nn.Parameter]:
        """Every A and B."""
        for update in self.updates.values():
            yield from update.parameters()

    def tensors(self) -> Iterator[tuple[Site, Tensor, Tensor]]:
        """Each layer with its own A [R, K] and B [N, R]."""
        for site in self.sites:
            update = self.updates[site.module]
            yield site, update.a[_pair(site)], update.b[_pair(site)]

    def attach(self, model: Decoder) -> None:
        """Put the updates into the model, and freeze everything else in it."""
        self._check(model)
        model.requires_grad_(False)
        for path, update in self.updates.items():
            base = linear_at(model, path)
            update.to(device=device_of(base))
            put_module(model, path, LoRALinear(base, update))

    def detach(self, model: Decoder) -> None:
        """Take the updates out where they are attached; the model is what it was, parameters still frozen."""
        for path, update in self.updates.items():
            layer = model.get_submodule(path)
            if isinstance(layer, LoRALinear) and layer.update is update:
                put_module(model, path, layer.base)

    @torch.no_grad()
    def merge(self, model: Decoder, dequantise: bool = False) -> None:
        """Add the updates to the weights, detached first where they are attached: the model costs what it cost without.

        Args:
            model: changed in place.
            dequantise: replace packed matrices by float32 ones first.

        Raises:
            UserError: for a packed matrix otherwise, and for another model.
        """
        self.detach(model)
        self._check(model)
        packed = [path for path in self.updates if isinstance(linear_at(model, path), QuantisedLinear)]
        if packed and not dequantise:
            raise UserError(
                f"{packed[0]} is quantised, and rounding would lose most of an adapter merged into it; "
                "attach the adapter instead, or merge into dequantised weights."
            )
        for path in packed:
            put_module(model, path, dequantised(cast(QuantisedLinear, linear_at(model, path))))
        self._add_to_weights(model, 1.0)

    @torch.no_grad()
    def unmerge(self, model: Decoder) -> None:
        """Subtract what :meth:`merge` added, exact to rounding."""
        self._check(model)
        self._add_to_weights(model, -1.0)

    def _add_to_weights(self, model: Decoder, sign: float) -> None:
        for path, update in self.updates.items():
            weight = cast(nn.Linear, linear_at(model, path)).weight
            weight.add_(update.delta().to(weight), alpha=sign)

    def _check(self, model: Decoder) -> None:
        """Raise before anything is touched."""
        for path, update in self.updates.items():
            try:
                base = linear_at(model, path)
            except AttributeError:
                raise UserError(f"The adapter has a layer {path}, and the model has not; it is of another.") from None
            inputs = next(iter(update.a.values())).shape[1]
            if (base.out_features, base.in_features) != (update.outputs, inputs):
                raise UserError(
                    f"The adapter fits a {path} of {update.outputs} x {inputs}, and the model's is "
                    f"{base.out_features} x {base.in_features}; it is of another model."
                )


def _pair(site: Site) -> str:
    """The short name of a layer, unique within its matrix."""
    return site.name.rpartition(".")[2]


def linear_at(model: Decoder, path: str) -> nn.Linear | QuantisedLinear:
    """The plain linear layer there.

    Raises:
        UserError: where an adapter is attached to it already.
        AttributeError: where there is none.
    """
    module = model.get_submodule(path)
    if not isinstance(module, nn.Linear | QuantisedLinear):
        raise UserError(f"{path} is not a plain linear layer; is another adapter attached to it?")
    return module


def put_module(model: Decoder, path: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the one at ``path``."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def device_of(layer: nn.Linear | QuantisedLinear) -> torch.device:
    """Where a layer's weights are."""
    return layer.values.device if isinstance(layer, QuantisedLinear) else layer.weight.device
