"""The figure of a plan: loss over model size at one budget, with the optimum and what deviating from it costs."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from foretell.laws.sizing.chinchilla import LossLaw
from foretell.laws.sizing.plan import Plan
from foretell.report.drawing import LAW, OUTCOME, PAPER, RUNG, write_figure
from foretell.report.wording import bits, count, short

SIZE = (520, 310)
TICKS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)  # of the optimum's size


def write_plan_figure(path: Path, plan: Plan, law: LossLaw, metric: str) -> None:
    """Write the figure as a file of its own on a light background, SVG or PNG by its suffix.

    Raises:
        UserError: where the suffix is another or ``path`` cannot be written.
    """
    label = (
        f"{metric} by the law against model size at {plan.flops:.3g} training FLOPs. The lowest, "
        f"{bits(plan.loss.value)}, is at {count(plan.params.value)} parameters."
    )
    write_figure(path, lambda axes: _draw(axes, plan, metric), SIZE, label, "plan")


def _draw(axes: Axes, plan: Plan, metric: str) -> None:
    axes.set_xscale("log")
    curve = plan.curve
    axes.fill_between(curve["params"], curve["low"], curve["high"], color=LAW, alpha=0.16, linewidth=0,
                      label=f"{100 * plan.level:g} % band of the shape")  # fmt: skip
    axes.plot(curve["params"], curve["loss"], color=LAW, linewidth=1.8, label="law")
    axes.axvspan(
        plan.params.low, plan.params.high, color=OUTCOME, alpha=0.12, linewidth=0, label="interval of the size"
    )
    others = [row for row in plan.deviations if row.factor != 1.0]
    axes.plot([row.params for row in others], [row.loss for row in others], "o", markersize=6.5, color=RUNG,
              markeredgecolor=PAPER, markeredgewidth=0.8, label="deviations")  # fmt: skip
    axes.plot([plan.params.value], [plan.loss.value], "D", markersize=8, color=OUTCOME, markeredgecolor=PAPER,
              label="optimum")  # fmt: skip
    axes.set_xticks([plan.params.value * factor for factor in TICKS], minor=False)
    axes.set_xlim(curve["params"][0], curve["params"][-1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"parameters at {plan.flops:.3g} training FLOPs")
    axes.set_ylabel(metric)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.3, borderpad=0.1, ncols=5, columnspacing=0.9)
