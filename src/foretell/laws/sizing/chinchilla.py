"""The loss of a run by its parameters N and training tokens D, fitted to anyone's runs, with intervals.

Three forms of one law, L = E + A / N^alpha + B / D^beta:

- ``chinchilla``: as it stands (Hoffmann et al. 2022, equation 10, fitted as in appendix D.2);
- ``overtraining``: alpha = beta. With C = 6 N D and M = D / N that is L = E + (a M^eta + b M^-eta) C^-eta with
  eta = alpha / 2, a = A 6^eta, b = B 6^eta (Gadre et al. 2024, equation 4): the best tokens per parameter are then the
  same at every compute, and a constant less has to be found from few runs;
- ``data-constrained``: N and D are what repeated tokens are worth (Muennighoff et al. 2023), with R_D and R_N fitted.

Where the estimate and its uncertainty come from is in :mod:`foretell.laws.sizing.loss_fit`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from foretell.core.errors import UserError
from foretell.laws.sizing.loss_fit import FORMS, Form, LogRuns, fit_robustly, replicates, uncentred
from foretell.laws.sizing.loss_terms import (
    COORDINATES,
    PUBLISHED_REPETITION,
    REPETITION_FACTOR,
    Matrix,
    Vector,
    log_loss,
)
from foretell.laws.tables.runs import Run

__all__ = ["EXTRAPOLATION_EVIDENCE", "FORMS", "Constant", "Form", "LossLaw", "fit_law"]

# By public families: with five the 90 % interval of runs 10 to 1,000 times larger holds them, with all it does not.
EXTRAPOLATION_EVIDENCE = 5.0


class Constant(TypedDict):
    """A constant of the law and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LossLaw:
    """A fitted law.

    Attributes:
        form: which of :data:`FORMS`.
        estimate: its coordinates (:data:`foretell.laws.sizing.loss_terms.COORDINATES`), shape (7,).
        samples: coordinates that the runs leave possible, equally likely, shape (samples, 7). R_D and R_N are drawn
            from their published values where the form does not fit them.
        spread: standard deviation of a run about the law, of ln(loss).
        flops_factor: training compute over N D in the table, 6 where it follows the usual count.
        params, tokens, flops: of the runs it was fitted to, shape (runs,).
        share: of an independent run that each run counts as, 1 where all of the evidence is used.
        outliers: runs so far from the law that they were not used.
    """

    form: Form
    estimate: Vector
    samples: Matrix
    spread: float
    flops_factor: float
    params: Vector
    tokens: Vector
    flops: Vector
    share: float = 1.0
    outliers: tuple[Run, ...] = ()

    @property
    def formula(self) -> str:
        """The law in one line."""
        if self.form == "overtraining":
            return "L = E + A / N^alpha + B / D^alpha"
        primed = "'" if self.form == "data-constrained" else ""
        return f"L = E + A / N{primed}^alpha + B / D{primed}^beta"

    def constants(self, level: float = 0.9) -> dict[str, Constant]:
        """E, A, B, alpha, beta, R_D and R_N with intervals of probability ``level``."""
        low, high = np.exp(np.quantile(self.samples, [(1 - level) / 2, (1 + level) / 2], axis=0))
        names = (name.removeprefix("ln ") for name in COORDINATES)
        values = zip(np.exp(self.estimate).tolist(), low.tolist(), high.tolist(), strict=True)
        return {name: Constant(value=v, low=a, high=b) for name, (v, a, b) in zip(names, values, strict=True)}

    def loss(self, params: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike | None = None) -> Vector:
        """The law's loss; arguments > 0 that broadcast to one another, and the shape of that.

        Args:
            params: N.
            tokens: D, read in all.
            unique_tokens: how many different ones; ``None`` where none is read twice.
        """
        return np.exp(self._log_loss(self.estimate[None, :], params, tokens, unique_tokens)[0])

    def sampled_loss(self, params: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike | None = None) -> Matrix:
        """:meth:`loss` by each of :attr:`samples`, shape (samples, ...)."""
        return np.exp(self._log_loss(self.samples, params, tokens, unique_tokens))

    def optimum(self, flops: ArrayLike) -> tuple[Vector, Vector]:
        """Parameters and tokens of the lowest loss at training compute ``flops``, none read twice (closed form)."""
        params, tokens = self._optima(self.estimate[None, :], flops)
        return params[0], tokens[0]

    def sampled_optimum(self, flops: ArrayLike) -> tuple[Matrix, Matrix]:
        """:meth:`optimum` by each of :attr:`samples`, each of shape (samples, ...)."""
        return self._optima(self.samples, flops)

    def penalty(self, params: ArrayLike, tokens: ArrayLike) -> Vector:
        """How much worse than the best split of the same compute: loss over the optimum's, less one; 0 or more."""
        best = self.loss(*self.optimum(self.compute(params, tokens)))
        return np.maximum(self.loss(params, tokens) / best - 1, 0.0)

    def sampled_penalty(self, params: ArrayLike, tokens: ArrayLike) -> Matrix:
        """:meth:`penalty` by each of :attr:`samples`, shape (samples, ...)."""
        flops = self.compute(params, tokens)
        best_params, best_tokens = self.sampled_optimum(flops)
        rows = self.samples.reshape(-1, 1, len(COORDINATES))
        best = np.stack([np.exp(self._log_loss(law, p, t)[0])
                         for law, p, t in zip(rows, best_params, best_tokens, strict=True)])  # fmt: skip
        return np.maximum(self.sampled_loss(params, tokens) / best - 1, 0.0)

    def compute(self, params: ArrayLike, tokens: ArrayLike) -> Vector:
        """Training FLOPs in the table's count."""
        return self.flops_factor * np.asarray(params, float) * np.asarray(tokens, float)

    def _log_loss(
        self, laws: Matrix, params: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike | None = None
    ) -> Matrix:
        if unique_tokens is None and self.form == "data-constrained":
            unique_tokens = tokens
        given = [params, tokens] if unique_tokens is None else [params, tokens, unique_tokens]
        places = np.broadcast_arrays(*(np.log(np.asarray(values, float)) for values in given))
        flat = log_loss(laws, *(place.ravel() for place in places))
        return flat.reshape(len(laws), *places[0].shape)

    def _optima(self, laws: Matrix, flops: ArrayLike) -> tuple[Matrix, Matrix]:
        # N alpha A N^-alpha = beta B D^-beta at N D = C / k, linear in the logarithms
        product = np.log(np.asarray(flops, float) / self.flops_factor)
        alpha, beta = np.exp(laws[:, 3]), np.exp(laws[:, 4])
        level = laws[:, 3] - laws[:, 4] + laws[:, 1] - laws[:, 2]
        n = (level.reshape(-1, *[1] * product.ndim) + np.multiply.outer(beta, product)) / (alpha + beta).reshape(
            -1, *[1] * product.ndim
        )
        return np.exp(n), np.exp(product[None] - n)


