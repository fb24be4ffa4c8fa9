"""``foretell VERB``: arguments in, exit code out. Errors meant for the user are one sentence on stderr."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import foretell
from foretell.cli import plan_arguments
from foretell.cli.contamination_arguments import add_contamination
from foretell.cli.eval_arguments import add_eval
from foretell.cli.exam_arguments import add_exam
from foretell.cli.quantities import quantity_argument
from foretell.cli.serve_arguments import add_chat, add_serve
from foretell.cli.sft_arguments import add_sft
from foretell.core.errors import UserError
from foretell.core.progress import say
from foretell.laws.tables.columns import KINDS

DESCRIPTION = "Know how good a language model will be before you pay for it."
RECIPE_EPILOG = """\
Any setting of the recipe can be given by its dotted name; foretell settings lists them all:
  --output DIR              the run directory
  --seed N                  of the whole run
  --target.flops 5e13       the one dial: size, tokens and batch of the target follow from it
  --corpus.sources '[{path: "texts/**/*.txt"}]'
Built-in recipes:
  laptop (the default)      a language model on Python source, its loss foretold; ten minutes on two cores
  thousandth                the same on text alone, from rungs of at most 1/1,000 of its compute; an hour
  micro-code                laptop, and the share of small functions that it completes
  vision, vision-long       a model that reads images and text: shapes, then words and charts too; 1 and 2.5 hours
  graft                     the encoder of vision before SmolLM2; 1.25 hours
"""
FORECAST_EPILOG = """\
  foretell forecast runs.csv --flops 1e22                 columns: compute (or C), loss; params and tokens if known
  foretell forecast runs.csv --metric val_loss --flops 1e22 --json
  foretell forecast runs.csv --flops 1e21 --max-flops 1e19 as if the larger runs had not been trained
  foretell forecast runs.csv --metric acc_hellaswag --flops 1e22   an accuracy, an error or a pass rate
  foretell forecast runs.csv --metric mmlu --kind share --flops 1e22   one whose name does not say that it is a share
  foretell forecast counts.csv --flops 1e22               columns run, flops, problem, n_samples, n_correct: pass rates
  foretell forecast runs.csv --flops 1e22 --figure forecast.svg --page forecast.html
  foretell forecast runs.csv --flops 1e22 --register forecast.json
  foretell forecast verify forecast.json                  the seal: unchanged, since when, what it foretells
  foretell forecast verify forecast.json --outcome 2.31   or --table runs.csv: the score, once the run is done
  foretell forecast runs/laptop                           a run directory's forecast, its seal verified
  foretell forecast backtest DIR --gaps 10,100            how far off it is on a folder of tidy tables
"""
WATCH_EPILOG = """\
  foretell watch runs/laptop                              the target of a run, until it has finished
  foretell watch train.csv --forecast forecast.json       any trainer's log: columns step, tokens or flops, and loss
  foretell watch train.csv --forecast f.json --total 5000 where the run ends, in the file's unit (5000 steps, 1.4T)
The forecast is a registration, or what foretell forecast --json printed. Exit code 0: on track or too early to tell;
3: above or below the forecast's interval, or a loss that is not finite. False alarms: at most 5 % of the runs.
"""
EXPORT_EPILOG = """\
  foretell export runs/laptop laptop.gguf --type q8_0     a trained model for llama.cpp
  foretell export smollm2 smollm2/                        an ordinary directory for transformers or vLLM
  foretell export llama-2-7b/ llama.gguf --type q4_1      Meta's own layout, smaller
"""
MODEL_HELP = "a run directory, smollm2 (embedded), a .gguf file, a Hugging Face or Meta directory, or a hub name"
# Where each verb is; imported when called, so that --help and mistakes are answered at once.
VERBS = {"run": "run", "plan": "run", "settings": "settings", "forecast": "forecast", "report": "report",
         "watch": "watch", "generate": "generate", "export": "export", "sft": "sft", "eval": "eval", "serve": "serve",
         "chat": "chat", "contamination": "contamination", "exam": "exam", "references": "references",
         "bench": "bench"}  # fmt: skip
RECIPE_VERBS = ("run", "plan")
TABLE_PLAN = "plan RUNS.csv"
RECIPE_OPTIONS = ("--resume", "--anyway", "--dry-run", "--help", "--version")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        verb = self.prog.removeprefix("foretell").strip()
        raise UserError(f"{verb}: {message}." if verb else f"{message[0].upper()}{message[1:]}.")


class _Verbs(argparse.HelpFormatter):
    """The list of verbs without a line of its own for VERB, so that it fits a screen."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=20)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(self._format_action(verb) for verb in action._get_subactions())
        return super()._format_action(action)


