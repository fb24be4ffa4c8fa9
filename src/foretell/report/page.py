"""One self-contained page from the records of a run: ``write_report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from foretell.core.files import write_atomic
from foretell.report import wording
from foretell.report.citation import apa, bibtex, keywords
from foretell.report.code_figure import code_figure
from foretell.report.code_tables import code_errors_table, pass_rates_table
from foretell.report.data_tables import (
    documents_tables,
    filters_table,
    heldout_sentence,
    licences_table,
    projects_table,
    sources_table,
    splits_table,
)
from foretell.report.figures import NARROW, WIDE, forecast_figure, loss_figure, tuning_figure
from foretell.report.findings import findings, outcome_bits_per_byte, state, training_began
from foretell.report.records import RECORD_FILES, Run, gather
from foretell.report.series import forecast_series, loss_series, tuning_series
from foretell.report.summary import summary, tiles
from foretell.report.tables import (
    architecture_table,
    compute_table,
    environment_table,
    ladder_table,
    law_table,
    rates_table,
    references_table,
    relative_link,
    residuals_table,
    settings_table,
    stages_table,
    tuning_table,
)
from foretell.report.templating import render_page
from foretell.report.visual_tables import answers_table, visual_sources_table, visual_splits_table

REPORT_NAME = "report.html"


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run directory, from its records alone; equal records give the same page.

    Returns:
        The path of the page.

    Raises:
        UserError: where the folder is not a run directory, a record is broken, or the page cannot be written.
    """
    path = run_folder / REPORT_NAME
    write_atomic(path, render(gather(run_folder)))
    return path


def render(run: Run) -> str:
    """The page as HTML text."""
    forms = (wording.moment, wording.bits, wording.seconds, wording.percent)
    return render_page(
        "report.html.j2", _context(run), {"link": relative_link} | {form.__name__: form for form in forms}
    )


def _context(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "state": state(run),
        "summary": summary(run),
        "tiles": tiles(run),
        "findings": findings(run),
        "figures": _figures(run),
        "unit": "bits per byte" if run.bytes_per_word() is None else "bits per word",
        "bytes_per_word": run.bytes_per_word(),
        "training_began": training_began(run),
        "partial_evaluations": any(record.get("whole") is False for record in run.of_kind("eval")),
        "guard_events": run.of_kind("guard"),
        "diverged": [wording.plain(rate) for rate in tuning_series(run.tuning).diverged],
        "tables": {
            "law": law_table(run),
            "references": references_table(run),
            "residuals": residuals_table(run),
            "architecture": architecture_table(run),
            "sources": sources_table(run),
            "filters": filters_table(run),
            "splits": splits_table(run),
            "licences": licences_table(run),
            "projects": projects_table(run),
            "ladder": ladder_table(run),
            "tuning": tuning_table(run),
            "compute": compute_table(run),
            "rates": rates_table(run),
            "stages": stages_table(run),
            "environment": environment_table(run),
            "visual_sources": visual_sources_table(run),
            "visual_splits": visual_splits_table(run),
            "answers": answers_table(run),
            "pass_rates": pass_rates_table(run),
            "code_errors": code_errors_table(run),
        },
        "heldout_sentence": heldout_sentence(run),
        "document_tables": documents_tables(run),
        "settings": [
            settings_table(str(name), value) for name, value in run.recipe.data.items() if isinstance(value, dict)
        ],
        "energy_sources": _energy_sources(run),
        "records": [(path, about, run.present(path)) for path, about in RECORD_FILES.items()],
        "keywords": keywords(run),
        "apa": apa(run),
        "bibtex": bibtex(run),
    }


def _energy_sources(run: Run) -> list[str]:
    """How the joules were obtained, each way once."""
    stated = (result.text("joules_source") for result in [*run.ladder, run.target])
    return list(dict.fromkeys(source for source in stated if source))


def _figures(run: Run) -> dict[str, list[Markup]]:
    """Each figure for wide and for narrow screens (the style sheet shows one); none where records are missing."""
    figures: dict[str, list[Markup]] = {"forecast": [], "answers": [], "code": [], "loss": [], "tuning": []}
    losses, tuning = loss_series(run.log), tuning_series(run.tuning)
    byte_forecast = None
    outcome = outcome_bits_per_byte(run)
    outcome_record = None if outcome is None else {"outcome": outcome}
    if run.forecast.number("forecast.target_flops"):
        byte_forecast = forecast_series(run.forecast.data, None, None)
    for width, size in (("wide", WIDE), ("narrow", NARROW)):
        if byte_forecast:
            figures["forecast"].append(Markup(
                forecast_figure(run.forecast.data, outcome_record, run.bytes_per_word(), size, f"forecast-{width}")
            ))  # fmt: skip
        if run.answers_forecast.number("forecast.target_flops"):
            scored = run.answers_score.data or None
            figures["answers"].append(Markup(
                forecast_figure(run.answers_forecast.data, scored, None, size, f"answers-{width}")
            ))  # fmt: skip
        if drawn := code_figure(run.code_forecast.data, run.code_score.data or None, size, f"code-{width}"):
            figures["code"].append(Markup(drawn))
        if losses.tokens or losses.heldout:
            figures["loss"].append(Markup(loss_figure(losses, byte_forecast, size, f"loss-{width}")))
    if tuning.excess:
        figures["tuning"].append(Markup(tuning_figure(tuning)))
    return figures
