"""A running job against its registered forecast: on track, above or below, with a stated rate of false alarms.

Every look projects the loss so far to the end of the run (:mod:`foretell.laws.training_curves.curves`). An alarm is
raised when the whole projection lies outside the forecast's interval, and stays. The projection's width is that of a
band which a run leaves at *any* time of its life with probability ``false_alarms`` at most (a simultaneous band: the
quantile of the largest deviation along a curve), so looking often costs nothing. A false alarm is one about a run that
ends inside the interval.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from foretell.core.errors import UserError
from foretell.laws.records import Forecast
from foretell.laws.sizes import check_observations
from foretell.laws.tables.cells import shown
from foretell.laws.tables.columns import is_share
from foretell.laws.training_curves.curves import START, WINDOW, learn_shape

Status = Literal["early", "on track", "above", "below", "not finite"]
LARGEST = 1e100  # a loss counts for no more, so that sums and exponentials stay numbers
SPIKE = 1e6  # times the sum of the other losses
WORDS: dict[Status, str] = {"early": "too early to tell", "not finite": "the loss is not finite"}


@dataclass(frozen=True)
class Verdict:
    """What one look at the job says.

    Attributes:
        status: ``early`` before a tenth of the run, ``not finite`` where the newest loss is no number; ``above`` and
            ``below`` say that the run will end outside the forecast's interval, worse or better than foretold.
        progress: share of the run that is done, 0 to 1.
        loss: mean over the last twentieth of the run; not a number where there is none.
        projected, low, high: the loss at the end as projected from here, and the band; not a number while it is early.
        forecast_median, forecast_low, forecast_high: what was registered.
        since: progress at which the alarm was raised.
        finished: whether ``projected``, ``low`` and ``high`` are the measured outcome.
    """

    status: Status
    progress: float
    loss: float
    projected: float
    low: float
    high: float
    forecast_median: float
    forecast_low: float
    forecast_high: float
    since: float | None = None
    finished: bool = False

    @property
    def off_track(self) -> bool:
        """Whether a person should look at the job."""
        return self.status not in ("early", "on track")

    @property
    def sentence(self) -> str:
        """The verdict on one line."""
        registered = f"forecast {self.forecast_median:.3f} ({self.forecast_low:.3f} to {self.forecast_high:.3f})"
        if self.finished:
            place = {"above": "above the interval", "below": "below the interval"}.get(self.status, "on track")
            raised = "" if self.since is None else f"; an alarm was raised at {self.since:.0%}"
            return f"finished at {self.projected:.3f}, {place}: {registered}{raised}"
        word = WORDS.get(self.status, self.status)
        since = "" if self.since is None else f" since {self.since:.0%}"
        if math.isnan(self.projected):
            loss = "" if math.isnan(self.loss) else f", loss {self.loss:.3f}"
            return f"{self.progress:.0%} done, {word}{since}{loss}: {registered}"
        return (
            f"{self.progress:.0%} done, {word}{since}: loss {self.loss:.3f}, heading for {self.projected:.3f} "
            f"({self.low:.3f} to {self.high:.3f}), {registered}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready values; figures that are not finite are ``None``."""
        values = dataclasses.asdict(self)
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        } | {"off_track": self.off_track}


def check_watchable(forecast: Forecast) -> None:
    """Refuse what no falling loss can be held against.

    Raises:
        UserError: for a forecast of an accuracy or another share, for one whose interval is none, and for runs or
            curves that nothing can be learned from.
    """
    if is_share(forecast.metric):
        raise UserError(
            f"The forecast's metric is {shown(forecast.metric)}, an accuracy, a pass rate or another share; a watch "
            "follows a falling loss to its end, so the forecast of a loss is expected."
        )
    low, median, high = forecast.low, forecast.median, forecast.high
    if not 0 < low <= median <= high < math.inf:
        raise UserError(
            f"low is {low:g}, value {median:g} and high {high:g}, which are no forecast of a loss; numbers above zero "
            "in this order are expected."
        )
    if not forecast.observations:
        return
    if not forecast.target_flops > 0:
        raise UserError(f"target_flops is {forecast.target_flops:g}; a number above zero is expected.")
    check_observations(forecast.observations)
    for row, run in enumerate(forecast.observations, start=1):
        done, losses = [0.0, *(point[0] for point in run.curve)], [point[1] for point in run.curve]
        if any(after < before for before, after in itertools.pairwise(done)) or not all(loss > 0 for loss in losses):
            raise UserError(f"Run {row}: its curve does not go on from zero with losses above zero, as is expected.")


