"""The backtest's records as one Markdown page: summaries first, then every case by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

INTRODUCTION = """\
# Backtest of `foretell forecast`

Written, with backtest.json beside it, by `foretell forecast backtest FOLDER --output docs`; FOLDER holds the public
tables ([where from](forecast.md#the-public-tables)).

For every family and loss the finished runs with at most 1/gap of its largest compute, at least four of them, forecast
the run with the lowest loss among those of at least half the largest compute. The forecast is told that run's compute
and nothing else. Constants are cross-validated by source: a family is forecast with what the *other* sources have
taught (`python -m foretell.laws.backtests.learn FOLDER`). Clean families are all that their sources call neither
mis-tuned nor noisy nor checkpoints of a constant learning rate, one loss each; none is left out after the fact.

Errors of losses are relative to the outcome; *inside* is how many outcomes the {level:.0%} interval held; the interval
score (Winkler's, of ln(loss)) is the width and {missed:.0f} times each miss, lower is better. *Bootstrap* is the usual
practice: a power law with offset fitted to the frontier, resampled.
"""
SUMMARY = (
    "| gap | cases | error, median | 90th percentile | bias | inside | interval score | bootstrap: error | inside "
    "| interval score |"
)


def backtest_page(record: Mapping[str, Any]) -> str:
    """A record of :func:`foretell.laws.backtests.protocol.gap_backtest` as a page."""
    level = record["level"]
    lines = [INTRODUCTION.format(level=level, missed=2 / (1 - level))]
    for key, title in (("clean", "Clean families"), ("others", "All other families and losses")):
        if record[key]:
            lines += [f"## {title}", "", *_table(SUMMARY, map(_summary_row, record[key])), ""]
    lines += [f"All {record['all']['cases']} cases together: {record['all']['coverage']:.0%} inside.", ""]
    heading = "| family | loss | gap | runs | forecast | interval | outcome | error | |"
    for clean, title in ((True, "Every clean case"), (False, "Every other case")):
        rows = [_case_row(case) for case in record["cases"] if case["clean"] is clean]
        if rows:
            lines += [f"## {title}", "", *_table(heading, rows), ""]
    for key, title in (("without_forecast", "Without a forecast"), ("skipped", "Not read")):
        if record[key]:
            lines += [f"## {title}", "", *(f"- {entry}" for entry in record[key]), ""]
    return "\n".join(lines)


def _table(heading: str, rows: Iterable[Sequence[str]]) -> list[str]:
    columns = heading.count("|") - 1
    return [heading, "|" + " --- |" * columns, *(f"| {' | '.join(row)} |" for row in rows)]


def _summary_row(row: Mapping[str, Any]) -> list[str]:
    return [
        "all" if row["gap"] is None else f"{row['gap']:,.0f}", str(row["cases"]), f"{row['median_error']:.1%}",
        f"{row['p90_error']:.1%}", f"{row['bias']:+.1%}", f"{row['coverage']:.0%}", f"{row['winkler']:.3f}",
        f"{row['bootstrap_median_error']:.1%}", f"{row['bootstrap_coverage']:.0%}", f"{row['bootstrap_winkler']:.3f}",
    ]  # fmt: skip


def _case_row(case: Mapping[str, Any]) -> list[str]:
    ours = case["ours"]
    notes = ["" if ours["low"] <= case["outcome"] <= ours["high"] else "outside", "refused" if case["refused"] else ""]
    return [
        case["family"], case["metric"], f"{case['gap']:,.0f}", str(case["n_runs"]), f"{ours['value']:.3f}",
        f"{ours['low']:.3f} to {ours['high']:.3f}", f"{case['outcome']:.3f}", f"{case['error']:+.1%}",
        " ".join(note for note in notes if note),
    ]  # fmt: skip
