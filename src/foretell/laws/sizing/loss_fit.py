"""How L(N, D) is fitted: priors, a grid of starts, outliers, the noise, and the bootstrap.

The constants' uncertainty is a weighted likelihood bootstrap (Newton & Raftery 1994; with priors as Newton, Polson & Xu
2021): each replicate draws weights of the runs and means of the priors and fits again from the estimate. Where runs are
many the weights decide, where they are few the priors do, and answers are wide rather than wild.

Real runs leave the law together: neighbours share its misfit, so a hundred of them do not tell a hundred times where it
goes. ``evidence`` says for how many independent runs a table counts: the likelihood is tempered by that share, and the
bootstrap's weights are gamma variables that are as uneven as those of so few.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foretell.core.errors import UserError
from foretell.core.wording import plural
from foretell.laws.sizing.loss_terms import (
    COORDINATES,
    PUBLISHED_REPETITION,
    REPETITION_FACTOR,
    Matrix,
    Vector,
    log_loss_jacobian,
)
from foretell.laws.sizing.robust_fit import NOISE, Noise, Problem, fit_many, noise_of, polish
from foretell.laws.tables.runs import Run

Form = Literal["chinchilla", "overtraining", "data-constrained"]
FORMS: tuple[Form, ...] = get_args(Form)
FEWEST_RUNS = 3
REPLICATES = 200
START_RUNS = 400  # as many, evenly taken, decide between the starts
# Priors, as median and as factor of one standard deviation of a log-normal. E and the terms are shares of the lowest
# and of the median loss; exponents fitted to small runs are larger than those of the same family's large ones.
CONSTANT_SHARE, CONSTANT_FACTOR = 0.65, 1.25
TERM_SHARE, TERM_FACTOR = 0.2, 4.0
EXPONENT, EXPONENT_FACTOR = 0.3, 1.3
# A run this many robust standard deviations off is another kind of run, as long as few are and enough others remain.
OUTLIER, MOST_OUTLIERS, FEWEST_FOR_OUTLIERS = 8.0, 0.1, 12


@dataclass(frozen=True)
class LogRuns:
    """Runs in logarithms about their centre, where the law's constants are nearly independent.

    Attributes:
        n, d: ln of parameters and tokens less ``n_centre`` and ``d_centre``, shape (runs,).
        unique: ln of the different tokens less ``d_centre``; ``None`` where repetition is no part of the law.
        log_loss, flops: shape (runs,).
    """

    n: Vector
    d: Vector
    unique: Vector | None
    log_loss: Vector
    flops: Vector
    n_centre: float
    d_centre: float

    @property
    def flops_factor(self) -> float:
        """The runs' compute over N D, by the median."""
        return float(np.median(np.exp(np.log(self.flops) - self.n - self.n_centre - self.d - self.d_centre)))

    @classmethod
    def of(cls, runs: Sequence[Run], unique_tokens: Sequence[float] | None, *, repetition: bool) -> LogRuns:
        """Check and convert.

        Raises:
            UserError: for too few runs, or runs without parameters, tokens or, where given, unique tokens.
        """
        if len(runs) < FEWEST_RUNS:
            raise UserError(f"{plural(len(runs), 'run makes', 'runs make')} no law; at least {FEWEST_RUNS} are needed.")
        for name in ("params", "tokens"):
            missing = [run.row for run in runs if getattr(run, name) is None]
            if missing:
                raise UserError(
                    f"Row {missing[0]} has no {name} ({len(missing)} of {len(runs)} rows); a law of parameters and "
                    "tokens needs both in every row."
                )
        n, d = (np.log(np.array([getattr(run, name) for run in runs], float)) for name in ("params", "tokens"))
        n_centre, d_centre = float(np.median(n)), float(np.median(d))
        unique = None
        if repetition:
            different = np.exp(d) if unique_tokens is None else np.asarray(unique_tokens, float)
            if different.shape != d.shape or not (np.isfinite(different) & (different > 0)).all():
                raise UserError(f"unique_tokens takes a finite number above zero for each of the {len(runs)} runs.")
            unique = np.log(different) - d_centre
        losses, flops = (np.array([getattr(run, name) for run in runs], float) for name in ("value", "flops"))
        return cls(n - n_centre, d - d_centre, unique, np.log(losses), flops, n_centre, d_centre)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> LogRuns:
        """Some of the runs, about the same centre."""
        unique = None if self.unique is None else self.unique[rows]
        return dataclasses.replace(self, n=self.n[rows], d=self.d[rows], unique=unique, log_loss=self.log_loss[rows],
                                   flops=self.flops[rows])  # fmt: skip

    def thinned(self, count: int) -> LogRuns:
        """About ``count`` of the runs, evenly taken in the order of their loss."""
        order = np.argsort(self.log_loss, kind="stable")
        return self if len(order) <= count else self.take(order[np.linspace(0, len(order) - 1, count).astype(int)])


