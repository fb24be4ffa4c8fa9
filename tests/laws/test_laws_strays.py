"""Runs that are far off their neighbours are set aside with their names, and every run is accounted for."""

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foretell
from foretell.core.errors import UserError
from foretell.laws.backtests.protocol import gap_cases
from foretell.laws.forecast import as_observation, forecast, forecast_runs
from foretell.laws.frontier import ladder_of
from foretell.laws.records import Observation
from foretell.laws.strays import stray_runs
from foretell.laws.tables.runs import Run, Runs

SCALING = Path(__file__).parents[3] / "shared" / "data" / "scaling"


def law(flops: float) -> float:
    return 20 * flops**-0.06 + 1.2


def ladder(count: int = 7) -> list[dict]:
    return [{"run": f"r{i}", "flops": 1e17 * 3**i, "params": 3e7 * 3 ** (i / 2), "tokens": 6e8 * 3 ** (i / 2),
             "loss": law(1e17 * 3**i)} for i in range(count)]  # fmt: skip


def sweep() -> list[dict]:
    """Five shapes at each of six computes, the farther from the best the worse."""
    rows = []
    for i in range(6):
        for k in (-2, -1, 0, 1, 2):
            flops = 1e17 * 4**i
            params = math.sqrt(flops / 120) * 2**k
            rows.append({"run": f"r{i}{k}", "flops": flops, "params": params, "tokens": flops / (6 * params),
                         "loss": law(flops) * math.exp(0.01 * (2 * k * math.log(2)) ** 2)})  # fmt: skip
    return rows


@pytest.mark.parametrize("rows", [ladder(), sweep()], ids=["ladder", "sweep"])
@pytest.mark.parametrize("wrong", [0.5, 1.0, 9.0, 1e300])
def test_one_wrong_loss_changes_next_to_nothing_and_is_named(rows: list[dict], wrong: float) -> None:
    whole = foretell.forecast(rows, flops=1e22)
    for index in range(0, len(rows), max(len(rows) // 7, 1)):
        spoilt = [dict(row) for row in rows]
        spoilt[index]["loss"] = wrong
        made = foretell.forecast(spoilt, flops=1e22)
        assert abs(math.log(made.median / whole.median)) < 0.03
        if wrong < 2 or len(rows) == 7:  # far above the frontier of a sweep is where many runs are
            assert made.left_out["stray"] == [f"r{index // 5}{index % 5 - 2} (row {index + 1})"
                                              if len(rows) == 30 else f"r{index} (row {index + 1})"]  # fmt: skip
            said = {finding.code: finding for finding in made.findings}["stray"]
            assert made.left_out["stray"][0] in said.sentence and said.severity == "warning"


def test_good_runs_are_all_kept() -> None:
    for rows in (ladder(), sweep(), ladder(4)):
        made = foretell.forecast(rows, flops=1e22)
        assert "stray" not in made.left_out and "stray" not in [finding.code for finding in made.findings]


@pytest.mark.skipif(not SCALING.exists(), reason="the tables of public runs are not here")
def test_of_no_public_family_is_a_run_set_aside() -> None:
    for case in gap_cases(SCALING, gaps=(1.0, 100.0)):
        assert not ladder_of([as_observation(run) for run in case.runs.runs]).strays, (case.family, case.metric)


def test_where_many_are_odd_none_is_set_aside() -> None:
    runs = [Observation(1e17 * 3**i, 3.0 if i % 2 else 9.0) for i in range(8)]
    assert stray_runs(runs, one_recipe=True) == {}


def test_a_run_directory_has_its_strays_named_too() -> None:
    runs = [Observation(row["flops"], row["loss"], row["params"], row["tokens"], 0, row["run"]) for row in ladder()]
    spoilt = [*runs[:3], Observation(runs[3].flops, 8.0, runs[3].params, runs[3].tokens, 0, "r3"), *runs[4:]]
    made = forecast(spoilt, 1e22)
    assert made.left_out == {"stray": ["r3"]} and len(made.observations) == 6
    assert made.median == pytest.approx(forecast(runs, 1e22).median, rel=0.02)


def test_losses_that_no_computer_can_foretell_are_named() -> None:
    rows = [row | {"loss": row["loss"] * 1e290} for row in ladder()]
    with pytest.raises(UserError, match=r"The loss of r0 is .*e\+290; a loss from 1e-09 to 1e\+09 is expected"):
        foretell.forecast(rows, flops=1e22)


RUN = st.tuples(st.floats(1e17, 1e21), st.floats(1e-2, 1e2), st.floats(0.1, 300), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(RUN, min_size=1, max_size=25), st.floats(1e18, 1e21) | st.none(), st.booleans())
def test_every_run_is_used_or_left_out_by_name_or_kept_back(
    drawn: list[tuple[float, float, float, int]], limit: float | None, shapes: bool
) -> None:
    runs = []
    for row, (flops, loss, ratio, seed) in enumerate(drawn, start=1):
        params = math.sqrt(flops / 6 / ratio)
        shape = (params, params * ratio) if shapes else (None, None)
        runs.append(Run(row, f"run{row}", "", flops, *shape, loss, seed))
    try:
        made, count = forecast_runs(Runs("loss", tuple(sorted(runs, key=lambda run: run.flops)), kind="loss"), 1e24,
                                    max_flops=limit)  # fmt: skip
    except UserError:
        assert limit is not None and all(run.flops > limit for run in runs)
        return
    used = [run.label for run in made.observations]
    out = [name.split(" ")[0] for names in made.left_out.values() for name in names]
    kept_back = [run.name for run in runs if limit is not None and run.flops > limit]
    assert Counter([*used, *out, *kept_back]) == Counter(run.name for run in runs)
    assert count == len(used) + len(out)
    said = " ".join(finding.sentence for finding in made.findings)
    assert all(name in said or len(made.left_out["stray"]) > 10 for name in made.left_out.get("stray", []))
