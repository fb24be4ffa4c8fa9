"""Pretraining on text and on questions about images as work for the loop: one model, one step, two feeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.core.packing import BRANCHES
from foretell.data.packing import LeadingStream, Packable, PackedStream, first_fit, packed_batches
from foretell.data.stream import IGNORED
from foretell.data.visual.store import VisualSet
from foretell.model.decoder import Decoder
from foretell.train.checkpoint import newest_checkpoint
from foretell.train.config import RunSettings, VisualFeed
from foretell.train.objective import Objective
from foretell.train.pretraining import Pretraining
from foretell.train.work import Feed, Stream

ANSWERS = "nats_per_answer_token"


class VisualPretraining(Pretraining):
    """See :class:`foretell.train.work.Work`.

    Args:
        settings: the run in full, with its ``visual`` feed.
        tokens: folder of the tokenised corpus.
        visual: folder of the encoded visual documents.
        start: folder of the run that made the weights to start from (:mod:`foretell.train.looking`), or none.
    """

    def __init__(self, settings: RunSettings, tokens: Path, visual: Path, start: Path | None = None) -> None:
        super().__init__(settings, tokens)
        self.start = start
        assert settings.visual is not None
        self.feed: VisualFeed = settings.visual
        questions, heldout = VisualSet(visual, "train"), VisualSet(visual, "heldout")
        self.questions = questions.blank() if self.feed.blank else questions
        self.heldout_questions = heldout.blank() if self.feed.blank else heldout

    def build(self, device: torch.device) -> Decoder:
        """Initial values from the seed, or what looking made of them.

        Raises:
            UserError: where the weights to start from are gone.
        """
        model = super().build(device)
        if self.start is not None:
            checkpoint = newest_checkpoint(self.start / "checkpoints")
            if checkpoint is None:
                raise UserError(f"{self.start} has no whole checkpoint; delete the folder and run again.")
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(checkpoint.model.get(name, parameter))
        return model

    def results(self) -> dict[str, Any]:
        """What was done before the run's own steps."""
        return {"looking": _summary(read_json(self.start / "result.json"))} if self.start else {}

    def open_feeds(self) -> dict[str, Feed]:
        """Text, and questions about images."""
        feed = self.feed
        questions = self.questions.without(feed.only_looked_at) if feed.only_looked_at else self.questions
        whole = PackedStream(questions, feed.room, feed.rows, self.settings.seed)
        asked: Stream = whole
        if feed.lead_steps:
            lead = PackedStream(self.questions.of(feed.look), feed.room, feed.rows, self.settings.seed)
            asked = LeadingStream(lead, whole, feed.lead_steps)
        text = super().open_feeds()["text"]
        return {"text": Feed(text.stream, 1.0 - feed.share), "answers": Feed(asked, feed.share, ANSWERS)}

    def evaluate(self, model: Decoder, rows: int | None) -> dict[str, Any]:
        """The text's figures, and the loss on the answers to held-out questions."""
        answers, tokens = answer_loss(model, self.heldout_questions, self.feed.room, self.objective, rows)
        return {**super().evaluate(model, rows), ANSWERS: answers, "answer_tokens": tokens}


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    return {"steps": result["steps"], "seconds": result["seconds"], "flops": result["flops"], **result["heldout"]}


def pretraining(settings: RunSettings, data: Path, start: Path | None = None) -> Pretraining:
    """The work of a pretraining run on what ``data`` holds: ``tokens``, and ``visual`` where it learns from images."""
    if settings.visual is None:
        return Pretraining(settings, data / "tokens")
    return VisualPretraining(settings, data / "tokens", data / "visual", start)


@torch.no_grad()
def answer_loss(
    model: Decoder, questions: Packable, room: int, objective: Objective, rows: int | None, at_once: int = 8
) -> tuple[float, int]:
    """Mean nats a token of answers, over all of ``questions`` or its first ``rows`` rows, and how many tokens."""
    total, tokens = 0.0, 0
    device = model.embedding.weight.device
    training = model.training
    model.eval()
    for index, batch in enumerate(packed_batches(questions, room, at_once)):
        if rows is not None and index * at_once >= rows:
            break
        total += float(objective(model, *batch.to(device).tensors))
        tokens += batch.tokens
    model.train(training)
    return total / tokens, tokens


def exact_matches(model: Decoder, questions: VisualSet, room: int, at_once: int = 8) -> NDArray[np.bool_]:
    """Which questions the model answers greedily with exactly the stored answer, in the order of ``questions``.

    Greedy decoding writes the stored answer if and only if each of its tokens is the likeliest after those before it,
    so that one forward pass tells.
    """
    return np.asarray([written == stored for written, stored in greedy_answers(model, questions, room, 1, at_once)])


@torch.no_grad()
def greedy_answers(
    model: Decoder, questions: Packable, room: int, passes: int, at_once: int = 8
) -> list[tuple[list[int], list[int]]]:
    """For each question, in order, the tokens that the model writes and those of the stored answer, equally many.

    Each token is the likeliest after those before it: after its own ``passes`` - 1 first ones, and stored ones behind
    them. So many passes as an answer has tokens make all of it the model's own.
    """
    device = model.embedding.weight.device
    found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    rows = first_fit(questions.lengths, range(len(questions.lengths)), room)
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        inputs, labels, documents, *rest = questions.batch(part, room).to(device).tensors
        counts = labels != IGNORED
        goes_on = counts[:, :-1] & counts[:, 1:]  # an answer's token that another follows
        for _ in range(passes):
            hidden = model.hidden(inputs, None, documents, *rest)
            written = torch.full_like(labels, IGNORED)
            written[counts] = torch.nn.functional.linear(hidden[counts], model.head_weight).argmax(-1)
            inputs = inputs.clone()
            inputs[:, 1:][goes_on] = written[:, :-1][goes_on]
        for row, items in enumerate(part):
            asked = counts[row]
            for number, own, stored in zip(*(column[row][asked].tolist() for column in (documents, written, labels)),
                                           strict=True):  # fmt: skip
                place, branch = divmod(number, BRANCHES)
                owns, storeds = found.setdefault((items[place], max(1, branch)), ([], []))
                owns.append(own)
                storeds.append(stored)
    # Questions of a document are its branches 1, 2, ...; a single one is the trunk itself.
    return [found[key] for key in sorted(found)]