def build_parser() -> argparse.ArgumentParser:
    """The verbs and their options."""
    parser = _Parser(prog="foretell", description=DESCRIPTION, formatter_class=_Verbs, add_help=False,
                     usage="foretell [--help | --version] [--traceback] VERB ...")  # fmt: skip
    parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"foretell {foretell.__version__}",
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument("--traceback", action="store_true", help="show where an error came from (any verb)")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, prog="foretell", title="verbs")

    recipe_help = "a built-in recipe's name or a YAML file; then any setting, as --target.flops 1e14"
    for_recipes: dict[str, Any] = {"allow_abbrev": False, "epilog": RECIPE_EPILOG,
                   "formatter_class": argparse.RawDescriptionHelpFormatter}  # fmt: skip
    run = verbs.add_parser(
        "run",
        help="corpus, ladder, sealed forecast, target, report",
        **for_recipes,
        usage="foretell run [RECIPE | --resume DIR] [--anyway] [--dry-run] [--SETTING VALUE ...]",
    )
    run.add_argument("recipe", nargs="?", help=recipe_help)
    run.add_argument("--resume", metavar="DIR", help="go on with the run in DIR, with the settings recorded there")
    run.add_argument("--anyway", action="store_true", help="train the target even if its forecast is refused")
    run.add_argument("--dry-run", action="store_true", help="print the plan and its price, then stop")

    plan = verbs.add_parser(
        "plan",
        help="a recipe's plan, or a budget's best size from RUNS.csv",
        **for_recipes,
        usage="foretell plan [RECIPE] [--SETTING VALUE ...]\n       foretell plan RUNS.csv --help",
    )
    plan.add_argument("recipe", nargs="?", help=recipe_help)

    settings = verbs.add_parser("settings", help="list every setting of a recipe with its value and meaning")
    settings.add_argument("recipe", nargs="?", default="laptop", help="a built-in recipe's name or a YAML file")
    settings.add_argument("--markdown", action="store_true", help="as the page docs/settings.md")

    forecast = verbs.add_parser(
        "forecast",
        help="forecast a loss or an accuracy from smaller runs",
        epilog=FORECAST_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    forecast.add_argument("runs", nargs="+", help="a .csv, .tsv, .jsonl or .parquet table of runs (W&B's exports too), "
                          "a folder of TensorBoard files or of trainings, or a run directory; backtest DIR, "
                          "verify FILE")  # fmt: skip
    forecast.add_argument("--flops", type=quantity_argument, help="compute to forecast for, as 1e22; a run directory's "
                          "target by default")  # fmt: skip
    forecast.add_argument("--params", type=quantity_argument, help="parameters of that run, as 7B")
    forecast.add_argument("--tokens", type=quantity_argument, help="training tokens of that run, as 1.4T; with "
                          "--params they give --flops")  # fmt: skip
    forecast.add_argument("--metric", help="the table's column, or its metric, to forecast (default: its loss)")
    forecast.add_argument("--kind", choices=list(KINDS), help="what the metric is, where its name does not say it: a "
                          "loss, or a share from 0 to 1 such as an accuracy")  # fmt: skip
    forecast.add_argument("--family", help="which of the table's families")
    forecast.add_argument(
        "--max-flops", type=quantity_argument, help="use runs up to this compute only, to test on the others"
    )
    forecast.add_argument("--schedule", choices=["cosine", "linear", "wsd", "constant"], help="of that run, from a "
                          "table of curves: lr, step, tokens, loss (default cosine)")  # fmt: skip
    forecast.add_argument("--chance", type=float, help="of an accuracy: its value by guessing (by the task's name "
                          "where it is known)")  # fmt: skip
    forecast.add_argument("--items", type=int, help="of an accuracy: how many questions it was measured on")
    forecast.add_argument("--level", type=float, help="of the interval (default 0.9, or the recipe's)")
    forecast.add_argument("--json", action="store_true", help="print one JSON object")
    forecast.add_argument("--figure", metavar="FILE", help="also draw it into this .svg or .png file")
    forecast.add_argument("--page", metavar="FILE", help="also write all about it as one .html file")
    forecast.add_argument("--register", metavar="FILE", help="seal it in this new .json file, for verify")
    forecast.add_argument("--anyway", action="store_true", help="register it even if it is refused")
    forecast.add_argument("--outcome", type=float, help="of verify: what the target reached; scores the forecast")
    forecast.add_argument("--table", metavar="RUNS", help="of verify: the table, which is checked and may hold the "
                          "outcome")  # fmt: skip
    forecast.add_argument("--gaps", help="of backtest (default 10,100,1000,10000)")
    forecast.add_argument("--output", metavar="DIR", help="of backtest: also write backtest.json and backtest.md here")

    references = verbs.add_parser("references", help="learn from finished runs how a recipe's next one ends")
    references.add_argument("runs", nargs="+", metavar="RUN", help="finished run directories of one recipe, whose "
                            "names say on which corpus, or files that were kept of them")  # fmt: skip
    references.add_argument("--output", metavar="FILE", help="learn from them, on three corpora at least, into this "
                            ".json file")  # fmt: skip
    references.add_argument("--keep", metavar="DIR", help="write what is taken of each run into a file here: counts "
                            "and costs of its held-out tokens, sorted, about a megabyte")  # fmt: skip

    report = verbs.add_parser("report", help="write report.html again from a run's records")
    report.add_argument("run", help="a run directory")

    watch = verbs.add_parser(
        "watch",
        help="hold a running job against its registered forecast",
        epilog=WATCH_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("run", help="a run directory, or a .csv, .tsv or .jsonl that a trainer is writing")
    watch.add_argument("--forecast", metavar="FILE", help="the forecast (default: the run directory's own)")
    watch.add_argument(
        "--total", type=quantity_argument, metavar="N", help="steps, tokens or FLOPs at which the run ends"
    )
    watch.add_argument(
        "--every", type=quantity_argument, default=10.0, metavar="SECONDS", help="between looks (default 10)"
    )
    watch.add_argument("--once", action="store_true", help="look once")
    watch.add_argument("--json", action="store_true", help="print one JSON object for each piece of news")

    generate = verbs.add_parser("generate", help="continue a text with a trained model, streaming")
    generate.add_argument("model", help=MODEL_HELP)
    generate.add_argument("prompt", nargs="?", help="text to continue; read from standard input when left out")
    generate.add_argument("--tokens", type=int, default=200, help="at most so many (default 200)")
    generate.add_argument("--temperature", type=float, default=0.8, help="0 is greedy (default 0.8)")
    generate.add_argument("--top-p", type=float, default=0.95, help="nucleus (default 0.95)")
    generate.add_argument("--seed", type=int, default=0)

    export = verbs.add_parser(
        "export",
        help="write a model as GGUF (llama.cpp) or a Hugging Face directory",
        epilog=EXPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("model", help=MODEL_HELP)
    export.add_argument("out", help="a name that ends in .gguf, or a directory")
    export.add_argument(
        "--type", metavar="TYPE", help="of a .gguf file: f32, f16 (the default), bf16, q8_0, q4_0, q4_1"
    )
    export.add_argument("--context", type=int, metavar="N", help="positions that the exported model reads at most")

    add_sft(verbs, MODEL_HELP)
    add_eval(verbs, MODEL_HELP)
    add_serve(verbs, MODEL_HELP)
    add_chat(verbs, MODEL_HELP)
    add_contamination(verbs)
    add_exam(verbs, MODEL_HELP)

    bench = verbs.add_parser("bench", help="measure speed side by side with a peer")
    bench.add_argument("what", choices=["train", "serve", "sft", "vision", "eval", "contamination"],
                       help="train: tokens/s of a step against transformers' Llama; "
                       "serve: of decoding, streams and prompts against transformers and llama.cpp; "
                       "sft: of LoRA against all weights and PEFT; "
                       "vision: images and a question against transformers' Llava; "
                       "eval: PIQA and MMLU against lm-evaluation-harness; "
                       "contamination: indexing a corpus and checking items in it")  # fmt: skip
    bench.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256], help="of train")
    bench.add_argument("--steps", type=int, default=15, help="of train and sft: timed steps of each (default 15)")
    bench.add_argument(
        "--train-steps", type=int, default=0, help="of sft: steps of ours in all, before held-out losses are compared"
    )
    bench.add_argument("--model", default="smollm2", help="of serve, sft and eval (default smollm2)")
    bench.add_argument("--rounds", type=int, default=7, help="of serve and vision: timed rounds (default 7)")
    bench.add_argument("--peers", nargs="+", default=["foretell", "llama.cpp", "transformers"], metavar="PEER",
                       help="of serve (default foretell llama.cpp transformers)")  # fmt: skip
    bench.add_argument("--shapes", nargs="+", default=["small", "smollm2"], metavar="SHAPE",
                       help="of vision (default small smollm2)")  # fmt: skip
    bench.add_argument("--data", metavar="PATH", help="of sft: JSONL of conversations (default: docstrings); of eval: "
                       "the folder of the tasks' data")  # fmt: skip
    bench.add_argument("--items", type=int, help="of eval: of PIQA (default 500); of contamination: checked (default "
                       "10000)")  # fmt: skip
    bench.add_argument("--per-subject", type=int, default=5, help="of eval: of each subject of MMLU (default 5)")
    bench.add_argument("--bytes", type=quantity_argument, default=1e9, help="of contamination: of the corpus that is "
                       "made and indexed in a temporary folder (default 1e9)")  # fmt: skip
    bench.add_argument("--output", help="also write the figures as JSON into this file")
    return parser


def build_table_plan_parser() -> argparse.ArgumentParser:
    """The parser of ``foretell plan RUNS.csv``, whose options are no settings of a recipe."""
    parser = _Parser(prog="foretell plan", epilog=plan_arguments.EPILOG,
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    plan_arguments.add_table_plan(parser)
    parser.set_defaults(verb=TABLE_PLAN)
    return parser


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a recipe verb's arguments from the recipe's settings, which argparse does not know.

    Returns:
        What argparse reads, and the overrides as ``--key value`` or ``--key=value``.
    """
    verb = next((argument for argument in argv if not argument.startswith("-")), "")
    if verb not in RECIPE_VERBS:
        return list(argv), []
    known: list[str] = []
    overrides: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument.partition("=")[0] in RECIPE_OPTIONS:
            known.append(argument)
            if argument == "--resume" and rest:
                known.append(rest.pop(0))
            continue
        near = difflib.get_close_matches(argument, RECIPE_OPTIONS, n=1, cutoff=0.8)
        if near:
            raise UserError(f"{argument} is not an option; did you mean {near[0]}?")
        overrides.append(argument)
        if "=" not in argument and rest:
            overrides.append(rest.pop(0))
    return known, overrides


def dispatch(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Import the verb's module and call it."""
    if arguments.verb == TABLE_PLAN:
        return int(importlib.import_module("foretell.cli.plan").plan(arguments))
    verb = getattr(importlib.import_module(f"foretell.cli.{VERBS[arguments.verb]}"), arguments.verb)
    return int(verb(arguments, overrides) if arguments.verb in RECIPE_VERBS else verb(arguments))


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Arguments of a verb, and for the verbs of recipes the settings laid over them.

    Raises:
        UserError: for what is not understood.
    """
    if plan_arguments.is_table_plan(argv):
        rest = list(argv)
        rest.remove("plan")
        return build_table_plan_parser().parse_args(rest), []
    known, overrides = split_overrides(argv)
    arguments, rest = build_parser().parse_known_args(known)
    if arguments.verb == "generate" and arguments.prompt is None:
        # argparse does not see a prompt that comes after an option
        words = rest[1:] if rest[:1] == ["--"] else rest
        if len(words) == 1 and (len(words) < len(rest) or " " in words[0] or not words[0].startswith("-")):
            arguments.prompt, rest = words[0], []
    if rest:
        raise UserError(f"{arguments.verb}: unrecognized arguments: {' '.join(rest)}.")
    return arguments, overrides


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        0 on success, 2 for a mistake of the user, 3 for a refused forecast, 130 when interrupted.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    show_traceback = "--traceback" in given
    try:
        arguments, overrides = parse([argument for argument in given if argument != "--traceback"])
        return dispatch(arguments, overrides)
    except UserError as error:
        if show_traceback:
            traceback.print_exc()
        say(f"foretell: {error}", "red")
        return error.exit_code
    except KeyboardInterrupt:
        say("foretell: interrupted; the same command goes on from the last saved step.")
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; silence the flush at exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
