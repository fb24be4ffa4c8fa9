"""Several adapters over one base, chosen token by token: each product of the base is computed once for all of them.

Tokens that share an adapter are gathered, updated together and scattered back, as in Punica (Chen et al. 2023, arXiv
2310.18547). Tensor letters: see :mod:`foretell.model.lora`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.core.errors import UserError
from foretell.model.decoder import Decoder
from foretell.model.lora import Adapter, put_module


@dataclass
class _Selection:
    """Which tokens each adapter applies to; all of them where the tensor is ``None``."""

    groups: list[tuple[int, Tensor | None]] = field(default_factory=list)


class _SharedLinear(nn.Module):
    """A linear layer of the base with the updates of whichever adapters have one for it."""

    def __init__(self, base: nn.Module, selection: _Selection) -> None:
        super().__init__()
        self.base, self.selection = base, selection
        self.factors: dict[int, tuple[Tensor, Tensor]] = {}  # A [S R, K] and alpha / r B [N, S R] of each adapter

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        y: Tensor = self.base(x)
        flat, out = x.flatten(0, -2), y.flatten(0, -2)
        for index, tokens in self.selection.groups:
            if index not in self.factors:
                continue
            a, b = self.factors[index]
            if tokens is None:
                out = out + F.linear(F.linear(flat, a), b)
            else:
                out = out.index_add(0, tokens, F.linear(F.linear(flat[tokens], a), b))
        return out.view(y.shape)


class AdapterSet:
    """The adapters that a model serves with; outside of :meth:`select` the model is its base.

    Usage::

        adapters = AdapterSet(model)
        french = adapters.add("french", read_adapter(folder, model.config))
        with adapters.select(torch.tensor([french, french, -1])):  # one entry a token of the batch
            logits = model(ids, cache)

    Args:
        model: its linear layers, of whatever kind, are wrapped in place as adapters are added; for inference, not for
            training. Layers that an engine replaces are replaced before.
    """

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self.names: list[str] = []
        self._selection = _Selection()

    def add(self, name: str, adapter: Adapter) -> int:
        """Hold a copy of ``adapter`` under ``name``.

        Returns:
            the index that stands for it in :meth:`select`.

        Raises:
            UserError: for a name that is taken, an adapter of another model, or a layer that the model has fused with
                others.
        """
        if name in self.names:
            raise UserError(f"There is an adapter named {name!r} already; names are unique.")
        if adapter.config.model_copy(update={"context": self.model.config.context}) != self.model.config:
            raise UserError(f"The adapter {name!r} was made for a model of another shape than the one it is added to.")
        shared = {path: self._shared(path) for path in adapter.updates}
        index = len(self.names)
        for path, update in adapter.updates.items():
            a, b = (factor.detach().to(self._device, copy=True) for factor in update.factors())
            shared[path].factors[index] = a, b * update.scale
        self.names.append(name)
        return index

    @contextmanager
    def select(self, indices: Tensor) -> Iterator[None]:
        """Within the block, the model applies to each token the adapter chosen for it.

        Args:
            indices: integers, one a token of the batches in the block in the order of [B, T], of any shape; the index
                of an adapter, or -1 for the base alone.

        Raises:
            ValueError: for an index that stands for no adapter.
        """
        flat = indices.flatten()
        chosen = flat.unique().tolist()
        if chosen and not -1 <= chosen[0] <= chosen[-1] < len(self.names):
            raise ValueError(f"indices are {chosen}; -1 to {len(self.names) - 1} stand for adapters")
        before = self._selection.groups
        self._selection.groups = [
            (index, None if len(chosen) == 1 else torch.nonzero(flat == index).flatten().to(self._device))
            for index in chosen
            if index >= 0
        ]
        try:
            yield
        finally:
            self._selection.groups = before

    def _shared(self, path: str) -> _SharedLinear:
        """The layer there, wrapped."""
        try:
            layer = self.model.get_submodule(path)
        except AttributeError as error:
            raise UserError(f"The adapter needs the layer {path}, which is fused with others in this model.") from error
        if not isinstance(layer, _SharedLinear):
            layer = _SharedLinear(layer, self._selection)
            put_module(self.model, path, layer)
        return layer

    @property
    def _device(self) -> torch.device:
        return self.model.embedding.weight.device
