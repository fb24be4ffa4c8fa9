"""Small runs side by side: one process a core, one thread each, each in a folder named by its settings' hash."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from foretell.core.errors import DivergedError, InterruptedRunError, UserError
from foretell.core.files import write_json
from foretell.core.processes import POLL_SECONDS, leave_with_parent
from foretell.core.progress import Meter, meter
from foretell.core.runlog import read_log
from foretell.train.config import RunSettings
from foretell.train.interrupt import graceful_stop, stop_requested
from foretell.train.looking import FOLDER as LOOKING
from foretell.train.looking import pretrain
from foretell.train.loop import recorded_result

STOP_SECONDS = 20.0  # how long a worker may take to save after SIGTERM
Job = tuple[RunSettings, Path, Path, float]  # settings, data, folder, peak


def job_folder(folder: Path, settings: RunSettings) -> Path:
    """Where a run of the ladder lives; the name carries the start of its hash."""
    return folder / f"{settings.role}-w{settings.model.width}-s{settings.seed}-{settings.digest()[:10]}"


def train_job(settings: RunSettings, data: Path, folder: Path, peak: float) -> dict[str, Any]:
    """Train one run on one thread; a run that diverges is recorded as such, without a loss.

    Raises:
        UserError: as :meth:`foretell.train.loop.Trainer.run`, but for divergence.
    """
    try:
        return recorded_result(folder, settings) or pretrain(settings, data, folder, threads=1, peak=peak)
    except DivergedError as error:
        result = {
            "config_hash": settings.digest(), "label": settings.label, "role": settings.role, "seed": settings.seed,
            "width": settings.model.width, "flops": settings.flops, "learning_rate": settings.learning_rate,
            "diverged": str(error),
        }  # fmt: skip
        write_json(folder / "result.json", result)
        return result


def _serve(connection: Connection, parent: int) -> None:
    """A worker's life: jobs come in, results or user errors go out, until the parent says or is gone."""
    leave_with_parent(parent)
    with graceful_stop():
        # Ctrl-C reaches the whole group; the parent alone decides and passes it on as SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while not stop_requested() and (job := connection.recv()) is not None:
            try:
                connection.send(train_job(*job))
            except UserError as error:
                connection.send(error)
                return


class _Worker:
    """A worker process and the job it has."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.index: int | None = None

    def give(self, index: int | None, job: Job | None) -> None:
        self.index = index
        self.connection.send(job)

    def take(self) -> dict[str, Any]:
        """The result of its job.

        Raises:
            UserError: the worker's own, or that it was killed.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise UserError(
                f"A ladder process ended unexpectedly (exit code {self.process.exitcode}; out of memory?); "
                "start the same command again to go on."
            ) from error
        if isinstance(answer, UserError):
            raise answer
        return dict(answer)

    def stop(self) -> None:
        """Let it save, then see that it is gone."""
        with contextlib.suppress(OSError):
            self.connection.send(None)  # wakes one that waits for work
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run_jobs(
    jobs: Sequence[RunSettings], data: Path, folder: Path, processes: int, peak: float, description: str,
    keep: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train what is not recorded yet, ``processes`` at a time, and return every result in the order asked for.

    ``data`` is the folder that holds ``tokens`` and, where runs learn from images, ``visual``. The weights of a
    finished run are removed, for its records say all, unless ``keep``.

    Raises:
        InterruptedRunError: on SIGTERM or Ctrl-C, after every worker has saved.
        UserError: the first error of a worker.
    """
    folders = [job_folder(folder, job) for job in jobs]
    results = [recorded_result(path, job) for path, job in zip(folders, jobs, strict=True)]
    missing = [index for index, result in enumerate(results) if result is None]
    if missing:
        share = peak / processes if not math.isnan(peak) else peak
        queue = [(index, (jobs[index], data, folders[index], share)) for index in missing]
        with meter(description, sum(jobs[index].flops for index in missing)) as shown:
            for index, result in _train_all(queue, min(processes, len(missing)), shown).items():
                results[index] = result
    if not keep:
        for path in folders:
            forget_weights(path)
    return [result for result in results if result is not None]


def forget_weights(folder: Path) -> None:
    """Remove a finished run's checkpoints; its records stay."""
    for part in (folder, folder / LOOKING):
        shutil.rmtree(part / "checkpoints", ignore_errors=True)


def _train_all(queue: list[tuple[int, Job]], processes: int, shown: Meter) -> dict[int, dict[str, Any]]:
    """Hand out the queue until it is empty and every result is in."""
    waiting, results = list(queue), {}
    progress = _Progress([job for _, job in queue], shown)
    workers = [_Worker() for _ in range(processes)]
    try:
        for worker in workers:
            worker.give(*waiting.pop(0))
        while any(worker.index is not None for worker in workers):
            busy = {worker.connection: worker for worker in workers if worker.index is not None}
            for ready in wait(list(busy), timeout=POLL_SECONDS):
                worker = busy[ready]  # type: ignore[index]
                result = worker.take()
                if worker.index is not None:
                    results[worker.index] = result
                worker.give(*(waiting.pop(0) if waiting else (None, None)))
            progress.update()
            if stop_requested():
                raise InterruptedRunError("Interrupted during the ladder; the same command goes on from there.")
        return results
    finally:
        for worker in workers:
            if worker.index is not None and worker.process.is_alive():
                worker.process.terminate()
        for worker in workers:
            worker.stop()


class _Progress:
    """FLOPs done by all jobs, read from their logs."""

    def __init__(self, jobs: list[Job], shown: Meter) -> None:
        self.jobs, self.shown = jobs, shown
        self.flops = [self._flops(job) for job in jobs]
        shown.advance(sum(self.flops))

    @staticmethod
    def _flops(job: Job) -> float:
        settings, _, folder, _ = job
        last = 0.0
        for record in read_log(folder / "log.jsonl", "step"):
            last = record["flops"]
        return min(last, settings.flops)

    def update(self) -> None:
        """Advance the display to where the logs are."""
        before = sum(self.flops)
        for index, job in enumerate(self.jobs):
            if self.flops[index] < job[0].flops:  # a finished run's log is not read again
                self.flops[index] = self._flops(job)
        self.shown.advance(sum(self.flops) - before)
