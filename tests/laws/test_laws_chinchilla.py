"""L(N, D): derivatives, the fit against independent ones, published constants, few runs and many."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from law_runs import TRUE, make_runs, random_runs, true_loss
from scipy.optimize import minimize, minimize_scalar

from foretell.core.errors import UserError
from foretell.laws.sizing.chinchilla import FORMS, LossLaw, fit_law
from foretell.laws.sizing.loss_fit import LogRuns, problem_of
from foretell.laws.sizing.loss_terms import log_loss, log_loss_jacobian
from foretell.laws.sizing.robust_fit import objective
from foretell.laws.tables.runs import Run, read_runs

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"
here = pytest.mark.skipif(not SCALING.is_dir(), reason="the shared public runs are not here")


@pytest.mark.parametrize("repeated", [False, True])
def test_derivatives_are_those_of_finite_differences(repeated: bool) -> None:
    random = np.random.default_rng(1)
    n, d = random.uniform(-2, 2, 30), random.uniform(-2, 4, 30)
    unique = d - random.uniform(-0.5, 3, 30) if repeated else None
    law = np.array([[0.5, -0.7, -0.9, -1.0, -1.2, 1.5, 1.0]])
    _, jacobian = log_loss_jacobian(law, n, d, unique)
    for index in range(7):
        step = np.zeros((1, 7))
        step[0, index] = 1e-6
        numeric = (log_loss(law + step, n, d, unique) - log_loss(law - step, n, d, unique)) / 2e-6
        np.testing.assert_allclose(jacobian[:, index], numeric, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_the_objective_has_the_gradient_that_it_says(form: str) -> None:
    runs = random_runs(25)
    problem = problem_of(
        LogRuns.of(runs, [run.tokens / 3 for run in runs], repetition=form == "data-constrained"), form
    )
    law = problem.mean + 0.1
    _, gradient = objective(problem, law, 1e4)
    for index in range(len(law)):
        step = np.zeros(len(law))
        step[index] = 1e-7
        numeric = (objective(problem, law + step, 1e4)[0] - objective(problem, law - step, 1e4)[0]) / 2e-7
        assert gradient[index] == pytest.approx(numeric, rel=1e-4, abs=1e-2)


def test_repetition_is_as_published() -> None:
    """Muennighoff et al. 2023, equations 5 and 6, written out."""
    law = fit_law(random_runs(40))
    c = {name: constant["value"] for name, constant in law.constants().items()}
    params, tokens, unique = 3e9, 2e11, 1e10
    best_size = (c["alpha"] * c["A"] / (c["beta"] * c["B"]) * unique ** c["beta"]) ** (1 / c["alpha"])
    assert best_size < params
    worth = [
        base + base * scale * (1 - np.exp(-(amount / base - 1) / scale))
        for base, amount, scale in ((best_size, params, c["R_N"]), (unique, tokens, c["R_D"]))
    ]
    expected = c["E"] + c["A"] / worth[0] ** c["alpha"] + c["B"] / worth[1] ** c["beta"]
    assert law.loss(params, tokens, unique) == pytest.approx(expected, rel=1e-9)
    assert law.loss(params, tokens, unique) > law.loss(params, tokens)
    # where nothing is read twice and the size suits the tokens nothing is lost
    assert law.loss(1e8, 1e10, 2e10) == pytest.approx(float(law.loss(1e8, 1e10)))


def test_a_known_law_is_found_and_its_constants_are_inside() -> None:
    law = fit_law(random_runs(150))
    for name, true in TRUE.items():
        constant = law.constants(0.99)[name]
        assert constant["low"] < true < constant["high"] and constant["low"] < constant["value"] < constant["high"]
    assert law.constants()["alpha"]["high"] - law.constants()["alpha"]["low"] < 0.1
    assert law.spread == pytest.approx(0.005, rel=0.2)


def test_the_fit_is_no_worse_than_an_independent_one() -> None:
    """Hoffmann's appendix D.2 by itself: many starts, numeric gradients, no priors."""
    runs = random_runs(60, noise=0.01)
    n, d, y = (np.log([getattr(run, name) for run in runs]) for name in ("params", "tokens", "value"))

    def total(place: np.ndarray) -> float:
        e, a, b, alpha, beta = place
        misses = np.abs(y - np.logaddexp.reduce([np.full_like(n, e), a - alpha * n, b - beta * d]))
        return 1e3 * float(np.where(misses < 1e-3, misses**2 / 2, 1e-3 * (misses - 5e-4)).sum())

    starts = [[e, a, a, k, k] for e in (0, 0.5) for a in (5, 8) for k in (0.3, 0.4)]
    best = min(minimize(total, start, method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000}).fun
               for start in starts)  # fmt: skip
    coordinates = fit_law(runs).estimate[:5].copy()
    coordinates[3:] = np.exp(coordinates[3:])
    assert total(coordinates) <= 1.005 * best


