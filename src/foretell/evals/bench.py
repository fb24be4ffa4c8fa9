"""``foretell bench eval``: log-likelihoods of PIQA and of MMLU with five examples against lm-evaluation-harness.

Both peers hold the same weights and the same tokenizer (for the harness, the model exported to a directory that
transformers loads), get the same contexts and continuations, have all cores and work when told to, in turn: the items
are cut into parts, and on each part one follows the other.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from foretell.core.errors import UserError
from foretell.core.hardware import available_cores, environment
from foretell.core.peers import Peer
from foretell.core.progress import track
from foretell.evals.asking import Asking
from foretell.evals.local import AT_ONCE, LocalModel
from foretell.evals.models import Prompt
from foretell.infer.engine import EngineOptions
from foretell.infer.export import export_model
from foretell.infer.loading import load_model
from foretell.tasks.registry import find_task

FORETELL, HARNESS = "foretell", "lm-eval"
BATCHES = (1, 8)  # of the harness, whose own default is 1
PARTS = 5
Pairs = list[tuple[str, str]]
Answer = Callable[[Pairs], tuple[float, list[float]]]


def foretell_peer(model: str, threads: int) -> Answer:
    """The model as ``foretell eval`` asks it; what it has in its cache is forgotten between parts."""
    local = LocalModel(load_model(model), "", options=EngineOptions(threads=threads, most=AT_ONCE))

    def answer(pairs: Pairs) -> tuple[float, list[float]]:
        local.forget()
        start = time.perf_counter()
        found = dict(local.likelihoods((Prompt(context), text) for context, text in pairs))
        return time.perf_counter() - start, [found[place].value for place in range(len(pairs))]

    return answer


def harness_peer(folder: Path, threads: int, batch: int) -> Answer:
    """The harness's model of transformers, in float32: it sorts by length, pads to batches, and computes contexts once
    whose continuations are single tokens.
    """
    torch.set_num_threads(threads)
    made = importlib.import_module("lm_eval.models.huggingface").HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=batch
    )
    instance = importlib.import_module("lm_eval.api.instance").Instance

    def answer(pairs: Pairs) -> tuple[float, list[float]]:
        asked = [instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs]
        start = time.perf_counter()
        found = made.loglikelihood(asked, disable_tqdm=True)
        return time.perf_counter() - start, [float(value) for value, _ in found]

    return answer


def workloads(data: Path, items: int, per_subject: int) -> dict[str, list[Pairs]]:
    """The parts of both tasks, each with all options of its items.

    Raises:
        UserError: where the data is not there, or a number is below 1.
    """
    if min(items, per_subject) < 1:
        raise UserError(f"--items is {items} and --per-subject {per_subject}; 1 or more is accepted.")
    return {
        f"piqa, {items} items": _parts(data, "piqa", Asking(limit=items)),
        f"mmlu, {per_subject} items a subject, 5-shot": _parts(data, "mmlu", Asking(limit=per_subject)),
    }


def _parts(data: Path, name: str, asking: Asking) -> list[Pairs]:
    task = find_task(name)
    loaded = task.load(data)
    items = asking.chosen(loaded.items)
    size = -(-len(items) // PARTS)
    parts = []
    for start in range(0, len(items), size):
        pairs: Pairs = []
        for item in items[start : start + size]:
            content = asking.prompt(task, loaded, item).content
            assert isinstance(content, str)
            pairs += [(content, option.text) for option in item.options]
        parts.append(pairs)
    return parts


def bench_eval(model: str, data: Path | None, items: int, per_subject: int) -> dict[str, Any]:
    """Time both peers on every part.

    Args:
        model: one of :func:`foretell.infer.loading.load_model`'s.
        data: folder of the tasks' data.
        items: of PIQA.
        per_subject: of each subject of MMLU.

    Returns:
        for each task and peer the seconds of all parts, the median over parts of how many times as fast foretell was,
        and how far log-likelihoods lie apart at most.

    Raises:
        UserError: where the harness is not installed, or model or data cannot be used.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError("foretell bench eval compares with lm-evaluation-harness: pip install 'lm-eval[hf]'.")
    if data is None:
        raise UserError("--data is missing; the folder with the data of PIQA and MMLU is expected.")
    work = workloads(data, items, per_subject)
    cores = available_cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model"
        export_model(load_model(model, dequantise=True), folder)
        peers = {FORETELL: stack.enter_context(Peer(foretell_peer, model, cores))}
        for batch in BATCHES:
            peers[f"{HARNESS}, batch {batch}"] = stack.enter_context(Peer(harness_peer, folder, cores, batch))
        for peer in peers.values():
            peer.ask([("Question: is it warm?\nAnswer:", " yes")])  # warms up
        rows = {name: _timed(peers, name, parts) for name, parts in work.items()}
    return {
        "what": f"log-likelihoods of options, {model}, seconds in all and median ratio of {PARTS} parts",
        "environment": {**environment(), "threads": cores, "versions": _versions()},
        "rows": rows,
    }


def _timed(peers: dict[str, Peer], name: str, parts: Sequence[Pairs]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {peer: [] for peer in peers}
    apart = 0.0
    for part in track(parts, name, len(parts)):
        answers = {peer: process.ask(part) for peer, process in peers.items()}
        for peer, (took, values) in answers.items():
            seconds[peer].append(took)
            apart = max(apart, *(abs(a - b) for a, b in zip(values, answers[FORETELL][1], strict=True)))
    ratios = {peer: statistics.median(a / b for a, b in zip(took, seconds[FORETELL], strict=True))
              for peer, took in seconds.items()}  # fmt: skip
    return {
        "pairs": sum(map(len, parts)),
        "seconds": {peer: sum(took) for peer, took in seconds.items()},
        "ratio": ratios,
        "ratio_to_fastest": min(ratio for peer, ratio in ratios.items() if peer != FORETELL),
        "log_likelihoods_apart_at_most": apart,
        "all": seconds,
    }


def _versions() -> dict[str, str]:
    return {name: str(importlib.import_module(name).__version__) for name in ("lm_eval", "transformers", "torch")}
