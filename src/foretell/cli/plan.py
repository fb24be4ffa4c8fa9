"""``foretell plan RUNS.csv``: size, tokens and their price for a budget, from anyone's table. Never imports torch."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from foretell.cli.output import out, print_findings
from foretell.core.budget import Budget, budget_of
from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.core.wording import plural, span, with_range
from foretell.laws.records import Finding
from foretell.laws.sizing.chinchilla import EXTRAPOLATION_EVIDENCE, Form, LossLaw, fit_law
from foretell.laws.sizing.plan import HURTS, INFERENCE_VOLUMES, Data, Interval, Plan, make_plan
from foretell.laws.tables.repeated_runs import unique_tokens_of
from foretell.laws.tables.runs import is_share, runs_of

REPEATED = 1.01  # epochs from which a run counts as one that read tokens twice


def plan(arguments: argparse.Namespace) -> int:
    """Fit the table's law, plan the budget, print the plan, and say by the exit code whether the runs can carry it."""
    budget = budget_of(**{name: getattr(arguments, name) for name in (
        "flops", "hours", "money", "hardware", "peak_flops", "count", "mfu", "price_per_hour")})  # fmt: skip
    if arguments.figure:
        from foretell.report.drawing import check_figure_path  # matplotlib: half a second that figures alone need

        check_figure_path(Path(arguments.figure))
    law, ahead, metric, notes = _laws(arguments)
    made = make_plan(
        law,
        ahead,
        budget.flops,
        level=arguments.level,
        inference_tokens=INFERENCE_VOLUMES if arguments.inference_tokens is None else (arguments.inference_tokens,),
        unique_tokens=arguments.unique_tokens,
        next_share=arguments.next_share,
    )
    made = dataclasses.replace(made, findings=(*made.findings, *notes))
    if arguments.json:
        print(json.dumps(record(made, law, budget, metric), allow_nan=False))
    else:
        show(made, law, budget, metric)
    if arguments.figure:
        from foretell.report.plan_figure import write_plan_figure

        write_plan_figure(Path(arguments.figure), made, law, metric)
    return 3 if made.refused else 0


