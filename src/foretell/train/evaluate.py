"""Held-out loss in nats per token, bits per byte and bits per word; and of each token."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from foretell.data.stream import IGNORED, heldout_batches
from foretell.data.tokens import TokenDataset
from foretell.model.decoder import Decoder

EVALUATION_ROWS = 16


@torch.no_grad()
def evaluate(model: Decoder, dataset: TokenDataset, rows: int | None = None) -> dict[str, Any]:
    """Loss on the held-out split, or on its first ``rows`` rows.

    Bits are those that the model needs to write the text, document ends included, in windows of the model's context;
    bytes and words are the text's own, so that the figures do not depend on the tokenizer.

    Returns:
        nats_per_token, bits_per_byte, bits_per_word, tokens, bytes, words; for a part of the split, bytes and words
        are the split's, scaled by the share of tokens.
    """
    total, tokens = 0.0, 0
    device = model.embedding.weight.device
    for index, batch in enumerate(heldout_batches(dataset, model.config.context, EVALUATION_ROWS)):
        if rows is not None and index * EVALUATION_ROWS >= rows:
            break
        total += float(model.loss(batch.inputs.to(device), batch.labels.to(device)))
        tokens += batch.tokens
    share = tokens / dataset.token_count
    size, words = dataset.bytes * share, dataset.words * share
    bits = total / math.log(2)
    return {
        "nats_per_token": total / tokens,
        "bits_per_byte": bits / size,
        "bits_per_word": bits / words,
        "tokens": tokens,
        "bytes": round(size),
        "words": round(words),
    }


@torch.no_grad()
def heldout_nats(model: Decoder, dataset: TokenDataset) -> NDArray[np.float32]:
    """What each held-out token costs the model, in the split's order: nats, float32 [tokens]."""
    device, found = model.embedding.weight.device, []
    for batch in heldout_batches(dataset, model.config.context, EVALUATION_ROWS):
        labels = batch.labels.to(device)
        nats = F.cross_entropy(model(batch.inputs.to(device)).transpose(1, 2), labels, reduction="none")
        found.append(nats[labels != IGNORED].float().cpu().numpy())
    return np.concatenate(found)
