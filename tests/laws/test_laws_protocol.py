"""The backtest's protocol on families whose law is known, and on the public ones where they are at hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from foretell.core.errors import UserError
from foretell.laws.backtests.backtest_page import backtest_page
from foretell.laws.backtests.baseline import bootstrap_forecast
from foretell.laws.backtests.protocol import CLEAN, Interval, gap_backtest, gap_cases
from foretell.laws.records import Observation

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"


def law(flops: float) -> float:
    return 9.0 * flops**-0.04 + 0.8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["source,family,run,params,tokens,flops,metric,value,stage"]
    for i in range(14):
        flops = 1e17 * 2.5**i
        params = (flops / 120) ** 0.5
        values = f"{params:.6g},{20 * params:.6g},{flops:.6g},loss_nats_val,{law(flops):.6f}"
        lines.append(f"made,a,r{i},{values},final")
        lines.append(f"made,a,c{i},{values.rsplit(',', 1)[0]},{3 * law(flops):.6f},checkpoint")
        lines.append(f"made,a,r{i},{params:.6g},{20 * params:.6g},{flops:.6g},acc_task,0.5,final")
    (tmp_path / "made.csv").write_text("\n".join(lines))
    return tmp_path


def test_cases_keep_to_the_protocol(folder: Path) -> None:
    cases = list(gap_cases(folder))
    assert [case.gap for case in cases] == [10, 100, 1000]  # of 10,000 only the two smallest runs are left
    largest = 1e17 * 2.5**13
    for case in cases:
        assert case.metric == "loss_nats_val" and len(case.runs.runs) >= 4 and not case.clean
        assert max(run.flops for run in case.runs.runs) <= largest / case.gap
        assert case.target.value == pytest.approx(law(largest), abs=1e-5)


def test_a_known_law_is_found_and_better_than_learning_nothing(folder: Path) -> None:
    record = gap_backtest(folder)
    assert not record["clean"] and [row["cases"] for row in record["others"]] == [1, 1, 1, 3]
    for case, row in zip(gap_cases(folder), record["others"][:-1], strict=True):
        lowest_seen = min(run.value for run in case.runs.runs)
        assert row["median_error"] < 0.3 * (lowest_seen / case.target.value - 1)
        assert row["coverage"] == 1


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "other.csv").write_text("flops,loss\n1e18,2\n")
    with (folder / "made.csv").open("a") as file:
        file.write("\nmade,g,r0,1e8,2e9,1.2e18,loss_nats_val,,final\n")
    page = backtest_page(gap_backtest(folder))
    assert "- other.csv: it has no columns" in page and "- g loss_nats_val:" in page and "is missing" in page


def test_the_interval_score() -> None:
    interval = Interval(value=2.0, low=1.0, high=math.e)
    assert interval.winkler(math.e**2, 0.9) == pytest.approx(1 + 20 * 1)
    assert interval.winkler(2.0, 0.9) == pytest.approx(1)
    assert interval.holds(2.0) and not interval.holds(math.e**2)


def test_the_bootstrap_finds_a_law_without_noise_and_is_wider_with_it() -> None:
    generator = np.random.default_rng(0)
    flops = np.geomspace(1e17, 1e20, 9)
    exact = [Observation(float(c), law(c)) for c in flops]
    value, low, high = bootstrap_forecast(exact, 1e21, 0.9)
    assert value == pytest.approx(law(1e21), rel=0.01) and high / low < 1.03
    noisy = [Observation(run.flops, run.loss * math.exp(0.01 * generator.standard_normal())) for run in exact]
    _, low, high = bootstrap_forecast(noisy, 1e21, 0.9)
    assert high / low > 1.03


def test_folders_without_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.csv table"):
        gap_backtest(tmp_path)
    (tmp_path / "a.csv").write_text("family,metric,value,flops\na,loss,2,1e18\n")
    with pytest.raises(UserError, match="no family with 4 runs"):
        gap_backtest(tmp_path)


@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
def test_every_clean_family_is_there_by_name() -> None:
    cases = [case for case in gap_cases(SCALING, [10.0]) if case.clean]
    assert {(case.family, case.metric) for case in cases} == CLEAN
