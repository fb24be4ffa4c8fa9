"""What is known of a run before anything is spent: its plan, and what its forecast is certain to be told."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from foretell.core.config import build, read_yaml
from foretell.core.errors import UserError
from foretell.core.files import content_hash, read_json
from foretell.core.wording import span
from foretell.ladder.finished import FEATURES
from foretell.ladder.plan import Family, Plan, make_plan
from foretell.ladder.references import built_in, recipe_key
from foretell.laws.diagnostics import by_severity, foreseeable
from foretell.laws.records import Finding
from foretell.laws.token_law import OF_THE_LADDER, TokenLaw
from foretell.recipes.config import Recipe

SHARES_ALIKE = 1.25  # factor between the shares of text of rungs and target that one law may span


def plan_of(recipe: Recipe) -> Plan:
    """The plan that a recipe asks for; reads no data.

    Raises:
        UserError: where the target is too small for its ladder.
    """
    visual = recipe.visual if recipe.visual.sources else None
    family = Family(recipe.model, vocabulary(recipe), visual)
    return make_plan(family, recipe.target, recipe.ladder, recipe.training, recipe.seed)


def vocabulary(recipe: Recipe) -> int:
    """Tokens of the vocabulary: of the tokenizer file where one is named, else as many as asked for."""
    if not recipe.tokenizer.file:
        return recipe.tokenizer.vocab_size
    from foretell.data.tokenizer import Tokenizer  # half a second that few plans need

    return Tokenizer.from_file(Path(recipe.tokenizer.file)).vocab_size


def measured_peak(recipe: Recipe) -> float:
    """Matrix products of this machine in FLOP/s, in the precision that the recipe trains in."""
    return _measured(recipe.training.precision)


@functools.cache  # a second or two, and the plan and the run both want it
def _measured(precision: str) -> float:
    import torch  # two seconds that a recipe's mistakes need not wait for

    from foretell.core.hardware import default_device, matmul_peak

    return matmul_peak(default_device(), getattr(torch, precision))


def foreseen(plan: Plan, recipe: Recipe) -> tuple[Finding, ...]:
    """What the sizes alone say about the forecast, before one of them is trained.

    Raises:
        UserError: as :func:`references_of`.
    """
    found, visual = references_of(plan, recipe), plan.target.visual
    of_images = visual is not None and visual.share > 0.5  # the larger part of the loss is none that references know
    of_sizes = foreseeable([size.flops for size in plan.rungs], plan.target.flops)
    if found is not None and not of_images:
        law, silent = found
        names = ", ".join(name for name in law.without if name != silent)
        own = "" if recipe.forecast.without else ", being of the same sources"
        but = f"; {silent} is silent{own}" if silent else ""
        told = Finding("references", "note", f"Its loss on text is foretold by runs of this recipe on {names}{but}.")
        return by_severity([told, *(finding for finding in of_sizes if finding.code in OF_THE_LADDER)])
    of_text = text_share(plan) if found is None else ()
    if of_images:  # the run goes on (recipes.forecasts)
        of_text = tuple(replace(finding, severity="warning") for finding in of_text)
    return by_severity([*of_sizes, *of_text])


def text_share(plan: Plan) -> tuple[Finding, ...]:
    """A refusal to foretell the loss on text where rungs read it in another share of their positions than the target.

    Rows are whole: a rung whose step is three rows of questions has one row of text where the target has one of ten.
    """
    *rungs, target = (size.text_tokens / size.tokens for size in (*plan.rungs, plan.target))
    if max(max(rungs) / target, target / min(rungs)) <= SHARES_ALIKE:
        return ()
    low, high = (f"{100 * share:.0f}" for share in (min(rungs), max(rungs)))
    return (Finding(
        "text-share", "refusal",
        f"Rungs read text in {span(low, high)} % of their positions and the target in "
        f"{100 * target:.0f} %, so that their losses on it do not follow one law; a lower visual.share or a higher "
        "visual.batch_factor brings them together.",
    ),)  # fmt: skip


def sources_key(recipe: Recipe) -> str:
    """Digest of where a recipe's corpus is from, whatever it is called: a run on the same has been seen already."""
    sources = []
    for source in recipe.corpus.sources:
        record = source.model_dump(mode="json", include={"python", "path", "hub", "generated", "subset", "split"})
        sources.append(record | {"path": str(Path(source.path).expanduser().absolute()) if source.path else None})
    return content_hash(sorted(sources, key=str))


def references_of(plan: Plan, recipe: Recipe) -> tuple[TokenLaw, str | None] | None:
    """What runs of this very recipe on other corpora teach, where there are some, and which of them must be silent.

    Raises:
        UserError: where the file that is named holds none, or those of another recipe or version, or not what is to be
            left out, or too few besides.
    """
    config = recipe.forecast
    if config.references:
        law: TokenLaw | None = _read_references(Path(config.references))
        if not _speaks_of(law, plan):
            raise UserError(f"forecast.references is {config.references}, whose runs are of another recipe than this.")
    else:
        law = next((law for law in built_in() if _speaks_of(law, plan)), None)
    if config.without and (law is None or config.without not in law.without):
        names = "no references are there for this recipe" if law is None else f"references are {law.names}"
        raise UserError(f"forecast.without is {config.without!r}; {names}.")
    if law is None:
        return None
    unknown = [name for name in law.features if name not in FEATURES]
    if unknown:
        raise UserError(f"The references know tokens by {unknown[0]!r}; this version has {', '.join(FEATURES)}.")
    silent = law.silent(sources_key(recipe), config.without or None)
    law.speaking(silent)
    return law, silent


def _speaks_of(law: TokenLaw | None, plan: Plan) -> bool:
    return law is not None and law.recipe == recipe_key(plan, law.features)


def _read_references(path: Path) -> TokenLaw:
    try:
        return TokenLaw.from_dict(read_json(path))
    except UserError as error:
        raise UserError(f"forecast.references is {path}: {error}") from error


def recorded_plan(recipe: Recipe) -> dict[str, Any] | None:
    """The plan in the recipe's run directory, if that directory is of this recipe."""
    folder = Path(recipe.output)
    if not (folder / "plan.json").exists() or not (folder / "recipe.yaml").exists():
        return None
    there = build(Recipe, read_yaml(folder / "recipe.yaml"))
    return dict(read_json(folder / "plan.json")) if there.comparable() == recipe.comparable() else None
