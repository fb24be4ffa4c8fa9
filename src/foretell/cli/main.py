"""``foretell VERB``: arguments in, exit code out. Errors meant for the user are one sentence on stderr."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from rich.markup import escape

import foretell
from foretell.core.errors import UserError
from foretell.core.progress import console

DESCRIPTION = "Know how good a language model will be before you pay for it."
EPILOG = """\
  foretell run                            forecast, seal, train, score and report
  foretell run --target.flops 5e13        any setting of a recipe by its dotted name
  foretell plan                           the same recipe's plan and price, nothing spent
  foretell generate runs/laptop "import " text from the trained model
"""
RECIPE_VERBS = ("run", "plan")
RECIPE_OPTIONS = ("--resume", "--anyway", "--dry-run", "--traceback", "--help", "--version")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{self.prog}: {message}.")


def build_parser() -> argparse.ArgumentParser:
    """The verbs and their options."""
    parser = _Parser(prog="foretell", description=DESCRIPTION, epilog=EPILOG,
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--version", action="version", version=f"foretell {foretell.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    recipe_help = "a built-in recipe's name or a YAML file; then any setting, as --target.flops 1e14"
    run = verbs.add_parser("run", help="corpus, ladder, sealed forecast, target, report", allow_abbrev=False)
    run.add_argument("recipe", nargs="?", default="laptop", help=recipe_help)
    run.add_argument("--resume", metavar="DIR", help="go on with the run in DIR, with the settings recorded there")
    run.add_argument("--anyway", action="store_true", help="train the target even if its forecast is refused")
    run.add_argument("--dry-run", action="store_true", help="print the plan and its price, then stop")

    plan = verbs.add_parser("plan", help="print a recipe's plan and price (run --dry-run)", allow_abbrev=False)
    plan.add_argument("recipe", nargs="?", default="laptop", help=recipe_help)

    forecast = verbs.add_parser("forecast", help="forecast a loss from a run directory's ladder")
    forecast.add_argument("run", help="a run directory whose rungs are trained")
    forecast.add_argument("--flops", type=float, help="compute to forecast for; the registered target's by default")
    forecast.add_argument("--level", type=float, default=0.9, help="of the interval (default 0.9)")
    forecast.add_argument("--svg", help="also draw the forecast into this file")

    report = verbs.add_parser("report", help="write report.html again from a run's records")
    report.add_argument("run", help="a run directory")

    generate = verbs.add_parser("generate", help="continue a text with a trained model, streaming")
    generate.add_argument("model", help="a run directory, or a Llama or Qwen3 directory with tokenizer.json")
    generate.add_argument("prompt", nargs="?", help="text to continue; read from standard input when left out")
    generate.add_argument("--tokens", type=int, default=200, help="at most so many (default 200)")
    generate.add_argument("--temperature", type=float, default=0.8, help="0 is greedy (default 0.8)")
    generate.add_argument("--top-p", type=float, default=0.95, help="nucleus (default 0.95)")
    generate.add_argument("--seed", type=int, default=0)

    bench = verbs.add_parser("bench", help="measure speed side by side with a peer")
    bench.add_argument("what", choices=["train"], help="train: tokens/s against transformers' Llama")
    bench.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    bench.add_argument("--steps", type=int, default=15, help="timed steps of each (default 15)")
    bench.add_argument("--output", help="also write the figures as JSON into this file")
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
        overrides.append(argument)
        if "=" not in argument and rest:
            overrides.append(rest.pop(0))
    return known, overrides


def dispatch(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Call the verb; imports are here so that ``--help`` answers at once."""
    from foretell.cli import verbs

    if arguments.verb in RECIPE_VERBS:
        return getattr(verbs, arguments.verb)(arguments, overrides)
    return getattr(verbs, arguments.verb)(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        0 on success, 2 for a mistake of the user, 3 for a refused forecast, 130 when interrupted.
    """
    show_traceback = "--traceback" in (sys.argv if argv is None else argv)
    try:
        known, overrides = split_overrides(sys.argv[1:] if argv is None else argv)
        return dispatch(build_parser().parse_args(known), overrides)
    except UserError as error:
        if show_traceback:
            traceback.print_exc()
        console.print(f"[red]foretell:[/red] {escape(str(error))}", soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("foretell: interrupted; the same command goes on from the last saved step.")
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; silence the flush at exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
