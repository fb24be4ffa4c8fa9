"""Plans against sums written out, against searches, and against what happens when the advised run is trained."""

from pathlib import Path

import numpy as np
import pytest
from law_runs import TRUE, make_runs, random_runs, true_loss
from scipy.optimize import brentq, minimize_scalar

from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.laws.sizing.chinchilla import EXTRAPOLATION_EVIDENCE, LossLaw, fit_law
from foretell.laws.sizing.next_run import expected_shrink
from foretell.laws.sizing.plan import HURTS, make_plan, tokens_for
from foretell.laws.sizing.plan_checks import distinct
from foretell.laws.sizing.reach import predicted_loss
from foretell.laws.tables.repeated_runs import unique_tokens_of
from foretell.laws.tables.runs import Run, runs_of

BUDGET = 1e21


def sweep(noise: float = 0.004, seed: int = 0, largest: float = 1e19) -> list[Run]:
    """Five sizes at each of five computes."""
    flops = np.repeat(np.geomspace(largest / 100, largest, 5), 5)
    params = 0.15 * flops**0.5 * np.tile([0.25, 0.5, 1, 2, 4], 5)
    tokens = flops / 6 / params
    random = np.random.default_rng(seed)
    return make_runs(params, tokens, true_loss(params, tokens) * np.exp(noise * random.standard_normal(25)))


@pytest.fixture(scope="module")
def law() -> LossLaw:
    return fit_law(sweep())


def constants(law: LossLaw) -> list[float]:
    return [law.constants()[name]["value"] for name in ("E", "A", "B", "alpha", "beta")]


def test_the_plan_of_a_known_law_holds_its_optimum(law: LossLaw) -> None:
    plan = make_plan(law, law, BUDGET)
    alpha, beta = TRUE["alpha"], TRUE["beta"]
    best = (alpha * TRUE["A"] / (beta * TRUE["B"])) ** (1 / (alpha + beta)) * (BUDGET / 6) ** (beta / (alpha + beta))
    assert plan.params.low < best < plan.params.high and plan.params.high / plan.params.low < 3
    assert plan.tokens.low < BUDGET / 6 / best < plan.tokens.high
    assert plan.loss.low < true_loss(best, BUDGET / 6 / best) < plan.loss.high
    assert not plan.refused and plan.flops == BUDGET


def test_deviations_are_as_the_formula_says(law: LossLaw) -> None:
    plan = make_plan(law, law, BUDGET)
    e, a, b, alpha, beta = constants(law)
    best = e + a / plan.params.value**alpha + b / plan.tokens.value**beta
    for row in plan.deviations:
        size = row.factor * plan.params.value
        assert row.params == pytest.approx(size) and row.params * row.tokens * 6 == pytest.approx(BUDGET)
        assert row.loss == pytest.approx(e + a / size**alpha + b / row.tokens**beta)
        assert row.penalty.low <= row.penalty.value <= row.penalty.high
        rest = best - e - a / size**alpha
        if rest <= 0:
            assert row.extra_compute is None and row.tokens_to_match is None
            continue
        matching = (b / rest) ** (1 / beta)
        assert row.tokens_to_match == pytest.approx(matching, rel=1e-6)
        assert row.extra_compute == pytest.approx(6 * size * matching / BUDGET - 1, abs=1e-6)
    assert [row.factor for row in plan.deviations if row.extra_compute == 0] == [1.0]


def test_a_size_that_cannot_reach_the_loss_is_said_to_be_so(law: LossLaw) -> None:
    assert np.isinf(tokens_for(law, 1e6, float(law.loss(1e9, 1e11))))


@pytest.mark.parametrize("volume", [1e9, 1e11, 1e13])
def test_the_cheapest_size_is_where_a_search_finds_it(law: LossLaw, volume: float) -> None:
    plan = make_plan(law, law, BUDGET, inference_tokens=[volume])
    e, a, b, alpha, beta = constants(law)
    best = float(law.loss(plan.params.value, plan.tokens.value))
    smallest = brentq(lambda n: best - e - a / np.exp(n) ** alpha, 5, 30)

    def total(n: float) -> float:
        size = np.exp(n)
        return 6 * size * (b / (best - e - a / size**alpha)) ** (1 / beta) + 2 * size * volume

    found = minimize_scalar(total, bounds=(smallest + 1e-6, np.log(plan.params.value)), method="bounded")
    row = plan.inference[0]
    assert row.total_flops == pytest.approx(found.fun, rel=1e-3)
    assert np.log(row.params) == pytest.approx(found.x, abs=0.05)
    optimum = BUDGET + 2 * plan.params.value * volume
    assert row.saved == pytest.approx(1 - found.fun / optimum, abs=1e-3) and row.saved >= 0