def test_intervals_agree_with_a_bootstrap_of_whole_fits() -> None:
    runs = random_runs(50, noise=0.01)
    law = fit_law(runs)
    random = np.random.default_rng(5)
    again = [fit_law([runs[i] for i in random.integers(0, 50, 50)]).estimate for _ in range(20)]
    ratio = law.samples[:, :5].std(axis=0) / np.std(again, axis=0)[:5]
    assert ((ratio > 0.6) & (ratio < 1.7)).all()


def test_over_training_is_the_form_of_its_paper() -> None:
    law = fit_law(random_runs(50), "overtraining")
    c = {name: constant["value"] for name, constant in law.constants().items()}
    assert c["alpha"] == c["beta"]
    flops, ratio, eta = 1e20, 320.0, c["alpha"] / 2
    expected = c["E"] + (c["A"] * 6**eta * ratio**eta + c["B"] * 6**eta * ratio**-eta) * flops**-eta
    params = (flops / 6 / ratio) ** 0.5
    assert law.loss(params, ratio * params) == pytest.approx(expected, rel=1e-9)
    optima = law.optimum([1e19, 1e23])
    assert np.ptp(optima[1] / optima[0]) < 1e-6 * optima[1][0] / optima[0][0]


def test_the_optimum_is_where_a_search_finds_it() -> None:
    law = fit_law(random_runs(50))
    params, tokens = law.optimum(1e22)
    assert law.compute(params, tokens) == pytest.approx(1e22)
    found = minimize_scalar(lambda n: float(law.loss(np.exp(n), 1e22 / 6 / np.exp(n))), bounds=(18, 28),
                            method="bounded")  # fmt: skip
    assert np.log(params) == pytest.approx(found.x, abs=1e-2)
    assert law.penalty(params, tokens) == pytest.approx(0, abs=1e-12)
    assert law.penalty(params / 4, tokens * 4) == pytest.approx(
        float(law.loss(params / 4, tokens * 4) / law.loss(params, tokens)) - 1
    )
    sampled = law.sampled_penalty([params, params / 4], [tokens, tokens * 4])
    assert sampled.shape == (len(law.samples), 2) and (sampled >= 0).all()
    single = law.sampled_penalty(params, tokens)
    np.testing.assert_allclose(single, sampled[:, 0])


def test_outliers_are_set_aside_and_named() -> None:
    runs = random_runs(60)
    spoiled = [Run(run.row, run.name, "", run.flops, run.params, run.tokens, run.value * 1.3)
               if index in (3, 40) else run for index, run in enumerate(runs)]  # fmt: skip
    law = fit_law(spoiled)
    assert [run.row for run in law.outliers] == [5, 42]
    clean = fit_law([run for index, run in enumerate(runs) if index not in (3, 40)])
    np.testing.assert_allclose(law.estimate, clean.estimate, rtol=1e-3)


@pytest.mark.parametrize("count", [3, 4, 6])
@pytest.mark.parametrize("form", FORMS)
def test_few_runs_give_wide_answers_not_wild_ones(count: int, form: str) -> None:
    law = fit_law(random_runs(count, seed=count), form)
    loss = law.sampled_loss(1e10, 2e11)
    low, high = np.quantile(loss, [0.05, 0.95])
    assert low < true_loss(1e10, 2e11) < high
    assert 0.02 < np.log(high / low) < 0.9 and np.isfinite(law.samples).all()
    wide = law.constants()["alpha"]
    assert wide["high"] / wide["low"] > 1.2


def test_equal_runs_give_equal_laws() -> None:
    runs = random_runs(30)
    assert (fit_law(runs).samples == fit_law(runs).samples).all()
    np.testing.assert_allclose(fit_law(runs[::-1]).estimate, fit_law(runs).estimate, rtol=1e-3)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    runs = random_runs(30)
    other = [Run(run.row, "", "", run.flops, run.params, run.tokens, run.value / np.log(2)) for run in runs]
    np.testing.assert_allclose(fit_law(other).loss(1e10, 1e12), fit_law(runs).loss(1e10, 1e12) / np.log(2), rtol=1e-3)


