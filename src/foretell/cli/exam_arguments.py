"""The options of ``foretell exam``; apart from the verb, so that help is answered at once."""

from __future__ import annotations

import argparse
from typing import Any

EPILOG = """\
  foretell exam lsat.yaml --responses answers.jsonl --tables tables/
  foretell exam lsat.yaml --model smollm2 --responses answers.jsonl                 asks what is not answered there yet
  foretell contamination check index lsat.yaml --output verdicts.jsonl
  foretell exam lsat.yaml --responses answers.jsonl --contaminated verdicts.jsonl   the lower score is the headline
  foretell exam essay.yaml --responses answers.jsonl --grader http://localhost:8000/v1 --labelled graded.jsonl
"""


def add_exam(verbs: Any, model_help: str) -> None:
    """Add the verb to the parser's ``verbs``; ``model_help`` says what a model's name may be."""
    exam = verbs.add_parser(
        "exam",
        help="score an exam: scaled score, percentile among people",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    exam.add_argument("exam", metavar="FILE", help="the exam, .yaml or .json (docs/exams.md)")
    exam.add_argument("--responses", metavar="JSONL", help='rows {"item": "section/item", "response": "B"}')
    exam.add_argument("--blank-missing", action="store_true", help="items without a response are blank")
    exam.add_argument("--model", metavar="M", help=f"ask it, and add its answers to --responses: {model_help}, or the "
                      "address of any server with the OpenAI API, as http://localhost:8000/v1")  # fmt: skip
    exam.add_argument("--served-name", metavar="NAME", help="of the model at an address (default: its first)")
    exam.add_argument("--tokens", type=int, default=1_024, metavar="N", help="of its answers at most (default 1024)")
    exam.add_argument("--tables", metavar="DIR", help="folder of the known tables of people's results")
    exam.add_argument("--contaminated", metavar="FILE", help="verdicts of foretell contamination check on the exam, "
                      ".jsonl or .parquet")  # fmt: skip
    exam.add_argument("--method", choices=["substring", "ngram"], default="substring", help="whose verdicts count "
                      "(default substring)")  # fmt: skip
    exam.add_argument(
        "--grader", metavar="M", help="a model, named as for --model, that grades free responses by rubric"
    )
    exam.add_argument("--grader-name", metavar="NAME", help="as --served-name")
    exam.add_argument(
        "--labelled", metavar="JSONL", help="responses that people graded: the grader is examined on them"
    )
    exam.add_argument("--cache", metavar="FILE", help="of grades (default ~/.cache/foretell/answers.sqlite)")
    exam.add_argument("--no-cache", action="store_true", help="grade everything anew, and remember nothing")
    exam.add_argument("--agreement", choices=["kappa", "exact"], default="kappa", help="its measure (default kappa)")
    exam.add_argument("--least-agreement", type=float, default=0.7, metavar="X", help="that the interval's lower end "
                      "must reach (default 0.7)")  # fmt: skip
    exam.add_argument("--level", type=float, default=0.9, help="of the intervals (default 0.9)")
    exam.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    exam.add_argument("--output", metavar="FILE", help="also write the record as JSON")
    exam.add_argument("--json", action="store_true", help="print the record instead of the table")
