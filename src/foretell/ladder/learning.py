"""Learning from finished runs of a recipe what its target will pay for the tokens of another corpus.

A reference is a run whose target is trained: what its held-out tokens are like, and what they cost that target, is all
that is taken of it (:class:`foretell.ladder.finished.Finished`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import nn

from foretell.core.errors import UserError
from foretell.core.progress import track
from foretell.core.wording import plural
from foretell.ladder.finished import FEATURES, Finished
from foretell.laws.token_law import FEWEST, Reference, TokenLaw, TokenNetwork

LEAST_SCALE = 0.1  # of a trait: less is none, and what hardly varies here may vary in another corpus
UNITS, STEPS, BATCH, RATE, DECAY = 32, 800, 4096, 5e-3, 0.01  # of the network that learns


def learn(runs: Sequence[Finished]) -> TokenLaw:
    """What runs of one recipe teach: all of them, all but those of one name, and all but those of two.

    By the second each is foretold from the others, by the third the same where one of the others must be silent.

    Raises:
        UserError: where they are of different recipes or of too few corpora, or of one corpus under two names.
    """
    recipes = {run.recipe for run in runs}
    if len(recipes) > 1:
        raise UserError(f"The runs are of {len(recipes)} different recipes; references of one recipe are expected.")
    names = sorted({run.name for run in runs})
    if len(names) < FEWEST:
        corpora = plural(len(names), "corpus", "corpora")
        raise UserError(f"Runs on {corpora} are there ({', '.join(names)}); {FEWEST} at least are expected. A corpus "
                        "is known by its run's name (foretell run --name).")  # fmt: skip
    named: dict[str, str] = {run.sources: run.name for run in runs}
    twice = next((run for run in runs if run.sources and named[run.sources] != run.name), None)
    if twice is not None:
        raise UserError(f"{twice.name} and {named[twice.sources]} are runs on the same sources; one name is expected, "
                        "so that neither is foretold by the other (foretell run --name).")  # fmt: skip
    if any(run.nats.mean(dtype=np.float64) <= 0 for run in runs):
        raise UserError("The tokens of a run cost nothing; a trained target's losses are expected.")
    left_out = [frozenset(but) for size in range(3) for but in combinations(names, size)]
    networks = {but: _fitted([run for run in runs if run.name not in but])
                for but in track(left_out, "learning", len(left_out))}  # fmt: skip

    def foretold(run: Finished, *but: str) -> float:
        return float(networks[frozenset(but)].nats(run.features).mean(dtype=np.float64))

    references = tuple(
        Reference(run.name, float(run.nats.mean(dtype=np.float64)), foretold(run, run.name), len(run.nats), run.sources)
        for run in runs
    )  # fmt: skip
    if any(reference.foretold <= 0 for reference in references):
        raise UserError("A run is foretold a loss below 0 by the others: its text is like none of theirs.")
    without = {name: networks[frozenset([name])] for name in names}
    pairs = {name: tuple(_above_0(foretold(run, name, run.name)) if run.name != name else None for run in runs)
             for name in names}  # fmt: skip
    return TokenLaw(recipes.pop(), FEATURES, references, networks[frozenset()], without, pairs)


def _above_0(nats: float) -> float | None:
    return nats if nats > 0 else None


def _fitted(runs: Sequence[Finished]) -> TokenNetwork:
    """A network whose squared error over the runs' tokens is least, every corpus counting the same.

    Its output is then a token's expected cost, whose mean is the loss.
    """
    generator = torch.Generator().manual_seed(0)
    features = torch.from_numpy(np.concatenate([run.features for run in runs]))
    nats = torch.from_numpy(np.concatenate([run.nats for run in runs]))
    of_name = {run.name: sum(len(other.nats) for other in runs if other.name == run.name) for run in runs}
    weights = torch.cat([torch.full((len(run.nats),), 1.0 / of_name[run.name]) for run in runs])
    weights /= weights.mean()
    centre, scale = features.mean(0), features.std(0).clamp_min(LEAST_SCALE)
    layers = [nn.Linear(features.shape[1], UNITS), nn.Linear(UNITS, UNITS), nn.Linear(UNITS, 1)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.normal_(0.0, layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()
    network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    scaled = (features - centre) / scale
    for _ in range(STEPS):
        chosen = torch.randint(len(nats), (BATCH,), generator=generator)
        loss = (weights[chosen] * (network(scaled[chosen])[:, 0] - nats[chosen]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    parts = tuple((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers)
    return TokenNetwork(centre.numpy(), scale.numpy(), parts)
