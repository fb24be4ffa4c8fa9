"""Sealed forecasts of pass rates: what they hold, what they refuse, and how they are scored beside the largest run."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from law_counts import depth, family

from foretell.core.errors import UserError
from foretell.laws.capability.passrate import forecast_pass_rates
from foretell.laws.capability.passrate_registry import (
    findings_of,
    load_pass_rates,
    measured,
    register_pass_rates,
    run_of,
    run_record,
    score_pass_rates,
)
from foretell.laws.capability.passrate_table import CountedRun, Counts

POWERS = [17.0, 17.5, 18.0, 18.5, 19.0]
TARGET = 20.5


def without_passes(run: CountedRun) -> CountedRun:
    return dataclasses.replace(run, correct=np.zeros_like(run.correct))


def ladder(samples: int = 1000) -> tuple[Counts, CountedRun]:
    """Runs that follow the law, and the one to foretell."""
    runs = family(samples, [*POWERS, TARGET]).runs
    return Counts("made", runs[:-1]), runs[-1]


def codes(registered: dict) -> dict[str, str]:
    return {finding.code: finding.severity for finding in findings_of(registered)}


def test_what_is_sealed_is_the_forecast_and_cannot_be_changed(tmp_path: Path) -> None:
    counts, _ = ladder()
    path = tmp_path / "forecast.json"
    sealed = register_pass_rates(path, counts, 10**TARGET, 0.8, {"target_config_hash": "x"})
    assert load_pass_rates(path) == sealed and sealed["context"] == {"target_config_hash": "x"}
    made = forecast_pass_rates(counts, 10**TARGET, level=0.8)
    assert tuple(sealed["forecast"]["total"]["log_pass"]) == made.total.log_pass
    restored = [run_of(record) for record in sealed["counts"]]
    assert all(np.array_equal(a.correct, b.correct) and a.flops == b.flops
               for a, b in zip(restored, counts.runs, strict=True))  # fmt: skip
    with pytest.raises(UserError, match="never overwritten"):
        register_pass_rates(path, counts, 10**TARGET, 0.8, {})
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"level": 0.8', '"level": 0.9'))
    with pytest.raises(UserError, match="changed since it was sealed"):
        load_pass_rates(path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UserError, match="not a registered forecast"):
        load_pass_rates(tmp_path / "other.json")


def test_errors_are_against_the_true_rates_of_the_law(tmp_path: Path) -> None:
    counts, target = ladder(20_000)
    registered = register_pass_rates(tmp_path / "f.json", counts, 10**TARGET, 0.9, {})
    scored = score_pass_rates(registered, target, {"target": "t"})
    true, of_largest = depth(10**TARGET), depth(10 ** POWERS[-1])  # the mean hardness is one
    assert scored["outcome"]["log_pass"] == pytest.approx(true, rel=0.02)
    assert registered["baseline"]["log_pass"] == pytest.approx(of_largest, rel=0.02)
    assert scored["error"] == pytest.approx(scored["outcome"]["log_pass"] - scored["median"])
    assert scored["baseline_error"] == pytest.approx(true - of_largest, rel=0.1)
    assert abs(scored["error"]) < abs(scored["baseline_error"]) / 2 and scored["inside"]
    assert f"{scored['median']:.3f}" in scored["sentence"] and "largest rung" in scored["sentence"]


def test_a_rung_that_passes_nothing_has_no_rate(tmp_path: Path) -> None:
    counts, target = ladder()
    runs = [without_passes(run) for run in counts.runs[:2]] + list(counts.runs[2:])
    registered = register_pass_rates(tmp_path / "f.json", Counts("made", tuple(runs)), 10**TARGET, 0.9, {})
    assert codes(registered)["not-passing"] == "note"
    sentence = next(f.sentence for f in findings_of(registered) if f.code == "not-passing")
    assert runs[0].name in sentence and runs[1].name in sentence and runs[2].name not in sentence
    buckets = [bucket["problems"] for bucket in registered["forecast"]["buckets"]]
    assert measured(runs[0], buckets) is None
    fitted = forecast_pass_rates(Counts("made", counts.runs[2:]), 10**TARGET)  # as if the others were not there
    assert registered["forecast"]["total"]["log_pass"] == list(fitted.total.log_pass)
    assert [run["name"] for run in registered["counts"]] == [run.name for run in counts.runs]
    largest = [*counts.runs[:-1], without_passes(counts.runs[-1])]
    registered = register_pass_rates(tmp_path / "g.json", Counts("made", tuple(largest)), 10**TARGET, 0.9, {})
    scored = score_pass_rates(registered, target, {})
    assert codes(registered)["largest-not-passing"] == "refusal" and scored["refused"]
    assert registered["baseline"] is None and scored["baseline_error"] is None and scored["error"] is not None
    unsolved = score_pass_rates(registered, without_passes(target), {})
    assert unsolved["outcome"] is None and unsolved["error"] is None and "not measured" in unsolved["sentence"]


@pytest.mark.parametrize(("passing", "code", "severity"), [
    (2, "few-passing", "warning"), (1, "too-few-passing", "refusal"), (0, "too-few-passing", "refusal"),
])  # fmt: skip
def test_too_few_rungs_that_pass_refuse(tmp_path: Path, passing: int, code: str, severity: str) -> None:
    counts, target = ladder()
    first = len(counts.runs) - passing
    runs = [run if place >= first else without_passes(run) for place, run in enumerate(counts.runs)]
    registered = register_pass_rates(tmp_path / "f.json", Counts("made", tuple(runs)), 10**TARGET, 0.9, {})
    assert codes(registered)[code] == severity
    assert (registered["forecast"] is None) == (passing == 0)
    scored = score_pass_rates(load_pass_rates(tmp_path / "f.json"), target, {})
    assert scored["refused"] == (severity == "refusal") and (scored["median"] is None) == (passing == 0)
    if not passing:
        assert scored["set_apart"] == len(target.problems)
        assert scored["newly_solved"] == int((target.correct > 0).sum()) and "No pass rate" in scored["sentence"]


def test_a_mean_over_few_problems_is_refused(tmp_path: Path) -> None:
    counts = family(1000, POWERS, problems=11)
    registered = register_pass_rates(tmp_path / "f.json", counts, 10**TARGET, 0.9, {})
    assert codes(registered)["too-few-problems"] == "refusal"
    assert registered["forecast"]["sentence"].startswith("These runs cannot carry")


def test_another_set_of_problems_is_not_scored(tmp_path: Path) -> None:
    counts, target = ladder()
    registered = register_pass_rates(tmp_path / "f.json", counts, 10**TARGET, 0.9, {})
    fewer = CountedRun(target.name, target.flops, target.problems[1:], target.samples[1:], target.correct[1:])
    with pytest.raises(UserError, match="59 problems, which are not the 60"):
        score_pass_rates(registered, fewer, {})
    assert run_record(target)["problems"] == list(target.problems)
