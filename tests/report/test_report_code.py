"""What the report says of pass rates: the forecast, the largest rung, the outcome, and what was never measured."""

import dataclasses
import html
import sys
from pathlib import Path

import numpy as np
import pytest
from run_builder import build_complete, write_json

sys.path.append(str(Path(__file__).parents[1] / "laws"))
from law_counts import family

from foretell.core.errors import UserError
from foretell.core.files import read_json
from foretell.laws.capability.passrate_registry import register_pass_rates, run_record, score_pass_rates
from foretell.laws.capability.passrate_table import CountedRun, Counts
from foretell.report.code_figure import code_series, write_code_figure
from foretell.report.page import write_report

SAMPLES = 500
LEVELS = ["constant", "copy"]


def answered(run: CountedRun) -> dict:
    """A rung's record, its problems of two levels in turn."""
    rates = run.correct / run.samples
    return {
        "name": run.name, "seed": 0, "flops": run.flops, "samples": SAMPLES, "correct": run.correct.tolist(),
        "pass_rate": float(rates.mean()), "stderr": float(rates.std(ddof=1) / np.sqrt(len(rates))),
        "levels": {level: {"pass_rate": float(rates[number::2].mean())} for number, level in enumerate(LEVELS)},
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run whose smallest rung solved nothing."""
    folder = build_complete(tmp_path / "run")
    runs = list(family(SAMPLES, [16.5, 17.0, 17.5, 18.0, 18.5, 20.0]).runs)
    runs[0] = dataclasses.replace(runs[0], correct=np.zeros_like(runs[0].correct))
    registered = register_pass_rates(
        folder / "forecast-code.json", Counts("micro-code", tuple(runs[:-1])), 1e20, 0.9, {}
    )
    write_json(folder / "ladder/code.json", [answered(run) for run in runs[:-1]])
    write_json(folder / "code.json", answered(runs[-1]))
    scored = score_pass_rates(registered, runs[-1], {})
    write_json(folder / "score-code.json", scored | {"counts": run_record(runs[-1])})
    return folder


def test_the_page_shows_forecast_baseline_and_outcome(run: Path) -> None:
    page, scored = write_report(run).read_text(), read_json(run / "score-code.json")
    section = page[page.index('<section id="code"') : page.index('<section id="architecture"')]
    assert 'href="#code"' in page and scored["sentence"] in html.unescape(section)
    for value in (scored["median"], scored["baseline"]["log_pass"], scored["outcome"]["log_pass"]):
        assert f"{value:.3f}" in section
    assert f"{scored['error']:+.3f}" in section and f"{scored['baseline_error']:+.3f}" in section
    assert section.count("<svg") == 2 and "note: 4 of 5 rungs solved a problem" in section
    assert section.count("none passed") == 3  # of the smallest rung: over all problems, and at both levels


def test_a_rung_without_a_pass_has_no_dot_and_rates_are_of_what_is_foretold(run: Path) -> None:
    registered, scored = read_json(run / "forecast-code.json"), read_json(run / "score-code.json")
    series = code_series(registered, scored)
    assert series is not None and [point.compute for point in series.rungs] == pytest.approx(
        [10**-3.0, 10**-2.5, 10**-2.0, 10**-1.5]
    )
    largest = series.rungs[-1]
    assert largest.rate == pytest.approx(series.baseline) and series.outcome is not None
    assert series.outcome.rate == pytest.approx(scored["outcome"]["pass_rate"])
    solved = registered["forecast"]["total"]["problems"]
    counts = registered["counts"][-1]
    rates = [c / SAMPLES for p, c in zip(counts["problems"], counts["correct"], strict=True) if p in solved]
    assert largest.error == pytest.approx(np.sqrt(sum(p * (1 - p) / SAMPLES for p in rates)) / len(rates))
    write_code_figure(run / "figure.svg", registered, scored)
    assert "same as the largest" in (run / "figure.svg").read_text()


def test_before_the_target_and_without_a_solved_problem(run: Path, tmp_path: Path) -> None:
    (run / "score-code.json").unlink()
    (run / "code.json").unlink()
    assert "the target has not been asked yet" in write_report(run).read_text()
    nothing = [dataclasses.replace(one, correct=np.zeros_like(one.correct)) for one in family(9, [17.0, 18.0]).runs]
    (run / "forecast-code.json").unlink()
    registered = register_pass_rates(run / "forecast-code.json", Counts("micro-code", tuple(nothing)), 1e20, 0.9, {})
    page = write_report(run).read_text()
    assert "so no pass rate is foretold" in page and "refusal: 0 of 2 rungs solved a problem" in page
    assert code_series(registered, None) is None


def test_a_broken_record_is_named(run: Path) -> None:
    write_json(run / "ladder/code.json", [{"name": "a", "flops": "many"}])
    with pytest.raises(UserError, match=r"ladder/code.json: code\[0\].flops is 'many'"):
        write_report(run)
