"""``foretell sft``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from foretell.cli.output import out
from foretell.core.config import build
from foretell.core.progress import say

NAMES = re.compile(r"[\w.]+(,[\w.]+)*")  # anything else is a regular expression, as in PEFT


def targets_of(text: str) -> list[str] | str:
    """``q_proj,v_proj`` as names; ``all-linear`` and regular expressions as they are."""
    return text.split(",") if NAMES.fullmatch(text) else text


def sft(arguments: argparse.Namespace) -> int:
    """Plan, and train unless it is a dry run."""
    from foretell.posttrain.settings import SFTOptions
    from foretell.posttrain.sft import plan_in_words, plan_sft, run_sft
    from foretell.train.interrupt import graceful_stop

    options = build(SFTOptions, {
        "data": arguments.data, "model": arguments.model, "output": arguments.output, "full": arguments.full,
        "lora": {"rank": arguments.rank, "alpha": arguments.alpha, "targets": targets_of(arguments.targets),
                 "dropout": arguments.dropout, "rslora": arguments.rslora},
        "epochs": arguments.epochs, "learning_rate": arguments.lr, "batch_tokens": arguments.batch_tokens,
        "held_out": arguments.held_out, "context": arguments.context, "checkpointing": arguments.checkpointing,
        "seed": arguments.seed,
    })  # fmt: skip
    plan = plan_sft(options)
    for line in plan_in_words(plan):
        say(line)
    if arguments.dry_run:
        return 0
    output = Path(options.output)
    with graceful_stop():
        result = run_sft(plan, output)
    if result["heldout"]:
        before, after = (result[key]["nats_per_token"] for key in ("before", "heldout"))
        out.print(f"held-out loss {before:.4f} before, {after:.4f} after (nats a token of the assistant)")
    out.print(f"{output / ('model' if options.full else 'adapter')}: {result['tokens_per_second']:,.0f} tokens/s")
    return 0
