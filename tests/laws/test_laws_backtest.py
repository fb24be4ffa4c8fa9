"""The cutting of cases, and the coverage that the public families give."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from law_ladders import law

from foretell.core.errors import UserError
from foretell.laws.backtests.backtest import Backtest, Outcome, backtest, evaluate, main
from foretell.laws.backtests.public import PUBLIC_FAMILIES, Family, cut_cases, public_cases, read_family
from foretell.laws.frontier import frontier
from foretell.laws.records import Observation

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "scaling"
needs_data = pytest.mark.skipif(not FOLDER.exists(), reason="the public training runs are not beside this checkout")


def points(count: int, ratio: float = 2.0) -> list[Observation]:
    return [Observation(1e16 * ratio**n, law(1e16 * ratio**n), 1e6, 1e8) for n in range(count)]


def test_the_frontier_keeps_the_best_of_each_doubling_and_only_improvements():
    runs = [Observation(flops, loss, 1, 1) for flops, loss in ((1.0, 5.0), (1.1, 4.0), (2.0, 4.5), (4.0, 3.0))]
    assert [run.loss for run in frontier(runs)] == [4.0, 3.0]


def test_cases_are_ladders_below_their_targets():
    cases = list(cut_cases("synthetic", points(14)))
    assert cases
    for case in cases:
        assert 4 <= len(case.ladder) <= 7
        assert 5 <= case.ladder[-1].flops / case.ladder[0].flops <= 32
        assert case.gap >= 7 and case.target.flops > case.ladder[-1].flops
    assert {round(math.log10(case.gap)) for case in cases} >= {1, 2}


def test_a_family_too_short_gives_no_case():
    assert list(cut_cases("short", points(4))) == []


def test_the_law_itself_is_foretold():
    case = next(iter(cut_cases("synthetic", points(12))))
    outcome = evaluate(case)
    assert outcome.inside and abs(outcome.error) < 0.02 and outcome.half_width < 0.1


def test_families_count_equally():
    case, other = next(iter(cut_cases("one", points(12)))), next(iter(cut_cases("other", points(12))))
    outcomes = [Outcome(case, 0.1, 0.2, True, 1.0)] * 3 + [Outcome(other, -0.1, 0.1, False, 0.0)]
    result = Backtest(tuple(outcomes), 0.9)
    assert (result.coverage, result.family_coverage, result.family_score) == (0.75, 0.5, 0.5)
    assert "| one | 3 | 100 % | 20.0 % | 10.0 % | +10.0 % |" in result.table()


def test_bad_folders_are_named(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "chinchilla_svg.csv is missing" in capsys.readouterr().err
    (tmp_path / "x.csv").write_text("family,metric\na,b\n")
    with pytest.raises(UserError, match="no column"):
        read_family(tmp_path, Family("x.csv", "a", "b"))
    with pytest.raises(UserError, match="no rows of family 'q'"):
        read_family(tmp_path, Family("x.csv", "q", "b"))


@needs_data
def test_every_public_family_but_the_shortest_gives_cases():
    named = {case.family for case in public_cases(FOLDER)}
    assert len(named) >= len(PUBLIC_FAMILIES) - 2


@needs_data
def test_a_sample_of_public_families_is_covered_by_narrow_intervals():
    outcomes = [evaluate(case) for case in public_cases(FOLDER)[::4]]
    result = Backtest(tuple(outcomes), 0.9)
    assert 0.8 <= result.family_coverage <= 1.0
    assert 0.8 <= result.coverage <= 1.0
    assert result.median_half_width < 0.09


@needs_data
@pytest.mark.slow
def test_public_families_are_covered_by_narrow_intervals():
    result = backtest(FOLDER)
    assert len(result.outcomes) > 100
    assert 0.85 <= result.coverage <= 1.0
    assert 0.85 <= result.family_coverage <= 1.0
    assert result.median_half_width < 0.09
