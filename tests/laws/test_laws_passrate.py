"""Pass rates from counts: the likelihood against sums done the long way, and a law that is known."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_counts import depth, family
from scipy import integrate, stats

from foretell.cli.main import main
from foretell.core.errors import UserError
from foretell.core.tables import read_table
from foretell.laws.capability.passrate import difficulty_buckets, forecast_pass_rates, frontier_of, split_solved
from foretell.laws.capability.passrate_backtest import passrate_backtest, passrate_page
from foretell.laws.capability.passrate_model import MEANS, SHAPES, depth_likelihood, mean_depth
from foretell.laws.capability.passrate_table import CountedRun, Counts, counts_of, is_count_table

COUNTS = Path(__file__).parents[3] / "shared" / "data" / "scaling" / "pythia_passrate_per_problem_gsm8k.csv"
HEAD = "run,flops,problem,n_samples,n_correct"


@pytest.mark.parametrize(("shape", "mean"), [(0, 70), (3, 70), (6, 75)])
def test_the_likelihood_of_counts_is_the_integral_it_says(shape: int, mean: int) -> None:
    samples, correct = np.array([50.0, 20.0, 1000.0]), np.array([3.0, 0.0, 0.0])
    shape_value, mean_value = SHAPES[shape], MEANS[mean]
    prior = stats.gamma(shape_value, scale=mean_value / shape_value)

    def problem(n: float, c: float) -> float:
        return float(integrate.quad(
            lambda v: prior.pdf(v) * math.exp(-c * v) * (1 - math.exp(-v)) ** (n - c), 0, 60, limit=400
        )[0])  # fmt: skip

    expected = sum(math.log(problem(n, c)) for n, c in zip(samples, correct, strict=True))
    assert depth_likelihood(samples, correct)[shape, mean] == pytest.approx(expected, abs=0.02)


def test_zero_of_many_says_more_than_zero_of_few() -> None:
    few, many = (mean_depth(np.full(20, n), np.zeros(20))[0] for n in (30.0, 30_000.0))
    assert math.log(30) < math.exp(few) < math.exp(many) - 3
    exact = mean_depth(np.full(20, 1e5), np.full(20, 1e5 * math.exp(-3)))
    assert exact[0] == pytest.approx(math.log(3), abs=0.05)


def test_a_known_law_is_foretold_in_every_bucket() -> None:
    made = forecast_pass_rates(family(100_000, [18, 18.4, 18.8, 19.2, 19.6, 20]), 1e21)
    hardness = stats.gamma(6, scale=1 / 6).ppf((np.arange(60) + 0.5) / 60)
    low, median, high = made.total.log_pass
    assert median == pytest.approx(depth(1e21), rel=0.08) and low < depth(1e21) < high
    rate = float(np.exp(-depth(1e21) * hardness).mean())
    assert made.total.pass_rate[0] < rate < made.total.pass_rate[2]
    assert len(made.buckets) == 5 and [len(bucket.problems) for bucket in made.buckets] == [12] * 5
    for index, bucket in enumerate(made.buckets):
        truth = depth(1e21) * hardness[12 * index : 12 * index + 12].mean()
        assert bucket.log_pass[0] < truth < bucket.log_pass[2]
        assert bucket.exponent is not None and bucket.exponent[0] < 0.06 < bucket.exponent[2]
    assert made.to_dict()["value"] == median and "bucket 5 of 5" in made.sentence


def test_buckets_and_what_is_set_apart_come_from_the_small_runs_alone() -> None:
    counts = family(300, [18, 18.5, 19, 19.5, 21])
    top = counts.runs[-1]
    other = CountedRun(top.name, top.flops, top.problems, top.samples, top.correct[::-1].copy())
    changed = Counts("made", (*counts.runs[:-1], other))
    made, again = (forecast_pass_rates(c, 1e22, max_flops=1e20) for c in (counts, changed))
    assert made == again
    solved, apart = split_solved(counts.runs[:-1])
    assert set(made.set_apart) == set(apart) and len(apart) > 0 and made.total.problems == tuple(solved)
    assert "never-solved" in {finding.code for finding in made.findings}
    groups = difficulty_buckets(frontier_of(counts.runs[:-1], solved), solved)
    assert [problem for group in groups for problem in group][:3] == ["p000", "p001", "p002"]


def test_pass_rates_that_fall_are_refused() -> None:
    counts = family(2000, [15, 17, 19, 21])
    backwards = [CountedRun(run.name, 10 ** (36 - math.log10(run.flops)), run.problems, run.samples, run.correct)
                 for run in reversed(counts.runs)]  # fmt: skip
    made = forecast_pass_rates(Counts("made", tuple(backwards)), 1e23)
    assert made.refused and "cannot carry" in made.sentence


def write(path: Path, rows: list[str], head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *rows]))
    return path


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a,1e18,p,10,11"], "11 of 10 samples are right"),
        (["a,1e18,p,0,0"], "0 of 0 samples"),
        (["a,1e18,p,ten,1"], "n_samples is 'ten'"),
        (["a,1e18,p,10.5,1"], "whole number"),
        (["a,1e18,p,10,"], "n_correct is missing"),
        (["a,0,p,10,1"], "above zero"),
        (["a,1e18,p,10,1", "a,1e19,q,10,1"], "in an earlier row"),
        (["a,1e18,p,10,1", "a,1e18,p,20,1"], "twice"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        counts_of(read_table(write(tmp_path / "a.csv", rows)))


def test_other_faults_of_tables_and_arguments(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'flops'"):
        counts_of(read_table(write(tmp_path / "a.csv", ["a,p,10,1"], "run,problem,n_samples,n_correct")))
    two = read_table(write(tmp_path / "b.csv", ["a,1e18,p,10,1,x", "a,1e18,p,10,1,y"], HEAD + ",benchmark"))
    with pytest.raises(UserError, match="several benchmarks"):
        counts_of(two)
    assert counts_of(two, "x").benchmark == "x"
    counts = family(100, [18, 19])
    for options, words in (({"target_flops": 1e18}, "above"), ({"level": 2}, "level"), ({"max_flops": 1}, "No run")):
        with pytest.raises(UserError, match=words):
            forecast_pass_rates(counts, **({"target_flops": 1e21} | options))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="solved any problem"):
        nothing = CountedRun("a", 1e18, ("p",), np.array([9.0]), np.array([0.0]))
        forecast_pass_rates(Counts("b", (nothing,)), 1e20)


def test_the_command_recognises_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{run.name},{run.flops},{p},{n:.0f},{c:.0f}" for run in family(500, [18, 18.5, 19, 19.5], 30).runs
            for p, n, c in zip(run.problems, run.samples, run.correct, strict=True)]  # fmt: skip
    path = write(tmp_path / "a.csv", rows)
    assert is_count_table(read_table(path))
    assert main(["forecast", str(path), "--flops", "1e21"]) == 0
    assert "mean pass rate at" in " ".join(capsys.readouterr().out.split())
    assert main(["forecast", str(path), "--flops", "1e21", "--json"]) == 0
    assert '"metric": "mean_neg_log_pass_rate_problems"' in capsys.readouterr().out
    assert main(["forecast", str(path), "--flops", "1e21", "--family", "x"]) == 2
    assert main(["forecast", str(path)]) == 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2000), st.floats(0, 1)), min_size=1, max_size=8))
def test_any_counts_give_finite_likelihoods(cells: list[tuple[int, float]]) -> None:
    samples = np.array([n for n, _ in cells], dtype=float)
    correct = np.floor(samples * np.array([share for _, share in cells]))
    likelihood = depth_likelihood(samples, correct)
    assert np.isfinite(likelihood).all() and math.isfinite(mean_depth(samples, correct)[0])


@pytest.mark.skipif(not COUNTS.exists(), reason="the table of public counts is not here")
def test_the_public_counts_are_covered() -> None:
    outcomes = passrate_backtest(counts_of(read_table(COUNTS)), (10.0, 300.0))
    for outcome in outcomes:
        low, _, high = outcome.made.total.log_pass
        assert low < outcome.log_pass < high and not outcome.made.refused
        assert 0 < outcome.pass_rate < outcome.made.total.pass_rate[2]
    assert passrate_page(outcomes).count("\n") == 3
