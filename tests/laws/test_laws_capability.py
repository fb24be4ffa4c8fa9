"""The capability backtest's protocol and the learning of constants, on families whose law is known."""

import json
import math
from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.laws.capability.capability_protocol import (
    ShareOutcome,
    capability_backtest,
    capability_page,
    share_cases,
    share_families,
)
from foretell.laws.capability.share_learning import LEAST_GAIN, Seen, look, moments
from foretell.laws.capability.share_prior import SharePrior, TaskPrior, learned_prior, prior_from

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"
HEAD = "source,family,run,params,tokens,flops,metric,value,stage"


def accuracy(flops: float) -> float:
    return 0.25 + 0.75 * math.exp(-((flops / 3e20) ** -0.18))


def write(path: Path, family: str) -> None:
    lines = [HEAD]
    for i in range(14):
        flops = 1e17 * 2.5**i
        for name, value in (("acc_hellaswag", accuracy(flops)), ("error_hellaswag", 1 - accuracy(flops)),
                            ("loss_val", 2 + 10 * flops**-0.05)):  # fmt: skip
            lines.append(f"made,{family},r{i},,,{flops:.6g},{name},{value:.6f},final")
        lines.append(f"made,{family},c{i},,,{flops:.6g},acc_hellaswag,0.9,checkpoint")
    path.write_text("\n".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "made.csv", "a")
    return tmp_path


def test_cases_keep_to_the_protocol(folder: Path) -> None:
    cases = [case for family in share_families(folder) for case in share_cases(family)]
    largest = 1e17 * 2.5**13
    assert [(case.runs.metric, case.gap) for case in cases] == [
        (metric, gap) for metric in ("acc_hellaswag", "error_hellaswag") for gap in (10, 100, 1000)
    ]
    for case in cases:
        assert len(case.runs.runs) >= 4 and max(run.flops for run in case.runs.runs) <= largest / case.gap
        assert case.losses is not None and max(run.flops for run in case.losses.runs) <= largest / case.gap
        best = accuracy(largest) if case.runs.metric.startswith("acc") else 1 - accuracy(largest)
        assert case.target.value == pytest.approx(best, abs=1e-5)


def test_a_known_law_is_found_and_every_case_is_named(folder: Path) -> None:
    record = capability_backtest(folder, [10.0, 100.0])
    assert [row["cases"] for row in record["summary"]] == [2, 2]
    assert all(row["median_error"] < 0.04 and row["coverage"] == 1 for row in record["summary"])
    errors = [case["error"] for case in record["cases"]]
    assert errors[:2] == pytest.approx([-error for error in errors[2:]], abs=1e-6)  # an error rate is an accuracy
    page = capability_page(record)
    assert page.count("| a | error_hellaswag |") == 2 and "made:" in page
    assert json.loads(json.dumps(record)) == record


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    with (folder / "made.csv").open("a") as file:
        file.write("\nmade,g,r0,,,1e18,acc_x,1.5,final\n")
    assert "- g acc_x:" in capability_page(capability_backtest(folder, [10.0]))
    (folder / "made.csv").unlink()
    with pytest.raises(UserError, match=r"holds no \.csv table"):
        capability_backtest(folder)


def test_the_interval_score() -> None:
    outcome = ShareOutcome("s", "f", "m", 10, 5, value=0.5, low=0.4, high=0.6, outcome=0.7, refused=False)
    assert outcome.winkler(0.9) == pytest.approx(0.2 + 20 * 0.1)
    assert not outcome.inside and outcome.error == pytest.approx(-0.2)


def test_learning_finds_the_law_and_counts_sources_once(folder: Path) -> None:
    seen = [entry for entry in look(list(share_families(folder))) if entry.task == "hellaswag"]
    truth = 0.18 * (math.log(1e21) - math.log(3e20))
    assert seen[0].level == pytest.approx(truth, abs=0.15) and math.exp(seen[0].log_slope) == pytest.approx(
        0.18, rel=0.25
    )
    entries = [Seen("one", "piqa", 1.0, -2.0)] * 3 + [Seen("two", "piqa", 0.0, -1.0), Seen("two", None, 2.0, -1.5)]
    prior = moments(entries, SharePrior())
    assert prior.tasks == {"piqa": TaskPrior(0.5, round(math.exp(-1.5), 4))}
    assert prior.level == pytest.approx(1.0) and prior.level_spread > 0.5 and LEAST_GAIN > 0


def test_constants_are_read_back_and_leave_sources_out() -> None:
    every, without = learned_prior(), learned_prior("gadre")
    assert "squad" in every.tasks and "squad" not in without.tasks  # no other source has it
    assert learned_prior("somebody else's") == every
    assert prior_from(json.loads(json.dumps({**vars(every), "tasks": {}}))).tasks == {}


@pytest.mark.slow
@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
def test_public_accuracies_are_foretold_as_well_as_promised() -> None:
    record = capability_backtest(SCALING)
    for row, most in zip(record["summary"], (0.025, 0.035, 0.05, 0.08), strict=True):
        assert row["median_error"] <= most and row["coverage"] >= 0.8
