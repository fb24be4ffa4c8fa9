import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.infer.sampling import Sampler, Sampling

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0, -9.0])


def expected_shares(sampling: Sampling) -> list[float]:
    """By the definitions, one token at a time, in float64."""
    scaled = [float(logit) / sampling.temperature for logit in LOGITS]
    order = sorted(range(len(scaled)), key=lambda token: -scaled[token])
    if sampling.top_k:
        order = order[: sampling.top_k]
    total = sum(math.exp(scaled[token]) for token in order)
    kept, mass = [], 0.0
    for token in order:
        share = math.exp(scaled[token]) / total
        if mass < sampling.top_p and share >= sampling.min_p * math.exp(scaled[order[0]]) / total:
            kept.append(token)
        mass += share
    whole = sum(math.exp(scaled[token]) for token in kept)
    return [math.exp(scaled[token]) / whole if token in kept else 0.0 for token in range(len(scaled))]


@pytest.mark.parametrize("settings_", [{}, {"temperature": 0.5}, {"top_p": 0.8}, {"top_k": 3}, {"min_p": 0.2},
                                       {"top_p": 0.5, "top_k": 4, "temperature": 2.0}, {"top_p": 0.9, "min_p": 0.3}],
                         ids=str)  # fmt: skip
def test_tokens_come_as_often_as_their_definition_says(settings_: dict) -> None:
    sampling = Sampling(**settings_, seed=1)
    sampler = Sampler(sampling, [])
    counts = Counter(sampler.choose(LOGITS) for _ in range(3000))
    for token, share in enumerate(expected_shares(sampling)):
        spread = math.sqrt(share * (1 - share) / 3000)
        assert abs(counts[token] / 3000 - share) <= 4.5 * spread, (token, counts[token] / 3000, share)


def test_the_nucleus_may_need_more_than_the_first_tokens() -> None:
    flat = torch.zeros(5000)
    sampler = Sampler(Sampling(top_p=0.99, seed=0), [])
    found = {sampler.choose(flat) for _ in range(400)}
    assert len(found) > 350  # of 5,000 equally likely ones next to none comes twice


def test_greedy_and_seeds() -> None:
    assert Sampler(Sampling(temperature=0), []).choose(LOGITS) == 4
    first, same, other = (
        [s.choose(LOGITS) for _ in range(30)] for s in (Sampler(Sampling(seed=n), []) for n in (7, 7, 8))
    )
    assert first == same != other
    assert Sampler(Sampling(temperature=1e-4, seed=0), []).choose(LOGITS) == 4
    negative = Sampler(Sampling(seed=-7), [])
    assert [negative.choose(LOGITS) for _ in range(30)] != first


@pytest.mark.parametrize("truncated", [{}, {"top_p": 0.9}, {"top_k": 3}, {"min_p": 0.1}], ids=str)
def test_temperatures_near_zero_are_greedy_within_the_mask(truncated: dict) -> None:
    mask = torch.tensor([False, True, True, True, False, False])
    for temperature in (1e-40, 5e-324):
        sampler = Sampler(Sampling(temperature=temperature, seed=0, **truncated), [])
        assert {sampler.choose(LOGITS, mask) for _ in range(20)} == {1}


@pytest.mark.parametrize("penalty", [5e-324, 1e-40, 1e-3])
def test_penalties_near_zero_make_a_seen_token_certain(penalty: float) -> None:
    for temperature in (0.0, 5e-324, 1.0):
        sampling = Sampling(temperature=temperature, repetition_penalty=penalty, seed=0)
        sampling.check(6)
        assert Sampler(sampling, [1]).choose(LOGITS) == 1
        assert Sampler(sampling, [0, 4]).choose(LOGITS) == 4


def test_bias_penalties_and_masks() -> None:
    greedy = {"temperature": 0.0}
    assert Sampler(Sampling(**greedy, logit_bias={5: 100.0}), []).choose(LOGITS) == 5
    banned = Sampler(Sampling(**greedy, logit_bias={4: -100.0}), [])
    assert banned.choose(LOGITS) == 0
    once = Sampler(Sampling(**greedy, presence_penalty=1.5), [])
    assert [once.choose(LOGITS) for _ in range(4)] == [4, 0, 4, 4]
    each_time = Sampler(Sampling(**greedy, frequency_penalty=1.2), [])
    assert [each_time.choose(LOGITS) for _ in range(4)] == [4, 0, 4, 1]
    repeated = Sampler(Sampling(**greedy, repetition_penalty=4.0), [4])
    assert repeated.choose(LOGITS) == 0
    mask = torch.tensor([False, False, True, True, False, False])
    assert Sampler(Sampling(**greedy), []).choose(LOGITS, mask) == 2
    assert {Sampler(Sampling(seed=n), []).choose(LOGITS, mask) for n in range(40)} == {2, 3}
    assert torch.equal(LOGITS, torch.tensor([2.0, 1.0, 0.0, -1.0, 3.0, -9.0]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=40), st.floats(0.01, 2), st.floats(0.01, 1),
       st.integers(0, 50), st.floats(0, 1), st.integers(0, 2**40))  # fmt: skip
def test_any_setting_gives_a_token_that_can_be(logits, temperature, top_p, top_k, min_p, seed) -> None:
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, seed=seed)
    sampling.check(len(logits))
    token = Sampler(sampling, []).choose(torch.tensor(logits))
    assert 0 <= token < len(logits)
    shares = torch.softmax(torch.tensor(logits).double() / temperature, 0)
    assert shares[token] >= min_p * shares.max() * (1 - 1e-6)
    if top_k:
        assert sum(share > shares[token] for share in shares) < top_k


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", -0.1), ("temperature", 2.1), ("temperature", math.nan), ("top_p", 0.0), ("top_p", 1.5),
     ("top_k", -1), ("min_p", 2.0), ("presence_penalty", 3.0), ("frequency_penalty", -2.5),
     ("repetition_penalty", 0.0), ("repetition_penalty", 2.1), ("repetition_penalty", math.inf),
     ("logit_bias", {9: 0.0}), ("logit_bias", {1: 101.0}), ("seed", 2**63)],
)  # fmt: skip
def test_what_is_out_of_range_is_named(field: str, value) -> None:
    with pytest.raises(UserError, match=field):
        Sampling(**{field: value}).check(6)