def fit_law(
    runs: Sequence[Run],
    form: Form = "chinchilla",
    *,
    unique_tokens: Sequence[float] | None = None,
    evidence: float = math.inf,
    seed: int = 0,
) -> LossLaw:
    """Fit L(N, D) to finished runs of one family.

    Args:
        runs: at least three, each with parameters and tokens, any order.
        form: which constants are free, see the module.
        unique_tokens: of each run, > 0; read more than once where a run's tokens are more. ``data-constrained`` only.
        evidence: independent runs that the table counts for at most. All of them, by default, for the constants as the
            literature states them and the shape of the law; :data:`EXTRAPOLATION_EVIDENCE` for the loss of far larger
            runs, where the law's misfit and not the runs' noise is the doubt.
        seed: of the bootstrap; equal runs and seeds give equal laws.

    Returns:
        The law; with few runs its intervals are as wide as the priors.

    Raises:
        UserError: for an unknown form, no evidence, too few runs, or runs without parameters or tokens.
    """
    if not evidence > 0:
        raise UserError(f"evidence is {evidence:g}; a number of runs above zero is expected.")
    if form not in FORMS:
        raise UserError(f"The form of the law is '{form}'; one of {', '.join(FORMS)} is accepted.")
    everything = LogRuns.of(runs, unique_tokens, repetition=form == "data-constrained")
    kept, best, noise = fit_robustly(everything, form, evidence)
    table = everything.take(kept)
    laws = np.vstack([best, replicates(table, form, best, noise, np.random.default_rng(seed))])
    natural = uncentred(laws, table)
    if form != "data-constrained":
        drawn = np.random.default_rng([seed, 1]).standard_normal((len(laws), 2))
        drawn[0] = 0.0
        natural[:, 5:] = PUBLISHED_REPETITION + math.log(REPETITION_FACTOR) * drawn
    outliers = tuple(run for run, inside in zip(runs, kept, strict=True) if not inside)
    return LossLaw(form, natural[0], natural[1:], noise.total, table.flops_factor, np.exp(table.n + table.n_centre),
                   np.exp(table.d + table.d_centre), table.flops, noise.share, outliers)  # fmt: skip
