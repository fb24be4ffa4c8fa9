"""The options of ``foretell eval``; apart from the verb, so that help is answered without importing torch."""

from __future__ import annotations

import argparse
from typing import Any

EPILOG = """\
  foretell eval --tasks piqa,arc_easy --data-dir DIR --out runs/eval                  SmolLM2, the embedded model
  foretell eval --model runs/laptop --tasks mmlu --data-dir DIR --limit 5 --out DIR   five items of each subject
  foretell eval --model http://localhost:8000/v1 --tasks gsm8k --chat --data-dir DIR --out DIR
  foretell eval --model M --tasks gsm8k --samples 20 --data-dir DIR --out DIR         self-consistency of 20 samples
  foretell eval --out AFTER --compare BEFORE                                          two results, item by item
  foretell eval --list --data-dir DIR                                                 all tasks, and what is there
An interrupted evaluation goes on with the same command: answers are remembered.
"""


def add_eval(verbs: Any, model_help: str) -> None:
    """Add the verb to the parser's ``verbs``; ``model_help`` says what a model's name may be."""
    verb = verbs.add_parser("eval", help="put tasks to a model and score it, with error bars", epilog=EPILOG,
                            formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    verb.add_argument("--model", default="smollm2", help=f"{model_help}, or the address of any server with the OpenAI "
                      "API, as http://localhost:8000/v1 (default smollm2)")  # fmt: skip
    verb.add_argument("--tasks", metavar="A,B,C", help="names of tasks, or files of one's own")
    verb.add_argument("--data-dir", default=".", metavar="DIR", help="where tasks read their data (default .)")
    verb.add_argument("--out", metavar="DIR", help="for results.json, items.parquet and report.html")
    verb.add_argument("--limit", type=int, metavar="N", help="the first N items of each group (subject) of a task")
    verb.add_argument("--shots", type=int, metavar="K", help="worked examples (default: the task's own number)")
    verb.add_argument("--chat", action="store_true", help="put items as a chat, through the model's template")
    verb.add_argument("--samples", type=int, default=1, metavar="N", help="generated answers of an item, of which the "
                      "majority counts (default 1)")  # fmt: skip
    verb.add_argument("--temperature", type=float, metavar="T", help="of generated answers (default 0; with --samples "
                      "0.7)")  # fmt: skip
    verb.add_argument("--seed", type=int, default=0, help="of worked examples and samples (default 0)")
    verb.add_argument("--bos", action="store_true", help="begin texts with the model's start tokens")
    verb.add_argument("--served-name", metavar="NAME", help="of the model at an address (default: its first)")
    verb.add_argument("--unsafe-code", action="store_true", help="run programs that the model wrote without protection "
                      "where this machine cannot isolate them")  # fmt: skip
    verb.add_argument("--compare", metavar="DIR", help="with the results of another model in DIR, item by item")
    verb.add_argument("--cache", metavar="FILE", help="of answers (default ~/.cache/foretell/answers.sqlite)")
    verb.add_argument("--no-cache", action="store_true", help="ask everything anew, and remember nothing")
    verb.add_argument("--list", action="store_true", help="list the tasks; with --data-dir, how many items are there")
