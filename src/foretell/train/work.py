"""What the loop is given: a model, data and an objective; pretraining, fine-tuning and others differ in these only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from foretell.data.stream import Batch
from foretell.model.decoder import Decoder
from foretell.model.parametrization import ParameterGroup
from foretell.train.objective import Objective


class Stream(Protocol):
    """Endless batches with a position that can be restored exactly."""

    def next_batch(self) -> Batch:
        """The next batch."""

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches handed out so far, as JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""

    def close(self) -> None:
        """Release what is held."""


@dataclass(frozen=True)
class Feed:
    """One of the streams that a step learns from."""

    stream: Stream
    share: float = 1.0
    """Of the step's loss, which is the mean of each feed's batch times its share."""
    measure: str | None = None
    """Under which its loss, nats a token, is logged beside the first feed's."""


class Work(Protocol):
    """What is trained, on what and towards what."""

    @property
    def objective(self) -> Objective:
        """What a step minimises; replicas unpickle it."""

    @property
    def unit(self) -> str:
        """The figure that log and display show beside nats a token: ``bits_per_byte``, say."""

    @property
    def per_nat(self) -> float:
        """How much of the unit a nat a token is."""

    def build(self, device: torch.device) -> Decoder:
        """The model as it starts; parameters that require gradients are trained and saved, others neither."""

    def groups(self, model: Decoder) -> list[ParameterGroup]:
        """The trained parameters, in groups of a learning-rate multiplier."""

    def open_feeds(self) -> dict[str, Feed]:
        """The training data from its beginning, by what it is; the first one's loss is what is shown."""

    def evaluate(self, model: Decoder, rows: int | None) -> dict[str, Any]:
        """Held-out figures, ``unit`` among them, over all rows or the first ``rows``; empty if nothing is held out."""

    def identity(self) -> dict[str, Any]:
        """What a checkpoint relies on without holding it, as JSON: a frozen base by its hash, say."""

    def results(self) -> dict[str, Any]:
        """What result.json says besides the loop's own figures."""
