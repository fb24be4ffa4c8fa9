import copy
import time

import pytest
import small_model
import torch

from foretell.core.errors import UserError
from foretell.infer.blocks import BLOCK
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling
from foretell.model.quantised import QuantisedLinear, quantise

GREEDY = Sampling(temperature=0)


def engine(native: bool = True, blocks: int = 200, **options) -> Engine:
    if native:
        small_model.built_kernels()
    one = 4 * 2 * 2 * BLOCK * (16 + 16)
    options = {"memory": blocks * one, "chunk": 16, "long_chunk": 48, **options}
    return Engine(small_model.decoder(), small_model.tokenizer(), EngineOptions(native=native, **options))


def random_ids(count: int, seed: int = 0) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, small_model.VOCABULARY, (count,), generator=generator).tolist())


def mixed_requests() -> list[Request]:
    shared = random_ids(100)
    tails = [random_ids(count, seed) for seed, count in enumerate((3, 30, 1, 90, 7, 3), 1)]
    starts = (100, 50, 100, 0, 40, 100)
    draws = [GREEDY, Sampling(seed=1), Sampling(temperature=0.8, top_p=0.9, seed=2), Sampling(top_p=0.5, seed=3),
             GREEDY, Sampling(seed=4, top_k=5, repetition_penalty=1.3)]  # fmt: skip
    return [Request(shared[:start] + tail, 20 + 15 * n, sampling, top_logprobs=2)
            for n, (start, tail, sampling) in enumerate(zip(starts, tails, draws, strict=True))]  # fmt: skip


@pytest.mark.parametrize("native", [True, False])
def test_greedy_tokens_are_those_of_the_model_itself(native: bool) -> None:
    model, prompt = small_model.decoder(), list(random_ids(40))
    with torch.inference_mode():
        ids = list(prompt)
        for _ in range(25):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    (answer,) = engine(native).complete([Request(tuple(prompt), 25, GREEDY)])
    assert list(answer.tokens) == ids[40:] and answer.finish == "length"
    assert answer.text == small_model.tokenizer().decode_bytes(answer.tokens).decode(errors="replace")


def test_an_answer_has_the_same_bits_whatever_else_is_in_the_batch() -> None:
    requests = mixed_requests()
    alone = [engine().complete([request])[0] for request in requests]
    for tried in (engine(most=6), engine(most=3, chunk=5), engine(blocks=16, most=4)):
        for _ in range(2):  # the second time from the cache
            together = tried.complete(requests)
            for one, among in zip(alone, together, strict=True):
                assert (one.tokens, one.logprobs, one.text) == (among.tokens, among.logprobs, among.text)
        assert tried.pool.available == tried.pool.count and tried.idle
    assert sum(answer.cached for answer in together) > 0


def test_by_pytorch_answers_are_the_same_but_for_rounding() -> None:
    requests = mixed_requests()
    ours, theirs = engine().complete(requests), engine(native=False).complete(requests)
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens == other.tokens
        for a, b in zip(one.logprobs, other.logprobs, strict=True):
            assert abs(a.logprob - b.logprob) < 1e-4


def test_without_the_kernels_packed_weights_are_unpacked_once() -> None:
    packed = small_model.decoder()
    for block in packed.blocks:
        layer = block.attention.output
        layer.bias = torch.nn.Parameter(torch.ones(layer.out_features))
        block.attention.output = QuantisedLinear(quantise(layer.weight, 8), layer.bias.detach())
    expected = copy.deepcopy(packed)
    tried = Engine(packed, small_model.tokenizer(), EngineOptions(native=False, memory=2**20))
    assert not any(isinstance(module, QuantisedLinear) for module in tried.decoder.modules())
    prompt = random_ids(40)
    (answer,) = tried.complete([Request(prompt, 1, GREEDY, top_logprobs=0)])
    with torch.inference_mode():
        shares = torch.log_softmax(expected(torch.tensor([prompt]))[0, -1], 0)
    assert answer.tokens == (int(shares.argmax()),) and abs(answer.logprobs[0].logprob - float(shares.max())) < 1e-4


def test_no_prefix_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = engine()
    computed = []
    states = tried.decoder.states
    monkeypatch.setattr(tried.decoder, "states", lambda x, cache: computed.append(x.shape[1]) or states(x, cache))
    prompt = random_ids(100)
    answers = tried.complete([Request((*prompt, n), 1, GREEDY) for n in range(5)])
    assert [answer.cached for answer in answers] == [0, 96, 96, 96, 96]
    assert sum(computed) == 101 + 4 * 5
    first = tried.complete([Request(prompt, 40, GREEDY)])[0]
    (second,) = tried.complete([Request(prompt + first.tokens + (1, 2), 1, GREEDY)])
    assert second.cached == (100 + 40 - 1) // BLOCK * BLOCK  # the answer itself, too, but for its last token


