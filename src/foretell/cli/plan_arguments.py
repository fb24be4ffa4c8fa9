"""The options of ``foretell plan RUNS.csv``; ``foretell plan RECIPE`` has its own."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

from foretell.cli.quantities import quantity_argument
from foretell.core.tables import SUFFIXES

EPILOG = """\
The budget is one of:
  --flops 1e23
  --hardware h100 --count 64 --hours 240 [--mfu 0.4]
  --hardware h100 --money 50000 --price-per-hour 2.5
Numbers may be written as in tables: 5000, 1e22, 7B, 1.4T. Exit code 3 says that the runs cannot carry the plan.
"""


def is_table_plan(argv: Sequence[str]) -> bool:
    """Whether the arguments are ``plan`` and a table of runs, which is no value of a recipe's setting (``--a.b``)."""
    if "plan" not in argv or next(word for word in argv if not word.startswith("-")) != "plan":
        return False
    return any(Path(word).suffix.lower() in SUFFIXES and not (before.startswith("--") and "." in before)
               for before, word in itertools.pairwise(argv))  # fmt: skip


def add_table_plan(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the arguments of a plan from a table."""
    parser.add_argument("runs", help=f"a table of runs with parameters and tokens ({', '.join(SUFFIXES)})")
    parser.add_argument("--metric", help="the table's column, or its metric, to plan by (default: its loss)")
    parser.add_argument("--family", help="which of the table's families")
    parser.add_argument("--max-flops", type=quantity_argument, help="use runs up to this compute only, to test on the "
                        "others")  # fmt: skip
    parser.add_argument("--form", help="of the law: chinchilla, overtraining or data-constrained (default: "
                        "data-constrained where the table has epochs above one, else chinchilla)")  # fmt: skip
    parser.add_argument("--level", type=quantity_argument, default=0.9, help="of the intervals (default 0.9)")
    budget = parser.add_argument_group("budget")
    budget.add_argument("--flops", type=quantity_argument, help="training compute")
    budget.add_argument("--hours", type=quantity_argument, help="wall-clock hours of all accelerators together")
    budget.add_argument("--money", type=quantity_argument, help="to be spent at --price-per-hour")
    budget.add_argument("--hardware", help="accelerator, such as h100, a100, mi300x or tpu-v5p")
    budget.add_argument("--peak-flops", type=quantity_argument, help="FLOP/s of one accelerator, for one that is not "
                        "known")  # fmt: skip
    budget.add_argument("--count", type=quantity_argument, help="how many accelerators (default 1)")
    budget.add_argument("--mfu", type=quantity_argument, help="share of the peak that training reaches (default 0.4)")
    budget.add_argument("--price-per-hour", type=quantity_argument, help="of one accelerator")
    wishes = parser.add_argument_group("what is weighed")
    wishes.add_argument("--inference-tokens", type=quantity_argument, help="tokens the model will read and write after "
                        "training, such as 1e12 or 2T (default: a table from 1e9 to 1e14)")  # fmt: skip
    wishes.add_argument("--unique-tokens", type=quantity_argument, help="how much text there is, such as 3e11 or 300B")
    wishes.add_argument("--next-share", type=quantity_argument, default=0.01,
                        help="of the budget, the most that one further small run may take (default 0.01)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--figure", help="also draw loss over size at the budget into this .svg or .png file")