@pytest.mark.parametrize(("count", "limit"), [(200, 5.0), pytest.param(10_000, 30.0, marks=pytest.mark.slow)])
def test_time(count: int, limit: float) -> None:
    begin = time.process_time()
    fit_law(random_runs(count))
    assert time.process_time() - begin < limit


@pytest.mark.parametrize(
    ("runs", "options", "words"),
    [
        (random_runs(2), {}, "2 runs make no law"),
        (random_runs(5), {"form": "kaplan"}, "'kaplan'; one of chinchilla"),
        ([*random_runs(5), Run(9, "", "", 1e18, None, 1e9, 3.0)], {}, "Row 9 has no params"),
        ([*random_runs(5), Run(9, "", "", 1e18, 1e8, None, 3.0)], {}, "Row 9 has no tokens"),
        (random_runs(5), {"form": "data-constrained", "unique_tokens": [1e9] * 4}, "each of the 5 runs"),
        (random_runs(5), {"form": "data-constrained", "unique_tokens": [1e9] * 4 + [-1]}, "above zero"),
    ],
)
def test_mistakes(runs: list[Run], options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fit_law(runs, **options)


@here
def test_the_published_replication_is_met() -> None:
    """Besiroglu et al. 2024, table 1: E 1.82 (0.03), A 482 (125), B 2085 (1293), alpha 0.35 and beta 0.37 (0.02)."""
    law = fit_law(read_runs(SCALING / "chinchilla_svg.csv").runs)
    c = law.constants()
    for name, value, error in (("E", 1.8172, 0.03), ("A", 482.01, 124.58), ("B", 2085.43, 1293.23),
                               ("alpha", 0.3478, 0.02), ("beta", 0.3658, 0.02)):  # fmt: skip
        assert abs(c[name]["value"] - value) < error, name
        assert c[name]["low"] < value < c[name]["high"], name
    assert {"pt000", "pt001", "pt002", "pt003", "pt004"} <= {run.name for run in law.outliers}
    assert len(law.outliers) <= 10
    params, tokens = law.optimum(5.76e23)  # Chinchilla itself: 70B and 1.4T
    assert 5e10 < params < 9e10 and 15 < tokens / params < 30


@pytest.mark.slow
@here
def test_what_repeated_tokens_are_worth_is_as_published() -> None:
    """Muennighoff et al. 2023: R_D 15.4 and R_N 5.3, on the runs of one to five epochs."""
    path, runs, epochs = SCALING / "datablations.csv", [], {}
    for family in ("datablations-c4-1epoch", "datablations-c4-repeated"):
        runs += read_runs(path, "loss_nats_c4_val", family).runs
        epochs |= {run.name: run.value for run in read_runs(path, "epochs", family).runs}

    def fit(most_epochs: float, form: str) -> tuple[LossLaw, float]:
        """The law, and how far the runs are from it on average."""
        few = [run for run in runs if epochs[run.name] <= most_epochs]
        n, d, y = (np.array([getattr(run, name) for run in few]) for name in ("params", "tokens", "value"))
        unique = d / [epochs[run.name] for run in few]
        law = fit_law(few, form, unique_tokens=unique)
        given = [n, d, unique] if form == "data-constrained" else [n, d]
        return law, float(np.abs(np.log(law.loss(*given) / y)).mean())

    c = fit(5, "data-constrained")[0].constants()
    assert c["R_D"]["low"] < 15.4 < c["R_D"]["high"] and c["R_N"]["low"] < 5.3 < c["R_N"]["high"]
    assert fit(60, "data-constrained")[1] < 0.9 * fit(60, "chinchilla")[1]


def test_torch_is_never_imported() -> None:
    module = "foretell.laws.sizing.chinchilla"
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'pydantic', 'pyarrow'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exact_runs_are_fitted_exactly() -> None:
    params = np.repeat(np.geomspace(1e7, 1e9, 5), 4)
    tokens = params * np.tile([5, 20, 80, 320], 5)
    law = fit_law(make_runs(params, tokens, true_loss(params, tokens)))
    np.testing.assert_allclose(law.loss(params, tokens), true_loss(params, tokens), rtol=2e-3)
