"""How far a grader agrees with people, with an interval; a grader that is too weak is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import binomtest

from foretell.core.config import Settings
from foretell.core.errors import UserError

RESAMPLES = 5_000


class GradingConfig(Settings):
    """What is asked of a model that grades."""

    measure: Literal["kappa", "exact"] = "kappa"
    """Quadratic-weighted kappa of its shares of the points with people's, or the share of responses graded alike."""
    least: float = Field(default=0.7, ge=0, le=1)
    """The lower end of the interval must reach this; 0.7 is what testing bodies ask of automated scoring."""
    level: float = Field(default=0.9, ge=0.5, le=0.999)
    """Probability of the interval."""
    least_sample: int = Field(default=20, ge=2)
    """Labelled responses that are needed at least."""
    seed: int = Field(default=0, ge=0)
    """Of the bootstrap."""


class GraderRefusedError(UserError):
    """The grader has not been shown to agree with people; nothing was graded."""

    exit_code = 3


@dataclass(frozen=True)
class Agreement:
    """Agreement of a grader with people on ``n`` responses."""

    grader: str
    measure: str
    value: float
    interval: tuple[float, float]
    n: int
    least: float

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """In words."""
        name = "quadratic-weighted kappa" if self.measure == "kappa" else "exact agreement"
        low, high = self.interval
        return (
            f"{self.grader} agrees with people on {self.n} responses: {name} {self.value:.2f} ({low:.2f} to {high:.2f})"
        )

    def require(self) -> None:
        """Raise where the interval's lower end is below what is asked.

        Raises:
            GraderRefusedError: naming both figures.
        """
        if not self.interval[0] >= self.least:
            raise GraderRefusedError(
                f"{self.sentence()}, and a lower end of {self.least:.2f} is asked: its grades are refused. Use a "
                "stronger model, label more responses, or give scores by people."
            )


def quadratic_kappa(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Quadratic-weighted kappa (Cohen 1968) of two raters' scores of the same responses, on any scale.

    One less the mean squared difference, over what it would be if every pairing of their scores were as likely. It is
    one where both give one and the same score throughout.
    """
    seen = float(np.mean((first - second) ** 2))
    expected = float(np.var(first) + np.var(second) + (first.mean() - second.mean()) ** 2)
    return 1.0 - seen / expected if expected > 0 else 1.0


def require_sample(people: Sequence[float], config: GradingConfig) -> None:
    """See that a labelled sample can decide, before a model is asked.

    Raises:
        UserError: where it is too small, or people's scores are all the same and kappa says nothing.
    """
    if len(people) < config.least_sample:
        raise UserError(f"The labelled sample has {len(people)} responses; at least {config.least_sample} are needed.")
    if config.measure == "kappa" and len(set(people)) == 1:
        raise UserError(
            "People gave every response of the labelled sample the same score; kappa needs responses that differ."
        )


def measure_agreement(people: Sequence[float], model: Sequence[float], grader: str, config: GradingConfig) -> Agreement:
    """Agreement on a labelled sample; kappa with a bootstrap interval, exact agreement with Wilson's.

    Args:
        people: scores as shares of the points, 0 to 1.
        model: scores of the same responses.
        grader: its name.
        config: measure, threshold and level.

    Raises:
        UserError: as :func:`require_sample`.
    """
    require_sample(people, config)
    first, second = np.asarray(people, float), np.asarray(model, float)
    if config.measure == "exact":
        alike = int(np.sum(np.abs(first - second) < 1e-9))
        interval = binomtest(alike, len(first)).proportion_ci(config.level, "wilson")
        return Agreement(
            grader, "exact", alike / len(first), (float(interval.low), float(interval.high)), len(first), config.least
        )
    generator = np.random.default_rng(config.seed)
    drawn = generator.integers(0, len(first), (RESAMPLES, len(first)))
    values = [quadratic_kappa(first[rows], second[rows]) for rows in drawn]
    tail = (1 - config.level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Agreement(
        grader, "kappa", quadratic_kappa(first, second), (float(low), float(high)), len(first), config.least
    )
