"""pass@k against brute force and against the definition."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from foretell.core.errors import UserError
from foretell.tasks.code.passk import pass_at_k, pass_rate


@pytest.mark.parametrize("samples", range(1, 8))
def test_it_is_the_share_of_draws_with_a_correct_sample(samples: int) -> None:
    for correct in range(samples + 1):
        right = [True] * correct + [False] * (samples - correct)
        for k in range(1, samples + 1):
            draws = [any(draw) for draw in itertools.combinations(right, k)]
            assert pass_at_k(samples, correct, k) == pytest.approx(sum(draws) / len(draws), abs=1e-12)


@given(some.integers(1, 2000), some.data())
def test_it_is_equation_1_of_the_paper(samples: int, data: some.DataObject) -> None:
    correct, k = data.draw(some.integers(0, samples)), data.draw(some.integers(1, samples))
    exact = 1 - Fraction(math.comb(samples - correct, k), math.comb(samples, k))
    assert pass_at_k(samples, correct, k) == pytest.approx(float(exact), abs=1e-10)


def test_the_standard_error_is_that_of_a_mean() -> None:
    counts = [(20, 3), (20, 0), (20, 20), (10, 1)]
    rate = pass_rate(counts, 5)
    values = np.array([pass_at_k(samples, correct, 5) for samples, correct in counts])
    assert rate.value == pytest.approx(values.mean())
    assert rate.stderr == pytest.approx(values.std(ddof=1) / 2)
    assert math.isnan(pass_rate([(3, 1)], 1).stderr)


def test_it_is_unbiased_and_its_error_is_honest() -> None:
    generator = np.random.default_rng(0)
    chances = generator.uniform(0, 0.3, 100)
    truth = (1 - (1 - chances) ** 5).mean()
    found = [pass_rate([(20, int(generator.binomial(20, chance))) for chance in chances], 5) for _ in range(200)]
    values = np.array([rate.value for rate in found])
    assert abs(values.mean() - truth) < 4 * values.std() / math.sqrt(200)
    # Problems are taken as a sample, so their spread is in the error too: it is no smaller than that of resampling.
    assert np.mean([rate.stderr for rate in found]) > values.std()


@pytest.mark.parametrize("arguments", [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_what_does_not_fit_is_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="sample"):
        pass_at_k(*arguments)


def test_no_problem_has_no_rate() -> None:
    with pytest.raises(UserError, match="no problem"):
        pass_rate([], 1)
