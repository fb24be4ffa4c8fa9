"""Of many runs with an accuracy, the points that a law is fitted to, and whether they rise at all.

The best accuracy at one compute is the best of several noisy values and so too high; where the runs have a loss too,
the loss says which are best for their compute, and their accuracies are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foretell.core.errors import UserError
from foretell.core.tables import Table
from foretell.laws.backtests.protocol import is_loss
from foretell.laws.capability.share_model import Points, Vector
from foretell.laws.tables.runs import TIDY, Run, Runs, runs_of

BEST_SHARE, MOST_AVERAGED = 3, 3  # of the runs of one doubling of compute the best third is averaged, at most three
EVALUATION_NOISE = 0.01  # of a share whose number of questions is not known
FALL = 4.0  # standard deviations between two-point means that noise does not explain
RISE = 2.5  # standard deviations above the lowest point that tell a trend from chance


@dataclass(frozen=True)
class ShareFrontier:
    """The fitted points and the runs that each of them averages.

    Attributes:
        points: x is ln(compute).
        log_loss: mean ln(loss) of each point's runs, where all runs have a loss; else ``None``.
        chosen: the runs of each point.
    """

    points: Points
    log_loss: Vector | None
    chosen: tuple[tuple[Run, ...], ...]


def share_frontier(
    runs: Sequence[Run], *, falling: bool, losses: Runs | None, items: int | None, most: int
) -> ShareFrontier:
    """The mean of the best runs of each doubling of compute, of the ``most`` largest doublings.

    Args:
        runs: in order of compute.
        falling: whether the values are shares of failures; the points are shares of successes either way.
        losses: of the same runs, matched by name, compute and shape; not used unless every run has one.
        items: questions that each share was measured on.
        most: points that are kept.
    """
    by_key = {} if losses is None else {_key(run): run.value for run in losses.runs}
    known = [by_key.get(_key(run), math.nan) for run in runs]
    have_losses = bool(known) and all(math.isfinite(loss) for loss in known)
    groups: dict[int, list[tuple[float, float, Run]]] = {}
    for run, loss in zip(runs, known, strict=True):
        share = 1 - run.value if falling else run.value
        groups.setdefault(round(math.log2(run.flops)), []).append((loss if have_losses else -share, share, run))
    rows, chosen = [], []
    for _, group in sorted(groups.items())[-most:]:
        group.sort(key=lambda entry: (entry[0], entry[2].row))
        best = group[: max(min(math.ceil(len(group) / BEST_SHARE), MOST_AVERAGED), 1)]
        share = float(np.mean([entry[1] for entry in best]))
        x = float(np.mean([math.log(entry[2].flops) for entry in best]))
        sampling = 0.0 if items is None else math.sqrt((share * (1 - share) + 1 / items) / (items * len(best)))
        log_loss = float(np.mean([math.log(entry[0]) for entry in best])) if have_losses else math.nan
        rows.append((x, share, sampling, log_loss))
        chosen.append(tuple(entry[2] for entry in best))
    x, share, sampling, log_loss = np.array(rows).T
    lowest = min(entry[1] for group in groups.values() for entry in group)
    return ShareFrontier(Points(x, share, sampling, lowest), log_loss if have_losses else None, tuple(chosen))


def _key(run: Run) -> tuple[object, ...]:
    return run.name, run.flops, run.params, run.tokens, run.seed


def trend(points: Points) -> tuple[str, float, float]:
    """How the points go: ``rises``, ``flat``, ``falls`` or ``u-shape``, by more than noise.

    Returns:
        The word, and the shares between which it falls (``falls``, ``u-shape``) or the lowest and the highest.
    """
    noise = np.sqrt(np.where(points.sampling > 0, points.sampling, EVALUATION_NOISE) ** 2)
    share = points.share
    lowest, highest = float(share.min()), float(share.max())
    if len(share) >= 3:
        width = 2 if len(share) >= 4 else 1
        smooth = np.convolve(share, np.ones(width) / width, mode="valid")
        error = float(noise.max()) * math.sqrt(2 / width)
        peaks = np.maximum.accumulate(smooth)
        depth = peaks - smooth
        bottom = int(depth.argmax())
        if depth[bottom] > FALL * error:
            recovered = smooth[-1] - smooth[bottom] > 0.5 * depth[bottom]
            return ("u-shape" if recovered else "falls"), float(peaks[bottom]), float(smooth[bottom])
    rises = highest - lowest > RISE * float(noise.max()) * math.sqrt(2)
    return ("rises" if rises else "flat"), lowest, highest


def losses_beside(table: Table, runs: Runs, family: str | None) -> Runs | None:
    """The loss of a table that goes with a share most closely, by rank, where every run has one; else ``None``."""
    by_plain = {column.lower(): column for column in table.columns}
    if all(name in by_plain for name in TIDY):
        names = list(dict.fromkeys(str(row[by_plain["metric"]]) for row in table.rows))
    else:
        names = list(table.columns)
    best: tuple[float, Runs] | None = None
    for name in names:
        if name == runs.metric or not is_loss(name):
            continue
        try:
            found = runs_of(table, name, family)
        except UserError:
            continue  # another metric's faults are not this forecast's
        by_key = {_key(run): run.value for run in found.runs}
        pairs = [(by_key[_key(run)], run.value) for run in runs.runs if _key(run) in by_key]
        if len(pairs) < len(runs.runs) or len(pairs) < 3:
            continue
        closeness = _rank_correlation(np.array(pairs))
        if best is None or closeness > best[0]:
            best = closeness, found
    return None if best is None else best[1]


def _rank_correlation(pairs: Vector) -> float:
    """Absolute rank correlation of two columns, 0 to 1; 0 where one of them does not vary."""
    ranks = pairs.argsort(axis=0).argsort(axis=0).astype(float)
    if np.ptp(pairs, axis=0).min() == 0:
        return 0.0
    return abs(float(np.corrcoef(ranks.T)[0, 1]))
