"""Looking before answering: an image encoder that begins by reading questions' words off its features directly.

Behind a decoder, an encoder learns colours at once and shapes hardly at all: what an answer says of an image comes back
through layers that cannot read yet. So the encoder is trained alone first. A question, the mean of its tokens'
embeddings, attends to the features of its images once, and the words of its answer are read from what it gathers, all
of them at once and in no order (the bag of words of Joulin et al. 2016, *Learning visual features from large weakly
supervised data*, arXiv 1511.02251; attention pooling as in Radford et al. 2021, CLIP, arXiv 2103.00020). Encoder,
projector, embeddings and head go on into the run; the :class:`Readout` stays behind.

Letters: B rows of T positions, N patches, Q questions, D width, H heads.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.core.packing import BRANCHES
from foretell.data.packing import PackedStream
from foretell.data.stream import IGNORED
from foretell.model.decoder import Decoder
from foretell.model.parametrization import BASE_HEAD_DIM
from foretell.train.config import RunSettings, encoder_flops
from foretell.train.display import Display
from foretell.train.loop import Trainer, recorded_result
from foretell.train.multimodal import ANSWERS, VisualPretraining, answer_loss, pretraining
from foretell.train.objective import Objective
from foretell.train.work import Feed

FOLDER = "looking"  # of a run, with the records and weights of this part
ROW = 2**40  # above every number of a row's documents and branches
LEARNED = ("vision.", "embedding.", "head.", "norm.", "readout.")


class Readout(nn.Linear):
    """What reads an answer's words off features: queries made of questions, and what a question alone makes likely.

    Args:
        width: D.
        feature_size: root mean square of the features as they begin; queries are divided by it.
        prior: whether what a question makes likely is a matrix of its own. Where embeddings are trained they say it.
        device: of the matrices.
    """

    def __init__(self, width: int, feature_size: float, prior: bool, device: torch.device) -> None:
        super().__init__(width, width, bias=False, device=device)
        nn.init.zeros_(self.weight)  # every question starts with the mean of its patches
        self.feature_size = feature_size
        self.prior = nn.Linear(width, width, device=device) if prior else None
        for parameter in self.prior.parameters() if self.prior is not None else ():
            nn.init.zeros_(parameter)

    def forward(self, questions: Tensor) -> Tensor:
        """[Q, D] queries for questions [Q, D]."""
        return super().forward(questions) / self.feature_size

    def likely(self, questions: Tensor) -> Tensor:
        """[Q, D] what is added to what a question gathers."""
        return questions if self.prior is None else Tensor(self.prior(questions))


class LookSettings(RunSettings):
    """The part of a run in which its encoder looks alone; ``steps`` are those of this part."""

    @property
    def shared_rows(self) -> int:
        """Those of questions: there are no others."""
        assert self.visual is not None
        return self.visual.rows

    @property
    def tokens_per_step(self) -> int:
        """Patches of a step: nothing else is computed."""
        assert self.visual is not None
        return round(self.visual.rows * self.visual.patches)

    @property
    def flops_per_step(self) -> float:
        """Of encoder and projector; the readout is a hundredth of them."""
        assert self.visual is not None
        return encoder_flops(self.model, self.visual)

    @property
    def flops(self) -> float:
        """Of this part."""
        return self.steps * self.flops_per_step


def look_settings(settings: RunSettings) -> LookSettings:
    """What comes before a run whose feed has ``look_steps``."""
    assert settings.visual is not None
    values = settings.model_dump()
    values |= {"label": f"{settings.label}, looking", "steps": settings.visual.look_steps}
    values["training"] |= {"compile": "off", "keep_checkpoints": 1}
    return LookSettings.model_validate(values)


def words_from_features(
    model: Decoder,
    inputs: Tensor,
    labels: Tensor,
    documents: Tensor,
    positions: Tensor,
    patches: Tensor | None = None,
    places: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the words of every answer, in nats, summed over all but the token that ends it.

    Args:
        model: with a ``readout``.
        inputs, labels, documents, positions, patches, places: as :meth:`Decoder.loss` takes them. What
            is asked of no image counts nothing.
    """
    if patches is None or places is None:
        return model.embedding.weight.new_zeros(()).requires_grad_()
    vision = model.vision
    assert vision is not None
    features = vision.features(patches, places)
    image = inputs == vision.config.image_token
    rows = ROW * torch.arange(len(inputs), device=inputs.device).unsqueeze(1)
    branch, document = rows + documents, rows + documents // BRANCHES * BRANCHES
    # A word is a label that another one of the same answer follows; the last label is the answer's end.
    words = (labels != IGNORED) & (F.pad(labels[:, 1:], (0, 1), value=IGNORED) != IGNORED)
    asked, word_of = branch[words].unique(return_inverse=True)
    gathered = _gather(model, _questions(model, inputs, branch, asked, labels, image), features,
                       (asked // BRANCHES * BRANCHES).unsqueeze(1) == document[image])  # fmt: skip
    logits = F.linear(model.norm(gathered), model.head_weight) * model.output_scale
    return F.cross_entropy(logits[word_of], labels[words], reduction="sum")


def _questions(model: Decoder, inputs: Tensor, branch: Tensor, asked: Tensor, labels: Tensor, image: Tensor) -> Tensor:
    """[Q, D] mean embedding, normalised, of what stands in each branch of ``asked`` up to its first answer."""
    place = torch.searchsorted(asked, branch).clamp(max=len(asked) - 1)
    column = torch.arange(inputs.shape[1], device=inputs.device).expand_as(inputs)
    answers = labels != IGNORED
    first = column.new_full((len(asked),), inputs.shape[1])
    first = first.scatter_reduce(0, place[answers], column[answers], "amin")
    read = (asked[place] == branch) & (column <= first[place]) & ~image
    width = model.embedding.weight.shape[1]
    total = model.embedding.weight.new_zeros(len(asked), width)
    total = total.index_add(0, place[read], F.embedding(inputs[read], model.embedding.weight))
    return F.rms_norm(total, (width,))


def _gather(model: Decoder, questions: Tensor, features: Tensor, visible: Tensor) -> Tensor:
    """[Q, D] each question with what its images hold for it; ``visible`` bool [Q, N] says which patches are its own."""
    width = features.shape[1]
    heads = max(heads for heads in range(1, max(1, width // BASE_HEAD_DIM) + 1) if width % heads == 0)
    values = features.view(len(features), heads, -1)
    readout = model.get_submodule("readout")
    assert isinstance(readout, Readout)
    queries = readout(questions).view(len(questions), heads, -1)
    scores = torch.einsum("qhe,nhe->hqn", queries, values) / math.sqrt(values.shape[2])
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1).nan_to_num()  # nothing of no images
    gathered = torch.einsum("hqn,nhe->qhe", weights, values).flatten(1)
    return F.rms_norm(gathered, (width,)) + readout.likely(questions)


class Looking(VisualPretraining):
    """See :class:`foretell.train.work.Work`."""

    objective: Objective = staticmethod(words_from_features)
    unit = ANSWERS

    def __init__(self, settings: LookSettings, data: Path) -> None:
        super().__init__(settings, data / "tokens", data / "visual")
        self.per_nat = 1.0  # of nats per token of an answer, of which ends count as tokens and cost nothing
        self.shown = self.questions.of(self.feed.look)

    def build(self, device: torch.device) -> Decoder:
        """The run's model as it starts, with a readout; what the readout does not use is frozen."""
        model = super().build(device)
        model.add_module("readout", Readout(model.config.width, 1.0, prior=False, device=device))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(LEARNED))
        return model

    def open_feeds(self) -> dict[str, Feed]:
        """Questions about the images of the sources that are marked ``look``."""
        return {"answers": Feed(PackedStream(self.shown, self.feed.room, self.feed.rows, self.settings.seed))}

    def evaluate(self, model: Decoder, rows: int | None) -> dict[str, Any]:
        """The loss of the same readout on the held-out questions of these sources."""
        shown = self.heldout_questions.of(self.feed.look)
        loss, tokens = answer_loss(model, shown, self.feed.room, self.objective, rows)
        return {ANSWERS: loss, "answer_tokens": tokens}


def pretrain(
    settings: RunSettings,
    data: Path,
    folder: Path,
    *,
    threads: int | None = None,
    peak: float = math.nan,
    display: Display | None = None,
) -> dict[str, Any]:
    """A pretraining run, begun or gone on with, whose encoder looks first where its feed says so; returns its result.

    Args:
        settings, folder, threads, peak, display: as :class:`Trainer` takes them.
        data: what the run learns from; see :func:`foretell.train.multimodal.pretraining`.

    Raises:
        UserError: as :meth:`Trainer.run`.
    """
    feed, start = settings.visual, None
    if feed is not None and feed.look_steps:
        before, start = look_settings(settings), folder / FOLDER
        if recorded_result(start, before) is None:
            shown = Display(f"{display.title}: looking", unit="nats per answer token") if display else None
            Trainer(before, Looking(before, data), start, threads=threads, peak=peak, display=shown).run()
    return Trainer(
        settings, pretraining(settings, data, start), folder, threads=threads, peak=peak, display=display
    ).run()
