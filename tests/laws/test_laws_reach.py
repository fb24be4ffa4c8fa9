"""Losses of far larger runs by the law of parameters and tokens, on the public families where they are at hand."""

from pathlib import Path

import numpy as np
import pytest

from foretell.laws.backtests.protocol import CLEAN, gap_cases
from foretell.laws.sizing.chinchilla import EXTRAPOLATION_EVIDENCE, fit_law
from foretell.laws.sizing.reach import predicted_loss

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"


@pytest.mark.slow
@pytest.mark.skipif(not SCALING.is_dir(), reason="the shared public runs are not here")
@pytest.mark.parametrize(("gap", "median_error"), [(10.0, 0.035), (100.0, 0.05), (1000.0, 0.05)])
def test_clean_families_are_held_by_the_interval(gap: float, median_error: float) -> None:
    errors, inside = [], []
    for case in gap_cases(SCALING, [gap]):
        if (case.family, case.metric) not in CLEAN:
            continue
        law = fit_law(case.runs.runs, evidence=EXTRAPOLATION_EVIDENCE)
        assert case.target.params is not None and case.target.tokens is not None
        low, middle, high = predicted_loss(law, case.target.params, case.target.tokens, 0.9)
        errors.append(abs(np.log(middle / case.target.value)))
        inside.append(low < case.target.value < high)
    print(gap, len(errors), np.median(errors), np.quantile(errors, 0.9), np.mean(inside))
    assert len(errors) >= 9 and np.median(errors) < median_error and np.mean(inside) >= 0.8
