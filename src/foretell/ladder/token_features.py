"""What every held-out token of a run is like: its traits, and what rungs pay for it.

Letters: N held-out tokens, T context, S sizes of rungs.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.files import write_atomic
from foretell.data.stream import IGNORED, Layout, heldout_batches, row_count
from foretell.data.tokens import TokenDataset
from foretell.data.traits import traits
from foretell.ladder.finished import RUNGS
from foretell.model.decoder import Decoder
from foretell.train.evaluate import EVALUATION_ROWS, heldout_nats


def token_features(
    train: TokenDataset, heldout: TokenDataset, context: int, tokens: int, rungs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Columns as :data:`foretell.ladder.finished.FEATURES`, float32 [N, F].

    Args:
        train: of which the target reads ``tokens``; rows of it, drawn at random, are counted.
        heldout: in rows as it is evaluated.
        context: T of the target.
        tokens: of text that the target reads, at least a row.
        rungs: [S, N] nats, of :data:`foretell.ladder.finished.RUNGS`.
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
    return np.concatenate([found, rungs.T], axis=1)


def rung_nats(sizes: Sequence[Sequence[Decoder]], heldout: TokenDataset) -> NDArray[np.float32]:
    """What each held-out token costs models of each size, on average over those of one: float32 [S, N]."""
    return np.stack([_mean_nats(models, heldout) for models in sizes])


def _mean_nats(models: Sequence[Decoder], heldout: TokenDataset) -> NDArray[np.float32]:
    return np.asarray(np.mean([heldout_nats(model, heldout) for model in models], axis=0), dtype=np.float32)


def save_nats(path: Path, nats: NDArray[np.float32]) -> None:
    """Write an array as NumPy's ``.npy``, atomically."""
    buffer = io.BytesIO()
    np.save(buffer, nats)
    write_atomic(path, buffer.getvalue())


def load_nats(path: Path, tokens: int) -> NDArray[np.float32]:
    """What each of :data:`RUNGS` pays for each of ``tokens`` held-out tokens, float32 [S, N].

    Raises:
        UserError: where the file is not there, cut short, or of something else.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: the run is not finished, or older than references.")
    try:
        nats = np.load(path)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); without it the run is no reference.") from error
    if nats.shape != (len(RUNGS), tokens) or nats.dtype != np.float32:
        raise UserError(f"{path} holds {nats.dtype} {list(nats.shape)}; float32 {[len(RUNGS), tokens]} are expected, "
                        f"what {', '.join(RUNGS)} pay for each held-out token. An older version wrote it.")  # fmt: skip
    return np.asarray(nats)


def forget_unreadable(path: Path, heldout: TokenDataset) -> None:
    """Delete what :func:`load_nats` refuses, which can be made again while the rungs' weights are there."""
    try:
        load_nats(path, heldout.token_count)
    except UserError:
        path.unlink(missing_ok=True)
