"""Memory of the cache in blocks of positions, and the prefixes whose keys and values are still in it.

A block's content depends on its tokens, all before them, and the adapter; a chain of hashes over these is its name. A
token in a patch's place counts as the patch: :meth:`foretell.infer.images.PlacedImages.named`.
Named blocks that nobody uses stay until their memory is needed, the longest unused first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.model.config import ModelConfig

BLOCK = 16  # positions


def block_names(ids: NDArray[np.int64], adapter: str | None) -> list[bytes]:
    """Names of the whole blocks of ``ids``."""
    name = b"" if adapter is None else adapter.encode()
    names = []
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        name = hashlib.blake2b(name + ids[start : start + BLOCK].tobytes(), digest_size=16).digest()
        names.append(name)
    return names


class BlockPool:
    """A fixed number of blocks, each with a count of its users.

    The system gives pages to a block when it is first written: a cache takes what it has held so far, not its limit.

    Attributes:
        keys: float32 [layers, blocks, J, E, BLOCK], J key/value heads of dimension E.
        values: float32 [layers, blocks, J, BLOCK, E rounded up to ``lanes``].

    Raises:
        UserError: where ``memory`` is less than two blocks take, or more than the system gives.
    """

    def __init__(self, config: ModelConfig, memory: int, lanes: int = 1) -> None:
        padded = -(-config.head_dim // lanes) * lanes
        self.block_bytes = 4 * config.depth * config.kv_heads * BLOCK * (config.head_dim + padded)
        self.count = memory // self.block_bytes
        if self.count < 2:
            raise UserError(
                f"The cache's memory is {memory:,} bytes; at least {2 * self.block_bytes:,} are needed, two blocks of "
                f"{BLOCK} positions."
            )
        try:
            # not zeros, which PyTorch would write, all pages of it, at once
            self.keys = torch.empty(config.depth, self.count, config.kv_heads, config.head_dim, BLOCK)
            self.values = torch.empty(config.depth, self.count, config.kv_heads, BLOCK, padded)
        except RuntimeError as error:
            raise UserError(f"The cache's memory is {memory:,} bytes, which the system does not give.") from error
        self.clear()

    def clear(self) -> None:
        """Forget all users and names; the memory stays where it is."""
        self._users = [0] * self.count
        self._free = list(range(self.count - 1, -1, -1))
        self._unused: OrderedDict[int, None] = OrderedDict()  # named and without users, the longest unused first
        self._by_name: dict[bytes, int] = {}
        self._name_of: dict[int, bytes] = {}

    @property
    def available(self) -> int:
        """Blocks that can be had now."""
        return len(self._free) + len(self._unused)

    def take(self) -> int | None:
        """A block of one's own, or ``None`` where all are in use."""
        if self._free:
            block = self._free.pop()
        elif self._unused:
            block = self._unused.popitem(last=False)[0]
            del self._by_name[self._name_of.pop(block)]
        else:
            return None
        self._users[block] = 1
        # values of positions that are not there yet are multiplied by shares of zero, and must be finite for that
        self.values[:, block] = 0
        return block

    def copy(self, source: int, to: int) -> None:
        """What a block holds, to another one that is somebody's own."""
        self.keys[:, to] = self.keys[:, source]
        self.values[:, to] = self.values[:, source]

    def find(self, names: Sequence[bytes]) -> list[int]:
        """Blocks of the longest run of ``names`` from the first that is in the cache, each with one more user."""
        found = []
        for name in names:
            block = self._by_name.get(name)
            if block is None:
                break
            self._unused.pop(block, None)
            self._users[block] += 1
            found.append(block)
        return found

    def publish(self, block: int, name: bytes) -> None:
        """A full block may be shared from now on; where its like is there already, it stays its user's own."""
        if name not in self._by_name and block not in self._name_of:
            self._by_name[name] = block
            self._name_of[block] = name

    def release(self, blocks: Sequence[int]) -> None:
        """One user fewer of each; the ends of sequences are forgotten before their beginnings."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if self._users[block]:
                continue
            if block in self._name_of:
                self._unused[block] = None
            else:
                self._free.append(block)
