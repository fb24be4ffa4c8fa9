"""Supervised fine-tuning of a model on conversations, by LoRA or of all weights: planned, run, left as a directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError
from foretell.core.files import atomic_directory, require_space, require_writable
from foretell.core.hardware import default_device, matmul_peak
from foretell.core.progress import duration, say
from foretell.core.runlog import read_log
from foretell.data.conversations import ConversationSet, encode_conversations, lines_in_words, read_conversations
from foretell.data.packing import PackedStream
from foretell.infer.loading import LoadedModel, weights_folder
from foretell.model.config import count_parameters
from foretell.model.hf import save_hf
from foretell.model.lora import Adapter, lora_parameter_count
from foretell.model.peft import save_adapter
from foretell.posttrain.base import load_base, weights_digest
from foretell.posttrain.finetuning import FineTuning
from foretell.posttrain.settings import SFTOptions, SFTSettings
from foretell.train.config import GuardConfig, TrainingConfig
from foretell.train.display import Display
from foretell.train.loop import Trainer, recorded_result

SHORTEST_ROW, ROW_STEP = 256, 64  # rows are as short as the longest conversation allows, in steps
MICRO_TOKENS = {"cpu": 256, "cuda": 4_096}  # whose activations are held at once; few where cores are as fast with few
ASSUMED_PEAK_SHARE = 0.5  # of the measured matrix products, for the time that a dry run prints
ADAPTER_FOLDER, MODEL_FOLDER = "adapter", "model"


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start."""

    settings: SFTSettings
    base: LoadedModel
    train: ConversationSet
    heldout: ConversationSet
    too_long: list[int]  # lines
    rows: int  # that the epochs fill

    @property
    def filled(self) -> float:
        """Share of the rows' positions that are not padding."""
        return self.settings.epochs * int(self.train.lengths.sum()) / (self.rows * self.settings.room)


