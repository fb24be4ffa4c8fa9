"""``foretell run`` and ``foretell plan``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from foretell.cli.output import out, print_findings
from foretell.core.config import merge, parse_overrides
from foretell.core.errors import UserError
from foretell.core.progress import duration
from foretell.core.wording import plural
from foretell.ladder.plan import plan_record
from foretell.recipes.config import Recipe, load_recipe, recipe_of
from foretell.recipes.planning import foreseen, measured_peak, plan_of, recorded_plan
from foretell.recipes.workspace import open_run

if TYPE_CHECKING:
    from foretell.recipes.graft_config import GraftRecipe

DEFAULT_RECIPE = "laptop"


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """``foretell run``."""
    if arguments.resume:
        if arguments.recipe is not None:
            raise UserError(
                f"Both a recipe ({arguments.recipe}) and --resume {arguments.resume} were given; --resume takes the "
                "recipe that is recorded there."
            )
        folder = Path(arguments.resume)
        recipe = recipe_of(merge(open_run(folder), {"output": str(folder), **parse_overrides(overrides)}))
    else:
        recipe = load_recipe(arguments.recipe or DEFAULT_RECIPE, overrides)
    if not isinstance(recipe, Recipe):
        return _graft(recipe, arguments.dry_run)
    show_plan(recipe)
    if not arguments.dry_run:
        from foretell.recipes.pipeline import run_recipe  # torch: two seconds that mistakes need not wait for

        run_recipe(recipe, anyway=arguments.anyway)
    return 0


def _graft(recipe: GraftRecipe, dry_run: bool) -> int:
    """A recipe of the other kind: it has no ladder."""
    from foretell.recipes.graft import run_graft

    graft = recipe.graft
    out.print(
        f"Graft '{recipe.name}': the encoder of {graft.encoder} onto {graft.model}; {graft.projector_steps} steps of "
        f"encoder and projector alone and {graft.adapter_steps} with an adapter of rank {graft.lora.rank}, each of "
        f"{plural(graft.rows, 'row')} of questions, the second with {plural(graft.text_rows, 'row')} of text besides, "
        f"{recipe.visual.room} positions a row; in {recipe.output}."
    )
    if not dry_run:
        run_graft(recipe)
    return 0


def plan(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    """``foretell plan``."""
    recipe = load_recipe(arguments.recipe or DEFAULT_RECIPE, overrides)
    if not isinstance(recipe, Recipe):
        return _graft(recipe, dry_run=True)
    show_plan(recipe)
    return 0


def show_plan(recipe: Recipe) -> None:
    """Print sizes, tokens, compute, time, disk, text and what is foreseen, before anything is spent."""
    planned = plan_of(recipe)
    record = recorded_plan(recipe)
    if record is None:
        peak = measured_peak(recipe)
        from foretell.core.hardware import available_cores

        record = plan_record(planned, peak, available_cores())
    table = Table(title=f"Plan of '{recipe.name}'", title_justify="left", box=None, pad_edge=False)
    for column in ("", "width", "parameters", "tokens", "batch", "steps", "FLOPs", "target is", "seeds"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [("rung", size) for size in record["rungs"]] + [("target", record["target"])]
    for name, size in rows:
        table.add_row(
            name, str(size["width"]), f"{size['parameters']['total']:,}", f"{size['tokens'] / 1e6:.2f}M",
            _batch(size), str(size["steps"]), f"{size['flops']:.2e}",
            f"{size['ratio']:,.0f}x", str(len(size.get("seeds", [0]))),
        )  # fmt: skip
    out.print(table)
    cost = record["price"]
    tuning = len(record["learning_rates"]) * len(record["tuning"]) * recipe.ladder.tuning_seeds
    once = planned.target.text_tokens * planned.bytes_per_token
    heldout = min(recipe.corpus.heldout_bytes, once / 10)
    text = f"about {(once + heldout) / 1e6:,.1f} MB to read none of it twice"
    if recipe.target.max_epochs > 1:
        text += f", {(once / recipe.target.max_epochs + heldout) / 1e6:,.1f} MB at least"
    out.print(
        f"Tuning: {plural(tuning, 'run')} over {plural(len(record['learning_rates']), 'learning rate')}. Ladder: "
        f"{cost['ladder_share_of_flops']:.1%} of the target's FLOPs, about {duration(cost['ladder_seconds'])}; target "
        f"about {duration(cost['target_seconds'])}; disk about {cost['disk_bytes'] / 1e6:,.0f} MB in {recipe.output}.\n"
        f"Text: {text}.\n"
        f"Law: {record['target']['law']}."
    )
    if (code := recipe.code).problems:
        models = sum(len(size["seeds"]) for size in record["rungs"]) + 1
        asked = f"{plural(code.problems, 'problem')}, {plural(code.samples, 'answer')} of each of {models} models"
        programs = code.problems * code.samples * models
        out.print(f"micro-code: {asked}, {programs:,} programs to run; their time comes on top.")
    print_findings(foreseen(planned, recipe))


def _batch(size: dict[str, Any]) -> str:
    """Rows of text, and of questions about images, of a step."""
    text = f"{size['batch_rows']}x{size['context']}"
    return f"{text}+{size['visual_rows']}x{size['visual_room']}" if "visual_rows" in size else text
