"""Supervised fine-tuning as work for the loop: a pretrained model, packed conversations, the assistant's tokens."""

from __future__ import annotations

from typing import Any

import torch

from foretell.core.hardware import peak_memory
from foretell.data.conversations import ConversationSet
from foretell.data.packing import PackedStream, packed_batches
from foretell.model.decoder import Decoder
from foretell.model.lora import Adapter
from foretell.model.parametrization import ParameterGroup, Parametrization
from foretell.posttrain.settings import SFTSettings
from foretell.train.objective import Objective, next_token
from foretell.train.optimizer import trained_parameters
from foretell.train.work import Feed


class FineTuning:
    """See :class:`foretell.train.work.Work`.

    Args:
        settings: the run in full.
        decoder: trained in place, or frozen under ``adapter``.
        train: to learn from.
        heldout: to measure the loss on; may be empty.
        adapter: attached to the decoder when the loop builds the model.
    """

    objective: Objective = staticmethod(next_token)
    unit = "nats_per_token"
    per_nat = 1.0

    def __init__(
        self,
        settings: SFTSettings,
        decoder: Decoder,
        train: ConversationSet,
        heldout: ConversationSet,
        adapter: Adapter | None,
    ) -> None:
        self.settings, self.decoder, self.adapter = settings, decoder, adapter
        self.train_set, self.heldout = train, heldout
        self.before: dict[str, Any] = {}  # held-out figures of the base

    def build(self, device: torch.device) -> Decoder:
        """The base with the adapter attached, or with all of it trainable."""
        model = self.decoder.to(device)
        if self.adapter is None:
            model.requires_grad_(True)
        else:
            self.adapter.attach(model)
        if self.settings.checkpointing:
            model.checkpointing = True
        else:
            model.keep_little()
        model.head_matrix = None  # training multiplies by head_weight, and goes on to change it where all is trained
        return model.train()

    def groups(self, model: Decoder) -> list[ParameterGroup]:
        """One learning rate; gains and tables do not decay."""
        if self.adapter is None:
            return Parametrization(model.config).groups(model)
        return [ParameterGroup(tuple(trained_parameters(model)), 1.0, decayed=True)]

    def open_feeds(self) -> dict[str, Feed]:
        """Epoch after epoch of the conversations."""
        settings = self.settings
        return {"conversations": Feed(PackedStream(self.train_set, settings.room, settings.rows, settings.seed))}

    @torch.no_grad()
    def evaluate(self, model: Decoder, rows: int | None) -> dict[str, Any]:
        """Loss on the assistant's tokens of the held-out conversations.

        Returns:
            nats_per_token and tokens; nothing where nothing is held out.
        """
        total, tokens = 0.0, 0
        device = model.embedding.weight.device
        at_once = self.settings.training.micro_rows
        model.eval()
        for index, batch in enumerate(packed_batches(self.heldout, self.settings.room, at_once)):
            if rows is not None and index * at_once >= rows:
                break
            total += float(self.objective(model, *batch.to(device).tensors))
            tokens += batch.tokens
        model.train()
        return {"nats_per_token": total / tokens, "tokens": tokens} if tokens else {}

    def identity(self) -> dict[str, Any]:
        """The base's hash."""
        return {"base": self.settings.base}

    def results(self) -> dict[str, Any]:
        """What was trained on what, and the loss before."""
        settings = self.settings
        return {
            "method": "full" if settings.lora is None else "lora",
            "lora": None if settings.lora is None else settings.lora.model_dump(),
            "base": settings.base,
            "base_name": settings.base_name,
            "trained_parameters": settings.trained_parameters,
            "conversations": len(self.train_set),
            "heldout_conversations": len(self.heldout),
            "learned_tokens": self.train_set.labels,
            "before": self.before,
            "peak_memory_bytes": peak_memory(),
        }
