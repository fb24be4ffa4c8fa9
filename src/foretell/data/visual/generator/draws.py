"""Random draws that are the same on every machine, whatever its version of numpy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Draws:
    """A stream of draws that a key names; equal keys give equal streams, and no stream shares state with another.

    Only the raw output of PCG64 is used: numpy keeps that stable, and not what its distributions make of it.
    """

    def __init__(self, *key: object) -> None:
        name = "\0".join(map(str, key)).encode()
        self._bits = np.random.PCG64(int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "big"))

    def below(self, end: int) -> int:
        """One of 0 to ``end`` - 1."""
        return (int(self._bits.random_raw()) * end) >> 64

    def between(self, low: int, high: int) -> int:
        """One of ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [``low``, ``high``)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def coin(self, chance: float = 0.5) -> bool:
        """True with probability ``chance``."""
        return self.uniform() < chance

    def choose(self, items: Sequence[T]) -> T:
        """One of one or more items, each as likely."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in an order of which each is as likely."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different ones of the items, in random order; all of them where there are fewer."""
        return self.shuffled(items)[:count]

    def weighted(self, shares: Mapping[T, float]) -> T:
        """One of the keys, with a probability proportional to its share."""
        point, last = self.uniform(0.0, sum(shares.values())), next(iter(shares))
        for key, share in shares.items():
            if share > 0:
                last = key
                if point < share:
                    return key
            point -= share
        return last

    def grain(self, *shape: int) -> NDArray[np.uint8]:
        """Bytes, each of 0 to 255 as likely, of ``shape``."""
        count = int(np.prod(shape))
        raw = np.asarray(self._bits.random_raw(-(-count // 8)), dtype="<u8")
        return raw.view(np.uint8)[:count].reshape(shape)
