"""``foretell run graft``: the stages that give a language model eyes; each leaves a record and is passed over after."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from foretell.core.errors import InterruptedRunError, UserError
from foretell.core.files import atomic_directory, read_json, write_json
from foretell.core.hardware import available_cores, environment
from foretell.core.progress import say
from foretell.data.chat import ChatTemplate
from foretell.data.corpus import freeze_corpus
from foretell.data.images import ImageTokens
from foretell.data.messages import template_for_parts
from foretell.data.tokenizer import Tokenizer
from foretell.data.tokens import TokenDataset, tokenize_corpus
from foretell.data.visual.encode import VisualEncoder
from foretell.data.visual.freeze import freeze_visual
from foretell.data.visual.store import VisualSet
from foretell.infer.loading import LoadedModel, load_model
from foretell.model.decoder import Decoder
from foretell.model.hf import load_hf, save_hf
from foretell.model.lora import Adapter
from foretell.model.peft import save_adapter
from foretell.posttrain.base import weights_digest
from foretell.posttrain.graft import (
    Grafting,
    GraftSettings,
    Projecting,
    ProjectorSettings,
    grafted,
    image_token_ids,
)
from foretell.recipes.graft_config import GraftRecipe
from foretell.recipes.text_generators import GENERATORS
from foretell.recipes.visual_exam import by_kind, in_words, kinds_of, with_and_without
from foretell.recipes.workspace import Workspace
from foretell.train.checkpoint import newest_checkpoint
from foretell.train.config import VisualFeed
from foretell.train.display import Display
from foretell.train.evaluate import evaluate
from foretell.train.interrupt import graceful_stop, stop_requested
from foretell.train.loop import Trainer, recorded_result
from foretell.train.optimizer import trained_parameters


class GraftRun:
    """One recipe carried out in its run directory."""

    def __init__(self, recipe: GraftRecipe, workspace: Workspace) -> None:
        self.recipe, self.workspace, self.path = recipe, workspace, workspace.path

    def run(self) -> dict[str, Any]:
        """All stages; returns the scores.

        Raises:
            InterruptedRunError: on SIGTERM or Ctrl-C; the same call goes on.
            UserError: for anything the user has to put right.
        """
        if not self.path("environment.json").exists():
            write_json(self.path("environment.json"), environment() | {"threads": available_cores()})
        if not self.path("images.json").exists():
            _ = self.image_tokens, self.decoder  # what is wrong with them is said before anything is spent
        self.once("corpus/summary.json", "Corpus: text that keeps the adapter from unlearning it", self.corpus)
        self.once("tokens/index.json", "Tokens", self.tokens)
        self.once("visual/index.json", "Images: drawing and encoding questions about them", self.visual)
        self.once("projector/result.json", "Encoder and projector, by the language model's words", self.projector)
        self.once("adapter/result.json", "Adapter, encoder and projector", self.adapter)
        self.once("model/config.json", "The model and its adapter as directories", self.export)
        self.once("images.json", "Questions about images, and text", self.examine)
        return dict(read_json(self.path("images.json")))

    def once(self, record: str, title: str, stage: Callable[[], None]) -> None:
        """Carry out a stage whose last act is to write ``record``, unless it is there."""
        if stop_requested():
            raise InterruptedRunError(f"Interrupted before '{title}'; the same command goes on from there.")
        if not self.path(record).exists():
            with self.workspace.stage(record.partition("/")[0].removesuffix(".json"), title):
                stage()

    @functools.cached_property
    def base(self) -> LoadedModel:
        """The language model in float32, reading no more positions than a row has."""
        base = load_model(self.recipe.graft.model, dequantise=True, context=self.recipe.visual.room)
        room, context = self.recipe.visual.room, base.decoder.config.context
        if context < room:
            raise UserError(f"visual.room is {room}; {base.name} reads {context} positions at most.")
        if base.chat is None:
            raise UserError(f"graft.model is {base.name!r}, which has no chat template; a chat model is expected.")
        return base

    @functools.cached_property
    def image_tokens(self) -> ImageTokens:
        """Of the language model's vocabulary."""
        return ImageTokens(*image_token_ids(self.base.tokenizer, self.recipe.graft.image_tokens))

    @functools.cached_property
    def decoder(self) -> Decoder:
        """The graft as it begins."""
        source = Path(self.recipe.graft.encoder)
        if not source.exists():
            raise UserError(
                f"graft.encoder is {source}, which is not there; foretell run vision makes a model whose encoder can "
                "be grafted, or give the directory of another one."
            )
        encoder = load_hf(source / "model" if (source / "recipe.yaml").exists() else source)
        return grafted(self.base.decoder, encoder, self.image_tokens.image, self.recipe.seed)

    def corpus(self) -> None:
        """Freeze as much text as the adapter reads."""
        graft = self.recipe.graft
        positions = graft.adapter_steps * graft.text_rows * self.recipe.visual.room
        config = self.recipe.corpus
        config = config.model_copy(update={"max_bytes": min(config.max_bytes, max(500_000, 5 * positions))})
        freeze_corpus(config, self.recipe.seed, self.path("corpus"), GENERATORS)

    def tokens(self) -> None:
        """Encode it with the language model's tokenizer."""
        tokenize_corpus(self.path("corpus"), self.base.tokenizer, self.path("tokens"))

    def visual(self) -> None:
        """Draw or read the images, and write what is asked about them as the language model is asked."""
        vision = self.decoder.config.vision
        assert vision is not None and self.base.tokenizer.chat_template is not None
        chat = ChatTemplate(self.base.tokenizer.chat_template, self.base.tokenizer, self.recipe.graft.image_tokens[0])
        encoder = VisualEncoder(chat, self.image_tokens, vision.patch, vision.longest)
        freeze_visual(self.recipe.visual, self.recipe.seed, encoder, self.path("visual"), available_cores())

    def feed(self) -> VisualFeed:
        """The questions of a step, of either stage."""
        counts, visual = read_json(self.path("visual", "index.json"))["splits"]["train"], self.recipe.visual
        return VisualFeed(
            rows=self.recipe.graft.rows, room=visual.room, share=visual.share,
            patches=counts["patches"] / counts["rows"], image_patches=counts["patches"] / counts["images"],
            data=counts["digest"], look=visual.looked_at or tuple(source.label for source in visual.sources),
        )  # fmt: skip

    def stage(self) -> dict[str, Any]:
        """What both stages are told."""
        return {
            "model": self.decoder.config, "rows": self.recipe.graft.text_rows, "visual": self.feed(),
            "seed": self.recipe.seed, "data": read_json(self.path("tokens", "index.json"))["digest"],
            "training": self.recipe.training, "base": self.start,
        }  # fmt: skip

    @functools.cached_property
    def start(self) -> str:
        """Digest of the graft's weights as it begins."""
        return weights_digest(self.decoder)

    def projector_settings(self) -> ProjectorSettings:
        """The first stage in full; no decoder is computed in it that could be compiled."""
        graft, counts = self.recipe.graft, read_json(self.path("visual", "index.json"))["splits"]["train"]
        training = self.recipe.training.model_copy(update={"compile": "off", "keep_checkpoints": 1})
        return ProjectorSettings(
            label="projector", steps=graft.projector_steps, learning_rate=graft.projector_rate,
            questions=counts["questions"] / counts["rows"], **self.stage() | {"training": training},
        )  # fmt: skip

    def projector(self) -> None:
        """The first stage."""
        folder, settings = self.path("projector"), self.projector_settings()
        if recorded_result(folder, settings) is None:
            work = Projecting(settings, self.decoder, self.workspace.folder)
            Trainer(settings, work, folder, display=Display("projector", unit="nats per answer token")).run()
            work.finish()

    def adapter(self) -> None:
        """The second stage, from where the first one ended."""
        graft, folder, before = self.recipe.graft, self.path("adapter"), self.projector_settings()
        settings = GraftSettings(
            label="adapter", steps=graft.adapter_steps, learning_rate=graft.adapter_rate, lora=graft.lora,
            start=before.digest(), **self.stage(),
        )  # fmt: skip
        if recorded_result(self.path("projector"), before) is None:
            raise UserError(f"{self.path('projector')} began with other weights or settings; delete it and run again.")
        self.restore("projector")
        if recorded_result(folder, settings) is None:
            adapter = Adapter(self.decoder.config, graft.lora, self.recipe.seed)
            work = Grafting(settings, self.decoder, adapter, self.workspace.folder)
            Trainer(settings, work, folder, display=Display("adapter")).run()
            adapter.detach(self.decoder)

    def restore(self, stage: str) -> None:
        """Put what a finished stage trained into the model that is there, as far as it has a place in it.

        Raises:
            UserError: where the checkpoint of the stage's last step is gone or damaged.
        """
        steps = read_json(self.path(stage, "result.json"))["steps"]
        checkpoint = newest_checkpoint(self.path(stage, "checkpoints"))
        if checkpoint is None or checkpoint.step != steps:
            raise UserError(f"{self.path(stage)} has no whole checkpoint of step {steps}; delete it and run again.")
        self.decoder.requires_grad_(True)
        with torch.no_grad():
            for name, parameter in trained_parameters(self.decoder).items():
                if name in checkpoint.model:
                    parameter.copy_(checkpoint.model[name])

    def finished(self) -> tuple[Decoder, Adapter]:
        """The trained graft, and its adapter attached."""
        adapter = Adapter(self.decoder.config, self.recipe.graft.lora, self.recipe.seed)
        adapter.attach(self.decoder)
        self.restore("adapter")
        return self.decoder.eval(), adapter

    def tokenizer_for_parts(self) -> Tokenizer:
        """That of the language model, its chat template reading lists of text and images, as other programs send."""
        tokenizer, image = self.base.tokenizer, self.recipe.graft.image_tokens[0]
        assert tokenizer.chat_template is not None
        return tokenizer.with_chat_template(template_for_parts(tokenizer.chat_template, image))

    def export(self) -> None:
        """``model/``, a Llava directory with the language model as it was, and ``adapter/peft``."""
        decoder, adapter = self.finished()
        with atomic_directory(self.path("adapter", "peft")) as folder:
            save_adapter(adapter, folder, base=str(self.path("model").resolve()))
        adapter.detach(decoder)
        whole = load_model(self.recipe.graft.model, dequantise=True)  # its context is not that of a row
        config = decoder.config.model_copy(update={"context": whole.decoder.config.context})
        with torch.device("meta"):
            product = Decoder(config)
        product.load_state_dict(decoder.state_dict(), assign=True)
        with atomic_directory(self.path("model")) as folder:
            save_hf(product, folder, whole.special_ids, self.recipe.graft.image_tokens)
            self.tokenizer_for_parts().save(folder)

    def examine(self) -> None:
        """Score answers to held-out questions; the loss on held-out text with and without the adapter."""
        room, heldout = self.recipe.visual.room, VisualSet(self.path("visual"), "heldout")
        decoder, adapter = self.finished()
        texts = TokenDataset(self.path("tokens"), "heldout")
        record = by_kind(with_and_without(decoder, heldout, room, self.base.tokenizer.decode), kinds_of(heldout))
        text = {"with_adapter": evaluate(decoder, texts)["bits_per_byte"]}
        adapter.detach(decoder)
        text["without"] = evaluate(decoder, texts)["bits_per_byte"]
        write_json(self.path("text.json"), text)
        write_json(self.path("images.json"), record)
        for line in in_words(record):
            say(f"  {line}")
        say(f"  text: {text['with_adapter']:.4f} bits per byte with the adapter, {text['without']:.4f} without")


def run_graft(recipe: GraftRecipe) -> dict[str, Any]:
    """Carry out a graft, or go on with it, in ``recipe.output``.

    Raises:
        UserError: see :meth:`GraftRun.run`.
    """
    workspace = Workspace(recipe)
    try:
        with graceful_stop():
            return GraftRun(recipe, workspace).run()
    finally:
        workspace.close()
