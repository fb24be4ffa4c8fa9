"""What is taken of a finished run as a reference, and its file.

A file holds counts and costs of held-out tokens, sorted, so that runs of several machines can be put together. In the
order of the text they would give it away: places of equal tokens and their counts are a cipher of mostly letters.
Sorted they still tell how often its n-grams occur; whether that may leave a machine is for its owner to say.

Letters: N held-out tokens, F features.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.files import write_atomic
from foretell.data.traits import TRAITS

RUNGS = ("smallest rung", "last rung but one", "largest rung")
FEATURES = (*TRAITS, *RUNGS)
"""Of a held-out token: its traits, and what each of these rungs pays for it, in nats, on average over seeds."""
SUFFIX = ".reference.xz"
STEPS = 256  # of a file's numbers in 1: a mean is right to a hundred-thousandth
MOST_KEPT = 2**17  # tokens of a file, for its size
MOST_TOKENS = 2**26  # of a file that is read

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Finished:
    """What is taken of a finished run.

    Attributes:
        name: of its corpus.
        recipe: its :func:`foretell.ladder.references.recipe_key`.
        sources: digest of where its corpus is from.
        features: float32 [N, F], columns as :data:`FEATURES`.
        nats: what each held-out token cost the target, float32 [N].
    """

    name: str
    recipe: str
    sources: str
    features: Matrix
    nats: Matrix

    def save(self, path: Path) -> None:
        """Write xz: a line of JSON, then [F + 1, N] little-endian numbers of 16 bits in steps of 1/256, costs last.

        The tokens are sorted by their numbers: their order in the text is not kept. Of many, :data:`MOST_KEPT` are,
        evenly from the cheapest to the dearest, so that their mean is that of all.
        """
        chosen = _evenly(self.nats)
        header = {"name": self.name, "recipe": self.recipe, "sources": self.sources, "features": list(FEATURES),
                  "tokens": len(chosen)}  # fmt: skip
        columns = np.concatenate([self.features[chosen], self.nats[chosen, None]], axis=1).T
        numbers = np.clip(np.round(columns * STEPS), 0, 2**16 - 1).astype("<u2")
        numbers = np.ascontiguousarray(numbers[:, np.lexsort(numbers[::-1])])
        write_atomic(path, lzma.compress(json.dumps(header).encode() + b"\n" + numbers.tobytes()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """From :meth:`save`'s.

        Raises:
            UserError: where it is no such file, or of another version's features.
        """
        try:
            with lzma.open(path) as file:
                header = json.loads(file.readline(2**16))
                name, recipe, sources = (str(header[key]) for key in ("name", "recipe", "sources"))
                count = int(header["tokens"])
                features = tuple(map(str, header["features"]))
                if features != FEATURES:  # before anything is read whose size a header decides
                    raise ValueError(f"its columns are {', '.join(features)}; {', '.join(FEATURES)} are expected")
                if not 0 < count <= MOST_TOKENS:
                    raise ValueError(f"tokens is {count}; 1 to {MOST_TOKENS} are accepted")
                size = 2 * count * (len(features) + 1)
                numbers = file.read(size + 1)
            if len(numbers) != size:
                raise ValueError(f"{size} bytes of numbers are expected")
        except (
            OSError,
            EOFError,
            lzma.LZMAError,
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise UserError(f"{path} is no reference that this version reads: {error!s}.") from error
        columns = (np.frombuffer(numbers, "<u2").astype(np.float32) / STEPS).reshape(len(features) + 1, count)
        return cls(name, recipe, sources, np.ascontiguousarray(columns[:-1].T), columns[-1])


def _evenly(nats: Matrix) -> NDArray[np.int64]:
    """Places of :data:`MOST_KEPT` tokens at most, as far apart as can be in the order of their costs."""
    count = min(len(nats), MOST_KEPT)
    ranks = (2 * np.arange(count) + 1) * len(nats) // (2 * count)
    return np.argsort(nats, kind="stable")[ranks]
