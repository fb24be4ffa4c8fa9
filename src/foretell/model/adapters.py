"""Several adapters over one base, chosen token by token: each product of the base is computed once for all of them.

Tokens that share an adapter are gathered, updated together and scattered back, as in Punica (Chen et al. 2023, arXiv
2310.18547). Tensor letters: see :mod:`foretell.model.lora`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.core.errors import UserError
from foretell.model.decoder import Decoder
from foretell.model.lora import Adapter, put_module

Product = Callable[[Tensor], Tensor]  # of [T, K] rows by a matrix [N, K], to [T, N]


def plain_product(matrix: Tensor) -> Product:
    """By PyTorch."""
    return lambda x: F.linear(x, matrix)


@dataclass
class _Selection:
    """Which tokens each adapter applies to; all of them where the tensor is ``None``."""

    groups: list[tuple[int, Tensor | None]] = field(default_factory=list)


class _SharedLinear(nn.Module):
    """A linear layer of the base with the updates of whichever adapters have one for it."""

    def __init__(self, base: nn.Module, selection: _Selection) -> None:
        super().__init__()
        self.base, self.selection = base, selection
        self.factors: dict[int, list[tuple[Product, Product]]] = {}  # by A and by alpha / r B, of each adapter

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] to [..., N]."""
        y: Tensor = self.base(x)
        flat, out = x.flatten(0, -2), y.flatten(0, -2)
        for index, tokens in self.selection.groups:
            for by_a, by_b in self.factors.get(index, ()):
                chosen = flat if tokens is None else flat[tokens]
                added = by_b(by_a(chosen))
                out = out + added if tokens is None else out.index_add(0, tokens, added)
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
        product: how rows are multiplied by a matrix of an adapter.
        place: of the path of a plain decoder's layer, the path of the model's layer that has its outputs, and the first
            of them there; where an engine has fused layers.
    """

    def __init__(
        self,
        model: Decoder,
        *,
        product: Callable[[Tensor], Product] = plain_product,
        place: Callable[[str], tuple[str, int]] = lambda path: (path, 0),
    ) -> None:
        self.model, self._product, self._place = model, product, place
        self.names: list[str] = []
        self._selection = _Selection()

    def add(self, name: str, adapter: Adapter) -> int:
        """Hold a copy of ``adapter`` under ``name``.

        Returns:
            the index that stands for it in :meth:`select`.

        Raises:
            UserError: for a name that is taken, or an adapter of another model.
        """
        if name in self.names:
            raise UserError(f"There is an adapter named {name!r} already; names are unique.")
        if adapter.config.model_copy(update={"context": self.model.config.context}) != self.model.config:
            raise UserError(f"The adapter {name!r} was made for a model of another shape than the one it is added to.")
        index = len(self.names)
        for path, update in adapter.updates.items():
            target, first = self._place(path)
            layer = self._shared(target)
            a, b = (factor.detach().to(self._device, copy=True) for factor in update.factors())
            after = int(layer.base.out_features) - first - b.shape[0]  # type: ignore[arg-type]
            b = F.pad(b * update.scale, (0, 0, first, after))
            layer.factors.setdefault(index, []).append((self._product(a), self._product(b)))
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
        layer = self.model.get_submodule(path)
        if not isinstance(layer, _SharedLinear):
            layer = _SharedLinear(layer, self._selection)
            put_module(self.model, path, layer)
        return layer

    @property
    def _device(self) -> torch.device:
        return self.model.embedding.weight.device
