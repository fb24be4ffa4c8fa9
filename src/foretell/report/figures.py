"""The three figures of a report: the forecast (Figure 1 of the GPT-4 report), the target's loss, the tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from foretell.report.drawing import INK, LAW, OUTCOME, PAPER, RUNG, inline_svg, is_narrow, legend_above, write_figure
from foretell.report.series import ForecastSeries, LossSeries, TuningSeries, forecast_series
from foretell.report.wording import bits, compute_tick, count, fraction, percent, plain, plural, short

# Width and height in points, with the same text size: one for screens, one for telephones.
WIDE = (520, 310)
NARROW = (290, 270)
SMALL = (330, 230)
ROUND_STEPS = [1, 2, 5, 10]
FORECAST_LEGEND = ("rungs", "fitted law")


def forecast_figure(
    registered: Mapping[str, Any],
    outcome: Mapping[str, Any] | None,
    words_factor: float | None,
    size: tuple[int, int] = WIDE,
    identity: str = "forecast",
) -> str:
    """Inline SVG of the forecast: loss against compute relative to the target.

    Args:
        registered: the content of ``forecast.json``.
        outcome: the content of ``score.json``, or ``None`` before there is one.
        words_factor: bytes per word of the held-out split; ``None`` shows the forecast's own metric.
        size: width and height in points.
        identity: start of the ids in the SVG, unique on a page.

    Raises:
        UserError: where ``registered`` is not a forecast record.
    """
    series = forecast_series(registered, outcome, words_factor)
    return inline_svg(lambda axes: _draw_forecast(axes, series), *size, forecast_label(series), identity)


def write_forecast_figure(
    path: Path, registered: Mapping[str, Any], outcome: Mapping[str, Any] | None, words_factor: float | None
) -> None:
    """Write the forecast figure as a file of its own on a light background, SVG or PNG by its suffix.

    Raises:
        UserError: where ``registered`` is not a forecast record, the suffix is another, or ``path`` cannot be written.
    """
    series = forecast_series(registered, outcome, words_factor)
    write_figure(path, lambda axes: _draw_forecast(axes, series), WIDE, forecast_label(series), "forecast")


def forecast_label(series: ForecastSeries) -> str:
    """The forecast figure in words, for those who do not see it."""
    parts = [f"Loss in {series.unit} against training compute relative to the target, on a logarithmic axis."]
    if series.rungs:
        first, last = series.rungs[0], series.rungs[-1]
        parts.append(
            f"{plural(len(series.rungs), 'rung')} fall from {bits(first.loss)} at {fraction(first.compute)} to "
            f"{bits(last.loss)} at {fraction(last.compute)} of the target's compute."
        )
    if series.median is not None:
        interval = f", interval {bits(series.low)} to {bits(series.high)}" if series.low is not None else ""
        parts.append(f"Forecast at the target: {bits(series.median)}{interval}.")
    parts.append("No outcome yet." if series.outcome is None else f"Outcome: {bits(series.outcome)}.")
    return " ".join(parts)


def _draw_forecast(axes: Axes, series: ForecastSeries) -> None:
    axes.set_xscale("log")
    axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    if series.band:
        compute = series.band.compute
        axes.fill_between(
            compute,
            series.band.low,
            series.band.high,
            color=LAW,
            alpha=0.16,
            linewidth=0,
            label=f"{percent_word(series.level)} band",
        )
        axes.plot(compute, series.band.median, color=LAW, linewidth=1.8, label="fitted law")
    if series.rungs:
        axes.errorbar(
            [rung.compute for rung in series.rungs],
            [rung.loss for rung in series.rungs],
            yerr=[rung.error or 0.0 for rung in series.rungs],
            fmt="o", markersize=6.5, color=RUNG, markeredgecolor=PAPER, markeredgewidth=0.8, elinewidth=1.2,
            label="rungs",
        )  # fmt: skip
    if series.median is not None and series.low is not None and series.high is not None:
        # Never below zero: a record whose median lies outside its interval is drawn as it stands.
        reach = [[max(0.0, series.median - series.low)], [max(0.0, series.high - series.median)]]
        axes.errorbar(
            [1.0], [series.median], yerr=reach, fmt="_", markersize=11, color=LAW, capsize=5, elinewidth=1.8,
            markeredgewidth=1.8, label="forecast",
        )  # fmt: skip
    if series.outcome is not None:
        axes.plot([1.0], [series.outcome], "D", markersize=8, color=OUTCOME, markeredgecolor=PAPER, label="outcome")
    low = min([rung.compute for rung in series.rungs] + list(series.band.compute if series.band else []) + [0.1])
    axes.set_xlim(low / 1.8, 3.0)
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compute_tick(value, is_narrow(axes))))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
    axes.set_xlabel("training compute (target = 1)")
    axes.set_ylabel(f"{series.unit}, held out")
    legend_above(axes, FORECAST_LEGEND)


def percent_word(level: float | None) -> str:
    """``0.9`` becomes ``90 %``."""
    return "interval" if level is None else f"{100 * level:g} %"


def loss_figure(
    series: LossSeries, forecast: ForecastSeries | None, size: tuple[int, int] = WIDE, identity: str = "loss"
) -> str:
    """Inline SVG of the target's loss in bits per byte over tokens, with the forecast's interval where registered.

    ``forecast`` is in bits per byte (:func:`forecast_series` without a words factor).
    """
    parts = ["Loss of the target in bits per byte against training tokens."]
    if series.heldout:
        parts.append(
            f"Held-out loss goes from {bits(series.heldout[0])} at {count(series.heldout_tokens[0])} tokens to "
            f"{bits(series.heldout[-1])} at {count(series.heldout_tokens[-1])} tokens."
        )
    if forecast and forecast.low is not None:
        parts.append(f"The forecast for the end is {bits(forecast.low)} to {bits(forecast.high)}.")
    return inline_svg(lambda axes: _draw_loss(axes, series, forecast), *size, " ".join(parts), identity)


def _draw_loss(axes: Axes, series: LossSeries, forecast: ForecastSeries | None) -> None:
    end = max((*series.tokens, *series.heldout_tokens), default=1.0)
    if forecast and forecast.median is not None and forecast.low is not None and forecast.high is not None:
        axes.axhspan(
            forecast.low, forecast.high, color=LAW, alpha=0.16, linewidth=0,
            label="forecast",
        )  # fmt: skip
        axes.axhline(forecast.median, color=LAW, linewidth=1.4, linestyle=(0, (5, 3)))
    axes.plot(series.tokens, series.training, color=RUNG, linewidth=1.3, label="training")
    marker = "o" if len(series.heldout) <= 60 else ""
    axes.plot(
        series.heldout_tokens, series.heldout, marker=marker, markersize=4.5, color=OUTCOME, linewidth=1.3,
        markeredgecolor=PAPER, markeredgewidth=0.6, label="held out",
    )  # fmt: skip
    if series.guard_tokens:
        axes.plot(
            series.guard_tokens, np.full(len(series.guard_tokens), 0.02), "|", color=OUTCOME, markersize=9,
            transform=axes.get_xaxis_transform(), label="guard",
        )  # fmt: skip
    axes.set_xlim(0, end * 1.02)
    axes.set_ylim(*loss_limits(series, forecast))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
    axes.set_xlabel("training tokens")
    axes.set_ylabel("bits per byte")
    legend_above(axes)


def loss_limits(series: LossSeries, forecast: ForecastSeries | None) -> tuple[float, float]:
    """Limits of the loss axis in bits per byte: the first 5 % of tokens, a cliff that hides the rest, may leave it."""
    points = [
        *zip(series.tokens, series.training, strict=True),
        *zip(series.heldout_tokens, series.heldout, strict=True),
    ]
    end = max((tokens for tokens, _ in points), default=0.0)
    shown = [loss for tokens, loss in points if tokens >= 0.05 * end]
    if forecast:
        shown += [bound for bound in (forecast.low, forecast.high) if bound is not None]
    if not shown:
        return 0.0, 8.0
    margin = 0.06 * (max(shown) - min(shown)) or 0.05
    return min(shown) - margin, max(shown) + margin


def tuning_figure(series: TuningSeries, size: tuple[int, int] = SMALL, identity: str = "tuning") -> str:
    """Inline SVG of the search for the base learning rate: every run a dot, their mean a line, the fit dashed."""
    parts = [f"Loss above each run's best against base learning rate, {plural(len(series.excess), 'rate')}."]
    if series.mean:
        best = int(np.argmin(series.mean))
        parts.append(f"The lowest mean, {percent(series.mean[best])}, is at {plain(series.learning_rates[best])}.")
    if series.chosen is not None:
        parts.append(f"Chosen: {plain(series.chosen)}.")
    return inline_svg(lambda axes: _draw_tuning(axes, series), *size, " ".join(parts), identity)


def _draw_tuning(axes: Axes, series: TuningSeries) -> None:
    axes.set_xscale("log")
    if rates := series.learning_rates:
        axes.set_xlim(min(rates) / 1.2, 1.2 * max(rates))
    if series.chosen is not None and series.chosen > 0:
        axes.axvline(series.chosen, color=LAW, linewidth=1.6, linestyle=(0, (5, 3)), label="chosen")
    places = np.repeat(series.learning_rates, [len(values) for values in series.excess])
    axes.plot(
        places, 100 * np.concatenate(series.excess), "o", color=RUNG, alpha=0.5, markersize=4, markeredgewidth=0,
        label="runs",
    )  # fmt: skip
    axes.plot(series.learning_rates, [100 * value for value in series.mean], color=RUNG, linewidth=1.4, label="mean")
    if series.curve:
        tried, shares = zip(*series.curve, strict=True)
        axes.plot(tried, [100 * share for share in shares], color=LAW, linewidth=1.4, label="parabola")
    axes.set_xticks(_thinned(series.learning_rates), minor=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
    axes.set_xlabel("base learning rate")
    axes.set_ylabel("loss above the best, %")
    legend_above(axes)


def _thinned(rates: tuple[float, ...]) -> tuple[float, ...]:
    """At most five of the candidates, evenly taken, as ticks."""
    return rates[:: -(-len(rates) // 5) or 1]
