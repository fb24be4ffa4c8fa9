"""Forecasts by references: intervals against simulation, figures in a law's place, damaged records."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.laws.forecast import forecast
from foretell.laws.records import Forecast, Observation
from foretell.laws.token_law import Reference, TokenForecast, TokenLaw, TokenNetwork, by_references

NAMES = ("c", "english", "python")


def network(value: float) -> TokenNetwork:
    """It says ``value`` of every token."""
    weights = [(np.zeros((3, 2), np.float32), np.zeros(3, np.float32)),
               (np.zeros((1, 3), np.float32), np.full(1, value, np.float32))]  # fmt: skip
    return TokenNetwork(np.zeros(2, np.float32), np.ones(2, np.float32), tuple(weights))


def law() -> TokenLaw:
    references = tuple(Reference(name, 2.0, 2.0 * math.exp(error), 1_000)
                       for name, error in zip(NAMES, (0.01, -0.02, 0.03), strict=True))  # fmt: skip
    without = {name: network(value) for name, value in zip(NAMES, (1.0, 2.0, 3.0), strict=True)}
    return TokenLaw("key", ("one", "two"), references, network(1.5), without)


def ladder() -> Forecast:
    runs = [Observation(10.0**power, 3.0 * 10 ** (-0.08 * (power - 10)), seed=seed)
            for power in (10.0, 10.3, 10.6, 10.9) for seed in (0, 1)]  # fmt: skip
    return forecast(runs, 1e14)


def told(error: float, nats: float = 2.0) -> TokenForecast:
    return TokenForecast(nats, error, tuple(Reference(name, 2.0, 2.0, 1_000) for name in NAMES))


def test_a_network_is_its_layers() -> None:
    generator = np.random.default_rng(0)
    shapes = [(3, 2), (1, 3)]
    layers = tuple((generator.normal(size=shape).astype(np.float32), generator.normal(size=shape[0]).astype(np.float32))
                   for shape in shapes)  # fmt: skip
    made = TokenNetwork(np.array([1, 2], np.float32), np.array([2, 4], np.float32), layers)
    token = np.array([[3.0, -2.0]], np.float32)
    x = [(3.0 - 1.0) / 2.0, (-2.0 - 2.0) / 4.0]
    hidden = [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(*layers[0], strict=True)]
    active = [h / (1 + math.exp(-h)) for h in hidden]
    expected = sum(w * h for w, h in zip(layers[1][0][0], active, strict=True)) + layers[1][1][0]
    assert made.nats(token) == pytest.approx(expected, rel=1e-6)
    again = TokenNetwork.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again.nats(token) == pytest.approx(expected, rel=1e-5)


def test_the_interval_holds_as_many_as_it_says() -> None:
    generator, inside = np.random.default_rng(0), 0
    for _ in range(4_000):
        errors = generator.normal(0, 0.013, 6)
        references = tuple(Reference(str(n), 2.0 * math.exp(e), 2.0, 1) for n, e in enumerate(errors[:-1]))
        rms = math.sqrt(sum(reference.error**2 for reference in references) / 5)
        inside += abs(errors[-1]) <= TokenForecast(2.0, rms, references).half_width(0.9)
    assert 0.88 < inside / 4_000 < 0.94


def test_runs_on_one_corpus_speak_together_and_count_once() -> None:
    made = law()
    twice = replace(made, references=(*made.references, replace(made.references[0], foretold=2.0)))
    features = np.zeros((5, 2), np.float32)
    assert twice.foretell(features).half_width(0.9) < made.foretell(features).half_width(0.9)  # the error is smaller
    assert twice.foretell(features).nats == 1.5
    with pytest.raises(UserError, match=r"3 other corpora.*c, english, python"):
        twice.foretell(features, without="c")
    with pytest.raises(UserError, match="'klingon' is none of the references"):
        made.foretell(features, without="klingon")


def test_what_is_left_out_does_not_speak() -> None:
    made = law()
    more = replace(
        made, references=(*made.references, Reference("js", 2.0, 3.0, 1)), without={**made.without, "js": network(9.0)}
    )
    said = more.foretell(np.zeros((5, 2), np.float32), without="js")
    assert said.nats == 9.0 and [reference.name for reference in said.references] == list(NAMES)
    assert said.error == pytest.approx(math.sqrt((0.01**2 + 0.02**2 + 0.03**2) / 3))


def test_what_one_taught_is_left_out_of_the_errors_too() -> None:
    made = law()
    references = (*made.references, Reference("js", 2.0, 3.0, 1, "npm"))
    pairs = {"js": (*(2.0 * math.exp(error) for error in (0.1, -0.2, 0.2)), None)}
    more = replace(made, references=references, without={**made.without, "js": network(9.0)}, pairs=pairs)
    assert more.speaking("js")[0].error == pytest.approx(-0.1)
    said = more.foretell(np.zeros((5, 2), np.float32), without="js")
    assert said.error == pytest.approx(math.sqrt((0.1**2 + 0.2**2 + 0.2**2) / 3)) and said.silent == "js"
    assert TokenLaw.from_dict(json.loads(json.dumps(more.to_dict()))).pairs == pairs
    assert more.silent("npm", None) == "js" and more.silent("pypi", "c") == "c" and more.silent("pypi", None) is None
    with pytest.raises(UserError, match="c and js would have to be silent"):
        more.silent("npm", "c")
    sentence = next(f for f in by_references(ladder(), said, 1.0).findings if f.code == "references").sentence
    assert "js was silent" in sentence


@given(st.floats(0.3, 3.0), st.floats(0.001, 0.2))
def test_no_part_of_the_band_lies_on_the_wrong_side(nats: float, error: float) -> None:
    band = by_references(ladder(), told(error, nats), 1.0).band
    low, median, high = (np.array(band[name]) for name in ("low", "median", "high"))
    assert (low <= median).all() and (median <= high).all()


def test_the_references_figures_take_the_place_of_the_laws() -> None:
    alone = ladder()
    made = by_references(alone, told(0.01), per_nat=0.5)
    assert made.median == pytest.approx(1.0)
    assert math.log(made.high / made.median) == pytest.approx(told(0.01).half_width(0.9))
    assert math.log(made.median / made.low) == pytest.approx(told(0.01).half_width(0.9))
    assert [made.band[name][-1] for name in ("low", "median", "high")] == pytest.approx(
        [made.low, made.median, made.high]
    )
    below = np.array(alone.band["flops"]) <= max(rung["flops"] for rung in alone.rungs)
    for name in ("low", "median", "high"):
        assert np.array(made.band[name])[below] == pytest.approx(np.array(alone.band[name])[below])
    codes = {finding.code for finding in made.findings}
    assert "references" in codes and not codes & {"gap", "span", "below-public-scale"}
    assert not made.refused and alone.refused == any(f.severity == "refusal" for f in alone.findings)
    assert made.references["law"]["median"] == alone.median
    assert Forecast.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    before = {key: value for key, value in alone.to_dict().items() if key != "references"}
    assert Forecast.from_dict(json.loads(json.dumps(before))) == alone  # as it was sealed before there were references


def test_a_ladder_that_says_something_else_is_a_warning() -> None:
    alone = ladder()
    (finding,) = (f for f in by_references(alone, told(0.01, 9.0), 1.0).findings if f.code == "references")
    assert finding.severity == "warning" and "above the interval of the ladder's law" in finding.sentence


def test_references_that_miss_by_far_decide_nothing() -> None:
    assert by_references(ladder(), told(0.5), 1.0).refused


def broken(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(record) if isinstance(record, dict) else list(record)
    copy[path[0]] = broken(record[path[0]], path[1:], value)
    return copy


PLACES: list[tuple[Any, ...]] = [
    ("references",), ("references", 0), ("references", 0, "name"), ("without",), ("without", "c"), ("network",),
    ("network", "shapes"), ("network", "shapes", 0), ("network", "values"), ("network", "values", 0), ("pairs",),
    ("references", 0, "loss"), ("references", 0, "foretold"),
]  # fmt: skip


@given(st.sampled_from(PLACES), st.sampled_from([None, "x", 7, [1], {"a": 1}, [["x"]]]))
def test_damaged_records_are_refused_in_a_sentence(place: tuple[Any, ...], value: Any) -> None:
    record = json.loads(json.dumps(law().to_dict()))
    try:
        TokenLaw.from_dict(broken(record, place, value))
    except UserError as error:
        assert "not a record of references" in str(error)


def test_a_record_that_is_none() -> None:
    records: list[Any] = [{}, [], {"recipe": "key"}, "text"]
    for record in records:
        with pytest.raises(UserError, match="not a record of references"):
            TokenLaw.from_dict(record)
    assert TokenLaw.from_dict(json.loads(json.dumps(law().to_dict()))).to_dict() == law().to_dict()
