"""Means, standard errors, comparisons and calibration against simulations and independent sums."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from foretell.core.errors import UserError
from foretell.evals.calibration import (
    Confidences,
    calibrate,
    option_confidences,
    stated_confidence,
    verbal_confidences,
)
from foretell.evals.compare import compare_folders, compare_items
from foretell.evals.records import ItemRecord, write_records
from foretell.evals.scores import average_score, mean_score, summarise

GENERATOR = np.random.default_rng(1)


def record(item: str, score: float, group: str = "", task: str = "t", **changes) -> ItemRecord:
    row = ItemRecord(task, item, group, "d" + item, (), (), (), (), (), None, score, score >= 1, {"acc": score})
    return dataclasses.replace(row, **changes)


RESULT = {"metric": "acc", "value": 0.5, "n": 4, "version": 1, "average": "items"}


def test_the_standard_error_of_a_mean_is_what_samples_show() -> None:
    means = [GENERATOR.binomial(1, 0.3, 50).mean() for _ in range(4000)]
    stated = np.mean([mean_score(GENERATOR.binomial(1, 0.3, 50)).stderr for _ in range(400)])
    assert stated == pytest.approx(np.std(means), rel=0.05)
    assert mean_score([1.0]).stderr is None and mean_score([1.0]).value == 1.0


def test_the_standard_error_of_a_mean_of_groups_is_what_samples_show() -> None:
    rates, sizes = [0.1, 0.5, 0.9], [40, 10, 25]
    groups = [str(g) for g, size in enumerate(sizes) for _ in range(size)]

    def drawn() -> list[float]:
        return [float(x) for rate, size in zip(rates, sizes, strict=True) for x in GENERATOR.binomial(1, rate, size)]

    found = [average_score(drawn(), groups, "groups") for _ in range(2000)]
    assert np.mean([one.value for one in found]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([one.stderr for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.06)
    items = average_score([1, 0, 1, 1], ["a", "a", "a", "b"], "items")
    assert items == mean_score([1, 0, 1, 1])
    assert average_score([1, 0], ["a", "b"], "groups").stderr is None
    # the group of one item takes the variance of the others
    lone = average_score([1, 0, 1], ["a", "a", "b"], "groups")
    assert lone.value == 0.75 and lone.stderr == pytest.approx(math.sqrt(0.5 / 2 + 0.5) / 2)


def test_a_metric_counts_the_items_that_have_it() -> None:
    overall, by_group = summarise([{"a": 1.0, "b": 0.0}, {"a": 0.0}], ["x", "y"], "items")
    assert overall["a"].n == 2 and overall["b"].n == 1 and set(by_group["y"]) == {"a"}


def test_pairs_are_compared_item_by_item() -> None:
    first = [record(str(n), float(n < 10)) for n in range(30)]
    second = [record(str(n), float(n < 8 or 20 <= n < 28)) for n in reversed(range(30))]
    found = compare_items("t", (RESULT, {**RESULT, "seed": 1}), (first, second))
    assert (found.n, found.better, found.worse) == (30, 8, 2)
    assert found.difference == pytest.approx(6 / 30) and found.first == pytest.approx(10 / 30)
    differences = [1.0] * 8 + [-1.0] * 2 + [0.0] * 20
    assert found.stderr == pytest.approx(np.std(differences, ddof=1) / math.sqrt(30))
    # McNemar's exact test: twice the binomial tail
    assert found.p == pytest.approx(2 * sum(math.comb(10, k) for k in range(3)) / 2**10)
    assert found.notes == ("t was asked with seed None and 1.",)
    same = compare_items("t", (RESULT, RESULT), (first, first))
    assert (same.p, same.difference) == (1.0, 0.0)


def test_groups_of_pairs_count_alike_where_they_did() -> None:
    result = {**RESULT, "average": "groups"}
    first = [record(str(n), 0.0, "a" if n < 8 else "b") for n in range(10)]
    second = [dataclasses.replace(row, score=float(row.group == "b")) for row in first]
    assert compare_items("t", (result, result), (first, second)).difference == pytest.approx(0.5)


def test_what_is_not_the_same_is_not_compared(tmp_path: Path) -> None:
    rows = [record(str(n), 1.0) for n in range(3)]
    for results, items, said in [
        ((RESULT, {**RESULT, "version": 2}), (rows, rows), "by version 1 and 2"),
        ((RESULT, {**RESULT, "metric": "f1"}), (rows, rows), "by metric 'acc' and 'f1'"),
        ((RESULT, RESULT), (rows, rows[:2]), r"1 of 3 items in the first results alone, such as '2'"),
        ((RESULT, RESULT), (rows[1:], rows), r"1 of 3 items in the second results alone, such as '0'"),
        ((RESULT, RESULT), (rows, [*rows[:2], record("2", 1.0, digest="x")]), "text or answer differs"),
        ((RESULT, RESULT), ([], []), "t has no items"),
    ]:
        with pytest.raises(UserError, match=said):
            compare_items("t", results, items)
    write_records(tmp_path / "a", {"t": RESULT}, rows)
    write_records(tmp_path / "b", {"u": RESULT}, [])
    with pytest.raises(UserError, match="no results of the same tasks; it has t"):
        compare_folders(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match="b has no results of t; it has u"):
        compare_folders(tmp_path / "a", tmp_path / "b", ["t"])
    assert compare_folders(tmp_path / "a", tmp_path / "a")[0].n == 3


PROBABILITY = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(PROBABILITY, st.booleans()), min_size=1, max_size=60), st.integers(1, 15))
def test_calibration_is_its_definition(pairs, bins: int) -> None:
    probability = np.array([p for p, _ in pairs])
    true = np.array([float(t) for _, t in pairs])
    found = calibrate(Confidences(probability, true, np.arange(len(pairs))), bins, draws=2)
    error = 0.0
    edges = np.linspace(0, 1, bins + 1)
    for number in range(bins):
        inside = [n for n, p in enumerate(probability)
                  if edges[number] < p <= edges[number + 1] or (number == 0 and p == 0)]  # fmt: skip
        if inside:
            error += abs(math.fsum(probability[inside]) - math.fsum(true[inside]))
    assert found.ece == pytest.approx(error / len(pairs), abs=1e-12)
    assert found.brier == pytest.approx(
        math.fsum((p - t) ** 2 for p, t in zip(probability, true, strict=True)) / len(pairs)
    )
    assert sum(one.n for one in found.bins) == len(pairs)


def test_the_interval_of_a_bin_is_wilsons() -> None:
    true = np.array([1.0] * 7 + [0.0] * 3)
    (found,) = calibrate(Confidences(np.full(10, 0.65), true, np.arange(10)), draws=2).bins
    expected = binomtest(7, 10).proportion_ci(method="wilson")
    assert (found.true_low, found.true_high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert (found.low, found.high, found.n, found.true) == pytest.approx((0.6, 0.7, 10, 0.7))


def test_right_confidence_has_no_error_and_wrong_one_has() -> None:
    probability = GENERATOR.uniform(size=20_000)
    true = (GENERATOR.uniform(size=20_000) < probability).astype(float)
    items = np.arange(20_000)
    right = calibrate(Confidences(probability, true, items))
    assert right.ece < 0.015 and right.brier == pytest.approx(1 / 6, abs=0.01)
    sure = calibrate(Confidences(np.where(probability > 0.5, 0.95, 0.05), true, items))
    assert sure.ece == pytest.approx(0.2, abs=0.02) and sure.ece_low < sure.ece < sure.ece_high
    assert sure.brier_low < sure.brier < sure.brier_high


def test_the_interval_of_the_brier_score_is_that_of_items() -> None:
    """Four statements of an item are one draw: the bootstrap's width is that of items' means."""
    items = np.repeat(np.arange(400), 4)
    per_item = GENERATOR.uniform(size=400)
    probability = np.repeat(per_item, 4)
    true = np.repeat((GENERATOR.uniform(size=400) < per_item).astype(float), 4)
    found = calibrate(Confidences(probability, true, items), draws=2000)
    means = ((probability - true) ** 2).reshape(400, 4).mean(axis=1)
    width = 2 * 1.96 * means.std(ddof=1) / math.sqrt(400)
    assert found.brier_high - found.brier_low == pytest.approx(width, rel=0.1) and found.items == 400


def test_options_are_a_softmax() -> None:
    rows = [record("0", 1.0, loglikelihoods=(math.log(0.2), math.log(0.6)), gold=("1",)),
            record("1", 1.0, texts=("x",))]  # fmt: skip
    found = option_confidences(rows)
    assert found.probability == pytest.approx([0.25, 0.75]) and found.true.tolist() == [0.0, 1.0]
    chosen = option_confidences(rows, "chosen")
    assert chosen.probability == pytest.approx([0.75]) and chosen.true.tolist() == [1.0]
    with pytest.raises(UserError, match="no confidence to calibrate"):
        option_confidences(rows[1:])
    with pytest.raises(UserError, match=r"A confidence is 1\.5"):
        Confidences(np.array([1.5]), np.array([1.0]), np.array([0]))
    with pytest.raises(UserError, match="bins is 0"):
        calibrate(found, bins=0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: B. Confidence: 90%", 0.9),
        ("I'm 85 percent sure that it is Paris.", 0.85),
        ("The answer is 42 and I am 99.5 % certain", 0.995),
        ("confidence: 0.7", 0.7),
        ("My confidence is 80", 0.8),
        ("95%", 0.95),
        ("First I was 30% sure, now I am 70% sure", 0.7),
        ("confidence 100%", 1.0),
        ("Probability: 12,5 %", 0.125),
        ("He got 20% off 30 dollars", None),
        ("I am 150% sure", None),
        ("It is B.", None),
        ("", None),
        ("I am sure that it is 1945.", None),
        ("Confidence (0-100): 90", 0.9),
        ("Confidence (0-1): 0.85", 0.85),
        ("Answer: B\nConfidence: 8/10", 0.8),
        ("**Confidence:** 0.9", 0.9),
        ("confidence: .9", 0.9),
        ("Probability is about 1/4", 0.25),
        ("I am 95% sure. Certainty about 3 others is low", 0.95),
        ("I am sure it is 12. The answer is 12.", None),
        ("Surely 7 apples. #### 7", None),
        ("It is likely that 20 of the 40 were red. The answer is 20", None),
        ("I am 95% sure that the answer is 40%.", 0.95),
        ("I'm not 100% sure, but the answer is B.", None),
        ("I’m not 100% sure, but the answer is B. Confidence: 60%", 0.6),
        ("It isn't even 50% likely; I am 80% certain of B.", 0.8),
        ("I can't be 100% certain, 70 percent sure maybe", 0.7),
        ("Confidence: 90%. I am sure that 30% is right.", 0.9),
        ("The share is 30%, which I say with 90% confidence", 0.9),
        ("It is not Paris, 80% sure", 0.8),
        ("not 100%", None),
        ("I am sure (90%)", 0.9),
    ],
)
def test_confidence_in_words_is_read(text: str, value: float | None) -> None:
    assert stated_confidence(text) == (None if value is None else pytest.approx(value))


@given(st.integers(0, 100), st.sampled_from(["Confidence: {}%", "I am {} % sure.", "so, {} percent certain", "{}%"]))
def test_any_whole_per_cent_is_read(value: int, form: str) -> None:
    assert stated_confidence(form.format(value)) == pytest.approx(value / 100)


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    found = stated_confidence(text)
    assert found is None or 0 <= found <= 1


def test_silent_answers_are_left_out() -> None:
    rows = [record("0", 1.0, texts=("Confidence: 90%",)), record("1", 0.0, texts=("no idea",)),
            record("2", 0.0, texts=("I am 60% sure",))]  # fmt: skip
    found = verbal_confidences(rows)
    assert found.probability == pytest.approx([0.9, 0.6]) and found.true.tolist() == [1.0, 0.0]
    with pytest.raises(UserError, match="none says how sure it is"):
        verbal_confidences(rows[1:2])


def test_of_several_samples_the_majority_is_not_paired_with_the_first() -> None:
    """The first says B, the majority A, which is right: 90 % is no confidence in A."""
    several = record("0", 1.0, texts=("Answer: B. Confidence: 90%", "Answer: A", "Answer: A"), answer="A")
    alike = record("1", 0.0, texts=("Answer: C. Confidence: 70%",) * 3, answer="C")
    found = verbal_confidences([several, alike])
    assert found.probability == pytest.approx([0.7]) and found.true.tolist() == [0.0]
