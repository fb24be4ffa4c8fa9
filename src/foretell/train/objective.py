"""What a step minimises: a function from a model and a micro-batch to a loss sum; the loop knows nothing else of it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from foretell.data.stream import Batch
from foretell.model.decoder import Decoder

# The model and the tensors of a micro-batch (see Batch.tensors) to the summed loss of the labels that count.
Objective = Callable[..., torch.Tensor]


def next_token(
    model: Decoder,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    documents: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
    patches: torch.Tensor | None = None,
    places: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of the next token, in nats, summed over labels; see :meth:`Decoder.loss`."""
    return model.loss(inputs, labels, documents, positions, patches, places)


def micro_batches(batch: Batch, rows: int) -> list[tuple[torch.Tensor, ...]]:
    """Cut the tensors of a step's batch into parts of at most ``rows`` rows, alike in size as far as they can be."""
    count = -(-len(batch.inputs) // rows)
    return list(zip(*(tensor.tensor_split(count) for tensor in batch.tensors), strict=True))
