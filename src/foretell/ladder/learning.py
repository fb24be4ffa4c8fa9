"""Learning from finished runs of a recipe what its target will pay for the tokens of another corpus.

A reference is a run whose target is trained: what its held-out tokens are like, and what they cost that target, is all
that is taken of it (:class:`foretell.ladder.finished.Finished`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from foretell.core.errors import UserError
from foretell.core.progress import track
from foretell.ladder.finished import Finished
from foretell.ladder.token_features import FEATURES
from foretell.laws.token_law import FEWEST, Reference, TokenLaw, TokenNetwork

UNITS, STEPS, BATCH, RATE, DECAY = 32, 800, 4096, 5e-3, 0.01  # of the network that learns


def learn(runs: Sequence[Finished]) -> TokenLaw:
    """What runs of one recipe teach, and what each teaches without those of one name.

    Raises:
        UserError: where they are of different recipes, or of too few corpora.
    """
    recipes = {run.recipe for run in runs}
    if len(recipes) > 1:
        raise UserError(f"The runs are of {len(recipes)} different recipes; references of one recipe are expected.")
    names = sorted({run.name for run in runs})
    if len(names) < FEWEST:
        raise UserError(f"Runs on {len(names)} corpora are there ({', '.join(names)}); {FEWEST} at least are expected.")
    left_out: list[str | None] = [None, *names]
    networks = {name: _fitted([run for run in runs if run.name != name])
                for name in track(left_out, "learning", len(left_out))}  # fmt: skip
    references = tuple(
        Reference(run.name, float(run.nats.mean(dtype=np.float64)),
                  float(networks[run.name].nats(run.features).mean(dtype=np.float64)), len(run.nats))
        for run in runs
    )  # fmt: skip
    without = {name: networks[name] for name in names}
    return TokenLaw(recipes.pop(), FEATURES, references, networks[None], without)


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
    centre, scale = features.mean(0), features.std(0).clamp_min(1e-3)
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
