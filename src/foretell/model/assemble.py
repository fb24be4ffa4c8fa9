"""A decoder put together from weights that were read from a file: nothing is initialised that will be replaced.

Names are the decoder's own. Rows of queries and keys: this decoder rotates the pairs (i, i + E/2) of a head, as Hugging
Face does; Meta's checkpoints and GGUF's ``llama`` rotate neighbours, (2 i, 2 i + 1). The same model has its rows in
another order there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from foretell.core.errors import UserError
from foretell.model.config import ModelConfig, count_parameters
from foretell.model.decoder import Decoder, angles_of
from foretell.model.foreign_tower import ForeignTower
from foretell.model.quantised import QuantisedLinear, QuantisedMatrix, concatenated

Weight = Tensor | QuantisedMatrix


def half_split_rows(heads: int, head_dim: int) -> Tensor:
    """Where each row of the half-split order lies among rows whose pairs are neighbours, int64 [heads * E]."""
    return torch.arange(heads * head_dim).view(heads, head_dim // 2, 2).transpose(1, 2).flatten()


def neighbour_rows(heads: int, head_dim: int) -> Tensor:
    """The inverse of :func:`half_split_rows`."""
    return torch.arange(heads * head_dim).view(heads, 2, head_dim // 2).transpose(1, 2).flatten()


def reordered(weight: Weight, index: Tensor, name: str) -> Weight:
    """Its rows (or elements of a bias) ``index``, in that order, which are all of them.

    Raises:
        UserError: where it has more or fewer.
    """
    if weight.shape[0] != len(index):
        raise UserError(f"{name} has {weight.shape[0]} rows and its configuration says {len(index)}.")
    return weight.rows(index) if isinstance(weight, QuantisedMatrix) else weight[index]


def as_float(weight: Weight) -> Tensor:
    """float32 values of either kind."""
    return weight.dequantised() if isinstance(weight, QuantisedMatrix) else weight.float()


def stacked(parts: list[Weight]) -> Weight:
    """All parts' outputs one after the other: packed where they are packed alike, else float32."""
    packed = [part for part in parts if isinstance(part, QuantisedMatrix)]
    if len(packed) == len(parts) and len({(part.bits, part.group) for part in packed}) == 1:
        return concatenated(packed)
    return torch.cat([as_float(part) for part in parts])


def assembled(config: ModelConfig, weights: Mapping[str, Weight], source: str) -> Decoder:
    """A decoder of this shape with these weights; packed matrices become :class:`QuantisedLinear`.

    Raises:
        UserError: naming a weight that is missing, is left over, or has another shape than the configuration says.
    """
    with torch.device("meta"):
        model = Decoder(config)
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name in [*expected, *weights]:
        if name not in weights:
            raise UserError(f"{source}: the weights of {name} are missing.")
        if name not in expected:
            raise UserError(f"{source}: there are weights for {name}, which a model of this configuration has not.")
        if tuple(weights[name].shape) != expected[name]:
            raise UserError(
                f"{source}: {name} has the shape {tuple(weights[name].shape)} and its configuration says "
                f"{expected[name]}."
            )
    counted = sum(torch.Size(shape).numel() for shape in expected.values())
    if counted != count_parameters(config).total:
        raise AssertionError(f"{counted} parameters were read and the config says {count_parameters(config).total}")
    floats = {name: weight.float() for name, weight in weights.items() if isinstance(weight, Tensor)}
    for name, weight in weights.items():
        if isinstance(weight, QuantisedMatrix):
            layer = name.removesuffix(".weight")
            model.set_submodule(layer, QuantisedLinear(weight, floats.get(f"{layer}.bias")))
    model.load_state_dict(floats, strict=False, assign=True)
    if not config.tied and isinstance(model.head, QuantisedLinear):
        model.head_matrix = model.head.matrix
    model.angles = angles_of(config)
    if isinstance(model.vision, ForeignTower):
        model.vision.restore_buffers()
    return model.eval()
