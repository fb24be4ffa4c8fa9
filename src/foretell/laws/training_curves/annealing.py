"""The loss along a run as a function of its learning rates: a law that uses every point of a training curve.

    L(s) = L0 + A S1(s)^-alpha - C S2(s)

(Tissue, Wang & Wang 2024, "Scaling Law with Learning Rate Annealing", arXiv 2408.11029). S1 is the sum of the learning
rates up to step s; S2, the annealing area, is the sum of a momentum m of their falls, m_i = lambda m_(i-1) +
(rate_(i-1) - rate_i), so a fall pays off with a delay. Rates that rise to their peak at the start are no annealing. One
fit holds for one size, data and batch; it foretells other schedules and longer runs of the same.

Rates enter as shares of the largest peak, so A and C have the unit of the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls
from scipy.signal import lfilter
from scipy.special import ndtri

from foretell.core.errors import ForecastRefusedError, UserError
from foretell.core.wording import plural
from foretell.laws.sizes import Vector
from foretell.laws.target import level_of

BURN_IN = 0.1  # share of a run left out at its start, where a power law does not hold yet
MOST_POINTS = 200  # of one run that are fitted; longer logs are averaged in groups
FEWEST_POINTS = 20
HUBER = 0.003  # of ln(loss): residuals beyond count linearly
MEMORIES = (10.0, 30.0, 100.0, 300.0, 1000.0)  # 1 / (1 - lambda) in steps; the best is kept
ALPHAS, FLOORS = (0.2, 0.5, 1.0), (0.3, 0.6, 0.9)  # starts: alpha, and L0 as a share of the lowest loss
TRIED = 4  # of the starts, those that fit best
BOUNDS = (-30.0, 30.0)  # of the logarithms of the four constants
BLOCKS = 8  # that the residuals of a run are cut into, for neighbours are alike
DRAWS = 50
LONGER = 0.04  # standard deviation for each e-fold of steps beyond the longest run: real curves leave the law
NORMAL = ndtri((np.arange(19) + 0.5) / 19)  # equally likely values of a standard normal
LONGEST = 30.0  # times the longest run: further the fit is not asked
WIDEST = 0.35  # half-width of an interval, relative, from which there is no forecast


@dataclass(frozen=True)
class Curve:
    """One training run.

    Attributes:
        name: of the run.
        steps: increasing, the first at least 1, shape (points,).
        rates: learning rate at each, >= 0, shape (points,).
        losses: > 0, shape (points,).
        tokens_per_step: where it is known.
    """

    name: str
    steps: Vector
    rates: Vector
    losses: Vector
    tokens_per_step: float | None = None

    def every_rate(self) -> Vector:
        """The learning rate of every step up to the last, by lines between the points, shape (last step,)."""
        return np.asarray(np.interp(np.arange(1, int(self.steps[-1]) + 1), self.steps, self.rates))


def areas(rates: Vector, memory: float) -> tuple[Vector, Vector]:
    """S1 and S2 at every step, each shape (steps,).

    Args:
        rates: of every step, in order, shape (steps,).
        memory: 1 / (1 - lambda), in steps, > 1.
    """
    falls = -np.diff(rates, prepend=rates[0])
    falls[: int(np.argmax(rates)) + 1] = 0.0
    return np.cumsum(rates), np.cumsum(lfilter([1.0], [1.0, 1 / memory - 1], falls))


def log_loss(constants: Vector, forward: Vector, annealed: Vector) -> tuple[Vector, Vector]:
    """ln L and its gradient by the logarithms of (L0, A, alpha, C), shapes (points,) and (points, 4).

    Where the law falls below a thousandth of L0, which no loss does, it is held there.
    """
    floor, scale, exponent, gain = np.exp(constants)
    power = scale * forward**-exponent
    value = floor + power - gain * annealed
    held = value <= 1e-3 * floor
    value = np.where(held, 1e-3 * floor, value)
    by_constant = [np.full_like(power, floor), power, -power * np.log(forward) * exponent, -gain * annealed]
    gradient = np.stack(by_constant, axis=1) / value[:, None]
    gradient[held] = [1.0, 0.0, 0.0, 0.0]
    return np.log(value), gradient


@dataclass(frozen=True)
class CurveForecast:
    """The loss at the end of a run with given learning rates; ``low`` and ``high`` enclose ``level``."""

    median: float
    low: float
    high: float
    level: float
    steps: int


@dataclass(frozen=True)
class CurveLaw:
    """A fitted law.

    Attributes:
        constants: ln of (L0, A, alpha, C), shape (4,).
        draws: the same of the bootstrap's refits, shape (draws, 4).
        memory: 1 / (1 - lambda) in steps.
        peak: the learning rate that counts as 1.
        noise: scatter of the fitted points about the law, in ln(loss).
        annealed: whether a learning rate fell in any run, without which C means nothing.
        longest: steps of the longest run.
        points: fitted.
    """

    constants: Vector
    draws: Vector
    memory: float
    peak: float
    noise: float
    annealed: bool
    longest: int
    points: int

    @property
    def named(self) -> dict[str, float]:
        """L0, A, alpha, C and lambda by name."""
        values = dict(zip(("L0", "A", "alpha", "C"), np.exp(self.constants).tolist(), strict=True))
        return values | {"lambda": 1 - 1 / self.memory}

    def too_long(self, steps: int) -> ForecastRefusedError:
        """Why a run of so many steps is not forecast."""
        return ForecastRefusedError(
            f"The run has {plural(steps, 'step')} and the longest of the curves {self.longest:,}; up to {LONGEST:g} "
            "times as many are forecast."
        )

    def predict(self, rates: Vector, *, level: float = 0.9) -> CurveForecast:
        """Forecast the end of a run with these learning rates.

        Args:
            rates: of every step, > 0 somewhere, shape (steps,).
            level: probability of the interval, 0.5 to 0.999.

        Raises:
            UserError: for rates or a level that cannot be.
            ForecastRefusedError: where the runs do not tell: a falling rate and none of them had one, a run far longer
                than they, or an interval too wide to be of use.
        """
        level = level_of(level)
        rates = np.asarray(rates, dtype=float)
        if rates.ndim != 1 or not rates.size or not np.isfinite(rates).all() or rates.min() < 0 or rates.max() == 0:
            raise UserError("rates are the learning rates of every step: finite, not below zero, and not all zero.")
        if len(rates) > LONGEST * self.longest:
            raise self.too_long(len(rates))
        forward, annealed = (area[-1:] for area in areas(rates / self.peak, self.memory))
        if annealed[0] > 0 and not self.annealed:
            raise ForecastRefusedError(
                "The learning rate falls in this run and in none of the curves; what annealing brings cannot be known."
            )
        ends = np.array([log_loss(draw, forward, annealed)[0][0] for draw in self.draws])
        beyond = LONGER * max(0.0, math.log(len(rates) / self.longest))
        ends = (ends[:, None] + math.hypot(self.noise, beyond) * NORMAL[None, :]).ravel()
        middle = float(log_loss(self.constants, forward, annealed)[0][0])
        low, high = (float(np.quantile(ends, share)) for share in ((1 - level) / 2, (1 + level) / 2))
        if high - low > 2 * WIDEST:
            raise ForecastRefusedError(
                f"These curves leave the loss anywhere between {math.exp(low):.3g} and {math.exp(high):.3g}; other "
                "schedules or longer runs among them would narrow it."
            )
        low, high = min(low, middle), max(high, middle)
        return CurveForecast(math.exp(middle), math.exp(low), math.exp(high), level, len(rates))


def fit_curves(curves: Sequence[Curve]) -> CurveLaw:
    """Fit one law to the curves of runs of one size, by Huber loss on ln(loss) from many starts.

    The interval comes from a bootstrap over blocks of residuals, for neighbouring points of a curve are alike, from the
    scatter of single points, and, for a longer run, from what measured curves do there.

    Raises:
        UserError: for no curves, one with too few points, or values that cannot be.
    """
    if not curves:
        raise UserError("There are no curves to fit.")
    for curve in curves:
        _check(curve)
    peak = max(float(curve.rates.max()) for curve in curves)
    thinned = [_thin(curve) for curve in curves]
    targets = np.concatenate([np.log(losses) for _, losses in thinned])
    lengths = [len(losses) for _, losses in thinned]
    longest = max(int(curve.steps[-1]) for curve in curves)
    best: tuple[float, float, Vector, Vector, Vector] | None = None
    falling = any(areas(curve.every_rate(), MEMORIES[0])[1].any() for curve in curves)
    for memory in (one for one in MEMORIES if one == MEMORIES[0] or (falling and one < longest / 3)):
        pairs = [areas(curve.every_rate() / peak, memory) for curve in curves]
        forward, annealed = (
            np.concatenate([pair[which][steps - 1] for pair, (steps, _) in zip(pairs, thinned, strict=True)])
            for which in (0, 1)
        )
        cost, constants = _best_fit(targets, forward, annealed)
        if best is None or cost < best[0]:
            best = cost, memory, constants, forward, annealed
    assert best is not None
    _, memory, constants, forward, annealed = best
    fitted = log_loss(constants, forward, annealed)[0]
    residuals = targets - fitted
    generator = np.random.default_rng(0)
    draws = [
        _refine(fitted + _resampled(residuals, lengths, generator), forward, annealed, constants)[1]
        for _ in range(DRAWS)
    ]
    noise = float(np.median(np.abs(residuals)) / 0.6745)
    return CurveLaw(constants, np.array(draws), memory, peak, noise, falling, longest, len(targets))


def _check(curve: Curve) -> None:
    steps, rates, losses = curve.steps, curve.rates, curve.losses
    if len(steps) < FEWEST_POINTS:
        raise UserError(f"Run {curve.name} has {plural(len(steps), 'point')}; at least {FEWEST_POINTS} are needed.")
    if (np.diff(steps) <= 0).any() or steps[0] < 1 or (steps != np.round(steps)).any():
        raise UserError(f"Run {curve.name}: its steps are not whole numbers that rise from 1 or more.")
    for name, values, least in (("learning rate", rates, 0.0), ("loss", losses, 1e-300)):
        wrong = np.flatnonzero(~np.isfinite(values) | (values < least))
        if len(wrong):
            raise UserError(
                f"Run {curve.name}: {name} is {values[wrong[0]]:g} at step {steps[wrong[0]]:g}; a finite number "
                f"{'above' if least else 'of at least'} zero is expected."
            )
    if rates.max() == 0:
        raise UserError(f"Run {curve.name}: its learning rate is zero throughout.")


def _thin(curve: Curve) -> tuple[Vector, Vector]:
    """Steps (whole) and mean losses of groups of points after the burn-in and the warm-up, shapes (points,)."""
    first = max(BURN_IN * curve.steps[-1], curve.steps[int(np.argmax(curve.rates))])
    late = curve.steps >= first
    if late.sum() < FEWEST_POINTS // 2:
        raise UserError(f"Run {curve.name} has {plural(int(late.sum()), 'point')} after its warm-up; too few to fit.")
    size = math.ceil(late.sum() / MOST_POINTS)
    steps, losses = (
        np.array([group.mean() for group in np.array_split(values[late], math.ceil(late.sum() / size))])
        for values in (curve.steps, curve.losses)
    )
    return np.round(steps).astype(int), losses


def _best_fit(targets: Vector, forward: Vector, annealed: Vector) -> tuple[float, Vector]:
    """The best of the most promising starts; A and C of each are what linear least squares says of its alpha and L0."""
    lowest = float(np.exp(targets.min()))
    starts = []
    for exponent in ALPHAS:
        for share in FLOORS:
            features = np.stack([forward**-exponent, -annealed], axis=1)
            scale, gain = nnls(features, np.maximum(np.exp(targets) - share * lowest, 0.0))[0]
            start = np.log([share * lowest, max(scale, 1e-6), exponent, max(gain, 1e-6)])
            starts.append((float(np.abs(log_loss(start, forward, annealed)[0] - targets).sum()), start))
    starts.sort(key=lambda pair: pair[0])
    return min((_refine(targets, forward, annealed, start) for _, start in starts[:TRIED]), key=lambda fit: fit[0])


def _refine(targets: Vector, forward: Vector, annealed: Vector, start: Vector) -> tuple[float, Vector]:
    """Cost and constants of the nearest minimum."""

    def residuals(constants: Vector) -> Vector:
        return log_loss(constants, forward, annealed)[0] - targets

    def gradient(constants: Vector) -> Vector:
        return log_loss(constants, forward, annealed)[1]

    found = least_squares(
        residuals,
        start,
        jac=gradient,
        bounds=BOUNDS,
        loss="huber",
        f_scale=HUBER,
        max_nfev=60,
    )
    return float(found.cost), np.asarray(found.x)


def _resampled(residuals: Vector, lengths: Sequence[int], generator: np.random.Generator) -> Vector:
    """Residuals put together again from blocks of the same run, wrapping at its end (circular block bootstrap)."""
    parts, start = [], 0
    for length in lengths:
        own = residuals[start : start + length]
        size = max(1, length // BLOCKS)
        starts = generator.integers(0, length, size=math.ceil(length / size))
        parts.append(own[(starts[:, None] + np.arange(size)).ravel()[:length] % length])
        start += length
    return np.concatenate(parts)
