"""The options of ``foretell sft``; apart from the verb, so that help is answered without importing torch."""

from __future__ import annotations

from typing import Any


def add_sft(verbs: Any, model_help: str) -> None:
    """Add the verb to the parser's ``verbs``; ``model_help`` says what a model's name may be."""
    sft = verbs.add_parser("sft", help="fine-tune a model on conversations, by LoRA or all of it")
    sft.add_argument("data", help='a JSONL file, a row {"messages": [{"role", "content"}, ...]} each')
    sft.add_argument("--model", default="smollm2", help=f"{model_help} (default smollm2)")
    how = sft.add_mutually_exclusive_group()
    how.add_argument("--lora", action="store_true", help="train an adapter (the default)")
    how.add_argument("--full", action="store_true", help="train all weights")
    sft.add_argument("--rank", type=int, default=8, help="of the adapter (default 8)")
    sft.add_argument("--alpha", type=float, default=16.0, help="numerator of its factor (default 16)")
    sft.add_argument("--targets", default="q_proj,v_proj", help="names that layers end with, all-linear, or a regular "
                     "expression of their full names (default q_proj,v_proj)")  # fmt: skip
    sft.add_argument("--dropout", type=float, default=0.0, help="of the adapter's inputs (default 0)")
    sft.add_argument("--rslora", action="store_true", help="divide alpha by the root of the rank")
    sft.add_argument("--epochs", type=int, default=1, help="(default 1)")
    sft.add_argument("--lr", type=float, help="peak learning rate (default 2e-4, with --full 2e-5)")
    sft.add_argument("--batch-tokens", type=int, default=8_192, help="positions of a step (default 8192)")
    sft.add_argument("--context", type=int, help="positions of a conversation at most (default: the model's)")
    sft.add_argument("--held-out", type=float, default=0.05, help="share that measures the loss (default 0.05)")
    sft.add_argument("--checkpointing", action="store_true", help="less memory for a third more time")
    sft.add_argument("--seed", type=int, default=0)
    sft.add_argument("--output", default="runs/sft", metavar="DIR", help="the same command goes on in it")
    sft.add_argument("--dry-run", action="store_true", help="print parameters, tokens, steps and time, then stop")
