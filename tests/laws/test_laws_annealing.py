"""The annealing law: known constants are found again, gradients are right, and what cannot be known is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from foretell.core.errors import ForecastRefusedError, UserError
from foretell.core.tables import read_table
from foretell.laws.training_curves.annealing import Curve, areas, fit_curves, log_loss
from foretell.laws.training_curves.annealing_backtest import leave_one_out
from foretell.laws.training_curves.curve_tables import SCHEDULES, curves_of, is_curve_table, schedule_rates, warmup_of

TRUTH = {"L0": 2.0, "A": 4.0, "alpha": 0.4, "C": 0.004}
MEMORY = 100.0


def truth(rates: np.ndarray) -> np.ndarray:
    """Losses of every step, with S1 and S2 by their definition, step by step."""
    forward = annealed = momentum = 0.0
    before, losses, peak = rates[0], [], int(np.argmax(rates))
    for step, rate in enumerate(rates):
        forward += rate
        momentum = (1 - 1 / MEMORY) * momentum + (before - rate if step > peak else 0.0)
        annealed += momentum
        before = rate
        losses.append(TRUTH["L0"] + TRUTH["A"] * forward ** -TRUTH["alpha"] - TRUTH["C"] * annealed)
    return np.array(losses)


def curve(schedule: str, steps: int, seed: int = 0, noise: float = 0.005, every: int = 5, peak: float = 1.0) -> Curve:
    rates = schedule_rates(schedule, steps, 1.0, 50)
    losses = truth(rates) * np.exp(noise * np.random.default_rng([seed, steps]).standard_normal(steps))
    logged = np.arange(every, steps + 1, every)
    return Curve(f"{schedule}-{steps}", logged.astype(float), peak * rates[logged - 1], losses[logged - 1])


def test_areas_are_the_sums_of_their_definition() -> None:
    rates = schedule_rates("cosine", 300, 1.0, 20)
    forward, annealed = areas(rates, 30.0)
    assert forward[-1] == pytest.approx(rates.sum())
    falls = [max(rates[k - 1] - rates[k], 0.0) if k > rates.argmax() else 0.0 for k in range(1, 300)]
    double = sum(falls[k - 1] * (1 - 1 / 30.0) ** (i - k) for i in range(1, 300) for k in range(1, i + 1))
    assert annealed[-1] == pytest.approx(double)
    assert not areas(schedule_rates("constant", 300, 1.0, 20), 30.0)[1].any()


def test_the_gradient_is_that_of_finite_differences() -> None:
    forward, annealed = areas(schedule_rates("linear", 200, 1.0, 10), 30.0)
    constants = np.log([2.0, 4.0, 0.4, 0.01])
    for index in (20, 100, 199):
        point = slice(index, index + 1)
        numeric = approx_fprime(
            constants, lambda c, at=point: float(log_loss(c, forward[at], annealed[at])[0][0]), 1e-7
        )
        np.testing.assert_allclose(log_loss(constants, forward[point], annealed[point])[1][0], numeric, atol=2e-6)


def test_known_constants_are_found_and_other_schedules_and_lengths_foretold() -> None:
    law = fit_curves([curve("cosine", 1500), curve("wsd", 1500), curve("constant", 1500)])
    assert law.memory == MEMORY and law.annealed
    assert law.named["L0"] == pytest.approx(2.0, rel=0.04) and law.named["C"] == pytest.approx(0.004, rel=0.15)
    assert law.named["alpha"] == pytest.approx(0.4, rel=0.15) and law.named["lambda"] == pytest.approx(0.99)
    for schedule, steps in (("linear", 1500), ("cosine", 6000), ("wsd", 6000), ("constant", 3000)):
        rates = schedule_rates(schedule, steps, 1.0, 50)
        made, outcome = law.predict(rates), truth(rates)[-1]
        assert made.low < outcome < made.high and made.median == pytest.approx(outcome, rel=0.02)
        assert made.steps == steps


def test_outliers_hardly_move_the_fit() -> None:
    spoiled = curve("cosine", 1500)
    spoiled.losses[50:280:23] *= 1.4
    rates = schedule_rates("linear", 3000, 1.0, 50)
    made = fit_curves([spoiled, curve("wsd", 1500)]).predict(rates)
    assert made.median == pytest.approx(truth(rates)[-1], rel=0.02)


def test_equal_curves_give_equal_forecasts_whatever_the_unit_of_the_rate() -> None:
    made = [
        fit_curves([curve("cosine", 800, peak=peak)]).predict(schedule_rates("linear", 1000, peak, 50))
        for peak in (1.0, 3e-4)
    ]
    assert made[0].median == pytest.approx(made[1].median, rel=1e-3)
    assert made[0].low <= made[0].median <= made[0].high


@pytest.mark.slow
def test_intervals_hold_what_they_promise() -> None:
    rates = schedule_rates("linear", 3000, 1.0, 50)
    outcome, held = truth(rates)[-1], 0
    for seed in range(40):
        made = fit_curves([curve("cosine", 1500, seed), curve("wsd", 1000, seed)]).predict(rates)
        held += made.low < outcome < made.high
    assert held >= 32


def test_what_the_curves_cannot_tell_is_refused() -> None:
    constant = fit_curves([curve("constant", 1000), curve("constant", 1500)])
    assert not constant.annealed
    constant.predict(schedule_rates("constant", 3000, 1.0, 50))
    with pytest.raises(ForecastRefusedError, match="what annealing brings cannot be known"):
        constant.predict(schedule_rates("cosine", 3000, 1.0, 50))
    with pytest.raises(ForecastRefusedError, match="up to 30 times"):
        constant.predict(schedule_rates("constant", 46_000, 1.0, 50))


STEPS = np.arange(1.0, 41.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"losses": np.full(40, -1.0)}, "loss is -1 at step 1"),
        ({"losses": np.where(STEPS == 7, math.nan, 2.0)}, "loss is nan at step 7"),
        ({"rates": np.full(40, -0.1)}, "learning rate is -0.1"),
        ({"rates": np.zeros(40)}, "zero throughout"),
        ({"steps": STEPS[::-1]}, "rise from 1"),
        ({"steps": STEPS / 2}, "whole numbers"),
        ({"steps": STEPS[:5], "rates": STEPS[:5], "losses": STEPS[:5]}, "5 points"),
        ({"rates": STEPS}, "after its warm-up"),
    ],
)
def test_curves_that_cannot_be(change: dict[str, np.ndarray], words: str) -> None:
    values = {"steps": STEPS, "rates": np.ones(40), "losses": np.full(40, 2.0)}
    with pytest.raises(UserError, match=words):
        fit_curves([Curve("one", **{**values, **change})])


def test_runs_that_cannot_be() -> None:
    law = fit_curves([curve("cosine", 800)])
    with pytest.raises(UserError, match="no curves"):
        fit_curves([])
    for rates in (np.array([]), np.zeros(5), np.array([1.0, -1.0]), np.array([math.nan])):
        with pytest.raises(UserError, match="rates are"):
            law.predict(rates)
    with pytest.raises(UserError, match="level is 2"):
        law.predict(np.ones(100), level=2)


def test_schedules_rise_and_fall() -> None:
    for schedule in SCHEDULES:
        rates = schedule_rates(schedule, 1000, 0.3, 100)
        assert len(rates) == 1000 and rates.max() == pytest.approx(0.3) and (np.diff(rates[:101]) > 0).all()
        assert (rates[-1] == 0.3) == (schedule == "constant") and (np.diff(rates[100:]) <= 0).all()
    with pytest.raises(UserError, match="--schedule is 'step'"):
        schedule_rates("step", 10, 1.0, 0)
    with pytest.raises(UserError, match="its warm-up 10"):
        schedule_rates("cosine", 10, 1.0, 10)


def test_tables_of_curves_are_told_from_tables_of_runs(tmp_path: Path) -> None:
    assert is_curve_table(["run", "step", "lr", "loss"]) and is_curve_table(["tokens", "Learning_Rate", "train_loss"])
    assert not is_curve_table(["N", "tokens", "lr", "loss"]) and not is_curve_table(["C", "loss"])
    path = tmp_path / "curves.csv"
    path.write_text("run,step,tokens,lr,loss\na,2,200,0.1,3\na,1,100,0.1,4\nb,1,100,0.2,5\nb,2,200,,\n")
    first, second = curves_of(read_table(path))
    assert first.steps.tolist() == [1, 2] and first.losses.tolist() == [4, 3] and first.tokens_per_step == 100
    assert second.steps.tolist() == [1] and warmup_of([first]) == 0
    for content, words in (
        ("step,lr,loss\n1,0.1,x\n", r"row 2: loss is 'x'"),
        ("step,lr,loss\n1,inf,3\n", r"row 2: lr is inf"),
        ("step,loss\n1,3\n", "curves need lr"),
        ("step,lr,loss,N\n1,1,3,5\n2,1,3,6\n", "several sizes"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            curves_of(read_table(path))


@pytest.mark.slow
def test_the_page_is_what_the_backtest_prints() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "annealing.md").read_text()
    for line in leave_one_out(curves_of(read_table(docs / "examples" / "curves.csv")))[2:]:
        kept = next(row for row in page.splitlines() if row.split("|")[1:2] == line.split("|")[1:2])
        said, made = ([float(figure) for figure in re.findall(r"\d+\.\d{3}", row)] for row in (kept, line))
        assert len(made) == 4 and said == pytest.approx(made, rel=0.003)
