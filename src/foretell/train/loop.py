"""The one training loop."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections import deque
from collections.abc import Mapping
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
from foretell.model.config import count_parameters, six_n_flops
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
from foretell.train.execution import Execution, recorded_execution
from foretell.train.guard import Guard
from foretell.train.interrupt import stop_requested
from foretell.train.multimodal import ANSWERS, pretraining
from foretell.train.objective import Objective
from foretell.train.optimizer import (
    build_optimizer,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
    trained_parameters,
)
from foretell.train.replicas import Replicas, accumulate, compile_blocks
from foretell.train.work import Work

RECENT_STEPS = 32  # whose median speed is shown, and from which the time left follows
LOSSES = ("nats_per_token", "bits_per_byte", "bits_per_word", ANSWERS)  # of held-out figures, for the log
LOG_RECORDS = 400  # step records a run writes, evenly spaced


class Trainer:
    """One run in one folder: built, resumed where it was left, stepped, saved.

    The folder holds settings.json, execution.json, log.jsonl, tensorboard/, checkpoints/ and, at the end, result.json.

    Args:
        settings: the run in full.
        work: what is trained and on what; a folder stands for pretraining on its ``tokens`` (and ``visual``).
        folder: where the run lives.
        threads: cores to use; all when ``None``. Only the first start decides, a resume keeps it.
        peak: measured matrix-product rate in FLOP/s that shares are quoted of.
        display: who shows the steps, if anyone.
        objective: in the place of the work's own.
    """

    def __init__(
        self,
        settings: RunSettings,
        work: Work | Path,
        folder: Path,
        *,
        threads: int | None = None,
        peak: float = math.nan,
        display: Display | None = None,
        objective: Objective | None = None,
    ) -> None:
        self.settings, self.folder, self.peak, self.display = settings, folder, peak, display
        self.work: Work = pretraining(settings, work) if isinstance(work, Path) else work
        self.objective = objective or self.work.objective
        claim_folder(folder, settings)
        self.execution: Execution = recorded_execution(folder, settings, threads)
        torch.set_num_threads(self.execution.threads)
        keep_freed_memory()
        self.device = torch.device(self.execution.device)
        cores = self.execution.threads * self.execution.replicas
        self.watts, self.assumption = estimated_watts(self.device, cores)
        self.model = self.work.build(self.device)
        self.replicas: Replicas | None = None
        if self.execution.replicas > 1:
            others = self.execution.replicas - 1
            self.replicas = Replicas(
                self.model, self.objective, settings.training.micro_rows, others, self.execution.compiled
            )
        self.optimizer = build_optimizer(self.model, settings, self.work.groups(self.model))
        self.guard = Guard(settings.training.guard)
        self.feeds = self.work.open_feeds()
        self.step, self.seconds, self.joules, self.heldout = 0, 0.0, 0.0, math.nan
        self.recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self.warm = False
        self.step_flops = settings.flops_per_step
        self.checkpoint_every = max(1, settings.steps // settings.training.checkpoints)
        self.resume()

    def resume(self) -> None:
        """Load the newest whole checkpoint, if there is one, and forget log records written after it."""
        for leftover in (self.folder / "checkpoints").glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        checkpoint = newest_checkpoint(self.folder / "checkpoints")
        if checkpoint is not None:
            self.load(checkpoint)
            for name, feed in self.feeds.items():
                feed.stream.load_state_dict(checkpoint.state["streams"][name])
        for kind in ("step", "eval", "guard"):
            truncate_log(self.folder / "log.jsonl", kind, self.step)
        self.log = RunLog(self.folder / "log.jsonl")
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step or None)
        self.log.write("resume" if self.step else "start", step=self.step, **self.execution.model_dump())

    def load(self, checkpoint: Checkpoint) -> None:
        """Weights, optimizer, guard and step of a checkpoint.

        Raises:
            UserError: where it relies on something else than what there is now.
        """
        for name, value in self.work.identity().items():
            if checkpoint.state.get(name) != value:
                raise UserError(
                    f"The checkpoint in {self.folder} was made over another {name} ({checkpoint.state.get(name)!r} "
                    f"there, {value!r} now); give that one, or choose another folder."
                )
        with torch.no_grad():
            for name, parameter in trained_parameters(self.model).items():
                parameter.copy_(checkpoint.model[name])
        load_optimizer_tensors(self.model, self.optimizer, checkpoint.optimizer)
        self.guard.load_state_dict(checkpoint.state["guard"])
        self.step = checkpoint.step
        self.seconds, self.joules = checkpoint.state["seconds"], checkpoint.state["joules"]

    def save(self) -> None:
        """Write a checkpoint of this step."""
        state = {
            "streams": {name: feed.stream.state_dict() for name, feed in self.feeds.items()},
            "guard": self.guard.state_dict(),
            "seconds": self.seconds,
            "joules": self.joules,
            **self.work.identity(),
        }
        weights = {name: weight.detach().contiguous() for name, weight in trained_parameters(self.model).items()}
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

    def forward_backward(self) -> dict[str, float]:
        """Gradients of the next batches; mean nats of each feed."""
        # of dropout, in the 64 bits that PyTorch takes; the last ones tell replicas apart
        seed = ((self.settings.seed << 48) + (self.step << 16)) % 2**64
        training = self.settings.training
        precision = (
            torch.autocast(self.device.type, torch.bfloat16) if training.precision == "bfloat16" else nullcontext()
        )
        losses = {}
        for name, feed in self.feeds.items():
            batch = feed.stream.next_batch()
            if self.replicas:
                total = self.replicas.forward_backward(batch, seed, feed.share)
            else:
                with precision:
                    moved = batch.to(self.device)
                    total = accumulate(self.model, self.objective, moved, training.micro_rows, seed, feed.share)
            losses[name] = total / batch.tokens
        return losses

    def train_step(self) -> None:
        """One optimizer step, judged by the guard and logged."""
        start, energy = time.perf_counter(), energy_counter()
        settings = self.settings
        rate = set_learning_rate(self.optimizer, settings, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        if self.step == settings.turn:
            self.guard.forget()
        losses = self.forward_backward()
        loss = sum(feed.share * losses[name] for name, feed in self.feeds.items())
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
        self.record(losses, norm, rate, elapsed)

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

    def record(self, losses: Mapping[str, float], norm: float, rate: float, elapsed: float) -> None:
        """Write the step to log, TensorBoard and display."""
        settings = self.settings
        loss, *_ = losses.values()
        flops_per_second = self.step_flops / elapsed
        figure = loss * self.work.per_nat
        if self.step % max(1, settings.steps // LOG_RECORDS) == 0 or self.step == settings.steps:
            figures = {
                "loss": loss, self.work.unit: figure, "learning_rate": rate, "grad_norm": norm,
                "tokens_per_second": settings.tokens_per_step / elapsed, "flops_per_second": flops_per_second,
                **{feed.measure: losses[name] for name, feed in self.feeds.items() if feed.measure},
            }  # fmt: skip
            self.log.write("step", step=self.step, tokens=self.step * settings.tokens_per_step,
                           flops=settings.flops_at(self.step), **figures)  # fmt: skip
            for name, value in figures.items():
                self.board.add_scalar(f"train/{name}", value, self.step)
        if self.display and self.recent:
            usual = statistics.median(self.recent)
            self.display.show(
                StepView(
                    self.step, settings.steps, loss, figure, self.heldout, rate, settings.tokens_per_step / usual,
                    self.step_flops / usual, self.step_flops / usual / self.peak,
                    usual * (settings.steps - self.step),
                )
            )  # fmt: skip

    def evaluate(self, rows: int | None = None) -> dict[str, Any]:
        """Held-out figures now, logged."""
        torch.set_num_threads(self.execution.threads * self.execution.replicas)
        figures = self.work.evaluate(self.model, rows)
        torch.set_num_threads(self.execution.threads)
        if not figures:
            return figures
        self.heldout = figures[self.work.unit]
        losses = {key: figures[key] for key in LOSSES if key in figures}
        done = {"tokens": self.step * self.settings.tokens_per_step, "flops": self.settings.flops_at(self.step)}
        self.log.write("eval", step=self.step, whole=rows is None, **done, **losses)
        self.board.add_scalar(f"heldout/{self.work.unit}", self.heldout, self.step)
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
            **self.work.results(),
        }
        write_json(self.folder / "result.json", result)
        self.log.write("finish", step=self.step, **{self.work.unit: self.heldout})
        return result

    def close(self) -> None:
        """Release files and the stream's thread."""
        if self.replicas:
            self.replicas.close()
        for feed in self.feeds.values():
            feed.stream.close()
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
