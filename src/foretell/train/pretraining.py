"""Pretraining as work for the loop: a fresh model, a tokenised corpus, the next token."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from foretell.data.stream import TokenStream
from foretell.data.tokens import TokenDataset
from foretell.model.decoder import Decoder, build_decoder
from foretell.model.parametrization import ParameterGroup, Parametrization
from foretell.train.config import RunSettings
from foretell.train.evaluate import evaluate
from foretell.train.objective import Objective, next_token
from foretell.train.work import Feed


class Pretraining:
    """See :class:`foretell.train.work.Work`.

    Args:
        settings: the run in full.
        tokens: folder of the tokenised corpus.
    """

    objective: Objective = staticmethod(next_token)
    unit = "bits_per_byte"

    def __init__(self, settings: RunSettings, tokens: Path) -> None:
        self.settings = settings
        self.train_set, self.heldout = TokenDataset(tokens, "train"), TokenDataset(tokens, "heldout")
        self.per_nat = self.train_set.token_count / self.train_set.bytes / math.log(2)

    def build(self, device: torch.device) -> Decoder:
        """Initial values from the seed."""
        return build_decoder(self.settings.model, self.settings.seed, device)

    def groups(self, model: Decoder) -> list[ParameterGroup]:
        """muP's."""
        return Parametrization(model.config).groups(model)

    def open_feeds(self) -> dict[str, Feed]:
        """The training split."""
        settings = self.settings
        return {"text": Feed(TokenStream(self.train_set, settings.row_length, settings.rows, settings.seed))}

    def evaluate(self, model: Decoder, rows: int | None) -> dict[str, Any]:
        """See :func:`foretell.train.evaluate.evaluate`."""
        return evaluate(model, self.heldout, rows)

    def identity(self) -> dict[str, Any]:
        """A checkpoint holds all of the model."""
        return {}

    def results(self) -> dict[str, Any]:
        """Nothing more."""
        return {}