def plan_sft(options: SFTOptions, load: Callable[[SFTOptions], LoadedModel] = load_base) -> Plan:
    """Read data and model and derive the run.

    Raises:
        UserError: for data, a model or an option that cannot be used.
    """
    conversations = read_conversations(Path(options.data).expanduser())
    base = load(options)
    if base.chat is None:
        raise UserError(f"{base.name} has no chat template, which conversations are written with; use a chat model.")
    if not options.full:
        lora_parameter_count(base.decoder.config, options.lora.rank, options.lora.targets)  # refuses unknown targets
    context = min(base.context, options.context or base.context)
    encoded, too_long = encode_conversations(conversations, base.chat, context)
    train, heldout = encoded.split(options.held_out, options.seed)
    room = min(context, max(SHORTEST_ROW, -(-int(encoded.lengths.max()) // ROW_STEP) * ROW_STEP))
    if options.batch_tokens < room:
        raise UserError(
            f"batch_tokens is {options.batch_tokens} and a row takes {room} positions (the longest conversation, "
            f"{int(encoded.lengths.max())}, rounded up); give {room} or more, or a smaller context."
        )
    stream = PackedStream(train, room, 1, options.seed)
    rows = min(options.batch_tokens // room, stream.rows_of(1))
    settings = SFTSettings(
        label="sft",
        model=base.decoder.config,
        steps=-(-stream.rows_of(options.epochs) // rows),
        rows=rows,
        learning_rate=options.peak_rate,
        seed=options.seed,
        data=encoded.digest,
        training=_training(room),
        base=weights_digest(base.decoder),
        base_name=_name_of(options.model, base),
        lora=None if options.full else options.lora,
        room=room,
        epochs=options.epochs,
        held_out=options.held_out,
        checkpointing=options.checkpointing,
    )
    return Plan(settings, base, train, heldout, too_long, stream.rows_of(options.epochs))


def _name_of(source: str, base: LoadedModel) -> str:
    """Where PEFT finds the base: the full path of the folder with its weights, another model's name."""
    folder = Path(source).expanduser()
    return str(weights_folder(folder).resolve()) if folder.is_dir() else base.name


def _training(room: int) -> TrainingConfig:
    """Alpaca's schedule and decay (Taori et al. 2023), QLoRA's Adam (Dettmers et al. 2023, table 9)."""
    return TrainingConfig(
        schedule="cosine",
        warmup_fraction=0.03,
        weight_decay=0.0,
        beta2=0.999,
        epsilon=1e-8,
        micro_rows=max(1, MICRO_TOKENS.get(default_device().type, 256) // room),
        precision="bfloat16" if default_device().type == "cuda" else "float32",
        compile="off",
        evaluations=4,
        evaluation_rows=64,
        checkpoints=10,
        # A batch's answers are few, and losses of batches differ by more than those of pretraining.
        guard=GuardConfig(spike_nats=3.0),
    )


def plan_in_words(plan: Plan) -> list[str]:
    """What would be trained on what, and for how long."""
    settings, total = plan.settings, plan.settings.trained_parameters
    whole = count_parameters(settings.model).total
    how = "all weights" if settings.lora is None else f"LoRA of rank {settings.lora.rank}"
    seconds = settings.flops / (ASSUMED_PEAK_SHARE * matmul_peak(default_device()))
    lines = [
        f"model: {settings.base_name}, {whole:,} parameters; trained: {total:,} ({how})",
        f"data: {len(plan.train):,} conversations to train on, {len(plan.heldout):,} held out; "
        f"{plan.train.labels:,} tokens to learn an epoch",
        f"run: {settings.epochs} epoch(s) in {settings.steps:,} steps of {settings.rows} x {settings.room} positions "
        f"({plan.filled:.0%} filled), {settings.tokens:,} in all, learning rate {settings.learning_rate:g}",
        f"time: about {duration(seconds)}, {settings.flops:.3g} FLOPs at {ASSUMED_PEAK_SHARE:.0%} of this machine's "
        "measured matrix products",
    ]
    if plan.too_long:
        lines.append(f"left out: {lines_in_words(plan.too_long)} longer than the context")
    return lines


def run_sft(plan: Plan, output: Path, *, threads: int | None = None) -> dict[str, Any]:
    """Train, or go on with what is in ``output``, and leave an adapter in PEFT's format or a Hugging Face directory.

    Args:
        output: gets settings.json, log.jsonl, result.json, tensorboard/, checkpoints/, and adapter/ or model/.
        threads: cores to use; all when ``None``. Only the first start decides.

    Returns:
        the result record.

    Raises:
        UserError: where ``output`` holds another run, the disk is full, or training is interrupted or diverges.
    """
    settings, base = plan.settings, plan.base
    product = output / (MODEL_FOLDER if settings.lora is None else ADAPTER_FOLDER)
    done = recorded_result(output, settings)
    if done is not None and product.exists():
        say(f"{output} is finished already.")
        return done
    require_writable(output)
    # Weights and both moments, three of them while the newest is written.
    require_space(output, 3 * 12.0 * settings.trained_parameters, "the checkpoints")
    adapter = None if settings.lora is None else Adapter(settings.model, settings.lora, settings.seed)
    work = FineTuning(settings, base.decoder, plan.train, plan.heldout, adapter)
    peak = matmul_peak(default_device())
    trainer = Trainer(settings, work, output, threads=threads, peak=peak, display=Display("sft", unit="nats per token"))
    work.before = _before(trainer, output)
    result = trainer.run()
    with atomic_directory(product) as folder:  # it is there when it is whole: the run counts as finished by it
        if adapter is None:
            save_hf(trainer.model, folder, base.special_ids)
            base.tokenizer.save(folder)
        else:
            save_adapter(adapter, folder, base=settings.base_name)
    return result


def _before(trainer: Trainer, output: Path) -> dict[str, Any]:
    """Held-out figures of the base, measured now or when the run began."""
    found = [record for record in read_log(output / "log.jsonl", "eval") if record["step"] == 0]
    figures = found[0] if found else trainer.evaluate() if trainer.step == 0 else {}
    return {key: value for key, value in figures.items() if key == trainer.work.unit}