def record(made: Plan, law: LossLaw, budget: Budget, metric: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    fields = dataclasses.asdict(made)
    findings = fields.pop("findings")
    return {
        "metric": metric,
        "budget": dataclasses.asdict(budget),
        "law": {"form": law.form, "formula": law.formula, "constants": law.constants(made.level), "spread": law.spread,
                "flops_per_parameter_token": law.flops_factor},
        "n_runs": len(law.params),
        **fields,
        "refused": made.refused,
        "warnings": [f"{finding['severity']}: {finding['sentence']}" for finding in findings],
    }  # fmt: skip


def _laws(arguments: argparse.Namespace) -> tuple[LossLaw, LossLaw, str, tuple[Finding, ...]]:
    """The law of the table's runs, the one for far larger runs, the metric, and what was said about the table."""
    path = Path(arguments.runs)
    table = read_table(path)
    read = runs_of(table, arguments.metric, arguments.family)
    if is_share(read.metric):
        raise UserError(f"{read.metric} is a share, not a loss; a plan needs a loss, where lower is better.")
    used = [run for run in read.runs if arguments.max_flops is None or run.flops <= arguments.max_flops]
    if not used:
        raise UserError(
            f"--max-flops is {arguments.max_flops:.4g} and the smallest run has {read.runs[0].flops:.4g} FLOPs."
        )
    for name, alias in (("params", "N"), ("tokens", "D")):
        if all(getattr(run, name) is None for run in used):
            raise UserError(f"{path} has no column of {name} ({name} or {alias}), which a plan needs.")
    unique = unique_tokens_of(table, used, arguments.family)
    repeats = unique is not None and any(
        (run.tokens or 0) > REPEATED * different for run, different in zip(used, unique, strict=True)
    )
    form: Form = arguments.form or ("data-constrained" if repeats else "chinchilla")
    if form == "data-constrained" and unique is None:
        raise UserError(f"{path} has neither a column epochs nor unique_tokens, which --form data-constrained needs.")
    law = fit_law(used, form, unique_tokens=unique)
    ahead = fit_law(used, form, unique_tokens=unique, evidence=EXTRAPOLATION_EVIDENCE)
    return law, ahead, read.metric, read.findings


def show(made: Plan, law: LossLaw, budget: Budget, metric: str) -> None:
    """The plan as sentences and tables."""
    constants = law.constants(made.level)
    named = ", ".join(f"{name} {_range(constants[name])}" for name in _named(law))
    out.print(f"Law of {len(law.params)} runs: {law.formula}, with {named}; runs scatter by {law.spread:.1%} about it.")
    out.print(f"Budget: {made.flops:.3g} training FLOPs ({budget.origin}){_price(budget)}.\n")
    if made.refused:
        out.print("These runs cannot carry the plan; what follows is for the record only.")
    out.print(
        f"Best: {_short(made.params.value)} parameters ({_span(made.params)}) on {_short(made.tokens.value)} tokens "
        f"({_span(made.tokens)}), {made.tokens.value / made.params.value:.3g} a parameter. Expected "
        f"{metric} {made.loss.value:.3f}, with {100 * made.level:.0f} % probability {made.loss.low:.3f} to "
        f"{made.loss.high:.3f}.\n"
    )
    out.print(_deviations(made))
    out.print()
    out.print(_inference(made))
    half = made.half_size_pays_from
    out.print(
        "Half the size does not reach that loss.\n"
        if half is None
        else f"Half the size, trained to the same loss, pays from {_short(half)} tokens of inference.\n"
    )
    if made.data is not None:
        out.print(_data(made, made.data))
    out.print(_next(made))
    print_findings(made.findings)


def _named(law: LossLaw) -> tuple[str, ...]:
    return ("E", "A", "B", "alpha", "beta", *(("R_D", "R_N") if law.form == "data-constrained" else ()))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _deviations(made: Plan) -> Table:
    title = "Another size at the same compute; in the last two columns, what it takes to reach the best loss"
    level = f"{100 * made.level:.0f} %"
    table = _table(title, "size", "parameters", "tokens", "loss", "worse by", level, "compute", "tokens")
    for row in made.deviations:
        reached = row.extra_compute is not None and row.tokens_to_match is not None
        table.add_row(
            f"x{row.factor:g}", _short(row.params), _short(row.tokens), f"{row.loss:.3f}",
            f"{row.penalty.value:.1%}", span(f"{row.penalty.low:.1%}", f"{row.penalty.high:.1%}"),
            f"{row.extra_compute:+.1%}" if reached else "out of reach",
            _short(row.tokens_to_match or 0.0) if reached else "",
        )  # fmt: skip
    return table


def _inference(made: Plan) -> Table:
    table = _table("The size that reaches that loss at the least training and inference FLOPs",
                   "inference", "parameters", "tokens", "training FLOPs", "all FLOPs", "saved")  # fmt: skip
    for row in made.inference:
        table.add_row(_short(row.inference_tokens), _short(row.params), _short(row.tokens), f"{row.training_flops:.3g}",
                      f"{row.total_flops:.3g}", f"{row.saved:.1%}")  # fmt: skip
    return table


def _data(made: Plan, data: Data) -> str:
    enough = f"{_short(data.enough)} different tokens cost it no more than {HURTS:.1%}"
    if data.epochs <= 1:
        return f"Text: {_short(data.unique_tokens)} tokens are enough to read none twice; {enough}.\n"
    worth = data.half_worth_epochs
    half = with_range(f"{worth.value:.2g}", f"{worth.low:.2g}", f"{worth.high:.2g}")
    return (
        f"Text: {_short(data.unique_tokens)} tokens are read {_times(data.epochs)} by the best size, which costs "
        f"{_percent(data.penalty)} of loss ({data.loss:.3f}); {enough}. Reading once more is worth half of new text "
        f"after {half} times. Best with this text: {_short(data.best_params)} parameters on "
        f"{_short(data.best_tokens)} tokens ({_times(data.best_epochs)}), loss {data.best_loss:.3f}.\n"
    )


def _next(made: Plan) -> Table | str:
    if not made.next_runs:
        return "No further small run within --next-share of the budget would narrow the interval."
    table = _table("A further small run, and by how much it would narrow the interval of the loss",
                   "parameters", "tokens", "FLOPs", "of the budget", "narrower by", "")  # fmt: skip
    for row in made.next_runs:
        table.add_row(_short(row.params), _short(row.tokens), f"{row.flops:.3g}", f"{row.flops / made.flops:.2g}",
                      f"{row.shrink:.1%}", "most per FLOP" if row.advised else "")  # fmt: skip
    return table


def _price(budget: Budget) -> str:
    if budget.accelerator_hours is None or budget.hours is None:
        return ""
    money = "" if budget.money is None else f", {budget.money:,.0f} in money"
    return f": {plural(round(budget.accelerator_hours), 'accelerator-hour')}, {budget.hours / 24:,.1f} days{money}"


def _range(constant: Any) -> str:
    return with_range(*(f"{constant[end]:.3g}" for end in ("value", "low", "high")))


def _short(value: float) -> str:
    """``69.1B``: three digits and the suffix that tables of runs are read with."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{suffix}" if value < 999.5 * size else f"{value / size:,.0f}{suffix}"
    return f"{value:.3g}"


def _span(interval: Interval) -> str:
    return span(_short(interval.low), _short(interval.high))


def _percent(interval: Interval) -> str:
    return with_range(f"{interval.value:.1%}", f"{interval.low:.1%}", f"{interval.high:.1%}")


def _times(value: float) -> str:
    shown = f"{value:.3g}"
    return "once" if shown == "1" else f"{shown} times"
