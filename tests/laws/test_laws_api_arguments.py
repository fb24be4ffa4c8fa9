"""Arguments of ``foretell.forecast`` and its siblings: as people write them, or one sentence."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

import foretell
from foretell.core.errors import UserError

CURVES = Path(__file__).parents[2] / "docs" / "examples" / "curves.csv"


def losses(**more: object) -> list[dict]:
    return [{"flops": 120e14 * 9**i, "params": 1e7 * 3**i, "tokens": 2e8 * 3**i, "loss": 1.5 + 2.5 * 0.7**i} | more
            for i in range(6)]  # fmt: skip


def scores(name: str, scale: float = 1.0, count: int = 6) -> list[dict]:
    return [{"flops": 1e18 * 4**i, name: scale * (0.3 + 0.08 * i)} for i in range(count)]


def counts() -> list[dict]:
    return [{"run": f"r{i}", "flops": 1e18 * 4**i, "problem": f"p{k}", "n_samples": 100,
             "n_correct": round(100 * math.exp(-3 * (k + 1) / 12 * 0.8**i))}
            for i in range(5) for k in range(12)]  # fmt: skip


def test_numbers_may_be_texts_and_compute_may_be_left_out() -> None:
    plain = foretell.forecast(losses(), flops=6e21, max_flops=1e19)
    assert foretell.forecast(losses(), flops="6e21", max_flops="1e19", level="0.9").median == plain.median
    shaped = foretell.forecast(losses(), params="7B", tokens="1.4T")
    assert shaped.target_flops == 6 * 7e9 * 1.4e12
    assert shaped.median == foretell.forecast(losses(), params=7e9, tokens=1.4e12).median


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": 3}, "metric is 3; a name as text"),
        ({"family": ["a"]}, r"family is \['a'\]; a name as text"),
        ({"level": None}, "level is None; a probability from 0.5 to 0.999"),
        ({"level": "high"}, "level is 'high'; a probability"),
        ({"level": True}, "level is True; a probability"),
        ({"max_flops": "many"}, "max_flops is 'many'; a finite number above zero"),
        ({"max_flops": math.nan}, "max_flops is nan; a finite number"),
        ({"max_flops": -1}, "max_flops is -1; a finite number"),
        ({"kind": "score"}, "kind is 'score'; loss or share is expected"),
        ({"flops": None}, "flops is missing"),
        ({"flops": [1e22]}, r"flops of the target is \[1e\+22\]"),
        ({"chance": 0.25}, "chance is for accuracies and other shares; loss is a loss"),
        ({"items": 100}, "items is for accuracies"),
    ],
)
def test_mistakes_are_one_sentence(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        foretell.forecast(losses(), **({"flops": 6e21} | changes))


def test_the_shape_of_a_share_is_refused_not_passed_over() -> None:
    rows = [row | {"acc_x": 0.3 + 0.05 * i} for i, row in enumerate(losses())]
    for shape in ({"params": 1e10, "tokens": 1e11}, {"flops": 6e21, "params": 1e10}, {"flops": 6e21, "tokens": 1e11}):
        with pytest.raises(UserError, match=r"acc_x is forecast from compute alone.*give --flops 6e\+21 instead"):
            foretell.forecast(rows, metric="acc_x", **shape)
    made = foretell.forecast(rows, metric="acc_x", flops="6e21", chance=0.25, items=500)
    assert made.is_share and made.low < made.median < made.high


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"chance": "x"}, "chance is x"), ({"items": 0.5}, "items is 0.5"), ({"items": "few"}, "items is few"),
     ({"chance": 0.95}, "chance is 0.95")],
)  # fmt: skip
def test_chance_and_items_are_checked(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        foretell.forecast(scores("acc_x"), metric="acc_x", flops=1e23, **changes)


@pytest.mark.parametrize("name", ["mmlu", "f1", "bleu", "exact_match", "em"])
def test_a_score_that_is_not_named_as_one(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} rises with compute, .* where a loss falls; .* say --kind share"):
        foretell.forecast(scores(name), metric=name, flops=1e23)
    with pytest.raises(UserError, match="divide it by 100 and say --kind share"):
        foretell.forecast(scores(name, 100), metric=name, flops=1e23)
    made = foretell.forecast(scores(name), metric=name, kind="share", flops=1e23)
    assert made.is_share and 0 <= made.low < made.median < made.high <= 1 and made.median > 0.6
    as_loss = foretell.forecast(scores(name), metric=name, kind="loss", flops=1e23)
    assert as_loss.refused and not as_loss.is_share


def test_losses_that_fall_or_are_flat_are_not_said_to_rise() -> None:
    assert not foretell.forecast(losses(), flops=6e21).refused
    flat = foretell.forecast([{"flops": 1e18 * 4**i, "loss": 3 + 0.001 * i} for i in range(6)], flops=1e23)
    assert "does-not-fall" in [finding.code for finding in flat.findings] or flat.refused


def test_percentages_are_met_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"acc_x is above 1; shares from 0 to 1 are expected\. If they are percentages"):
        foretell.forecast(scores("acc_x", 100), metric="acc_x", flops=1e23)
    rows = [row | {"acc_x": f"{100 * row['acc_x']:.1f}%"} for row in scores("acc_x")]
    with pytest.raises(UserError, match=r"divided by 100: 0\.3 for 30%"):
        foretell.forecast(rows, metric="acc_x", flops=1e23)


def test_shares_of_one_size_and_absurd_targets_are_refused() -> None:
    alone = foretell.forecast(scores("acc_x", count=1), metric="acc_x", flops=1e20)
    assert {f.code: f.severity for f in alone.findings}["too-few-sizes"] == "refusal"
    two = foretell.forecast(scores("acc_x", count=2), metric="acc_x", flops=1e20)
    assert {f.code: f.severity for f in two.findings}["few-sizes"] == "warning"
    far = {gap: foretell.forecast(scores("acc_x"), metric="acc_x", flops=1.024e21 * gap) for gap in (100, 2e3, 4e4)}
    said = {gap: {f.code: f.severity for f in made.findings}.get("gap") for gap, made in far.items()}
    assert said == {100: None, 2e3: "warning", 4e4: "refusal"}


def test_counts_have_a_call_of_their_own() -> None:
    with pytest.raises(UserError, match=r"foretell\.forecast_pass_rates"):
        foretell.forecast(counts(), flops=1e22)
    made = foretell.forecast_pass_rates(counts(), flops="1e22")
    low, median, high = made.total.pass_rate
    assert 0 < low < median < high <= 1 and not made.refused
    assert foretell.forecast_pass_rates(counts(), flops=1e28).refused
    for changes, words in (({"flops": None}, "flops is None"), ({"level": 2}, "level is 2"),
                           ({"benchmark": 3}, "benchmark is 3"), ({"max_flops": "x"}, "max_flops is 'x'")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            foretell.forecast_pass_rates(counts(), **({"flops": 1e22} | changes))


def test_curves_have_a_call_of_their_own() -> None:
    with pytest.raises(UserError, match=r"foretell\.forecast_curves"):
        foretell.forecast(CURVES, flops=1e22)
    made = foretell.forecast_curves(CURVES, tokens="1M", schedule="linear")
    assert made.median is not None and 2.5 < made.low < made.median < made.high < 3.5 and not made.refused
    refused = foretell.forecast_curves(CURVES, tokens=1e18)
    assert refused.refused and refused.median is None and "up to 30 times" in refused.sentence
    for changes, words in (({"tokens": None}, "tokens is needed"), ({"tokens": -1}, "tokens is -1"),
                           ({"schedule": "step"}, "schedule is 'step'"), ({"level": 3}, "level is 3")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            foretell.forecast_curves(CURVES, **({"tokens": 1e6} | changes))


def test_runs_that_repeat_their_text_are_no_seeds() -> None:
    once = losses(epochs=1)
    again = [row | {"epochs": 4, "loss": 1.1 * row["loss"]} for row in once]
    made, plain = (foretell.forecast(rows, flops=6e21) for rows in ([*once, *again], once))
    assert made.median == pytest.approx(plain.median, rel=0.01)
    said = {finding.code: finding.sentence for finding in made.findings}
    assert "6 of 12 runs read their text more than once (4 times)" in said["repeated-data"]
    assert "sweep" not in said and len(made.rungs) == 5 and all(rung["seeds"] == 1 for rung in made.rungs)
    every = foretell.forecast(again, flops=6e21)
    assert {finding.code: finding.severity for finding in every.findings}["repeated-data"] == "note"
    unique = [row | {"unique_tokens": row["tokens"] / part, "loss": row["loss"] * (1 + 0.02 * part)}
              for row in losses() for part in (1, 4)]  # fmt: skip
    assert all(rung["seeds"] == 1 for rung in foretell.forecast(unique, flops=6e21).rungs)


def test_importing_and_forecasting_load_no_torch() -> None:
    code = (
        "import sys, foretell; assert 'numpy' not in sys.modules and 'torch' not in sys.modules; "
        f"foretell.forecast_curves({str(CURVES)!r}, tokens=1e6); foretell.forecast_pass_rates; "
        "foretell.forecast([{'flops': 1e18 * 4**i, 'loss': 3 - 0.2 * i} for i in range(5)], flops=1e22); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