def test_log_probabilities_are_the_models() -> None:
    model, prompt = small_model.decoder(), random_ids(90)
    with torch.inference_mode():
        shares = torch.log_softmax(model(torch.tensor([prompt]))[0], -1)
    tried = engine()
    for _ in range(2):
        (answer,) = tried.complete([Request(prompt, 0, prompt_logprobs=3)])
        assert answer.finish == "length" and not answer.tokens and len(answer.prompt_logprobs) == 89
        for row, token, found in zip(shares, prompt[1:], answer.prompt_logprobs, strict=False):
            assert found.token == token and abs(found.logprob - float(row[token])) < 1e-4
            assert [t for t, _ in found.top] == row.topk(3).indices.tolist()
    (answer,) = tried.complete([Request(prompt, 3, GREEDY, top_logprobs=0, prompt_logprobs=0)])
    assert len(answer.logprobs) == 3 and len(answer.prompt_logprobs) == 89 and answer.logprobs[0].top == ()


def test_stops() -> None:
    prompt = random_ids(40)
    (free,) = engine().complete([Request(prompt, 30, GREEDY)])
    piece = next(n for n, token in enumerate(free.tokens) if small_model.tokenizer().decode_bytes([token]).isalpha())
    (stopped,) = engine().complete([Request(prompt, 30, GREEDY, stop_ids=frozenset({free.tokens[piece]}))])
    first = free.tokens.index(free.tokens[piece])
    assert stopped.finish == "stop" and stopped.tokens == free.tokens[: first + 1]
    word = free.text[5:8]
    (cut,) = engine().complete([Request(prompt, 30, GREEDY, stops=(word,))])
    assert cut.finish == "stop" and cut.text == free.text[: free.text.index(word)]


def test_cancelling_deadlines_and_streams() -> None:
    tried = engine()
    number = tried.submit(Request(random_ids(20), 300))
    other = tried.submit(Request(random_ids(20), 4, GREEDY))
    for _ in range(3):
        tried.step()
    tried.cancel(number)
    finished = {}
    while not tried.idle:
        finished |= {whose: update.finish for whose, update in tried.step() if update.finish}
    assert finished == {number: "cancelled", other: "length"} and tried.pool.available == tried.pool.count
    (late,) = tried.complete([Request(random_ids(20), 300, deadline=time.monotonic() - 1)])
    assert late.finish == "deadline" and late.tokens == ()
    updates = tried.stream(Request(random_ids(20), 300))
    assert next(updates).finish is None
    updates.close()
    tried.step()
    assert tried.idle and tried.pool.available == tried.pool.count


def test_where_memory_ends_somebody_waits_and_nobody_is_lost() -> None:
    tried = engine(blocks=14, most=6)
    requests = [Request(random_ids(60, seed), 100, Sampling(seed=seed), prompt_logprobs=1) for seed in range(6)]
    answers = tried.complete(requests)
    assert all(len(answer.tokens) == 100 for answer in answers)
    alone = [engine().complete([request])[0] for request in requests]
    for answer, expected in zip(answers, alone, strict=True):
        assert (answer.tokens, answer.prompt_logprobs) == (expected.tokens, expected.prompt_logprobs)


@pytest.mark.parametrize(
    ("request_", "words"),
    [(Request((), 5), "prompt is empty"), (Request((1, 999), 5), "token 999"), (Request((1,), -1), "max_tokens is -1"),
     (Request((1,) * 300, 101), "at most 400"), (Request((1,) * 200, 30), "room for 224"),
     (Request((1,), 5, Sampling(top_p=3)), "top_p is 3")],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(request_: Request, words: str) -> None:
    tried = engine(blocks=14)
    with pytest.raises(UserError, match=words):
        tried.complete([request_])
    assert tried.idle


def test_a_cache_too_small_for_anything_is_refused() -> None:
    with pytest.raises(UserError, match="two blocks"):
        engine(native=False, blocks=1)


def test_bits_need_the_kernels() -> None:
    full, rounded = engine(), engine(bits=8)
    request = Request(random_ids(30), 5, GREEDY, top_logprobs=0)
    (exact,), (near,) = full.complete([request]), rounded.complete([request])
    assert exact.logprobs != near.logprobs
    assert abs(exact.logprobs[0].logprob - near.logprobs[0].logprob) < 0.3


def test_the_room_is_the_smaller_of_context_and_cache() -> None:
    assert engine(blocks=14).context == 14 * BLOCK and engine(blocks=200).context == 400


def test_a_prompt_computed_anew_after_a_preemption_was_not_cached() -> None:
    tried = engine(blocks=14, most=6)
    answers = tried.complete([Request(random_ids(60, seed), 100, Sampling(seed=seed)) for seed in range(6)])
    assert [answer.cached for answer in answers] == [0] * 6
