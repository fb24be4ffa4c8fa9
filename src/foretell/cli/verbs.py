"""What each verb does with its arguments."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from foretell.core.config import build, merge, parse_overrides
from foretell.core.errors import UserError
from foretell.core.files import read_json, write_json
from foretell.core.hardware import available_cores, default_device, matmul_peak
from foretell.core.progress import duration, say
from foretell.data.tokenizer import Tokenizer
from foretell.infer.generate import generate_text
from foretell.ladder.plan import plan_record
from foretell.ladder.records import ladder_observations
from foretell.laws.forecast import forecast as make_forecast
from foretell.laws.registry import load_registered, registered_forecast
from foretell.model.hf import load_hf
from foretell.recipes.config import Recipe, load_recipe
from foretell.recipes.pipeline import plan_of, run_recipe
from foretell.recipes.workspace import open_run
from foretell.report.figures import write_forecast_svg
from foretell.report.page import write_report

out = Console(highlight=False)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """``foretell run``."""
    if arguments.resume:
        folder = Path(arguments.resume)
        recipe = build(Recipe, merge(open_run(folder), {"output": str(folder), **parse_overrides(overrides)}))
    else:
        recipe = load_recipe(arguments.recipe, overrides)
    show_plan(recipe)
    if not arguments.dry_run:
        run_recipe(recipe, anyway=arguments.anyway)
    return 0


def plan(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """``foretell plan``."""
    show_plan(load_recipe(arguments.recipe, overrides))
    return 0


def show_plan(recipe: Recipe) -> None:
    """Print sizes, tokens, compute, time and disk before anything is spent."""
    recorded = Path(recipe.output) / "plan.json"
    planned = plan_of(recipe)
    if recorded.exists():
        record = read_json(recorded)
    else:
        record = plan_record(planned, matmul_peak(default_device()), available_cores())
    table = Table(title=f"Plan of '{recipe.name}'", title_justify="left", box=None, pad_edge=False)
    for column in ("", "width", "parameters", "tokens", "batch", "steps", "FLOPs", "target is", "seeds"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [("rung", size) for size in record["rungs"]] + [("target", record["target"])]
    for name, size in rows:
        table.add_row(
            name, str(size["width"]), f"{size['parameters']['total']:,}", f"{size['tokens'] / 1e6:.2f}M",
            f"{size['batch_rows']}x{size['context']}", str(size["steps"]), f"{size['flops']:.2e}",
            f"{size['ratio']:,.0f}x", str(len(size.get("seeds", [0]))),
        )  # fmt: skip
    out.print(table)
    cost = record["price"]
    tuning = len(record["learning_rates"]) * len(record["tuning"]) * recipe.ladder.tuning_seeds
    out.print(
        f"Tuning: {tuning} runs over {len(record['learning_rates'])} learning rates. Ladder: "
        f"{cost['ladder_share_of_flops']:.1%} of the target's FLOPs, about {duration(cost['ladder_seconds'])}; target "
        f"about {duration(cost['target_seconds'])}; disk about {cost['disk_bytes'] / 1e6:,.0f} MB in {recipe.output}.\n"
        f"Law: {record['target']['law']}."
    )


def forecast(arguments: argparse.Namespace) -> int:
    """``foretell forecast``."""
    folder = Path(arguments.run)
    registered_path = folder / "forecast.json"
    if arguments.flops is None and registered_path.exists():
        registered = load_registered(registered_path)
        made = registered_forecast(registered)
        out.print(f"Registered {registered['created']} as {registered['sha256'][:16]} (hash verified).")
    else:
        recipe = build(Recipe, merge(open_run(folder), {"output": str(folder)}))
        flops = arguments.flops or plan_of(recipe).target.flops
        made = make_forecast(ladder_observations(folder), flops, level=arguments.level)
        registered = {"forecast": made.to_dict()}
    out.print(made.sentence)
    for finding in made.findings:
        out.print(f"{finding.severity}: {finding.sentence}")
    if arguments.svg:
        counts = read_json(folder / "tokens" / "index.json")["splits"]["heldout"]
        scored = arguments.flops is None and (folder / "score.json").exists()
        outcome = read_json(folder / "score.json") if scored else None
        write_forecast_svg(Path(arguments.svg), registered, outcome, counts["bytes"] / counts["words"])
    return 3 if made.refused else 0


def report(arguments: argparse.Namespace) -> int:
    """``foretell report``."""
    folder = Path(arguments.run)
    open_run(folder)
    out.print(str(write_report(folder)))
    return 0


def generate(arguments: argparse.Namespace) -> int:
    """``foretell generate``."""
    folder = Path(arguments.model)
    if (folder / "recipe.yaml").exists():
        folder = folder / "model"
        if not folder.exists():
            raise UserError(f"{arguments.model} has no trained model yet; finish it with foretell run --resume.")
    elif not folder.is_dir():
        raise UserError(f"{folder} is not a folder; a run directory or a Llama or Qwen3 directory is expected.")
    model, tokenizer = load_hf(folder), Tokenizer.from_file(folder / "tokenizer.json")
    prompt = sys.stdin.read() if arguments.prompt is None else arguments.prompt
    pieces = generate_text(
        model, tokenizer, prompt, tokens=arguments.tokens, temperature=arguments.temperature, top_p=arguments.top_p,
        seed=arguments.seed,
    )  # fmt: skip
    first = next(pieces, "")  # settings are checked here, before anything is printed
    sys.stdout.write(prompt + first)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """``foretell bench train``."""
    from foretell.train.bench import bench_train

    record = bench_train(arguments.widths, arguments.steps)
    table = Table(title="Training step, tokens/s (medians, interleaved)", title_justify="left", box=None)
    for column in ("width", "foretell", "transformers", "ratio", "share of peak"):
        table.add_column(column, justify="right")
    for row in record["rows"]:
        table.add_row(
            str(row["width"]), f"{row['foretell_tokens_per_second']:,.0f}",
            f"{row['transformers_tokens_per_second']:,.0f}", f"{row['ratio']:.2f}", f"{row['peak_share']:.0%}",
        )  # fmt: skip
    out.print(table)
    if arguments.output:
        write_json(Path(arguments.output), record)
        say(f"written to {arguments.output}")
    else:
        say(json.dumps(record["environment"]))
    return 0
