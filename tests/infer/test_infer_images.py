"""Images in the engine: what the model itself computes, whatever else is in the batch, and from the cache."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import seeing_model
import small_model
import torch
from seeing_model import TOKENS, VISION, prepared, run
from test_infer_adapters import adapter
from test_infer_engine import GREEDY, mixed_requests

from foretell.core.errors import UserError
from foretell.infer.blocks import BLOCK
from foretell.infer.engine import Engine, EngineOptions
from foretell.infer.images import PreparedImage
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling
from foretell.model.lora import Adapter

BLOCK_BYTES = 4 * 2 * 2 * BLOCK * (16 + 16)


def engine(native: bool = True, blocks: int = 200, **options) -> Engine:
    if native:
        small_model.built_kernels()
    options = {"memory": blocks * BLOCK_BYTES, "chunk": 16, "long_chunk": 48, **options}
    return Engine(seeing_model.decoder(), small_model.tokenizer(), EngineOptions(native=native, **options))


def text(count: int, seed: int = 0) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(16, small_model.VOCABULARY, (count,), generator=generator).tolist())


def asking(
    images: list[PreparedImage], max_tokens: int = 12, sampling: Sampling = GREEDY, seed: int = 0, **more
) -> Request:
    """Words, images between them, and a question."""
    ids = text(7, seed)
    for number, image in enumerate(images):
        ids += run(image) + text(3, seed + number + 1)
    return Request(ids, max_tokens, sampling, images=tuple(images), top_logprobs=2, **more)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("chunk", [5, 48])  # through images, and over several
def test_log_probabilities_and_greedy_tokens_are_those_of_the_model_itself(native: bool, chunk: int) -> None:
    images = [prepared(24, 16, 1), prepared(32, 32, 2), prepared(4, 4, 3)]
    model, request = seeing_model.decoder(), asking(images, 12, prompt_logprobs=0)
    ids, given = list(request.ids), seeing_model.inputs(images)
    with torch.inference_mode():
        for _ in range(12):
            row = model(torch.tensor([ids]), **given)[0, -1]
            row[TOKENS.image] = -torch.inf
            ids.append(int(row.argmax()))
        shares = torch.log_softmax(model(torch.tensor([request.ids]), **given)[0], -1)
        blind = torch.log_softmax(model(torch.tensor([request.ids]))[0], -1)
    (answer,) = engine(native, chunk=chunk, long_chunk=chunk).complete([request])
    assert list(answer.tokens) == ids[len(request.ids) :]
    rows = torch.arange(len(request.ids) - 1), torch.tensor(request.ids[1:])
    found = torch.tensor([one.logprob for one in answer.prompt_logprobs])
    torch.testing.assert_close(found, shares[rows], rtol=1e-4, atol=2e-4)
    assert (found - blind[rows]).abs().max() > 0.1


def visual_requests() -> list[Request]:
    """Some with images, some without, some of the same images."""
    first, second, third = prepared(24, 16, 1), prepared(32, 32, 2), prepared(8, 20, 3)
    return [asking([first, second], 20), asking([first], 15, Sampling(seed=1)), *mixed_text(),
            asking([second, first, second], 10, Sampling(seed=2), seed=5), asking([first, third], 25)]  # fmt: skip


def mixed_text() -> list[Request]:
    return [dataclasses.replace(one, ids=tuple(max(token, 16) for token in one.ids)) for one in mixed_requests()[:3]]


def test_an_answer_has_the_same_bits_whatever_else_is_in_the_batch() -> None:
    requests = visual_requests()
    alone = [engine().complete([request])[0] for request in requests]
    for tried in (engine(most=8), engine(most=3, chunk=5), engine(blocks=20, most=4), engine(image_memory=0)):
        for _ in range(2):  # the second time from the cache
            together = tried.complete(requests)
            for one, among in zip(alone, together, strict=True):
                assert (one.tokens, one.logprobs, one.text) == (among.tokens, among.logprobs, among.text)
        assert tried.pool.available == tried.pool.count and tried.idle
    assert sum(answer.cached for answer in together) > 0


def test_a_prefix_is_shared_with_the_same_image_and_with_no_other() -> None:
    tried, image = engine(), prepared(32, 32, 1)
    changed = image.pixels.copy()
    changed[0, 0, 0] ^= 1
    request = asking([image], 1)
    others = [PreparedImage(changed), prepared(32, 32, 2)]
    again = dataclasses.replace(request, images=(prepared(32, 32, 1),))
    answers = [tried.complete([one])[0] for one in (
        request, again, *(dataclasses.replace(request, images=(other,)) for other in others))]  # fmt: skip
    assert answers[1].cached == (len(request.ids) - 1) // BLOCK * BLOCK > 64
    assert [answer.cached for answer in answers[2:]] == [0, 0]  # the first block has the image's first patches
    assert answers[0].logprobs == answers[1].logprobs != answers[3].logprobs
    turned = PreparedImage(np.ascontiguousarray(np.concatenate((image.pixels[16:], image.pixels[:16]))))
    assert tried.complete([dataclasses.replace(request, images=(turned,))])[0].cached == 0


def test_images_are_encoded_once() -> None:
    tried = engine(chunk=5, long_chunk=5)
    requests = visual_requests()
    tried.complete(requests)
    assert tried.encoder.encoded == 3 and tried.encoder.found > 0
    later = dataclasses.replace(requests[0], ids=requests[0].ids + text(30, 9))  # a later turn
    tried.complete([later])
    assert tried.encoder.encoded == 3
    one = prepared(32, 32, 1)
    bare = engine(image_memory=0, chunk=5, long_chunk=5)
    bare.complete([asking([one])])
    assert bare.encoder.encoded == 1, "an image that is read in pieces stays at hand"


def test_memory_of_features_is_bounded() -> None:
    size = prepared(32, 32).grid(4)[0] ** 2 * seeing_model.config().width * 4
    tried = engine(image_memory=2 * size)
    for seed in (1, 2, 1, 3, 1, 2):  # 2 is gone when 3 comes, for 1 was used since
        tried.complete([asking([prepared(32, 32, seed)], 1, seed=seed + 10 * tried.encoder.encoded)])
        assert tried.encoder.kept_bytes <= 2 * size
    assert tried.encoder.encoded == 4 and tried.encoder.found == 2
    tried.reset()
    assert tried.encoder.kept_bytes == 0


@pytest.mark.parametrize("how", ["cancelled", "starts again"])
def test_who_does_not_read_on_lets_go_of_features(how: str) -> None:
    tried = engine(image_memory=0, chunk=5, long_chunk=5)
    features: list[weakref.ref] = []
    compute = tried.encoder.features

    def watched(image):
        found = compute(image)
        features.append(weakref.ref(found))
        return found

    tried.encoder.features = watched
    number = tried.submit(asking([prepared(32, 32)]))
    for _ in range(3):
        tried.step()
    gc.collect()
    assert features[0]() is not None
    if how == "cancelled":
        tried.cancel(number)
        tried.step()
        assert tried.idle and tried.pool.available == tried.pool.count
    else:
        tried.scheduler.running[0].start_again()
    gc.collect()
    assert features[0]() is None


def test_where_memory_ends_images_are_read_again() -> None:
    requests = [asking([prepared(24, 16, seed), prepared(16, 16, seed + 6)], 100, Sampling(seed=seed),
                       prompt_logprobs=1) for seed in range(6)]  # fmt: skip
    tried = engine(blocks=14, most=6, image_memory=0)
    answers = tried.complete(requests)
    assert tried.encoder.encoded > 12, "nobody gave up blocks"
    alone = [engine().complete([request])[0] for request in requests]
    for answer, expected in zip(answers, alone, strict=True):
        assert (answer.tokens, answer.prompt_logprobs) == (expected.tokens, expected.prompt_logprobs)


@pytest.mark.parametrize("native", [True, False])
def test_adapters_read_images_too(native: bool) -> None:
    image, update = prepared(24, 16, 1), of_this_model(adapter("all"))
    request = asking([image], 0, prompt_logprobs=0)
    model = seeing_model.decoder()
    of_this_model(adapter("all")).attach(model)
    shares = torch.log_softmax(model(torch.tensor([request.ids]), **seeing_model.inputs([image]))[0].detach(), -1)
    tried = engine(native)
    tried.adapters.add("all", update)
    plain, adapted = (tried.complete([dataclasses.replace(request, adapter=name)])[0] for name in (None, "all"))
    found = torch.tensor([one.logprob for one in adapted.prompt_logprobs])
    torch.testing.assert_close(found, shares[torch.arange(len(found)), torch.tensor(request.ids[1:])],
                               rtol=1e-3, atol=1e-3)  # fmt: skip
    assert plain.prompt_logprobs != adapted.prompt_logprobs and tried.encoder.encoded == 1


def of_this_model(made: Adapter) -> Adapter:
    made.config = seeing_model.config()
    return made


def test_the_image_token_is_never_drawn() -> None:
    request = asking([prepared()], 30, Sampling(seed=1, logit_bias={TOKENS.image: 100.0}))
    assert TOKENS.image not in engine().complete([request])[0].tokens


GOOD = asking([prepared()])
FLOATS = PreparedImage(np.zeros((16, 24, 3), np.float32))


@pytest.mark.parametrize(
    ("request_", "words"),
    [(dataclasses.replace(GOOD, images=()), "24 image tokens, and its 0 images 0 patches; a token for each"),
     (dataclasses.replace(GOOD, images=GOOD.images * 2), "24 image tokens, and its 2 images 48 patches"),
     (dataclasses.replace(GOOD, images=(prepared(24, 20),)), "its 1 image 30 patches"),
     (dataclasses.replace(GOOD, images=(PreparedImage(np.zeros((16, 23, 3), np.uint8)),)), r"uint8 \[16, 23, 3\]"),
     (dataclasses.replace(GOOD, images=(PreparedImage(np.zeros((16, 36, 3), np.uint8)),)),
      "multiples of 4 and at most 32"),
     (dataclasses.replace(GOOD, images=(PreparedImage(np.zeros((0, 24, 3), np.uint8)),)), r"uint8 \[0, 24, 3\]"),
     (dataclasses.replace(GOOD, images=(PreparedImage(np.zeros((16, 24), np.uint8)),)), r"uint8 \[16, 24\]"),
     (dataclasses.replace(GOOD, images=(FLOATS,)), r"images\[0\] is float32")],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(request_: Request, words: str) -> None:
    tried = engine()
    with pytest.raises(UserError, match=words):
        tried.submit(request_)
    assert tried.idle


def test_a_model_that_reads_text_alone_says_so() -> None:
    small_model.built_kernels()
    tried = Engine(small_model.decoder(), small_model.tokenizer(), EngineOptions(memory=2**22))
    with pytest.raises(UserError, match="The prompt has 1 image; this model reads text alone"):
        tried.submit(GOOD)
    tried.submit(Request((TOKENS.image, 40), 1))  # a token like any other


def test_images_are_equal_by_their_pixels() -> None:
    assert prepared(seed=1) == prepared(seed=1) != prepared(seed=2)
    flat, tall = np.zeros((4, 16, 3), np.uint8), np.zeros((16, 4, 3), np.uint8)
    assert PreparedImage(flat) != PreparedImage(tall)
    assert PreparedImage.of(seeing_model.picture(100, 50), VISION).pixels.shape == (16, 32, 3)
