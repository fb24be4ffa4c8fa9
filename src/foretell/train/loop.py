"""The one training loop."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections import deque
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from tensorboardX import SummaryWriter

from foretell.core.config import differences
from foretell.core.errors import DivergedError, InterruptedRunError, UserError
from foretell.core.files import read_json, write_json
from foretell.core.hardware import energy_counter, estimated_watts, keep_freed_memory
from foretell.core.progress import say
from foretell.core.runlog import RunLog, truncate_log
from foretell.data.stream import Batch, TokenStream
from foretell.data.tokens import TokenDataset
from foretell.model.config import count_parameters, six_n_flops, training_flops_per_token
from foretell.model.decoder import Decoder, build_decoder
from foretell.train.checkpoint import (
    Checkpoint,
    checkpoint_folders,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from foretell.train.config import RunSettings
from foretell.train.display import Display, StepView
from foretell.train.evaluate import evaluate
from foretell.train.execution import Execution, recorded_execution
from foretell.train.guard import Guard
from foretell.train.interrupt import stop_requested
from foretell.train.objective import Objective, next_token
from foretell.train.optimizer import build_optimizer, load_optimizer_tensors, optimizer_tensors, set_learning_rate
from foretell.train.replicas import Replicas, accumulate, compile_blocks

RECENT_STEPS = 32  # whose median speed is shown, and from which the time left follows
LOG_RECORDS = 400  # step records a run writes, evenly spaced


class Trainer:
    """One run in one folder: built, resumed where it was left, stepped, saved.

    The folder holds settings.json, execution.json, log.jsonl, tensorboard/, checkpoints/ and, at the end, result.json.

    Args:
        settings: the run in full.
        tokens: folder of the tokenised corpus.
        folder: where the run lives.
        threads: cores to use; all when ``None``. Only the first start decides, a resume keeps it.
        peak: measured matrix-product rate in FLOP/s that shares are quoted of.
        display: who shows the steps, if anyone.
    """

    def __init__(
        self,
        settings: RunSettings,
        tokens: Path,
        folder: Path,
        *,
        threads: int | None = None,
        peak: float = math.nan,
        display: Display | None = None,
        objective: Objective = next_token,
    ) -> None:
        self.settings, self.folder, self.peak, self.display = settings, folder, peak, display
        self.objective = objective
        claim_folder(folder, settings)
        self.execution: Execution = recorded_execution(folder, settings, threads)
        torch.set_num_threads(self.execution.threads)
        keep_freed_memory()
        self.device = torch.device(self.execution.device)
        cores = self.execution.threads * self.execution.replicas
        self.watts, self.assumption = estimated_watts(self.device, cores)
        self.train_set, self.heldout = TokenDataset(tokens, "train"), TokenDataset(tokens, "heldout")
        self.model = build_decoder(settings.model, settings.seed, self.device)
        self.replicas: Replicas | None = None
        if self.execution.replicas > 1:
            others = self.execution.replicas - 1
            self.replicas = Replicas(
                self.model, objective, settings.training.micro_rows, others, self.execution.compiled
            )
        self.optimizer = build_optimizer(self.model, settings)
        self.guard = Guard(settings.training.guard)
        self.stream = TokenStream(self.train_set, settings.model.context, settings.rows, settings.seed)
        self.step, self.seconds, self.joules, self.heldout_bits = 0, 0.0, 0.0, math.nan
        self.recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self.warm = False
        self.bits_per_nat = self.train_set.token_count / self.train_set.bytes / math.log(2)
        self.step_flops = settings.tokens_per_step * training_flops_per_token(settings.model)
        self.checkpoint_every = max(1, settings.steps // settings.training.checkpoints)
        self.resume()

    def resume(self) -> None:
        """Load the newest whole checkpoint, if there is one, and forget log records written after it."""
        for leftover in (self.folder / "checkpoints").glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        checkpoint = newest_checkpoint(self.folder / "checkpoints")
        if checkpoint is not None:
            self.load(checkpoint)
            self.stream.load_state_dict(checkpoint.state["stream"])
        for kind in ("step", "eval", "guard"):
            truncate_log(self.folder / "log.jsonl", kind, self.step)
        self.log = RunLog(self.folder / "log.jsonl")
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step or None)
        self.log.write("resume" if self.step else "start", step=self.step, **self.execution.model_dump())

    def load(self, checkpoint: Checkpoint) -> None:
        """Weights, optimizer, guard and step of a checkpoint."""
        self.model.load_state_dict(checkpoint.model)
        load_optimizer_tensors(self.model, self.optimizer, checkpoint.optimizer)
        self.guard.load_state_dict(checkpoint.state["guard"])
        self.step = checkpoint.step
        self.seconds, self.joules = checkpoint.state["seconds"], checkpoint.state["joules"]

    def save(self) -> None:
        """Write a checkpoint of this step."""
        state = {
            "stream": self.stream.state_dict(),
            "guard": self.guard.state_dict(),
            "seconds": self.seconds,
            "joules": self.joules,
        }
        weights = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        checkpoint = Checkpoint(self.step, weights, optimizer_tensors(self.model, self.optimizer), state)
        save_checkpoint(self.folder / "checkpoints", checkpoint, self.settings.training.keep_checkpoints)

    def run(self) -> dict[str, Any]:
        """Train to the end and return the result record.

        Raises:
            InterruptedRunError: on SIGTERM or Ctrl-C, after saving.
            DivergedError: when the guard gives up.
            UserError: when the disk is full.
        """
        settings = self.settings
        self.compile()
        try:
            with ExitStack() as stack:
                if self.display:
                    stack.enter_context(self.display)
                evaluate_every = settings.steps // settings.training.evaluations if settings.training.evaluations else 0
                while self.step < settings.steps:
                    self.train_step()
                    if evaluate_every and self.step % evaluate_every == 0 and self.step < settings.steps:
                        self.evaluate(settings.training.evaluation_rows)
                    if self.step % self.checkpoint_every == 0 or self.step == settings.steps or stop_requested():
                        self.save()
                    if stop_requested() and self.step < settings.steps:
                        raise InterruptedRunError(
                            f"Interrupted at step {self.step} of {settings.steps} of {settings.label}; the state is "
                            "saved and the same command goes on from there."
                        )
            return self.finish()
        finally:
            self.close()

    def compile(self) -> None:
        """Compile block by block, so that one compilation serves every layer."""
        if self.execution.compiled:
            say("  compiling the model (half a minute; training.compile=off leaves it out)")
            compile_blocks(self.model)

    def forward_backward(self) -> tuple[float, int]:
        """Gradients of the next batch, normalised by its tokens over the whole step; (mean nats, tokens)."""
        batch = self.stream.next_batch()
        if self.replicas:
            return self.replicas.forward_backward(batch) / batch.tokens, batch.tokens
        moved = Batch(batch.inputs.to(self.device), batch.labels.to(self.device), batch.tokens)
        precision = (
            torch.autocast(self.device.type, torch.bfloat16)
            if self.settings.training.precision == "bfloat16"
            else nullcontext()
        )
        with precision:
            total = accumulate(self.model, self.objective, moved, self.settings.training.micro_rows, batch.tokens)
        return total / batch.tokens, batch.tokens

    def train_step(self) -> None:
        """One optimizer step, judged by the guard and logged."""
        start, energy = time.perf_counter(), energy_counter()
        settings = self.settings
        rate = set_learning_rate(self.optimizer, settings, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss, tokens = self.forward_backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.training.clip, foreach=True))
        verdict, reason = self.guard.judge(self.step + 1, loss, norm)
        if verdict == "apply":
            self.optimizer.step()
        elif verdict == "roll back":
            self.roll_back(reason)
            return
        self.step += 1
        if verdict == "skip":
            self.log.write("guard", step=self.step, verdict=verdict, reason=reason, loss=loss, grad_norm=norm)
        elapsed = time.perf_counter() - start
        self.seconds += elapsed
        if self.warm:
            self.recent.append(elapsed)
        self.warm = True  # the first step of a process compiles
        after = energy_counter()
        self.joules += after - energy if after is not None and energy is not None else self.watts * elapsed
        self.record(loss, norm, rate, tokens, elapsed)

    def roll_back(self, reason: str) -> None:
        """Return to the last regular checkpoint and go on with data not yet seen."""
        regular = [
            path for path in checkpoint_folders(self.folder / "checkpoints")
            if int(path.name.removeprefix("step-")) % self.checkpoint_every == 0
        ]  # fmt: skip
        if not regular:
            raise DivergedError(
                f"Training stopped at step {self.step + 1}, before its first checkpoint: {reason}. "
                "Lower the learning rate and start again."
            )
        left, guard = self.step + 1, self.guard.state_dict()
        checkpoint = read_checkpoint(regular[-1])
        self.load(checkpoint)
        self.guard.load_state_dict({**guard, "losses": checkpoint.state["guard"]["losses"]})
        self.log.write("guard", step=self.step, verdict="roll back", reason=reason, from_step=left)
        say(f"  {reason}; back to step {self.step} and on with other data", "yellow")
        # The checkpoint now carries the stream's position and the count of rollbacks: a kill repeats neither.
        self.save()

    def record(self, loss: float, norm: float, rate: float, tokens: int, elapsed: float) -> None:
        """Write the step to log, TensorBoard and display."""
        settings = self.settings
        flops_per_second = self.step_flops / elapsed
        bits = loss * self.bits_per_nat
        if self.step % max(1, settings.steps // LOG_RECORDS) == 0 or self.step == settings.steps:
            figures = {"loss": loss, "bits_per_byte": bits, "learning_rate": rate, "grad_norm": norm,
                       "tokens_per_second": tokens / elapsed, "flops_per_second": flops_per_second}  # fmt: skip
            self.log.write("step", step=self.step, tokens=self.step * settings.tokens_per_step,
                           flops=self.step * self.step_flops, **figures)  # fmt: skip
            for name, value in figures.items():
                self.board.add_scalar(f"train/{name}", value, self.step)
        if self.display and self.recent:
            usual = statistics.median(self.recent)
            self.display.show(
                StepView(
                    self.step, settings.steps, loss, bits, self.heldout_bits, rate, settings.tokens_per_step / usual,
                    self.step_flops / usual, self.step_flops / usual / self.peak,
                    usual * (settings.steps - self.step),
                )
            )  # fmt: skip

    def evaluate(self, rows: int | None = None) -> dict[str, Any]:
        """Held-out figures now, logged."""
        torch.set_num_threads(self.execution.threads * self.execution.replicas)
        figures = evaluate(self.model, self.heldout, rows)
        torch.set_num_threads(self.execution.threads)
        self.heldout_bits = figures["bits_per_byte"]
        losses = {key: figures[key] for key in ("nats_per_token", "bits_per_byte", "bits_per_word")}
        done = {"tokens": self.step * self.settings.tokens_per_step, "flops": self.step * self.step_flops}
        self.log.write("eval", step=self.step, whole=rows is None, **done, **losses)
        self.board.add_scalar("heldout/bits_per_byte", figures["bits_per_byte"], self.step)
        return figures

    def finish(self) -> dict[str, Any]:
        """Evaluate on the whole held-out split and write result.json."""
        settings = self.settings
        figures = self.evaluate()
        average = self.seconds / settings.steps
        result = {
            "config_hash": settings.digest(),
            "label": settings.label,
            "role": settings.role,
            "seed": settings.seed,
            "width": settings.model.width,
            "parameters": count_parameters(settings.model).model_dump(),
            "tokens": settings.tokens,
            "flops": settings.flops,
            "flops_6nd": six_n_flops(settings.model, settings.tokens),
            "steps": settings.steps,
            "learning_rate": settings.learning_rate,
            "seconds": self.seconds,
            "tokens_per_second": settings.tokens_per_step / average,
            "flops_per_second": self.step_flops / average,
            "peak_share": None if math.isnan(self.peak) else self.step_flops / average / self.peak,
            "joules": self.joules,
            "joules_source": self.assumption if energy_counter() is None else "the processor's energy counter (RAPL)",
            "execution": self.execution.model_dump(),
            "heldout": figures,
            "finished": time.time(),
        }
        write_json(self.folder / "result.json", result)
        self.log.write("finish", step=self.step, bits_per_byte=figures["bits_per_byte"])
        return result

    def close(self) -> None:
        """Release files and the stream's thread."""
        if self.replicas:
            self.replicas.close()
        self.stream.close()
        self.board.close()
        self.log.close()


