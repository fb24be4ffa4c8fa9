"""What a step minimises: a function from a model and a micro-batch to a loss sum; the loop knows nothing else of it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from foretell.data.stream import Batch
from foretell.model.decoder import Decoder

# (model, inputs, labels) to the summed loss of the labels that count.
Objective = Callable[[Decoder, torch.Tensor, torch.Tensor], torch.Tensor]


def next_token(model: Decoder, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the next token, in nats, summed over labels."""
    return model.loss(inputs, labels)


def micro_batches(batch: Batch, rows: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Cut a step's batch into (inputs, labels) pairs of at most ``rows`` rows, alike in size as far as they can be."""
    count = -(-len(batch.inputs) // rows)
    return list(zip(batch.inputs.tensor_split(count), batch.labels.tensor_split(count), strict=True))
