"""What every held-out token of a run is like: its traits, and what the largest rung pays for it.

Letters: N held-out tokens, T context.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretell.core.files import write_atomic
from foretell.data.stream import IGNORED, Layout, heldout_batches, row_count
from foretell.data.tokens import TokenDataset
from foretell.data.traits import TRAITS, traits
from foretell.model.decoder import Decoder
from foretell.train.evaluate import EVALUATION_ROWS, heldout_nats

FEATURES = (*TRAITS, "largest rung")


def token_features(
    train: TokenDataset, heldout: TokenDataset, context: int, tokens: int, rung: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Columns as :data:`FEATURES`, float32 [N, F].

    Args:
        train: of which the target reads ``tokens``; rows of it, drawn at random, are counted.
        heldout: in rows as it is evaluated.
        context: T of the target.
        tokens: of text that the target reads, at least a row.
        rung: [N] nats; see :func:`mean_nats`.
    """
    layout = Layout(train, context, np.arange(train.document_count))
    read = min(layout.rows, max(1, tokens // context))
    chosen = np.sort(np.random.default_rng(0).permutation(layout.rows)[:read])
    inputs, _ = layout.gather(chosen)
    batches = [(batch.inputs.numpy(), batch.labels.numpy())
               for batch in heldout_batches(heldout, context, EVALUATION_ROWS)]  # fmt: skip
    before, labels = (np.concatenate(parts)[: row_count(heldout, context)] for parts in zip(*batches, strict=True))
    rows = np.concatenate([before, np.maximum(labels[:, -1:], 0)], axis=1)
    found = traits(inputs, rows)[labels.ravel() != IGNORED]
    return np.concatenate([found, rung[:, None]], axis=1)


def mean_nats(models: Sequence[Decoder], heldout: TokenDataset) -> NDArray[np.float32]:
    """What each held-out token costs, on average over models of one size: float32 [N]."""
    return np.asarray(np.mean([heldout_nats(model, heldout) for model in models], axis=0), dtype=np.float32)


def save_nats(path: Path, nats: NDArray[np.float32]) -> None:
    """Write an array as NumPy's ``.npy``, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, nats)
    write_atomic(path, buffer.getvalue())
