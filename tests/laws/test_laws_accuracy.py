"""Forecasts of accuracies on curves whose law is known, and what is said about those that follow none."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foretell
from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.laws.capability.accuracy import forecast_share, forecast_share_table
from foretell.laws.capability.share_frontier import losses_beside, share_frontier
from foretell.laws.capability.share_prior import known_chance, lower_is_better, share_task, task_of
from foretell.laws.tables.runs import Run, Runs, is_share, runs_of

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"


def accuracy(flops: float, chance: float = 0.25, middle: float = 3e20, slope: float = 0.18) -> float:
    """The pass-rate law above chance."""
    return chance + (1 - chance) * math.exp(-((flops / middle) ** -slope))


def runs_at(values: dict[float, float], metric: str = "acc_hellaswag") -> Runs:
    rows = [Run(i, f"r{i}", "", flops, None, None, value) for i, (flops, value) in enumerate(sorted(values.items()), 1)]
    return Runs(metric, tuple(rows))


def ladder(count: int = 8, metric: str = "acc_hellaswag", start: float = 1e18) -> Runs:
    return runs_at({start * 3**i: accuracy(start * 3**i) for i in range(count)}, metric)


def test_a_known_law_is_foretold() -> None:
    target = 3e22
    made = forecast_share(ladder(), target)
    assert made.median == pytest.approx(accuracy(target), abs=0.03)
    assert made.low < accuracy(target) < made.high and not made.refused
    assert made.band["flops"][-1] == target and made.band["median"][-1] == made.median
    assert forecast_share(ladder(), target) == made  # no random numbers
    assert made.half_width == pytest.approx((made.high - made.low) / 2)
    assert "acc_hellaswag is forecast at" in made.sentence


def test_errors_are_accuracies_seen_from_the_other_side() -> None:
    right = ladder(metric="acc_unheard_of")
    wrong = Runs("error_unheard_of", tuple(Run(**(vars(run) | {"value": 1 - run.value})) for run in right.runs))
    up, down = (forecast_share(runs, 1e22, chance=0.25) for runs in (right, wrong))
    assert (down.low, down.median, down.high) == pytest.approx((1 - up.high, 1 - up.median, 1 - up.low))
    assert down.band["low"][0] <= down.band["median"][0] <= down.band["high"][0]


def test_the_interval_grows_with_the_gap_and_with_doubt() -> None:
    near, far = (forecast_share(ladder(), flops) for flops in (5e21, 1e24))
    few = forecast_share(ladder(count=3, start=2.43e20), 3e22)
    many = forecast_share(ladder(count=8), 3e22)
    assert near.high - near.low < far.high - far.low
    assert many.high - many.low < few.high - few.low
    wide = forecast_share(ladder(), 1e22, level=0.99)
    assert wide.low < forecast_share(ladder(), 1e22, level=0.5).low
    noisy = forecast_share(ladder(), 1e22, items=50)
    exact = forecast_share(ladder(), 1e22, items=100_000)
    assert noisy.high - noisy.low > exact.high - exact.low


def test_runs_at_chance_say_so_and_leave_room() -> None:
    made = forecast_share(runs_at({1e17 * 4**i: 0.25 + 0.004 * (-1) ** i for i in range(5)}), 1e22)
    assert "at-chance" in {finding.code for finding in made.findings if finding.severity == "warning"}
    assert made.high - made.low > 0.2 and made.low >= 0.2
    assert not made.refused


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.6, 0.55, 0.5, 0.42, 0.35], "gets worse with compute"), ([0.6, 0.5, 0.4, 0.5, 0.62], "before it gets better")],
)
def test_inverse_scaling_is_refused_not_extrapolated(values: list[float], words: str) -> None:
    made = forecast_share(runs_at({1e18 * 4**i: value for i, value in enumerate(values)}), 1e22)
    assert made.refused and words in made.sentence


def test_the_loss_says_which_runs_are_best_and_carries_a_part() -> None:
    runs, losses = [], []
    for i in range(7):
        for j, waste in enumerate((1.0, 0.5, 0.25)):  # the same compute, spent with more or less effect
            flops = 1e18 * 2.2**i
            useful = waste * flops
            runs.append(Run(10 * i + j, f"r{i}{j}", "", flops, None, None, accuracy(useful)))
            losses.append(Run(10 * i + j, f"r{i}{j}", "", flops, None, None, 1.7 + 12 * useful**-0.06))
    both = Runs("acc_hellaswag", tuple(runs)), Runs("loss", tuple(losses))
    points = share_frontier(runs, falling=False, losses=both[1], items=None, most=9).points
    assert points.share == pytest.approx([accuracy(math.exp(x)) for x in points.x])
    made = forecast_share(both[0], 3e22, losses=both[1])
    assert "by way of loss" in " ".join(finding.sentence for finding in made.findings)
    assert made.median == pytest.approx(accuracy(3e22), abs=0.04)


def test_losses_of_other_runs_are_not_used() -> None:
    made = forecast_share(ladder(), 1e22, losses=Runs("loss", (Run(1, "other", "", 1e18, None, None, 3.0),)))
    assert made == forecast_share(ladder(), 1e22)


def test_what_metric_names_say() -> None:
    assert is_share("acc_mmlu") and is_share("error_top1_imagenet1k") and is_share("pass_at_10_gsm8k")
    assert is_share("eval/error") and not is_share("val_loss") and not is_share("bpb_hellaswag")
    assert known_chance("acc_mmlu_zeroshot") == 0.25 and known_chance("acc_core_centered") == 0
    assert known_chance("pass_rate_mmlu") == 0 and known_chance("acc_avg46") is None
    assert task_of("acc_arc_easy") == task_of("eval/arc_easy/acc") == "arc_easy" != task_of("acc_arc_challenge")
    assert task_of("pass_at_10_gsm8k") == "gsm8k_at_10" and task_of("acc_suite") is None
    assert lower_is_better("error_top1_avg17") and not lower_is_better("acc_terror")
    assert share_task("acc_hellaswag").known is not None and share_task("acc_suite").known is None
    assert share_task("acc_suite", chance=0.3).chance == 0.3


def test_tables_of_both_forms(tmp_path: Path) -> None:
    wide = tmp_path / "wide.csv"
    rows = [f"r{i},{1e18 * 3**i:.6g},{3 - 0.1 * i:.4f},{accuracy(1e18 * 3**i):.4f},{0.1 * i:.1f}" for i in range(7)]
    wide.write_text("\n".join(["run,flops,loss,acc_hellaswag,note", *rows]))
    made = foretell.forecast(wide, flops=1e22, metric="acc_hellaswag")
    assert made.median == pytest.approx(accuracy(1e22), abs=0.05)
    table = read_table(wide)
    losses = losses_beside(table, runs_of(table, "acc_hellaswag"), None)
    assert losses is not None and losses.metric == "loss"
    tidy = tmp_path / "tidy.csv"
    rows = [f"r{i},{1e18 * 3**i:.6g},{name},{value:.4f}" for i in range(7)
            for name, value in (("loss", 3 - 0.1 * i), ("acc_hellaswag", accuracy(1e18 * 3**i)))]  # fmt: skip
    tidy.write_text("\n".join(["run,flops,metric,value", *rows]))
    assert foretell.forecast(tidy, flops=1e22, metric="acc_hellaswag").median == pytest.approx(made.median, abs=1e-6)
    limited = forecast_share_table(table, runs_of(table, "acc_hellaswag"), 1e22, max_flops=1e20)
    assert len(limited.observations) == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_flops": 1e18}, "above the largest run's"),
        ({"target_flops": math.nan}, "target_flops is nan"),
        ({"level": 1.0}, "level is 1.0"),
        ({"chance": 0.95}, "chance is 0.95"),
        ({"items": 0}, "items is 0"),
        ({"max_flops": 1e3}, "leaves no run"),
    ],
)
def test_arguments_that_are_not_accepted(options: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words.replace("'", ".")):
        forecast_share(ladder(), **({"target_flops": 1e22} | options))  # type: ignore[arg-type]


def test_values_that_are_no_shares() -> None:
    with pytest.raises(UserError, match=r"Row 2: acc_x is 1\.2"):
        forecast_share(runs_at({1e18: 0.2, 1e19: 1.2}, "acc_x"), 1e21)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.floats(8, 26), st.floats(0, 1)), min_size=1, max_size=9),
    st.floats(0.1, 8),
    st.sampled_from(["acc_hellaswag", "acc_anything", "error_x", "pass_rate_gsm8k"]),
)
def test_any_shares_give_an_interval_within_zero_and_one(
    points: list[tuple[float, float]], gap: float, metric: str
) -> None:
    runs = runs_at({10**power: value for power, value in points}, metric)
    made = forecast_share(runs, runs.runs[-1].flops * 10**gap)
    assert 0 <= made.low <= made.median <= made.high <= 1
    assert np.all(np.diff(made.band["flops"]) > 0)


@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
def test_a_public_family_is_foretold_by_its_small_runs() -> None:
    table = read_table(SCALING / "loss_to_loss.csv")
    runs = runs_of(table, "acc_hellaswag", "l2l-fineweb")
    outcome = runs.runs[-1]
    made = forecast_share_table(table, runs, outcome.flops, family="l2l-fineweb", max_flops=outcome.flops / 10)
    assert abs(made.median - outcome.value) < 0.05 and made.low < outcome.value < made.high