def claim_folder(folder: Path, settings: RunSettings) -> None:
    """Record the settings in a fresh folder, or check that the folder is of the same run.

    Raises:
        UserError: naming what differs.
    """
    path = folder / "settings.json"
    current = settings.model_dump(mode="json")
    if not path.exists():
        write_json(path, current)
        return
    changed = differences(read_json(path), current)
    if changed:
        raise UserError(f"{folder} holds a run with other settings: {'; '.join(changed[:5])}. Choose another folder.")


def recorded_result(folder: Path, settings: RunSettings) -> dict[str, Any] | None:
    """The result in ``folder`` if it is of exactly these settings."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result: dict[str, Any] = read_json(path)
    return result if result.get("config_hash") == settings.digest() else None


def trained_model(folder: Path, settings: RunSettings) -> Decoder:
    """The model of a finished run, from its last checkpoint.

    Raises:
        UserError: where no whole checkpoint of the last step is left.
    """
    checkpoint = newest_checkpoint(folder / "checkpoints")
    if checkpoint is None or checkpoint.step != settings.steps:
        raise UserError(f"{folder} has no whole checkpoint of step {settings.steps}; delete it and run again.")
    model = build_decoder(settings.model, settings.seed)
    model.load_state_dict(checkpoint.model)
    return model.eval()
