"""What a person sees while a model trains."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from rich.live import Live
from rich.table import Table

from foretell.core.progress import LINE_SECONDS, console, duration, say


@dataclass(frozen=True)
class StepView:
    """Figures of one step, for the display only."""

    step: int
    steps: int
    loss: float  # nats per token
    figure: float  # the loss in the display's unit
    heldout: float  # in the same unit; not a number before the first evaluation
    learning_rate: float
    tokens_per_second: float
    flops_per_second: float
    peak_share: float  # of the machine's measured rate; not a number where that is not known
    seconds_left: float


class Display:
    """A live table on a terminal, a line every few seconds elsewhere; use as a context manager.

    Args:
        title: what is being trained.
        forecast: the sealed forecast in words, shown beside the loss, or empty.
        unit: of the figure that is shown, in words.
    """

    def __init__(self, title: str, forecast: str = "", unit: str = "bits per byte") -> None:
        self.title, self.forecast, self.unit = title, forecast, unit
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._last = 0.0

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, view: StepView) -> None:
        """Show a step (at most a few times a second)."""
        now = time.monotonic()
        if now - self._last < (0.25 if self._live else LINE_SECONDS):
            return
        self._last = now
        if self._live:
            self._live.update(self._table(view))
        else:
            heldout = "" if math.isnan(view.heldout) else f", held-out {view.heldout:.3f}"
            of_peak = "" if math.isnan(view.peak_share) else f" ({view.peak_share:.0%} of peak)"
            say(
                f"  {self.title}: step {view.step}/{view.steps}, {view.figure:.3f} {self.unit}{heldout}"
                f"{f' (forecast {self.forecast})' if self.forecast else ''}, {view.tokens_per_second:,.0f} tokens/s, "
                f"{view.flops_per_second / 1e9:.0f} GFLOP/s{of_peak}, "
                f"{duration(view.seconds_left)} left"
            )

    def _table(self, view: StepView) -> Table:
        table = Table(title=f"{self.title}: step {view.step} of {view.steps}", title_justify="left", box=None)
        unit = self.unit.replace(" per ", "/")
        for column in ("loss", unit, "held-out", "forecast", "tokens/s", "GFLOP/s", "of peak", "left"):
            table.add_column(column, justify="right")
        heldout = "-" if math.isnan(view.heldout) else f"{view.heldout:.3f}"
        of_peak = "-" if math.isnan(view.peak_share) else f"{view.peak_share:.0%}"
        table.add_row(
            f"{view.loss:.3f}", f"{view.figure:.3f}", heldout, self.forecast or "-",
            f"{view.tokens_per_second:,.0f}", f"{view.flops_per_second / 1e9:.0f}", of_peak,
            duration(view.seconds_left),
        )  # fmt: skip
        return table
