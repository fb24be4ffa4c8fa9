"""What a report says of micro-code: pass rates of every rung and of the target, by level, and the forecast's errors."""

from __future__ import annotations

from foretell.report.records import Record, Run
from foretell.report.tables import Cell, Table, cell, make_table
from foretell.report.wording import bits, percent, scientific, whole


def pass_rates_table(run: Run) -> Table:
    """Pass rates over all problems, a row for each model that was asked, smallest compute first, the target last."""
    answered = [*run.code_rungs, *([run.code] if run.code else [])]
    levels = list(answered[-1].record("levels").data) if answered else []
    columns = {"model": False, "seed": True, "FLOPs": True, "samples": True, "solved": True, "all": True,
               "standard error": True, **dict.fromkeys(levels, True)}  # fmt: skip
    rows = []
    for record in answered:
        asked, correct = record.number("samples"), record.numbers("correct")
        tried = None if asked is None else asked * len(correct)
        rows.append([
            Cell(record.text("name")), cell(record.number("seed"), whole), cell(record.number("flops"), scientific),
            cell(tried, whole), cell(sum(correct), whole), _rate(record),
            cell(record.number("stderr") or None, percent),  # where nothing was solved there is no rate to be off
            *(_rate(record.record(f"levels.{level}")) for level in levels),
        ])  # fmt: skip
    return make_table("Share of samples that pass, over all problems and by level", columns, rows)


def _rate(record: Record) -> Cell:
    """A pass rate; where no sample passed it was not measured."""
    rate = record.number("pass_rate")
    return Cell(None, missing="none passed") if rate == 0 else cell(rate, percent)


def code_errors_table(run: Run) -> Table:
    """The mean of -ln(pass rate) by the forecast and by "the same as the largest rung", beside the target's."""
    columns = {"foretold by": False, "mean of -ln(pass rate)": True, "target": True, "error": True}
    score = run.code_score
    if not score:
        return make_table("Forecast and baseline", columns, [])
    outcome = cell(score.number("outcome.log_pass"), bits)
    names = {"the law": ("median", "error"), "the same as the largest rung": ("baseline.log_pass", "baseline_error")}
    rows = [
        [Cell(name), cell(score.number(value), bits), outcome, cell(score.number(error), _signed)]
        for name, (value, error) in names.items()
    ]
    return make_table("Forecast and baseline", columns, rows)


def _signed(value: float | None) -> str:
    return "not recorded" if value is None else f"{value:+.3f}"
