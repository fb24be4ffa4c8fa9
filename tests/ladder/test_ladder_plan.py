import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.ladder.config import LadderConfig, ShapeConfig, TargetConfig
from foretell.ladder.plan import Family, Plan, batch_rows, make_plan, plan_record, price
from foretell.ladder.tuning import choose_learning_rate
from foretell.model.config import count_parameters
from foretell.train.config import TrainingConfig


def planned(flops: float = 2e13, **ladder) -> Plan:
    family = Family(ShapeConfig(), 512)
    return make_plan(family, TargetConfig(flops=flops), LadderConfig(width_step=2, **ladder), TrainingConfig(), seed=7)


@settings(max_examples=25)
@given(st.floats(5e12, 1e19), st.floats(50, 1000), st.integers(3, 5))
def test_rungs_keep_their_distance_and_the_target_its_compute(flops: float, ratio: float, sizes: int) -> None:
    try:
        plan = planned(flops, ratio=ratio, sizes=sizes)
    except UserError as error:
        assert "target.flops" in str(error)
        return
    assert plan.target.flops == pytest.approx(flops, rel=0.02)
    assert len(plan.rungs) == sizes
    computes = [rung.flops for rung in plan.rungs]
    assert computes == sorted(set(computes))
    assert max(computes) <= flops / ratio * 1.0001
    for rung in plan.rungs:
        wanted = 20 * count_parameters(rung.model).with_head
        assert rung.tokens == pytest.approx(wanted, rel=0.05)
        assert rung.model.depth == plan.target.model.depth and rung.model.head_dim == plan.target.model.head_dim


def test_batch_follows_step_law() -> None:
    # Li et al. 2025: 0.58 D^0.571 tokens; a run of a billion tokens takes about 80 thousand.
    assert batch_rows(1e9, 256) * 256 == pytest.approx(0.58 * 1e9**0.571, rel=0.01)
    assert batch_rows(10, 256) == 2
    assert batch_rows(1e9, 256, 0.5) * 2 == pytest.approx(batch_rows(1e9, 256), rel=0.05)


def test_learning_rates_transfer_by_the_root_of_the_batch() -> None:
    plan = planned()
    target, rung = plan.target, plan.rungs[0]
    assert target.learning_rate(1e-2) / rung.learning_rate(1e-2) == pytest.approx(math.sqrt(target.rows / rung.rows))


def test_every_run_has_its_own_hash_and_equal_plans_share_them() -> None:
    def digests(plan: Plan) -> list[str]:
        runs = [*plan.rung_runs(8e-3, "d"), plan.target_run(8e-3, "d")]
        runs += [run for runs in plan.tuning_runs("d").values() for run in runs]
        return [run.digest() for run in runs]

    assert len(set(digests(planned()))) == len(digests(planned()))
    assert digests(planned()) == digests(planned())
    assert not set(digests(planned())) & {run.digest() for run in planned().rung_runs(8e-3, "other data")}


def test_the_ladder_is_cheap() -> None:
    cost = price(planned(), 1.6e11, 2)
    assert cost["ladder_share_of_flops"] < 0.1
    assert cost["ladder_seconds"] < 0.4 * cost["target_seconds"]
    record = plan_record(planned(), 1.6e11, 2)
    assert record["rungs"][0]["ratio"] > 200
    assert "Hoffmann" in record["target"]["law"]


def test_a_target_too_small_for_a_ladder_is_refused() -> None:
    with pytest.raises(UserError, match=r"target\.flops is 1e\+12.*Raise target\.flops"):
        planned(1e12)


def test_the_bottom_of_a_known_parabola_is_found() -> None:
    best = math.log(1.1e-2)
    losses = {rate: [2.0 * math.exp(0.01 * (math.log(rate) - best) ** 2)] * 2 for rate in (4e-3, 8e-3, 1.6e-2, 3.2e-2)}
    record = choose_learning_rate(losses)
    assert record["chosen"] == pytest.approx(1.1e-2, rel=1e-6)
    assert not record["at_edge"]


def test_diverged_rates_are_ruled_out() -> None:
    record = choose_learning_rate({4e-3: [2.2, 2.1], 8e-3: [2.1, 2.0], 1.6e-2: [1.9, math.inf]})
    assert record["chosen"] == 8e-3
    assert record["candidates"][2]["losses"] == [1.9, None]
    with pytest.raises(UserError, match="diverged"):
        choose_learning_rate({4e-3: [math.inf]})


def test_an_optimum_at_the_edge_is_said() -> None:
    record = choose_learning_rate({4e-3: [2.0], 8e-3: [2.1], 1.6e-2: [2.2]})
    assert record["at_edge"] and record["chosen"] == 4e-3 and "edge" in record["sentence"]
