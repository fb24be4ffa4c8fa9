"""The options of ``foretell contamination``; apart from the verb, so that help is answered at once."""

from __future__ import annotations

import argparse
from typing import Any

EPILOG = """\
  foretell contamination index texts/ runs/laptop --out index      files, folders, globs, run directories
  foretell contamination check index items.jsonl                   which items stand in the corpus
  foretell contamination check index piqa --data-dir DIR --scores eval/items.parquet --output items.parquet
"""


def add_contamination(verbs: Any) -> None:
    """Add the verb to the parser's ``verbs``."""
    verb = verbs.add_parser(
        "contamination",
        help="find a benchmark's items in a training corpus",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = verb.add_subparsers(dest="what", metavar="index | check", required=True)

    index = parts.add_parser("index", help="index a corpus; the same command goes on after an interruption")
    index.add_argument("paths", nargs="+", metavar="PATH", help="text, .jsonl or .parquet files, each also as .gz, "
                       ".xz, .bz2 or .zst; folders, globs, run directories (their training split)")  # fmt: skip
    index.add_argument("--out", required=True, metavar="DIR", help="the folder of the index")
    index.add_argument("--text-field", default="text", metavar="NAME", help="of rows (default text)")

    check = parts.add_parser("check", help="look for items in an indexed corpus")
    check.add_argument("index", metavar="DIR", help="the folder of the index")
    check.add_argument("items", metavar="ITEMS", help="a .jsonl file, a row for each item; the .yaml or .json file of "
                       "an exam; or the name of a task, as foretell eval --list shows")  # fmt: skip
    check.add_argument("--data-dir", default=".", metavar="DIR", help="where a task reads its data (default .)")
    check.add_argument("--fields", metavar="A,B", help="fields of a row that make up the item's text, without the "
                       "answer (default: text, or every text but the answer)")  # fmt: skip
    check.add_argument("--method", choices=["both", "substring", "ngram"], default="both", help="substring: three "
                       "random ones of 50 letters and digits; ngram: any 13 words in a row (default both)")  # fmt: skip
    check.add_argument("--scores", metavar="FILE", help="a .parquet, .jsonl or .csv with the columns task, item and "
                       "correct: scores on all, clean and contaminated items")  # fmt: skip
    check.add_argument("--output", metavar="FILE", help="also write a row for each item: .jsonl or .parquet")
    check.add_argument("--seed", type=int, default=0, help="of the substrings (default 0)")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument("--no-verify", action="store_true", help="do not compare the checksums of the index first")
