"""Log-likelihoods of continuations against the decoder itself, which computes every sequence whole."""

import pytest
import small_model
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.infer.blocks import BLOCK
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling

BLOCK_BYTES = 4 * 2 * 2 * BLOCK * (16 + 16)
TOKENS = st.integers(0, small_model.VOCABULARY - 1)


def engine(native: bool = True, blocks: int = 60, **options) -> Engine:
    if native:
        small_model.built_kernels()
    options = {"memory": blocks * BLOCK_BYTES, "chunk": 16, "long_chunk": 48, **options}
    return Engine(small_model.decoder(), small_model.tokenizer(), EngineOptions(native=native, **options))


def ids(count: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, small_model.VOCABULARY, (count,), generator=generator).tolist())


@torch.inference_mode()
def reference(prompt: tuple[int, ...], continuation: tuple[int, ...]) -> tuple[float, bool]:
    logits = small_model.decoder()(torch.tensor([prompt + continuation]))[0].double()
    shares = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=1)
    wanted = torch.tensor(continuation)
    return float(shares.gather(1, wanted[:, None]).sum()), bool((shares.argmax(1) == wanted).all())


def greedy_continuation(prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    (answer,) = engine().complete([Request(prompt, count, Sampling(temperature=0))])
    return answer.tokens


def requests() -> list[Request]:
    shared = ids(70, 0)
    prompts = [shared[:start] + ids(count, seed) for seed, (start, count) in enumerate(
        [(70, 5), (70, 19), (64, 0), (0, 1), (48, 16), (70, 5), (33, 2), (0, 120)], 1)]  # fmt: skip
    return [Request(prompt, 0, continuations=tuple(ids(1 + (seed * 7 + n * 5) % 40, 100 * seed + n) for n in range(4)))
            for seed, prompt in enumerate(prompts)]  # fmt: skip


def assert_like_the_model(request: Request, likelihoods) -> None:
    assert len(likelihoods) == len(request.continuations)
    for continuation, found in zip(request.continuations, likelihoods, strict=True):
        value, greedy = reference(request.ids, continuation)
        assert found.value == pytest.approx(value, abs=1e-3)
        assert found.greedy == greedy


@pytest.mark.parametrize("native", [True, False])
def test_likelihoods_are_those_of_whole_sequences(native: bool) -> None:
    tried = engine(native)
    for _ in range(2):  # the second time from the cache
        answers = tried.complete(requests())
        for request, answer in zip(requests(), answers, strict=True):
            assert_like_the_model(request, answer.likelihoods)
            assert answer.finish == "length" and answer.text == ""
        assert tried.pool.available == tried.pool.count and tried.idle
    assert all(answer.cached for request, answer in zip(requests(), answers, strict=True) if len(request.ids) > BLOCK)


def test_what_greedy_decoding_would_write_is_told() -> None:
    prompt = ids(37, 5)
    written = greedy_continuation(prompt, 20)
    other = (*written[:-1], (written[-1] + 1) % small_model.VOCABULARY)
    (answer,) = engine().complete([Request(prompt, 0, continuations=(written, written[:1], other))])
    assert [found.greedy for found in answer.likelihoods] == [True, True, False]


@pytest.mark.parametrize("blocks", [12, 14, 20])
def test_where_memory_is_short_they_are_the_same_to_the_bit(blocks: int) -> None:
    roomy = engine().complete(requests())
    tight = engine(blocks=blocks)
    writer = Request(ids(40, 3), 30, Sampling(temperature=0))
    *scored, text = tight.complete([*requests(), writer])
    assert [answer.likelihoods for answer in scored] == [answer.likelihoods for answer in roomy]
    assert text.tokens == engine().complete([writer])[0].tokens
    assert tight.pool.available == tight.pool.count and tight.idle


@settings(max_examples=20)
@given(st.lists(TOKENS, min_size=1, max_size=40), st.lists(st.lists(TOKENS, min_size=1, max_size=20), min_size=1,
                                                          max_size=4))  # fmt: skip
def test_any_prompt_and_continuations(prompt, continuations) -> None:
    request = Request(tuple(prompt), 0, continuations=tuple(map(tuple, continuations)))
    (answer,) = engine().complete([request])
    assert_like_the_model(request, answer.likelihoods)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"continuations": ((1,), ())}, "A continuation is empty"),
        ({"continuations": ((1, small_model.VOCABULARY),)}, "has the token 280"),
        ({"continuations": ((1,) * 402,)}, "at most 401 are accepted together"),
        ({"continuations": ((1,),), "max_tokens": 3}, "max_tokens 0 is accepted"),
        ({"continuations": ((1,),), "prompt_logprobs": 1}, "max_tokens 0 is accepted"),
    ],
)
def test_what_cannot_be_scored_is_refused(changes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        engine().complete([Request(**{"ids": (5,), "max_tokens": 0, **changes})])


def test_what_does_not_fit_into_the_cache_is_refused() -> None:
    tight = engine(blocks=4)
    with pytest.raises(UserError, match="have 35 tokens; the cache has room for 32"):
        tight.submit(Request(ids(5, 1), 0, continuations=(ids(30, 2),)))
    (answer,) = tight.complete([Request(ids(5, 1), 0, continuations=(ids(27, 2),))])
    assert_like_the_model(Request(ids(5, 1), 0, continuations=(ids(27, 2),)), answer.likelihoods)
