"""``foretell bench sft``: LoRA against full fine-tuning of the same model, and against PEFT, in one run, interleaved.

A batch is 4 rows of 256 positions. Ours are steps of the loop itself; PEFT takes the same rows and labels through
transformers. Optimizer and clipping are the same. Each peer has all cores in its turn
(:mod:`foretell.core.peers`); all start from the same float32 weights. After the timed steps ours train on to the end of
their schedules, and the held-out losses are compared; each has a learning rate of its own.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from foretell.core.errors import UserError
from foretell.core.files import write_atomic
from foretell.core.hardware import available_cores, environment, keep_freed_memory, peak_memory_of_all
from foretell.core.peers import Peer
from foretell.core.progress import say, track
from foretell.infer.loading import LoadedModel
from foretell.model.hf import save_hf
from foretell.model.lora import ALL_LINEAR, Adapter, LoRAConfig
from foretell.posttrain.base import load_unpacked
from foretell.posttrain.finetuning import FineTuning
from foretell.posttrain.settings import SFTOptions
from foretell.posttrain.sft import Plan, plan_sft
from foretell.train.loop import Trainer

ROWS, ROOM = 4, 256
LORA, FULL, PEFT = "foretell-lora", "foretell-full", "peft-lora"
WARMUP_STEPS = 3
# Rates that each learns well at on SmolLM2, no more than a few were tried (docs/log.md); the adapter is on every linear
# layer, for on some only it does not learn as much (Schulman et al. 2025, *LoRA Without Regret*).
RATES = {False: 2e-3, True: 1e-4}
ADAPTER = LoRAConfig(rank=16, alpha=32, targets=ALL_LINEAR)
Load = Callable[[SFTOptions], LoadedModel]
Answers = Callable[[str], Any]  # "step" with its seconds, "finish" with the peer's own figures


def docstring_conversations() -> str:
    """JSONL of questions after functions of the standard library and their docstrings: real text on every machine."""
    rows = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
                question = f"What does {node.name} of Python's module {path.stem} do?"
                rows.append([{"role": "user", "content": question},
                             {"role": "assistant", "content": text.split("\n\n")[0]}])  # fmt: skip
    return "".join(json.dumps({"messages": messages}) + "\n" for messages in rows)


def _plan(model: str, data: Path, full: bool, steps: int, load: Load) -> Plan:
    options = SFTOptions(
        data=str(data), model=model, full=full, batch_tokens=ROWS * ROOM, context=ROOM, learning_rate=RATES[full],
        lora=ADAPTER,
    )  # fmt: skip
    plan = plan_sft(options, load)
    if (plan.settings.rows, plan.settings.room) != (ROWS, ROOM):
        raise UserError(
            f"{data} and {model} give a batch of {plan.settings.rows} x {plan.settings.room}; conversations for "
            f"{ROWS} rows and a context of {ROOM} or more are needed."
        )
    training = plan.settings.training.model_copy(update={"evaluations": 0, "checkpoints": 1})
    settings = plan.settings.model_copy(update={"steps": steps, "training": training})
    return Plan(settings, plan.base, plan.train, plan.heldout, plan.too_long, plan.rows)


def _answers(step: Callable[[], None], finish: Callable[[], dict[str, Any]]) -> Answers:
    def answer(question: str) -> Any:
        if question == "finish":
            return finish()
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    return answer


def _foretell(model: str, data: Path, full: bool, steps: int, cores: int, load: Load) -> Answers:
    plan = _plan(model, data, full, steps, load)
    adapter = None if plan.settings.lora is None else Adapter(plan.settings.model, plan.settings.lora)
    work = FineTuning(plan.settings, plan.base.decoder, plan.train, plan.heldout, adapter)
    folder = tempfile.TemporaryDirectory()
    trainer = Trainer(plan.settings, work, Path(folder.name), threads=cores)

    def finish() -> dict[str, Any]:
        while trainer.step < steps:
            trainer.train_step()
        helpers = [process.pid for process in trainer.replicas.processes] if trainer.replicas else []
        figures = {
            "peak_memory_bytes": peak_memory_of_all([os.getpid(), *(pid for pid in helpers if pid)]),
            "trained_parameters": plan.settings.trained_parameters,
            "learning_rate": plan.settings.learning_rate,
            "execution": trainer.execution.model_dump(),
            "heldout": trainer.evaluate(),
        }
        trainer.close()
        folder.cleanup()
        return figures

    return _answers(trainer.train_step, finish)


def _peft(model: str, data: Path, steps: int, cores: int, load: Load) -> Answers:
    import peft
    from transformers import AutoModelForCausalLM

    keep_freed_memory()
    plan = _plan(model, data, False, steps, load)
    lora, training = plan.settings.lora, plan.settings.training
    assert lora is not None
    with tempfile.TemporaryDirectory() as folder:
        save_hf(plan.base.decoder, Path(folder))
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(r=lora.rank, lora_alpha=int(lora.alpha), target_modules=targets,
                             task_type="CAUSAL_LM")  # fmt: skip
    theirs = peft.get_peft_model(base, config).train()
    torch.set_num_threads(cores)
    trained = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=plan.settings.learning_rate, betas=(training.beta1, training.beta2),
                                  eps=training.epsilon, weight_decay=training.weight_decay, fused=True)  # fmt: skip
    work = FineTuning(plan.settings, plan.base.decoder, plan.train, plan.heldout, None)
    (feed,) = work.open_feeds().values()

    def step() -> None:
        batch = feed.stream.next_batch()
        optimizer.zero_grad(set_to_none=True)
        # Labels come shifted by one here and are shifted by transformers there.
        labels = torch.nn.functional.pad(batch.labels[:, :-1], (1, 0), value=-100)
        theirs(input_ids=batch.inputs, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, training.clip, foreach=True)
        optimizer.step()

    return _answers(step, lambda: {"trained_parameters": sum(parameter.numel() for parameter in trained)})


def bench_sft(
    model: str, data: Path | None, steps: int, train_steps: int = 0, load: Load = load_unpacked
) -> dict[str, Any]:
    """Time all peers, and train ours to the end.

    Args:
        model: as ``foretell sft --model``.
        data: a JSONL file of conversations; docstrings of the standard library where none is given.
        steps: timed ones of each peer, 10 or more.
        train_steps: of ours in all, the timed ones included, after which held-out losses are compared.
        load: how processes load the model; a function that they can import.

    Returns:
        for each peer tokens per second (positions of the batch), for ours peak resident memory and the held-out loss
        after the same steps, and the ratios of them.

    Raises:
        UserError: where PEFT is not installed, or model or data cannot be used.
    """
    try:
        import peft
        import transformers
    except ImportError as error:
        raise UserError("foretell bench sft compares with PEFT: pip install '.[dev]' in a checkout.") from error
    if steps < 10:
        raise UserError(f"--steps is {steps}: at least 10 are needed for a median.")
    cores, timed = available_cores(), steps + WARMUP_STEPS
    total = max(timed, train_steps)
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            data = Path(folder) / "docstrings.jsonl"
            write_atomic(data, docstring_conversations())
        _plan(model, data, False, total, load)  # says here what is wrong, if anything is
        with ExitStack() as stack:
            peers = {
                LORA: stack.enter_context(Peer(_foretell, model, data, False, total, cores, load)),
                FULL: stack.enter_context(Peer(_foretell, model, data, True, total, cores, load)),
                PEFT: stack.enter_context(Peer(_peft, model, data, total, cores, load)),
            }
            seconds: dict[str, list[float]] = {name: [] for name in peers}
            for _ in track(range(timed), "bench sft", timed):
                for name, peer in peers.items():
                    seconds[name].append(peer.ask("step"))
            say(f"  training on to step {total} of {total}")
            figures = {name: peer.ask("finish") for name, peer in peers.items()}
    rows = {
        name: {"tokens_per_second": ROWS * ROOM / statistics.median(values), **figures[name], "seconds": values}
        for name, values in ((name, all_[WARMUP_STEPS:]) for name, all_ in seconds.items())
    }  # fmt: skip
    memory = [rows[name]["peak_memory_bytes"] for name in (LORA, FULL)]
    return {
        "what": f"fine-tuning step, batch {ROWS} x {ROOM}, {model}, held-out loss after {total} steps",
        "environment": {**environment(), "transformers": transformers.__version__, "peft": peft.__version__,
                        "threads": cores},
        "rows": rows,
        "memory_share_of_full": memory[0] / memory[1] if all(memory) else None,
        "heldout_against_full": _heldout(rows[LORA]) / _heldout(rows[FULL]),
        "speed_against_full": rows[LORA]["tokens_per_second"] / rows[FULL]["tokens_per_second"],
        "speed_against_peft": rows[LORA]["tokens_per_second"] / rows[PEFT]["tokens_per_second"],
    }  # fmt: skip


def _heldout(row: dict[str, Any]) -> float:
    return float(row["heldout"]["nats_per_token"])