def test_half_the_size_pays_where_both_cost_the_same(law: LossLaw) -> None:
    plan = make_plan(law, law, BUDGET)
    half = next(row for row in plan.deviations if row.factor == 0.5)
    volume = plan.half_size_pays_from
    assert half.extra_compute is not None and volume is not None
    assert BUDGET * (1 + half.extra_compute) + plan.params.value * volume == pytest.approx(
        BUDGET + 2 * plan.params.value * volume
    )


def test_enough_text_costs_nothing_and_little_text_asks_for_a_smaller_model(law: LossLaw) -> None:
    plenty = make_plan(law, law, BUDGET, unique_tokens=1e12).data
    assert plenty is not None and plenty.epochs < 1 and plenty.penalty.value == pytest.approx(0, abs=1e-9)
    plan = make_plan(law, law, BUDGET, unique_tokens=1e9)
    little = plan.data
    assert little is not None and little.epochs == pytest.approx(plan.tokens.value / 1e9)
    assert 0 < little.penalty.low < little.penalty.value < little.penalty.high
    assert little.best_params < plan.params.value and little.best_epochs > little.epochs
    found = minimize_scalar(
        lambda n: float(law.loss(np.exp(n), BUDGET / 6 / np.exp(n), 1e9)),
        bounds=(np.log(plan.params.value / 60), np.log(plan.params.value * 15)), method="bounded",
    )  # fmt: skip
    assert little.best_loss == pytest.approx(found.fun, rel=1e-5)
    assert little.best_loss < little.loss
    plain = float(law.loss(plan.params.value, plan.tokens.value))
    at_edge = float(law.loss(plan.params.value, plan.tokens.value, little.enough))
    assert at_edge / plain - 1 == pytest.approx(HURTS, rel=0.05)
    assert little.half_worth_epochs.value == pytest.approx(1 + 15.4 * np.log(2))


@pytest.mark.slow
@pytest.mark.parametrize("evidence", [EXTRAPOLATION_EVIDENCE, np.inf])
def test_the_advised_run_narrows_the_interval_as_foretold(evidence: float) -> None:
    """Drawn from the true law, seven times over, it does on average about what was expected of it."""
    expected, seen = [], []
    for seed in range(7):
        runs = sweep(seed=seed)
        law = fit_law(runs, evidence=evidence)
        plan = make_plan(law, law, BUDGET, next_share=0.1)
        best = max(plan.next_runs, key=lambda run: run.shrink)
        assert best.flops <= 0.1 * BUDGET * 1.001
        loss = true_loss(best.params, best.tokens) * np.exp(0.004 * np.random.default_rng(seed).standard_normal())
        more = fit_law([*runs, *make_runs([best.params], [best.tokens], [loss])], evidence=evidence)
        target = float(plan.params.value), float(plan.tokens.value)
        widths = [np.log(high / low) for low, _, high in (predicted_loss(one, *target, 0.9) for one in (law, more))]
        expected.append(best.shrink)
        seen.append(1 - widths[1] / widths[0])
    # a robust fit does not follow one run all the way, so less is seen
    assert 0.4 < np.mean(seen) / np.mean(expected) < 1.2, (seen, expected)


def test_a_run_like_the_target_teaches_more_than_one_like_the_rest(law: LossLaw) -> None:
    params, tokens = (float(value) for value in law.optimum(BUDGET))
    same, small = expected_shrink(law, params, tokens, np.array([params, 1e7]), np.array([tokens, 2e8]))
    assert 0 <= small < 0.2 < same < 1


def test_only_one_run_is_advised_and_it_is_the_best_per_flop(law: LossLaw) -> None:
    rows = make_plan(law, law, BUDGET).next_runs
    advised = [row for row in rows if row.advised]
    assert len(advised) == 1 and advised[0].shrink >= 0.03
    assert all(row.shrink / row.flops <= advised[0].shrink / advised[0].flops for row in rows if row.shrink >= 0.03)


def codes(runs: list[Run], flops: float) -> dict[str, str]:
    law = fit_law(runs)
    return {finding.code: finding.severity for finding in make_plan(law, law, flops).findings}


