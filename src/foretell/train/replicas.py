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
from foretell.model.decoder import Decoder
from foretell.train.objective import Objective, micro_batches
from foretell.train.optimizer import trained_parameters


def compile_blocks(model: Decoder) -> None:
    """Compile block by block, so that one compilation serves every layer."""
    for block in model.blocks:
        block.compile(dynamic=False)


def accumulate(
    model: Decoder, objective: Objective, batch: Batch, micro_rows: int, seed: int, share: float = 1.0
) -> float:
    """Add the gradients of ``share`` times the mean loss of ``batch``; returns the loss sum in nats.

    Args:
        model: whose gradients grow.
        objective: the loss.
        batch: a replica's part of one; its ``tokens`` are those of the whole.
        micro_rows: at most so many at a time.
        seed: of what the objective draws (dropout), so that a step that is taken again draws the same.
        share: of this batch in the step.
    """
    torch.manual_seed(seed)
    losses = []
    for tensors in micro_batches(batch, micro_rows):
        loss = objective(model, *tensors)
        (loss / (batch.tokens / share)).backward()
        losses.append(loss.detach())
    for parameter in trained_parameters(model).values():
        if parameter.grad is None:  # of a vision half where no row has an image
            parameter.grad = torch.zeros_like(parameter)
    return float(torch.stack(losses).sum())


def _serve(
    connection: Connection,
    parent: int,
    model: Decoder,
    gradient: Tensor,
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
    for parameter, part in zip(trained_parameters(model).values(), _parts(model, gradient), strict=True):
        parameter.grad = part
    if compiled:
        compile_blocks(model)
    with contextlib.suppress(EOFError):  # the first process ended without a word
        while (share := connection.recv()) is not None:
            arrays, tokens, *rest = share
            gradient.zero_()
            batch = Batch.of([torch.from_numpy(array) for array in arrays], tokens)
            connection.send(accumulate(model, objective, batch, micro_rows, *rest))


def _parts(model: Decoder, gradient: Tensor) -> list[Tensor]:
    """One vector as a view for each trained parameter."""
    parameters = list(trained_parameters(model).values())
    pieces = gradient.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]


class Replicas:
    """The other replicas of a model that trains in this process; use one for each run and close it.

    Args:
        model: moved into shared memory, where all replicas read it; its gradients are complete after
            :meth:`forward_backward`.
        count: replicas besides the model itself.
    """

    def __init__(self, model: Decoder, objective: Objective, micro_rows: int, count: int, compiled: bool) -> None:
        self.model, self.objective, self.micro_rows = model, objective, micro_rows
        model.share_memory()
        # One vector a replica: a file descriptor for each tensor would run into the limit on them.
        size = sum(parameter.numel() for parameter in trained_parameters(model).values())
        vectors = [torch.zeros(size).share_memory_() for _ in range(count)]
        self.gradients = [_parts(model, vector) for vector in vectors]
        context = multiprocessing.get_context("spawn")
        self.connections: list[Connection] = []
        self.processes = []
        for vector in vectors:
            ours, theirs = context.Pipe()
            arguments = (theirs, os.getpid(), model, vector, objective, micro_rows, compiled)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.processes.append(process)

    def forward_backward(self, batch: Batch, seed: int, share: float = 1.0) -> float:
        """Add the gradients of a batch to the model's ``grad``, in the order of the replicas; the loss sum.

        Args:
            batch: of all replicas together.
            seed: of this step; each replica's own follows from it.
            share: see :func:`accumulate`.

        Raises:
            UserError: when a replica was killed from outside.
        """
        count = len(self.processes) + 1
        shares = list(zip(*(tensor.chunk(count) for tensor in batch.tensors), strict=True))
        busy = self.connections[: len(shares) - 1]
        try:
            for number, connection in enumerate(busy, 1):
                arrays = [tensor.numpy() for tensor in shares[number]]
                connection.send((arrays, batch.tokens, seed + number, share))
            ours = Batch.of(shares[0], batch.tokens)
            total = accumulate(self.model, self.objective, ours, self.micro_rows, seed, share)
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
