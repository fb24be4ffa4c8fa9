"""Data parallelism over the cores of one CPU: a process a core, weights shared, gradients added in a fixed order.

Many small operations on two threads spend much of their time waiting for each other; one thread a process on half of
the batch does not. Weights lie in shared memory, so that an optimizer step in the first process is seen by all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection

import torch
import torch.multiprocessing  # registers shared-memory pickling of tensors
from torch import Tensor

from foretell.core.errors import UserError
from foretell.core.hardware import keep_freed_memory
from foretell.core.processes import leave_with_parent
from foretell.data.stream import Batch
from foretell.model.config import ModelConfig
from foretell.model.decoder import Decoder, build_decoder
from foretell.train.objective import Objective, micro_batches


def compile_blocks(model: Decoder) -> None:
    """Compile block by block, so that one compilation serves every layer."""
    for block in model.blocks:
        block.compile(dynamic=False)


def accumulate(model: Decoder, objective: Objective, batch: Batch, micro_rows: int, tokens: int) -> float:
    """Add the gradients of ``batch``, normalised by ``tokens`` of the whole step; returns the loss sum in nats."""
    losses = []
    for inputs, labels in micro_batches(batch, micro_rows):
        loss = objective(model, inputs, labels)
        (loss / tokens).backward()
        losses.append(loss.detach())
    return float(torch.stack(losses).sum())


def _serve(
    connection: Connection,
    parent: int,
    config: ModelConfig,
    weights: list[Tensor],
    gradients: list[Tensor],
    objective: Objective,
    micro_rows: int,
    compiled: bool,
) -> None:
    """A replica's life: a share of the batch comes in, gradients go to shared memory, the loss goes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_with_parent(parent)
    keep_freed_memory()
    torch.set_num_threads(1)
    model = build_decoder(config)
    for parameter, weight, gradient in zip(model.parameters(), weights, gradients, strict=True):
        parameter.data = weight
        parameter.grad = gradient
    if compiled:
        compile_blocks(model)
    with contextlib.suppress(EOFError):  # the first process ended without a word
        while (share := connection.recv()) is not None:
            inputs, labels, tokens = share
            torch._foreach_zero_(gradients)
            batch = Batch(torch.from_numpy(inputs), torch.from_numpy(labels), tokens)
            connection.send(accumulate(model, objective, batch, micro_rows, tokens))


class Replicas:
    """The other replicas of a model that trains in this process; use one for each run and close it.

    Args:
        model: moved into shared memory; its gradients are complete after :meth:`forward_backward`.
        count: replicas besides the model itself.
    """

    def __init__(self, model: Decoder, objective: Objective, micro_rows: int, count: int, compiled: bool) -> None:
        self.model, self.objective, self.micro_rows = model, objective, micro_rows
        weights = [parameter.data.share_memory_() for parameter in model.parameters()]
        self.gradients = [[torch.zeros_like(weight).share_memory_() for weight in weights] for _ in range(count)]
        context = multiprocessing.get_context("spawn")
        self.connections: list[Connection] = []
        self.processes = []
        for gradients in self.gradients:
            ours, theirs = context.Pipe()
            arguments = (theirs, os.getpid(), model.config, weights, gradients, objective, micro_rows, compiled)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.processes.append(process)

    def forward_backward(self, batch: Batch) -> float:
        """Gradients of the whole batch in the model's ``grad``, added in the order of the replicas; the loss sum.

        Raises:
            UserError: when a replica was killed from outside.
        """
        shares = list(zip(batch.inputs.chunk(len(self.processes) + 1), batch.labels.chunk(len(self.processes) + 1),
                          strict=True))  # fmt: skip
        busy = self.connections[: len(shares) - 1]
        try:
            for connection, (inputs, labels) in zip(busy, shares[1:], strict=True):
                connection.send((inputs.numpy(), labels.numpy(), batch.tokens))
            inputs, labels = shares[0]
            own = Batch(inputs, labels, batch.tokens)
            total = accumulate(self.model, self.objective, own, self.micro_rows, batch.tokens)
            total += sum(float(connection.recv()) for connection in busy)
        except (EOFError, OSError) as error:
            raise UserError(
                "A helper process of the training run ended unexpectedly (out of memory?); "
                "start the same command again to go on."
            ) from error
        for gradients in self.gradients[: len(busy)]:
            torch._foreach_add_([p.grad for p in self.model.parameters() if p.grad is not None], gradients)
        return total

    def close(self) -> None:
        """End the helper processes."""
        for connection, process in zip(self.connections, self.processes, strict=True):
            with contextlib.suppress(OSError):
                connection.send(None)
            process.join(5)
            if process.is_alive():
                process.kill()
