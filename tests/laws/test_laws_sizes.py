"""Which runs are seeds of one size, and which are alternatives at one compute."""

from foretell.laws.forecast import forecast_runs
from foretell.laws.frontier import frontier
from foretell.laws.records import Observation
from foretell.laws.sizes import gather_sizes, group_sizes
from foretell.laws.tables.runs import Run, Runs


def test_known_shapes_are_one_size_and_unknown_ones_only_with_seeds() -> None:
    seeds = [Observation(1e18, 3.0 + i / 100, 1e8, 2e9) for i in range(3)]
    assert [len(size) for size in group_sizes(seeds)] == [3]
    sweep = [Observation(1e18, 3.0 + i) for i in range(3)]
    assert [len(size) for size in group_sizes(sweep)] == [1, 1, 1]
    assert gather_sizes(sweep).log_loss.size == 1 and len(gather_sizes(sweep).set_aside) == 2
    unknown = [Observation(1e18, 3.0 + i / 100, seed=i) for i in range(3)]
    assert [len(size) for size in group_sizes(unknown)] == [3]


def test_alternatives_at_one_compute_are_near_the_smallest_not_near_each_other() -> None:
    ladder = [Observation(1e18 * 1.04**i, 3.0 * 1.04 ** (-0.05 * i), 1e8, 2e9 * 1.04**i) for i in range(60)]
    sizes = gather_sizes(ladder)
    assert len(sizes.flops) == len(sizes.set_aside) == 30
    assert sizes.flops.tolist() == [run.flops for run in ladder[1::2]]  # the better of each two
    near = [Observation(1e18 * factor, loss, 1e8 * factor) for factor, loss in ((1, 3.0), (1.02, 3.1), (1.049, 2.9))]
    assert gather_sizes(near).flops.tolist() == [near[2].flops]


def test_the_best_of_a_sweep_without_shapes_is_the_frontier() -> None:
    runs = [Observation(1e18 * 2**i, 4.0 - 0.2 * i + 0.5 * j) for i in range(5) for j in range(4)]
    assert [run.loss for run in frontier(runs)] == [4.0 - 0.2 * i for i in range(5)]


def test_a_sweep_and_its_frontier_give_one_forecast() -> None:
    best = [Run(i, f"r{i}", "", 1e17 * 2**i, None, None, 12 * (1e17 * 2**i) ** -0.05 + 1) for i in range(9)]
    poor = [Run(10 + i, f"p{i}", "", run.flops, None, None, run.value * 1.1) for i, run in enumerate(best)]
    swept, count = forecast_runs(Runs("loss", tuple(best + poor)), 1e22)
    alone, _ = forecast_runs(Runs("loss", tuple(best)), 1e22)
    assert (swept.median, count) == (alone.median, 18)
