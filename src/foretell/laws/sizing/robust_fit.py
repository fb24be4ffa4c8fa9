"""Many robust fits of one law at once: Huber's loss of ln(loss) with Gaussian priors, by damped Gauss-Newton steps.

The starts of a search and the replicates of a bootstrap differ in where they begin, in the weights of the runs and in
the priors' means, not in the law; so they are solved side by side in a few matrix products. The objective of each is

    w sum_i g_i huber(y_i - f_i(theta)) + 1/2 sum_j ((theta_j - m_j) / s_j)^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from foretell.laws.sizing.loss_terms import Matrix, Vector

HUBER_DELTA = 1e-3  # Hoffmann et al. 2022, appendix D.2: of ln(loss)
# Noise of ln(loss), as mean absolute deviation, believed before any residual is seen, and how many runs that is worth.
NOISE, NOISE_RUNS = 0.005, 4
MEAN_ABSOLUTE = np.sqrt(np.pi / 2)  # standard deviation over mean absolute deviation of a Gaussian
CHUNK = 200_000  # laws times runs that are in memory at once; about what a processor's cache holds

# Takes laws (k, p); gives values (k, m) and derivatives (k, p, m).
Model = Callable[[Matrix], tuple[Matrix, Matrix]]


@dataclass(frozen=True)
class Problem:
    """What to fit: ``model`` to ``observed``, ln(loss) of shape (m,), with priors ``mean`` and ``deviation``, (p,)."""

    model: Model
    observed: Vector
    mean: Vector
    deviation: Vector


@dataclass(frozen=True)
class Noise:
    """Noise of ln(loss): ``total`` standard deviation, and the part that the residuals do not show.

    A law with as many constants as there are runs goes through all of them; what it has bent to is ``unseen``. Each run
    counts as ``share`` of an independent one.
    """

    total: float
    unseen: float
    share: float = 1.0

    @property
    def weight(self) -> float:
        """w of the objective: what makes exp(-w huber) the density of noise of this size."""
        return self.share / (self.total * min(self.total, HUBER_DELTA))


def noise_of(residuals: Vector, constants: int, share: float = 1.0) -> Noise:
    """Noise from the residuals of a fit with so many ``constants``, pooled with what is believed of any table."""
    seen = float(np.abs(residuals).mean())
    freedom = max(len(residuals) - constants, 0) + NOISE_RUNS
    total = (len(residuals) * seen + NOISE_RUNS * NOISE) / freedom
    return Noise(float(MEAN_ABSOLUTE * total), float(MEAN_ABSOLUTE * np.sqrt(max(total**2 - seen**2, 0.0))), share)


def huber(residuals: Matrix) -> Matrix:
    """Half the square within :data:`HUBER_DELTA`, linear beyond."""
    size = np.abs(residuals)
    return np.where(size <= HUBER_DELTA, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2))


def objective(problem: Problem, law: Vector, weight: float) -> tuple[float, Vector]:
    """The objective of one law, shape (p,), without weights of runs, and its gradient."""
    value, jacobian = problem.model(law[None, :])
    residuals = problem.observed - value[0]
    pull = (law - problem.mean) / problem.deviation
    slope = np.clip(residuals, -HUBER_DELTA, HUBER_DELTA)
    total = weight * float(huber(residuals).sum()) + float(pull @ pull) / 2
    return total, np.asarray(-weight * (jacobian[0] @ slope) + pull / problem.deviation)


def polish(problem: Problem, law: Vector, weight: float) -> Vector:
    """L-BFGS from ``law``, in units of the priors' deviations; the better of its end and its start."""
    unit = problem.deviation

    def scaled(place: Vector) -> tuple[float, Vector]:
        total, gradient = objective(problem, place * unit, weight)
        return total, gradient * unit

    found = minimize(scaled, law / unit, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-13})
    return np.asarray(found.x * unit) if found.fun <= objective(problem, law, weight)[0] else law


def fit_many(
    problem: Problem,
    starts: Matrix,
    weight: float,
    *,
    run_weights: Matrix | None = None,
    means: Matrix | None = None,
    shifts: Matrix | None = None,
    steps: int = 40,
) -> tuple[Matrix, Vector]:
    """Fit from every start.

    Args:
        problem: the law, the runs and the priors.
        starts: shape (k, p).
        weight: w of the objective.
        run_weights: g of the objective, shape (k, m); 1 by default.
        means: of the priors, shape (k, p); the problem's by default.
        shifts: added to ``problem.observed``, shape (k, m).
        steps: at most so many; fewer where all have settled.

    Returns:
        The fitted laws, shape (k, p), and their objectives, shape (k,).
    """
    size = max(1, CHUNK // len(problem.observed))
    parts = []
    for begin in range(0, len(starts), size):
        rows = slice(begin, begin + size)
        chosen = [None if array is None else array[rows] for array in (run_weights, means, shifts)]
        parts.append(_fit_chunk(problem, starts[rows], weight, *chosen, steps=steps))
    return np.concatenate([laws for laws, _ in parts]), np.concatenate([totals for _, totals in parts])


def _fit_chunk(
    problem: Problem,
    starts: Matrix,
    weight: float,
    run_weights: Matrix | None,
    means: Matrix | None,
    shifts: Matrix | None,
    *,
    steps: int,
) -> tuple[Matrix, Vector]:
    scale = weight * (np.ones(1) if run_weights is None else run_weights)
    centre = problem.mean if means is None else means
    observed = problem.observed if shifts is None else problem.observed + shifts
    precision = problem.deviation**-2
    diagonal = np.arange(starts.shape[1])

    def evaluate(laws: Matrix) -> tuple[Matrix, Matrix, Vector]:
        value, jacobian = problem.model(laws)
        residuals = observed - value
        total = (scale * huber(residuals)).sum(axis=1) + ((laws - centre) ** 2 * precision).sum(axis=1) / 2
        return residuals, jacobian, np.where(np.isfinite(total), total, np.inf)

    laws = starts.copy()
    residuals, jacobian, totals = evaluate(laws)
    damping = np.full(len(laws), 1e-3)
    for _ in range(steps):
        # iteratively re-weighted least squares: a parabola that touches Huber's loss from above
        weighted = (
            jacobian * (scale * np.minimum(1.0, HUBER_DELTA / np.maximum(np.abs(residuals), HUBER_DELTA)))[:, None]
        )
        normal = weighted @ jacobian.transpose(0, 2, 1)
        normal[:, diagonal, diagonal] += precision
        gradient = (weighted @ residuals[:, :, None])[:, :, 0] - (laws - centre) * precision
        normal[:, diagonal, diagonal] *= 1 + damping[:, None]
        step = np.linalg.solve(normal, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step / problem.deviation).max(axis=1)
        step *= np.minimum(1.0, 2.0 / np.maximum(longest, 1e-300))[:, None]
        new_residuals, new_jacobian, new_totals = evaluate(laws + step)
        better = new_totals < totals
        gained = np.where(better, totals - new_totals, 0.0)
        laws[better] += step[better]
        residuals[better], jacobian[better] = new_residuals[better], new_jacobian[better]
        totals = np.where(better, new_totals, totals)
        damping = np.clip(np.where(better, damping / 5, damping * 10), 1e-9, 1e9)
        if (np.where(better, gained, 0.0) < 1e-4).all() and (better | (damping > 1e6) | (longest < 1e-4)).all():
            break
    return laws, totals
