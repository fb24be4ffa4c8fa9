"""``foretell bench serve``: decoding, eight streams and prompts against transformers and llama.cpp, in one run.

All peers hold the same weights and get the same ids; each has all cores and works when told to, in turn. Answers are
greedy and go on to the full length whatever comes.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foretell.core.errors import UserError
from foretell.core.hardware import available_cores, environment
from foretell.core.peers import Peer
from foretell.core.progress import track
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.loading import EMBEDDED, embedded_file, load_model
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling

NEW_TOKENS = 64
STREAMS = 8
PROMPT_TOKENS, LONG_PROMPT = 32, 1_000
PEERS = {"foretell": None, "llama.cpp": "llama_cpp", "transformers": "transformers"}
INSTALLED_BY = {"llama.cpp": "llama-cpp-python (which compiles for minutes)", "transformers": "transformers"}


@dataclass(frozen=True)
class Work:
    """What a peer is asked to do.

    Attributes:
        prompts: ids of each.
        tokens: to generate after each, at least 1.
    """

    prompts: tuple[tuple[int, ...], ...]
    tokens: int


@dataclass(frozen=True)
class Done:
    """What it took.

    Attributes:
        first: seconds until every prompt was read and its first token known.
        all: seconds until the end.
        ids: generated after each prompt.
    """

    first: float
    all: float
    ids: tuple[tuple[int, ...], ...]


Answer = Callable[[Work], Done]


def workloads(vocab_size: int, seed: int) -> dict[str, Work]:
    """Prompts of random ids, so that no peer finds any of them in a cache.

    A prompt is read and one token generated; decoding is what comes after the first token.
    """
    generator = torch.Generator().manual_seed(seed)

    def prompts(count: int, length: int) -> tuple[tuple[int, ...], ...]:
        rows = torch.randint(100, vocab_size, (count, length), generator=generator)
        return tuple(tuple(row) for row in rows.tolist())

    return {
        "decode": Work(prompts(1, PROMPT_TOKENS), NEW_TOKENS),
        "streams": Work(prompts(STREAMS, PROMPT_TOKENS), NEW_TOKENS),
        "prefill": Work(prompts(1, LONG_PROMPT), 1),
    }


def rate(name: str, work: Work, done: Done) -> float:
    """Tokens a second of one workload: generated after the first, generated in all, or read."""
    if name == "decode":
        return (work.tokens - 1) / (done.all - done.first)
    if name == "streams":
        return len(work.prompts) * work.tokens / done.all
    return len(work.prompts[0]) / done.first


def foretell_peer(model: str, threads: int) -> Answer:
    """The engine as the service runs it."""
    loaded = load_model(model)
    engine = Engine(loaded.decoder, loaded.tokenizer, EngineOptions(threads=threads))

    def answer(work: Work) -> Done:
        start = time.perf_counter()
        numbers = [engine.submit(Request(ids, work.tokens, Sampling(temperature=0))) for ids in work.prompts]
        ids: dict[int, list[int]] = {number: [] for number in numbers}
        first = 0.0
        while not engine.idle:
            for number, update in engine.step():
                ids[number] += update.tokens
            if not first and all(ids.values()):
                first = time.perf_counter() - start
        return Done(first, time.perf_counter() - start, tuple(tuple(ids[number]) for number in numbers))

    return answer


def transformers_peer(model: str, threads: int) -> Answer:
    """``generate`` with its cache, in float32: the weights dequantised."""
    from transformers import AutoModelForCausalLM, StoppingCriteria

    torch.set_num_threads(threads)
    path = Path(_file(model))
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name} if path.is_file() else {
        "pretrained_model_name_or_path": str(path)
    }  # fmt: skip
    theirs = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    times: list[float] = []

    class Clock(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            times.append(time.perf_counter())
            return torch.zeros(ids.shape[0], dtype=torch.bool)

    @torch.inference_mode()
    def answer(work: Work) -> Done:
        times.clear()
        ids = torch.tensor(work.prompts)
        start = time.perf_counter()
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=work.tokens, min_new_tokens=work.tokens,
            do_sample=False, pad_token_id=0, stopping_criteria=[Clock()],
        )  # fmt: skip
        end = time.perf_counter()
        return Done(times[0] - start, end - start, tuple(tuple(row[ids.shape[1] :]) for row in out.tolist()))

    return answer


def llama_peer(model: str, threads: int) -> Answer:
    """llama.cpp through llama-cpp-python: its batched API, greedy, a sequence for each prompt."""
    llama = importlib.import_module("llama_cpp")
    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, None)
    llama.llama_backend_init()
    settings = llama.llama_model_default_params()
    loaded = llama.llama_model_load_from_file(_file(model).encode(), settings)
    options = llama.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = 4096, 2048, 512
    options.n_seq_max, options.kv_unified = STREAMS, True  # one cache for all, as ours is
    options.n_threads = options.n_threads_batch = threads
    context = llama.llama_init_from_model(loaded, options)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(loaded))
    batch = llama.llama_batch_init(options.n_batch, 0, STREAMS)

    def decode(rows: Sequence[tuple[int, int, int, bool]]) -> None:
        """Rows of (id, position, sequence, whether its logits are wanted)."""
        batch.n_tokens = len(rows)
        for index, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
            batch.logits[index] = wanted
        if llama.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")

    def likeliest(row: int) -> int:
        logits = llama.llama_get_logits_ith(context, row)
        address = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * vocabulary)).contents
        return int(torch.frombuffer(address, dtype=torch.float32).argmax())

    def answer(work: Work, _keep: Any = quiet) -> Done:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        start = time.perf_counter()
        rows = [(token, at, sequence, at == len(ids) - 1) for sequence, ids in enumerate(work.prompts)
                for at, token in enumerate(ids)]  # fmt: skip
        decode(rows)
        last = [index for index, row in enumerate(rows) if row[3]]
        made = [[likeliest(index)] for index in last]
        first = time.perf_counter() - start
        for step in range(work.tokens - 1):
            decode([(ids[-1], len(prompt) + step, sequence, True)
                    for sequence, (prompt, ids) in enumerate(zip(work.prompts, made, strict=True))])  # fmt: skip
            for sequence, ids in enumerate(made):
                ids.append(likeliest(sequence))
        return Done(first, time.perf_counter() - start, tuple(tuple(ids) for ids in made))

    return answer


def _file(model: str) -> str:
    """The weights' own place: of the embedded model its file."""
    return str(embedded_file()) if model == EMBEDDED else model


