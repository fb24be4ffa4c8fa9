"""L(N, D) = E + A / N^alpha + B / D^beta with its derivatives, and what repeated tokens are worth in it.

Everything is in logarithms (Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", appendix D.2): ln L
is the log-sum-exp of three terms. Repetition follows Muennighoff et al. 2023, "Scaling Data-Constrained Language
Models", equations 5 to 7: U unique tokens read D / U times count as

    D' = U + U R_D (1 - exp(-(D / U - 1) / R_D))

and parameters beyond U_N = min(N, the size for which U tokens are compute-optimal) are worth less in the same way,
with R_N. Letters: k laws, m runs, p = 7 coordinates (:data:`COORDINATES`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

COORDINATES = ("ln E", "ln A", "ln B", "ln alpha", "ln beta", "ln R_D", "ln R_N")
PUBLISHED_REPETITION = np.log([15.4, 5.3])  # R_D* and R_N* of Muennighoff et al. 2023, section 5, fitted on C4
REPETITION_FACTOR = 2.0  # how far off, as one standard deviation of a log-normal, they may be on another corpus


def log_terms(laws: Matrix, n: Vector, d: Vector, unique: Vector | None = None) -> Matrix:
    """Logarithms of the three terms, shape (3, k, m).

    Args:
        laws: coordinates of each law, shape (k, 7).
        n, d: ln of parameters and of tokens, shape (m,).
        unique: ln of unique tokens, shape (m,); ``None`` where no token is read twice.
    """
    constant, a, b = (laws[:, [index]] for index in range(3))
    alpha, beta = np.exp(laws[:, [3]]), np.exp(laws[:, [4]])
    if unique is None:
        n_effective, d_effective = n[None, :], d[None, :]
    else:
        n_effective, d_effective = effective(laws, n, d, unique)
    return np.stack(np.broadcast_arrays(constant, a - alpha * n_effective, b - beta * d_effective))


def log_loss(laws: Matrix, n: Vector, d: Vector, unique: Vector | None = None) -> Matrix:
    """ln L of every law at every point, shape (k, m); arguments as :func:`log_terms`."""
    return np.asarray(np.logaddexp.reduce(log_terms(laws, n, d, unique), axis=0))


def log_loss_jacobian(laws: Matrix, n: Vector, d: Vector, unique: Vector | None = None) -> tuple[Matrix, Matrix]:
    """ln L, shape (k, m), and its derivatives by the coordinates, shape (k, 7, m); arguments as :func:`log_terms`."""
    if unique is not None:
        return _with_repetition(laws, n, d, unique)
    terms = log_terms(laws, n, d)
    value = np.logaddexp.reduce(terms, axis=0)
    shares = np.exp(terms - value)
    alpha, beta = np.exp(laws[:, [3]]), np.exp(laws[:, [4]])
    jacobian = np.zeros((len(laws), len(COORDINATES), len(n)))
    jacobian[:, :3] = np.swapaxes(shares, 0, 1)
    jacobian[:, 3] = -shares[1] * alpha * n
    jacobian[:, 4] = -shares[2] * beta * d
    return value, jacobian


def optimal_size(laws: Matrix, d: Vector) -> Matrix:
    """ln of the parameters for which tokens of ln ``d`` are compute-optimal, shape (k, m): where dL/dN N = dL/dD D."""
    alpha, beta = np.exp(laws[:, [3]]), np.exp(laws[:, [4]])
    level = laws[:, [3]] - laws[:, [4]] + laws[:, [1]] - laws[:, [2]]
    return np.asarray((level + beta * d[None, :]) / alpha)


def effective(laws: Matrix, n: Vector, d: Vector, unique: Vector) -> tuple[Matrix, Matrix]:
    """ln of the parameters and of the tokens that a run with repeated tokens is worth, each of shape (k, m)."""
    unique = np.minimum(unique, d)
    enough = np.minimum(optimal_size(laws, unique), n)
    return enough + _worth(n - enough, laws[:, [6]])[0], unique + _worth(d - unique, laws[:, [5]])[0]


def _worth(excess: Matrix, log_scale: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """ln of what exp(``excess``) repetitions are worth, and its derivatives by ``excess`` and ``log_scale``.

    With q = exp(excess) - 1 >= 0 and R = exp(log_scale) that is ln(1 + R (1 - exp(-q / R))).
    """
    scale = np.exp(log_scale)
    more = np.maximum(np.expm1(excess), 0.0)
    decay = np.exp(-more / scale)
    worth = 1 - scale * np.expm1(-more / scale)
    by_scale = scale * (1 - decay) - more * decay
    return np.log(worth), decay * (more + 1) / worth * (excess >= 0), by_scale / worth


def _with_repetition(laws: Matrix, n: Vector, d: Vector, unique: Vector) -> tuple[Matrix, Matrix]:
    alpha, beta = np.exp(laws[:, [3]]), np.exp(laws[:, [4]])
    unique = np.minimum(unique, d)
    optimal = optimal_size(laws, unique)
    capped = optimal < n
    enough = np.where(capped, optimal, n)
    n_worth, n_by_excess, n_by_scale = _worth(n - enough, laws[:, [6]])
    d_worth, _, d_by_scale = _worth(d - unique, laws[:, [5]])
    n_effective, d_effective = enough + n_worth, unique + d_worth
    terms = np.stack(np.broadcast_arrays(laws[:, [0]], laws[:, [1]] - alpha * n_effective,
                                         laws[:, [2]] - beta * d_effective))  # fmt: skip
    value = np.logaddexp.reduce(terms, axis=0)
    shares = np.exp(terms - value)
    by_n, by_d = -alpha * shares[1], -beta * shares[2]
    # a coordinate that moves the optimal size moves N' only where the size exceeds it
    by_optimal = np.where(capped, by_n * (1 - n_by_excess), 0.0) / alpha
    columns = [
        shares[0],
        shares[1] + by_optimal,
        shares[2] - by_optimal,
        by_n * n_effective + by_optimal * (1 - alpha * optimal),
        by_d * d_effective + by_optimal * (beta * unique[None, :] - 1),
        by_d * d_by_scale,
        by_n * n_by_scale,
    ]
    return value, np.stack(columns, axis=1)
