"""pass@k without bias, from n samples of each problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foretell.core.errors import UserError


@dataclass(frozen=True)
class PassRate:
    """A rate over problems.

    Attributes:
        value: mean over problems, 0 to 1.
        stderr: standard error of the mean, the problems taken as a sample of their kind; nan for a single problem.
        problems: how many.
    """

    value: float
    stderr: float
    problems: int


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that at least one of ``k`` samples, drawn without replacement from those seen, is correct.

    1 - C(n - c, k) / C(n, k), the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), equation 1, computed as
    the product that their figure 3 gives, which neither overflows nor cancels.

    Args:
        samples: n, at least k.
        correct: c, 0 to n.
        k: at least 1.

    Raises:
        UserError: where the three do not fit each other.
    """
    if k < 1 or samples < k:
        raise UserError(f"pass@{k} cannot be estimated from {samples} samples of a problem; k must be 1 to {samples}.")
    if not 0 <= correct <= samples:
        raise UserError(f"{correct} correct samples of {samples} were given; 0 to {samples} are possible.")
    if samples - correct < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / count for count in range(samples - correct + 1, samples + 1))


def pass_rate(counts: Sequence[tuple[int, int]], k: int) -> PassRate:
    """Mean of :func:`pass_at_k` over problems with its standard error.

    Args:
        counts: samples and correct ones of each problem.

    Raises:
        UserError: where there is no problem, or one has fewer than ``k`` samples.
    """
    if not counts:
        raise UserError("pass@k was asked of no problem; at least one is needed.")
    rates = [pass_at_k(samples, correct, k) for samples, correct in counts]
    mean = math.fsum(rates) / len(rates)
    if len(rates) == 1:
        return PassRate(mean, math.nan, 1)
    variance = math.fsum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)
    return PassRate(mean, math.sqrt(variance / len(rates)), len(rates))