class Watch:
    """Follows one run; feed it readings in the order of the run.

    Args:
        forecast: what was registered. The curves of its observations are learned from where they are there.
        false_alarms: probability, over the whole run, of an alarm about a run that ends inside the forecast's interval.

    Raises:
        UserError: for a rate that is not between 0.001 and 0.5, and as :func:`check_watchable`.

    Example::

        watch = Watch(registered_forecast(load_registered(path)))
        verdict = watch.update(progress=0.4, loss=2.31)
        print(verdict.sentence)
    """

    def __init__(self, forecast: Forecast, *, false_alarms: float = 0.05) -> None:
        if not 0.001 <= false_alarms <= 0.5:
            raise UserError(f"false_alarms is {false_alarms}; a probability from 0.001 to 0.5 is accepted.")
        check_watchable(forecast)
        self.forecast, self.false_alarms = forecast, false_alarms
        self.shape = learn_shape(forecast.observations, forecast.target_flops)
        self.boundary = self.shape.boundary(false_alarms)
        self._window: deque[tuple[float, float]] = deque()
        self._sum = 0.0  # of the window's losses: a long log has many in each
        self._alarm: tuple[Status, float] | None = None

    def update(self, progress: float, loss: float) -> Verdict:
        """Take one reading.

        Args:
            progress: share of the run that is done, at least 0; beyond 1 it counts as 1. A run that went back to a
                checkpoint may go back here as well.
            loss: in the forecast's metric, > 0, or not finite where training diverged.

        Raises:
            UserError: for a progress or a loss that cannot be one.
        """
        if not progress >= 0 or math.isinf(progress):
            raise UserError(f"progress is {progress}; the share of the run that is done, from 0 to 1, is expected.")
        progress = min(progress, 1.0)
        if not math.isfinite(loss):
            return self._verdict("not finite", progress)
        if loss <= 0:
            raise UserError(f"loss is {loss}; a number above zero is expected.")
        while self._window and self._window[-1][0] > progress:
            self._leave(self._window.pop()[1])
        loss = min(loss, LARGEST)
        self._window.append((progress, loss))
        self._sum += loss
        while self._window[0][0] <= progress - WINDOW:
            self._leave(self._window.popleft()[1])
        if progress < START:
            return self._verdict("early", progress)
        low, high = self._projection(progress)[1:]
        if self._alarm is None and (low > self.forecast.high or high < self.forecast.low):
            self._alarm = "above" if low > self.forecast.high else "below", progress
        return self._verdict("on track" if self._alarm is None else self._alarm[0], progress)

    def finish(self, loss: float) -> Verdict:
        """Take the final loss as measured; the verdict is then a fact, whatever was said on the way."""
        place: Status = "on track"
        if not math.isfinite(loss):
            place = "not finite"
        elif not self.forecast.low <= loss <= self.forecast.high:
            place = "above" if loss > self.forecast.high else "below"
        verdict = self._verdict(place, 1.0)
        return dataclasses.replace(verdict, loss=loss, projected=loss, low=loss, high=loss, finished=True)

    def _projection(self, progress: float) -> tuple[float, float, float]:
        """Median, low and high of the loss at the end."""
        mean, deviation = self.shape.at(progress)
        level = math.log(self._loss()) - mean
        reach = self.boundary * deviation
        low, middle, high = (math.exp(min(end, math.log(LARGEST))) for end in (level - reach, level, level + reach))
        return middle, low, high

    def _leave(self, loss: float) -> None:
        """Take a loss out of the window's sum."""
        self._sum -= loss
        # a spike has left few of the others' digits in the sum
        if loss > SPIKE * self._sum:
            self._sum = math.fsum(other for _, other in self._window)

    def _loss(self) -> float:
        return self._sum / len(self._window) if self._window else math.nan

    def _verdict(self, status: Status, progress: float) -> Verdict:
        projectable = bool(self._window) and status != "not finite" and progress >= START
        projection = self._projection(progress) if projectable else (math.nan,) * 3
        forecast = self.forecast
        since = None if self._alarm is None else self._alarm[1]
        return Verdict(status, progress, self._loss(), *projection, forecast.median, forecast.low, forecast.high, since)
