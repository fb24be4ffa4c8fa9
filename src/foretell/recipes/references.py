"""``foretell references``: what finished runs of a recipe teach about its next run, written to a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretell.core.config import build
from foretell.core.errors import UserError
from foretell.core.files import canonical_json, read_json, write_atomic
from foretell.core.progress import say, track
from foretell.data.tokens import TokenDataset
from foretell.ladder.finished import FEATURES, SUFFIX, Finished
from foretell.ladder.learning import learn
from foretell.ladder.plan import Plan
from foretell.ladder.references import recipe_key
from foretell.ladder.token_features import load_nats, token_features
from foretell.laws.token_law import TokenForecast, TokenLaw
from foretell.recipes.config import Recipe
from foretell.recipes.planning import plan_of, references_of, sources_key
from foretell.recipes.workspace import open_run
from foretell.train.evaluate import heldout_nats
from foretell.train.loop import recorded_result, trained_model


def run_features(folder: Path, plan: Plan) -> NDArray[np.float32]:
    """What the held-out tokens of a run directory are like; see :func:`foretell.ladder.token_features.token_features`.

    Raises:
        UserError: where what rungs pay for them was not recorded.
    """
    train, heldout = (TokenDataset(folder / "tokens", split) for split in ("train", "heldout"))
    target, rungs = plan.target, load_nats(folder / "ladder" / "heldout.npy", heldout.token_count)
    return token_features(train, heldout, target.model.context, target.text_tokens, rungs)


def told_by_tokens(folder: Path, plan: Plan, recipe: Recipe) -> TokenForecast | None:
    """What references foretell of the text's loss in a run directory whose ladder is trained, where there are some.

    Raises:
        UserError: as :func:`foretell.recipes.planning.references_of`, and where what rungs pay was not recorded.
    """
    found = references_of(plan, recipe)
    if found is None:
        return None
    law, silent = found
    return law.foretell(run_features(folder, plan)[:, [FEATURES.index(name) for name in law.features]], silent)


def finished(folder: Path) -> Finished:
    """A run directory as a reference.

    Raises:
        UserError: where it is none, or its target is not trained.
    """
    recipe = build(Recipe, open_run(folder))
    plan = plan_of(recipe)
    if recipe.visual.sources:
        plan = plan.with_documents(read_json(folder / "visual" / "index.json")["splits"]["train"])
    tuned, tokens = folder / "ladder" / "tuning.json", folder / "tokens" / "index.json"
    if not (tuned.exists() and tokens.exists() and (folder / "target" / "result.json").exists()):
        raise UserError(f"{folder} has no trained target; a finished run is expected.")
    settings = plan.target_run(float(read_json(tuned)["chosen"]), str(read_json(tokens)["digest"]))
    if recorded_result(folder / "target", settings) is None:
        raise UserError(
            f"{folder} has a target of other settings than its recipe's; a run of this version is expected."
        )
    nats = heldout_nats(trained_model(folder / "target", settings), TokenDataset(folder / "tokens", "heldout"))
    return Finished(recipe.name, recipe_key(plan), sources_key(recipe), run_features(folder, plan), nats)


def read_references(named: Sequence[Path]) -> dict[Path, Finished]:
    """References of run directories, and of files as :meth:`foretell.ladder.finished.Finished.save` writes them.

    Raises:
        UserError: for what is neither.
    """
    return {path: Finished.load(path) if path.is_file() else finished(path)
            for path in track(named, "reading runs", len(named))}  # fmt: skip


def kept_as(named: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """For each run directory or file, the file in ``folder`` that keeps it: named like it.

    Raises:
        UserError: where one would be written over.
    """
    files = {path: folder / f"{path.resolve().name.removesuffix(SUFFIX)}{SUFFIX}" for path in named}
    for file in files.values():
        if file.exists():
            raise UserError(f"{file} exists; references are not written over.")
    if len(set(files.values())) < len(files):
        raise UserError("Two run directories have the same name, after which what is kept of them is named.")
    return files


def make_references(references: Iterable[Finished], output: Path) -> TokenLaw:
    """Learn from references and write what they teach.

    Raises:
        UserError: for runs of different recipes, or of too few corpora.
    """
    law = learn(list(references))
    write_atomic(output, canonical_json(law.to_dict()) + "\n")
    for reference in law.references:
        off = f"{100 * math.expm1(reference.error):+.1f} % from what the others foretell"
        say(f"  {reference.name}: {reference.loss:.4f} nats a token, {off}")
    return law
