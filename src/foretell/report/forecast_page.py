"""One self-contained page of a forecast from anyone's runs: what is foretold, from what, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from foretell.core.files import write_atomic
from foretell.laws.records import Finding, Forecast
from foretell.report.forecast_figure import NARROW, WIDE, forecast_svg, limits_of
from foretell.report.forecast_record import ForecastRecord
from foretell.report.summary import Tile
from foretell.report.tables import Cell, Table, cell, make_table
from foretell.report.templating import render_page
from foretell.report.wording import count, loss, plain, plural, scientific, short, times

RUNS_LISTED = 1000  # more would make a page of megabytes; the page says what it leaves to the table
TRACK_RECORD = "track-record"
CONTEXT = ("command", "source", "created", "foretell", "git_commit", "registered")


@dataclass(frozen=True)
class ShownLaw:
    """One of the laws averaged: its share of the probability (``None`` for the only one) and its constants."""

    name: str
    formula: str
    probability: float | None
    constants: Table


def write_forecast_page(path: Path, record: ForecastRecord) -> None:
    """Write the page; equal records give the same page.

    Raises:
        UserError: where the file cannot be written.
    """
    write_atomic(path, render_forecast(record))


def render_forecast(record: ForecastRecord) -> str:
    """The page as HTML text."""
    return render_page("forecast.html.j2", _context(record), {"loss": loss, "plural": plural})


def _context(record: ForecastRecord) -> dict[str, Any]:
    made = record.forecast
    said = [finding for finding in made.findings if finding.code != TRACK_RECORD]
    return {
        "forecast": made,
        "title": f"{made.metric} at {scientific(made.target_flops)} FLOPs",
        "tiles": tiles(record),
        "findings": said,
        "words": {"refusal": "Refused.", "warning": "Warning.", "note": ""},
        "track_record": [finding for finding in made.findings if finding.code == TRACK_RECORD],
        "figures": [
            Markup(forecast_svg(record, size, f"forecast-{name}"))
            for name, size in (("wide", WIDE), ("narrow", NARROW))
        ],
        "above": limits_of(record).above,
        "laws": laws(made.law),
        "seed_noise": made.law.get("seed_noise"),
        "points": points_table(record),
        "runs": runs_table(record),
        "runs_read": len(record.runs),
        "uses": {use: len(record.of_use(use)) for use in ("used", "far from the frontier", "stray", "kept back")},
        "left_out": left_out_table(record),
        "rows_left_out": sum(rows.count for rows in record.left_out),
        "context": {key: record.context.get(key) for key in CONTEXT},
        "options": {name: _option(value) for name, value in record.context.get("options", {}).items()},
    }


def tiles(record: ForecastRecord) -> list[Tile]:
    """The figures at the head of the page."""
    made = record.forecast
    largest = max(rung["flops"] for rung in made.rungs)
    used, read = len(record.of_use("used")), len(record.runs)
    return [
        Tile("forecast", loss(made.median), made.metric),
        Tile(f"{100 * made.level:g} % interval", f"{loss(made.low)} to {loss(made.high)}",
             f"{_off(made, made.low)} to {_off(made, made.high)} about the forecast"),
        Tile("training compute", scientific(made.target_flops), "FLOPs"),
        Tile("distance", f"{times(made.target_flops / largest)} times", "the compute of the largest point fitted"),
        Tile("runs", f"{used:,} of {read:,}", "used"),
        Tile("points fitted", str(len(made.rungs)), _warned(made.findings)),
    ]  # fmt: skip


def _off(made: Forecast, value: float) -> str:
    """How far a value lies from the forecast: of a loss in per cent of it, of a share in points."""
    if made.is_share:
        return f"{100 * (value - made.median):+.1f} points"
    return f"{100 * (value / made.median - 1):+.1f} %"


def _warned(findings: tuple[Finding, ...]) -> str:
    counted = {kind: sum(finding.severity == kind for finding in findings) for kind in ("refusal", "warning")}
    return ", ".join(plural(number, kind) for kind, number in counted.items() if number) or "no warnings"


def laws(law: Mapping[str, Any]) -> list[ShownLaw]:
    """The laws that were averaged, the first of a forecast's record before those it names beside it."""
    return [
        ShownLaw(member["name"], member["formula"], member.get("probability"), _constants(member))
        for member in (law, *law.get("averaged_with", ()))
    ]


def _constants(law: Mapping[str, Any]) -> Table:
    rows = [
        [Cell(name), *(cell(value[key], _constant) for key in ("median", "low", "high"))]
        for name, value in law.items()
        if isinstance(value, Mapping) and {"median", "low", "high"} <= value.keys() and name != "seed_noise"
    ]
    columns = {"constant": False, "median": True, "low": True, "high": True}
    return make_table(f"Constants of the {law['name']}", columns, rows)


def _constant(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def points_table(record: ForecastRecord) -> Table:
    """The points that the law is fitted to, with what it leaves unexplained; sizes only where points are runs."""
    made = record.forecast
    sized = any(rung["params"] is not None for rung in made.rungs)
    sizes = {"parameters": True, "tokens": True} if sized else {}
    columns = {"point": False, "FLOPs": True, "of target": True, **sizes, "seeds": True, made.metric: True,
               "standard error": True, "off the law": True}  # fmt: skip
    rows = [
        [
            Cell(rung["label"]),
            Cell(scientific(rung["flops"])),
            Cell(f"1/{times(made.target_flops / rung['flops'])}"),
            *([cell(rung["params"], short), cell(rung["tokens"], short)] if sized else []),
            Cell(str(rung["seeds"])),
            Cell(loss(rung["mean_loss"])),
            cell(rung["standard_error"], plain),
            Cell(f"{100 * rung['residual']:+.2f} {'points' if made.is_share else '%'}"),
        ]
        for rung in made.rungs
    ]
    return make_table("Points that the law is fitted to", columns, rows)


def runs_table(record: ForecastRecord) -> Table:
    """The runs, the largest first, at most :data:`RUNS_LISTED`."""
    columns = {"run": False, "FLOPs": True, "parameters": True, "tokens": True, record.forecast.metric: True,
               "to the forecast": False}  # fmt: skip
    rows = [
        [
            Cell(shown.run.name or f"row {shown.run.row}"),
            Cell(scientific(shown.run.flops)),
            cell(shown.run.params, short),
            cell(shown.run.tokens, short),
            Cell(loss(shown.run.value)),
            Cell(shown.use),
        ]
        for shown in list(reversed(record.runs))[:RUNS_LISTED]
    ]
    return make_table("Runs", columns, rows)


def left_out_table(record: ForecastRecord) -> Table:
    """Rows of the table that are no runs of this forecast's, by the reason."""
    rows = [[Cell(out.reason), Cell(f"{out.count:,}"), Cell(out.rows, missing="not listed")] for out in record.left_out]
    return make_table("Rows left out", {"why": False, "rows": True, "which": False}, rows)


def _option(value: Any) -> str | None:
    if isinstance(value, float):
        return count(value) if value < 1e15 and value >= 1e4 else f"{value:g}"
    return None if value is None else str(value)