def fit_robustly(table: LogRuns, form: Form, evidence: float = math.inf) -> tuple[NDArray[np.bool_], Vector, Noise]:
    """The estimate, its noise, and which runs it rests on: outliers are set aside and the others fitted again.

    Huber's loss bounds the pull of a run but not that of several on one side, which bend the law to themselves; so the
    search starts anew without them until the choice stands.
    """
    kept = np.ones(len(table.n), dtype=bool)
    whole = problem_of(table, form)
    law, noise = _estimate(table, form)
    for _ in range(6 if len(kept) >= FEWEST_FOR_OUTLIERS else 0):
        misses = np.abs(whole.observed - whole.model(law[None, :])[0][0])
        inside = misses <= OUTLIER * max(1.4826 * float(np.median(misses[kept])), NOISE)
        if (inside == kept).all() or (~inside).mean() > MOST_OUTLIERS:
            break
        kept = inside
        law, noise = _estimate(table.take(kept), form)
    if evidence < kept.sum():
        law, noise = _estimate(table.take(kept), form, evidence / float(kept.sum()))
    return kept, law, noise


def problem_of(table: LogRuns, form: Form) -> Problem:
    """The fit in the form's free coordinates."""
    spread_out = _all_from_free(form)

    def model(laws: Matrix) -> tuple[Matrix, Matrix]:
        value, jacobian = log_loss_jacobian(laws @ spread_out, table.n, table.d, table.unique)
        return value, jacobian if len(spread_out) == len(COORDINATES) else spread_out @ jacobian

    mean, deviation = _priors(table)
    free = np.argmax(spread_out, axis=1)
    return Problem(model, table.log_loss, mean[free], deviation[free])


def replicates(table: LogRuns, form: Form, best: Vector, noise: Noise, random: np.random.Generator) -> Matrix:
    """Free coordinates that the runs leave possible, shape (replicates, free), see the module."""
    problem = problem_of(table, form)
    shape = REPLICATES, len(problem.observed)
    return fit_many(
        problem,
        np.tile(best, (REPLICATES, 1)),
        noise.weight,
        run_weights=random.standard_gamma(noise.share, shape) / noise.share,
        means=problem.mean + problem.deviation * random.standard_normal((REPLICATES, len(best))),
        shifts=noise.unseen * random.standard_normal(shape),
    )[0]


def uncentred(laws: Matrix, table: LogRuns) -> Matrix:
    """All coordinates, (k, 7), of parameters and tokens themselves from the free ones about the centre, (k, free)."""
    form = next(form for form in FORMS if len(_all_from_free(form)) == laws.shape[1])
    natural = laws @ _all_from_free(form)
    natural[:, 1] += np.exp(natural[:, 3]) * table.n_centre
    natural[:, 2] += np.exp(natural[:, 4]) * table.d_centre
    return natural


def _all_from_free(form: Form) -> Matrix:
    """The matrix, (free, 7), that spreads a form's free coordinates out to all."""
    identity = np.eye(len(COORDINATES))
    if form == "data-constrained":
        return identity
    if form == "chinchilla":
        return identity[:5]
    identity[3, 4] = 1.0
    return identity[:4]


def _priors(table: LogRuns) -> tuple[Vector, Vector]:
    """Means and standard deviations of all coordinates, each of shape (7,)."""
    lowest, middle = float(table.log_loss.min()), float(np.median(table.log_loss))
    mean = [math.log(CONSTANT_SHARE) + lowest, *[math.log(TERM_SHARE) + middle] * 2, *[math.log(EXPONENT)] * 2]
    factors = [CONSTANT_FACTOR, TERM_FACTOR, TERM_FACTOR, EXPONENT_FACTOR, EXPONENT_FACTOR, *[REPETITION_FACTOR] * 2]
    return np.array([*mean, *PUBLISHED_REPETITION]), np.log(factors)


def _starts(table: LogRuns, form: Form) -> Matrix:
    """A grid over E's share of the lowest loss, over how the rest is divided, and over the exponents."""
    lowest, middle = math.exp(table.log_loss.min()), math.exp(float(np.median(table.log_loss)))
    starts = []
    for share in (0.2, 0.5, 0.75, 0.9):
        rest = middle - share * lowest
        for part in (0.2, 0.5, 0.8):
            terms = np.log([share * lowest, part * rest, (1 - part) * rest])
            for alpha in (0.2, 0.35, 0.6):
                for beta in (alpha,) if form == "overtraining" else (0.2, 0.35, 0.6):
                    starts.append([*terms, *np.log([alpha, beta]), *PUBLISHED_REPETITION])
    return np.array(starts)[:, np.argmax(_all_from_free(form), axis=1)]


def _estimate(table: LogRuns, form: Form, share: float = 1.0) -> tuple[Vector, Noise]:
    """The best law and the noise about it; twice, because the priors' weight against the runs needs the noise."""
    few = table.thinned(START_RUNS)
    ends, totals = fit_many(problem_of(few, form), _starts(few, form), Noise(0.02, 0.0, share).weight)
    law = ends[np.argmin(totals)]
    problem = problem_of(table, form)
    for _ in range(2):
        noise = noise_of(problem.observed - problem.model(law[None, :])[0][0], len(law), share)
        near = fit_many(problem, law[None, :], noise.weight)[0][0]
        law = polish(problem, near, noise.weight)
    return law, noise