def test_what_the_runs_cannot_carry() -> None:
    params = np.geomspace(1e7, 1e9, 8)
    ladder = make_runs(params, 20 * params, true_loss(params, 20 * params))
    assert codes(ladder, 1e22)["one-shape"] == "refusal"
    assert codes(random_runs(4), 1e20)["few-runs"] == "refusal"
    assert codes(random_runs(8), 1e19)["few-runs"] == "warning"
    assert codes(sweep(), 1e23)["gap"] == "warning" and codes(sweep(), 1e24)["gap"] == "refusal"
    assert codes(sweep(), 1e15)["below"] == "warning"
    small = np.repeat(params, 3)
    seen = small * np.tile([400.0, 1000.0, 2500.0], 8)
    overtrained = make_runs(small, seen, true_loss(small, seen))
    assert codes(overtrained, 1e21)["outside"] == "refusal"
    assert codes(sweep(noise=0.002), 1e20) == {"which-loss": "note"}


def test_sizes_in_small_steps_are_many_sizes() -> None:
    assert distinct(np.array([1e8, 1.04e8, 1.02e8, 1e9])) == 2
    assert distinct(np.geomspace(1e7, 1e9, 1000)) == 91  # of eleven each, in steps of 0.46 %
    params = np.repeat(np.geomspace(1e7, 1e9, 150), 2)
    tokens = params * np.tile([5.0, 80.0], 150)
    assert "few-runs" not in codes(make_runs(params, tokens, true_loss(params, tokens)), 1e20)


def test_compute_is_counted_as_the_table_counts_it() -> None:
    runs = [Run(run.row, "", "", 1.5 * run.flops, run.params, run.tokens, run.value) for run in sweep()]
    law = fit_law(runs)
    plan = make_plan(law, law, BUDGET)
    assert law.flops_factor == pytest.approx(9)
    assert 9 * plan.params.value * plan.tokens.value == pytest.approx(BUDGET)
    assert "count" in {finding.code for finding in plan.findings}


@pytest.mark.slow
def test_intervals_hold_the_truth_of_many_tables() -> None:
    inside = []
    for seed in range(60):
        runs = sweep(seed=seed)
        plan = make_plan(fit_law(runs), fit_law(runs, evidence=EXTRAPOLATION_EVIDENCE), BUDGET)
        alpha, beta = TRUE["alpha"], TRUE["beta"]
        best = (alpha * TRUE["A"] / (beta * TRUE["B"])) ** (1 / (alpha + beta)) * (BUDGET / 6) ** (
            beta / (alpha + beta)
        )
        loss = true_loss(best, BUDGET / 6 / best)
        inside.append((plan.params.low < best < plan.params.high, plan.loss.low < loss < plan.loss.high))
    sizes, losses = np.mean(inside, axis=0)
    assert 0.75 < sizes <= 1 and losses > 0.95


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flops": 0}, "flops is 0"),
        ({"flops": np.inf}, "flops is inf"),
        ({"flops": 1e20, "level": 0.2}, "level is 0.2"),
        ({"flops": 1e20, "next_share": 1}, "next_share is 1"),
        ({"flops": 1e20, "unique_tokens": -1}, "unique_tokens is -1"),
        ({"flops": 1e20, "inference_tokens": [0]}, "inference_tokens is 0"),
    ],
)
def test_mistakes(law: LossLaw, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_plan(law, law, **options)


def test_unique_tokens_are_read_from_columns_and_metrics(tmp_path: Path) -> None:
    def read(text: str, metric: str = "loss") -> list[float] | None:
        (tmp_path / "a.csv").write_text(text)
        table = read_table(tmp_path / "a.csv")
        return unique_tokens_of(table, runs_of(table, metric).runs)

    assert read("N,D,loss\n1e8,1e9,3\n") is None
    assert read("N,D,loss,epochs\n2e8,4e9,2.9,4\n1e8,1e9,3,1\n") == [1e9, 1e9]
    assert read("N,D,loss,unique_tokens\n1e8,4e9,2.9,1B\n") == [1e9]
    tidy = "run,N,D,metric,value\na,1e8,4e9,loss,3\na,1e8,4e9,epochs,2\n"
    assert read(tidy) == [2e9]
    with pytest.raises(UserError, match="row 2: epochs is '0'"):
        read("N,D,loss,epochs\n1e8,1e9,3,0\n")
    with pytest.raises(UserError, match="row 3: its run has no epochs"):
        read("run,N,D,metric,value\na,1e8,4e9,epochs,3\nb,1e8,4e9,loss,2\n")