_BUILDERS = {"foretell": foretell_peer, "llama.cpp": llama_peer, "transformers": transformers_peer}


def bench_serve(model: str, rounds: int, peers: Sequence[str]) -> dict[str, Any]:
    """Time every workload of every peer ``rounds`` times, interleaved; medians.

    Raises:
        UserError: where a peer is not installed, a name is unknown, or fewer than three rounds are asked for.
    """
    if rounds < 3:
        raise UserError(f"--rounds is {rounds}; at least 3 are needed for a median.")
    for peer in peers:
        if peer not in PEERS:
            raise UserError(f"--peers has {peer!r}; {', '.join(PEERS)} are known.")
        package = PEERS[peer]
        if package is not None and importlib.util.find_spec(package) is None:
            raise UserError(f"The peer {peer} is not installed: pip install {INSTALLED_BY[peer]}.")
    cores = available_cores()
    vocab_size = load_model(model).decoder.config.vocab_size
    rates: dict[str, dict[str, list[float]]] = {peer: {} for peer in peers}
    same: dict[str, list[float]] = {peer: [] for peer in peers}
    with ExitStack() as stack:
        processes = {peer: stack.enter_context(Peer(_BUILDERS[peer], model, cores)) for peer in peers}
        for index in track(range(rounds + 1), "rounds", rounds + 1):
            for name, work in workloads(vocab_size, index).items():
                answers = {peer: process.ask(work) for peer, process in processes.items()}
                if index == 0:  # the first is to warm up
                    continue
                for peer, done in answers.items():
                    rates[peer].setdefault(name, []).append(rate(name, work, done))
                    same[peer].append(_agreement(done.ids, answers[peers[0]].ids))
    medians = {peer: {name: statistics.median(values) for name, values in found.items()}
               for peer, found in rates.items()}  # fmt: skip
    ours = medians[peers[0]]
    return {
        "what": f"{model}: decode {NEW_TOKENS} tokens after {PROMPT_TOKENS}, {STREAMS} streams of the same, and a "
                f"prompt of {LONG_PROMPT} tokens; tokens/s, medians of {rounds}",
        "environment": {**environment(), "threads": cores, "versions": _versions(peers)},
        "tokens_per_second": medians,
        "ratio": {peer: {name: ours[name] / value for name, value in found.items()} for peer, found in medians.items()},
        "same_tokens": {peer: statistics.mean(shares) for peer, shares in same.items()},
        "all": rates,
    }  # fmt: skip


def _agreement(ids: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> float:
    """Share of tokens before the first difference, which is where two greedy answers part for good."""
    alike = total = 0
    for one, other in zip(ids, others, strict=True):
        total += len(one)
        alike += next(
            (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
    return alike / total


def _versions(peers: Sequence[str]) -> dict[str, str]:
    found = {}
    for peer in peers:
        package = PEERS[peer]
        if package is not None:
            found[peer] = str(importlib.import_module(package).__version__)
    return found
