"""``foretell bench train``: a training step against transformers' Llama, side by side in one run, interleaved.

Each peer lives in processes of its own with all cores and takes one step when told to, in turn, so that a drift of the
machine's speed touches all alike. Same shape, batch, optimizer (fused AdamW), clipping and data; medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from foretell.core.errors import UserError
from foretell.core.hardware import available_cores, default_device, environment, keep_freed_memory, matmul_peak
from foretell.core.peers import Peer
from foretell.core.progress import track
from foretell.data.stream import Batch
from foretell.model.config import ModelConfig, ffn_width_for, training_flops_per_token
from foretell.model.decoder import build_decoder
from foretell.model.hf import config_to_hf
from foretell.model.parametrization import Parametrization
from foretell.train.config import RunSettings
from foretell.train.execution import has_compiler
from foretell.train.objective import next_token
from foretell.train.optimizer import build_optimizer
from foretell.train.replicas import Replicas, compile_blocks

ROWS, CONTEXT, DEPTH, VOCABULARY, HEAD_DIM = 16, 256, 3, 1024, 64
WARMUP_STEPS = 3
PEERS = ("foretell", "foretell-eager", "transformers")


def bench_model(width: int) -> ModelConfig:
    """The shape that is timed: LLaMA-type, depth 3, head dimension 64 as in SmolLM2-135M, vocabulary of 1,024."""
    if width < HEAD_DIM or width % HEAD_DIM:
        raise UserError(f"--widths is {width}: a multiple of {HEAD_DIM} is expected.")
    heads = width // HEAD_DIM
    return ModelConfig(vocab_size=VOCABULARY, width=width, depth=DEPTH, heads=heads, kv_heads=heads, head_dim=HEAD_DIM,
                       ffn_width=ffn_width_for(width), context=CONTEXT)  # fmt: skip


def _foretell_step(width: int, compiled: bool, cores: int) -> Callable[[], None]:
    """As the loop takes it: a replica a core, each on its share of the batch."""
    keep_freed_memory()
    settings = RunSettings(label="bench", model=bench_model(width), steps=1, rows=ROWS, learning_rate=1e-3)
    model = build_decoder(settings.model, 0)
    replicas = Replicas(model, next_token, settings.training.micro_rows, cores - 1, compiled)
    torch.set_num_threads(1)
    if compiled:
        compile_blocks(model)
    optimizer = build_optimizer(model, settings, Parametrization(model.config).groups(model))
    rows = torch.randint(0, VOCABULARY, (ROWS, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    batch = Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous(), ROWS * CONTEXT)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        replicas.forward_backward(batch, 0)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return step


def _transformers_step(width: int, cores: int) -> Callable[[], None]:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {**config_to_hf(bench_model(width)), "use_cache": False, "attn_implementation": "sdpa"}
    config = LlamaConfig(**shape)
    torch.set_num_threads(cores)
    model = LlamaForCausalLM(config)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    inputs = torch.randint(0, VOCABULARY, (ROWS, CONTEXT), generator=torch.Generator().manual_seed(0))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=inputs, labels=inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return step


def _step(peer: str, width: int, cores: int) -> Callable[[Any], float]:
    """A step of a peer, which answers with its seconds."""
    step = (
        _transformers_step(width, cores) if peer == "transformers" else _foretell_step(width, peer == "foretell", cores)
    )

    def timed(_: Any) -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    return timed


def time_width(width: int, steps: int, cores: int) -> dict[str, Any]:
    """Median seconds of ``steps`` steps of every peer at one width, taken in turn, with the matrix-product peak."""
    peers = [peer for peer in PEERS if peer != "foretell" or has_compiler()]
    with ExitStack() as stack:
        processes = {peer: stack.enter_context(Peer(_step, peer, width, cores)) for peer in peers}
        start_up = {peer: process.ask(None) for peer, process in processes.items()}
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}
        peaks = []
        for index in track(range(WARMUP_STEPS + steps), f"width {width}", WARMUP_STEPS + steps):
            for peer, process in processes.items():
                taken = process.ask(None)
                if index >= WARMUP_STEPS:
                    seconds[peer].append(taken)
            peaks.append(matmul_peak(default_device(), repeats=1))
    medians = {peer: statistics.median(values) for peer, values in seconds.items()}
    ours = medians[peers[0]]
    tokens, peak = ROWS * CONTEXT, statistics.median(peaks)
    return {
        "width": width,
        "foretell_tokens_per_second": tokens / ours,
        "eager_tokens_per_second": tokens / medians["foretell-eager"],
        "transformers_tokens_per_second": tokens / medians["transformers"],
        "ratio": medians["transformers"] / ours,
        "eager_ratio": medians["transformers"] / medians["foretell-eager"],
        "start_up_seconds": start_up,
        "flops_per_second": tokens * training_flops_per_token(bench_model(width)) / ours,
        "peak": peak,
        "peak_share": tokens * training_flops_per_token(bench_model(width)) / ours / peak,
        "seconds": seconds,
    }


def bench_train(widths: Sequence[int], steps: int) -> dict[str, Any]:
    """Time every width.

    Raises:
        UserError: where transformers is not installed, or fewer than ten steps are asked for.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            "foretell bench train compares with transformers: pip install '.[dev]' in a checkout."
        ) from error
    if steps < 10:
        raise UserError(f"--steps is {steps}: at least 10 are needed for a median.")
    for width in widths:
        bench_model(width)
    cores = available_cores()
    return {
        "what": f"training step, batch {ROWS} x {CONTEXT}, depth {DEPTH}, head dimension {HEAD_DIM}",
        "environment": {**environment(), "transformers": transformers.__version__, "threads": cores},
        "rows": [time_width(width, steps, cores) for width in widths],
    }
