"""Images in chats through the official client, and whatever else is sent in their place."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from live import Live, seeing_chat, seeing_model, serving, until
from pictures import GOOD, HOSTILE, asking, encoded, part, url_of

from foretell.core.errors import UserError
from foretell.infer.engine import Engine
from foretell.infer.requests import Request
from foretell.infer.sampling import Sampling
from foretell.serve import images as intake
from hostile_images import hostile_images, must_be_refused

FIRST = url_of(encoded(seeing_model.picture(24, 16, 1)))
SECOND = url_of(encoded(seeing_model.picture(60, 45, 2), "WEBP", lossless=True), "image/webp")
QUESTION = [asking(FIRST, SECOND)]
PATH = "/v1/chat/completions"

INSIDE = ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://localhost/",
          "http://[::ffff:127.0.0.1]/", "http://2130706433/", "http://0x7f000001/", "https://10.0.0.1/"]  # fmt: skip


@pytest.fixture(scope="module")
def seer() -> Iterator[Live]:
    with serving(seeing_chat()) as server:
        yield server


def complete(live: Live, messages, **more):
    options = {"model": "seer", "max_tokens": 8, "temperature": 0, **more}
    return live.client().chat.completions.create(messages=messages, **options)


def text_of(stream) -> str:
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def test_two_images_and_a_question_get_a_streamed_answer(seer: Live) -> None:
    model = seeing_chat()
    given = [model.images.prepared(seeing_model.picture(*size)) for size in ((24, 16, 1), (60, 45, 2))]
    template = [
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "what is this?"}]}
    ]
    ids = model.images.expanded(model.chat.encode(template, add_generation_prompt=True), given)
    request = Request(
        tuple(ids), 8, Sampling(temperature=0), stop_ids=frozenset(model.end_of_turn_ids), images=tuple(given)
    )
    (expected,) = Engine(model.decoder, model.tokenizer).complete([request])
    assert text_of(complete(seer, QUESTION, stream=True)) == expected.text != ""
    whole = complete(seer, QUESTION)
    assert whole.choices[0].message.content == expected.text
    assert whole.usage.prompt_tokens == len(ids) and ids.count(seeing_model.TOKENS.image) == 6 * 4 + 8 * 6
    assert whole.usage.prompt_tokens_details.cached_tokens > 80
    blind = complete(seer, [{"role": "user", "content": "what is this?"}], logprobs=True)
    assert blind.usage.prompt_tokens == len(ids) - len(model.images.tokens.run(4, 6)) - len(
        model.images.tokens.run(6, 8)
    )


def test_what_is_seen_counts(seer: Live) -> None:
    def surprise(url: str) -> list[float]:
        return [one.logprob for one in complete(seer, [asking(url)], logprobs=True).choices[0].logprobs.content]

    other = url_of(encoded(seeing_model.picture(24, 16, 5)))
    jpeg = url_of(encoded(seeing_model.picture(24, 16, 1), "JPEG", quality=95), "image/jpeg")
    assert surprise(FIRST) == surprise(FIRST) != surprise(other)
    assert surprise(jpeg) != surprise(FIRST)


def test_images_of_earlier_turns_and_other_roles(seer: Live) -> None:
    system = {"role": "system", "content": [part(SECOND), {"type": "text", "text": "as in this picture"}]}
    first = complete(seer, [system, asking(FIRST)])
    answer = {"role": "assistant", "content": first.choices[0].message.content}
    encoded_before = seer.service.worker.engine.encoder.encoded
    second = complete(seer, [system, asking(FIRST), answer, asking(text="and again?")])
    assert second.usage.prompt_tokens_details.cached_tokens > first.usage.prompt_tokens - 16
    assert seer.service.worker.engine.encoder.encoded == encoded_before


FORMS = [FIRST, {"url": FIRST, "detail": "low"}, {"url": FIRST.replace("image/png", "IMAGE/PNG")},
         {"url": "\n".join([FIRST[:60], FIRST[60:]])}]  # fmt: skip


@pytest.mark.parametrize("given", FORMS)
def test_forms_of_a_part(seer: Live, given) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": given}]}], "max_tokens": 1}
    status, answer, _ = seer.ask(PATH, body)
    assert status == 200, answer


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_images_get_a_sentence_and_the_service_goes_on(seer: Live, name: str) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "look:"}, part(HOSTILE[name])]}
    status, answer, _ = seer.ask(PATH, {"messages": [{"role": "user", "content": "hello"}, message]})
    error = answer["error"]
    assert (
        status == 400 and error["type"] == "invalid_request_error" and error["code"] in ("invalid_image", "unsupported")
    )
    assert error["param"] == "messages[1].content[1].image_url" and error["message"].startswith(error["param"])
    assert error["message"].endswith(".") and len(error["message"]) < 400
    assert seer.ask(PATH, {"messages": [asking(FIRST)], "max_tokens": 1})[0] == 200


def test_two_hundred_hostile_images(seer: Live) -> None:
    answered = 0
    for name, data in hostile_images():
        status, answer, _ = seer.ask(PATH, {"messages": [asking(url_of(data))], "max_tokens": 1})
        answered += status == 200
        if status == 200:
            assert not must_be_refused(name), name
            continue
        error = answer["error"]
        assert (status, error["type"]) == (400, "invalid_request_error"), (name, answer)
        assert error["code"] == "context_length_exceeded" or (
            error["code"] == "invalid_image" and error["param"] == "messages[0].content[0].image_url"
        ), (name, error)
    assert answered < 100 and seer.service.worker.counts.failures == 0
    assert complete(seer, QUESTION).choices


@pytest.mark.parametrize("given", [None, 3, [], {}, {"url": None}, {"url": 3}, {"url": ""}, ""])
def test_parts_without_an_image(seer: Live, given) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": given}]}]}
    status, answer, _ = seer.ask(PATH, body)
    assert status == 400 and answer["error"]["param"] == "messages[0].content[0].image_url", answer


def test_parts_of_other_kinds(seer: Live) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}
    error = seer.ask(PATH, body)[1]["error"]
    assert error["param"] == "messages[0].content[0]" and "reads parts of type text and image_url" in error["message"]


def test_a_model_that_reads_text_alone_says_so(live: Live) -> None:
    status, answer, _ = live.ask(PATH, {"messages": QUESTION})
    assert status == 400 and "this model reads parts of type text." in answer["error"]["message"]
    assert live.ask("/v1/models")[1]["data"][0]["input_modalities"] == ["text"]


def test_what_a_model_reads_is_told(seer: Live) -> None:
    assert seer.ask("/v1/models")[1]["data"][0]["input_modalities"] == ["text", "image"]
    assert seer.client().models.list().data[0].input_modalities == ["text", "image"]
    document = seer.ask("/openapi.json")[1]
    body = document["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "image_url" in json.dumps(body["properties"]["messages"]["items"])


def test_tokenize_counts_images(seer: Live) -> None:
    found = seer.ask("/tokenize", {"messages": QUESTION})[1]
    assert found["count"] == complete(seer, QUESTION).usage.prompt_tokens
    assert seer.ask("/tokenize", {"messages": [asking(HOSTILE["a bomb"])]})[0] == 400


def test_image_tokens_without_images_are_refused(seer: Live) -> None:
    status, answer, _ = seer.ask("/v1/completions", {"prompt": [3, 40, 50]})
    assert status == 400 and "1 image token, and its 0 images 0 patches" in answer["error"]["message"]
    written = complete(seer, [{"role": "user", "content": "<|image|> is a word"}], max_tokens=1)
    assert written.choices, "words are no images"


def test_too_long_for_the_context(seer: Live) -> None:
    large = url_of(encoded(seeing_model.picture(32, 32, 3)))
    error = seer.ask(PATH, {"messages": [asking(*[large] * 6)]})[1]["error"]
    assert error["code"] == "context_length_exceeded" and error["param"] == "messages"


def test_limits() -> None:
    with serving(seeing_chat(), most_images=2, image_bytes=500, body_bytes=20_000) as live:
        status, answer, _ = live.ask(PATH, {"messages": [asking(*[url_of(GOOD)] * 3)]})
        assert status == 400 and answer["error"]["code"] == "too_many_images"
        assert answer["error"]["message"] == "messages has 3 images; at most 2 are accepted."
        large = url_of(encoded(seeing_model.picture(40, 40)))
        status, answer, _ = live.ask(PATH, {"messages": [asking(url_of(GOOD), large)]})
        assert status == 400 and "messages[0].content[1].image_url has" in answer["error"]["message"]
        assert "500" in answer["error"]["message"]
        assert live.ask(PATH, {"messages": [asking("x" * 20_000)]})[0] == 413
    with serving(seeing_chat()) as live:  # where nothing else is said, there is room for images
        assert live.ask(PATH, {"messages": [asking(url_of(GOOD + bytes(4 * 2**20)))], "max_tokens": 1})[0] == 200


def test_the_log_has_no_images() -> None:
    content = base64.b64encode(GOOD).decode()
    for prompts in (False, True):
        with serving(seeing_chat(), log_prompts=prompts) as live:
            live.ask(PATH, {"messages": [asking(url_of(GOOD))], "max_tokens": 1})
            live.ask(PATH, {"messages": [asking(url_of(GOOD), HOSTILE["cut short"])], "max_tokens": 1})
            until(lambda log=live.log: len(log) == 2)
            line = json.loads(live.log[0])
            assert line["images"] == 1 and content[:30] not in "".join(live.log)
            assert ("what is this?" in live.log[0]) == prompts
            if prompts:
                assert line["messages"][0]["content"][0]["image_url"]["url"] == "data:image/png;base64..."


def test_addresses_are_not_fetched_unless_the_server_is_told_to(seer: Live, monkeypatch) -> None:
    monkeypatch.setattr(intake, "fetch", lambda *_: pytest.fail("something was fetched"))
    for url in ("http://example.com/a.png", "https://example.com/a.png"):
        status, answer, _ = seer.ask(PATH, {"messages": [asking(url)]})
        assert status == 400 and answer["error"]["param"] == "messages[0].content[0].image_url"
        assert "fetches no images (--image-urls lets it)" in answer["error"]["message"]


def test_addresses_are_fetched_where_it_is(monkeypatch) -> None:
    asked = []

    def fetched(url: str, most: int, seconds: float, name: str) -> bytes:
        asked.append((url, most, seconds))
        if "bad" in url:
            raise UserError(f"{name} could not be fetched from bad.example.")
        return b"" if "empty" in url else encoded(seeing_model.picture(24, 16, 1))

    with serving(seeing_chat(), image_urls=True) as live:
        status, answer, _ = live.ask(PATH, {"messages": [asking("http://127.0.0.1:1/")]})
        assert status == 400 and "the port 1" in answer["error"]["message"]
        for url in INSIDE:
            status, answer, _ = live.ask(PATH, {"messages": [asking(FIRST, url)]})
            assert status == 400 and answer["error"]["param"] == "messages[0].content[1].image_url"
            assert answer["error"]["message"].endswith("is at a host without a public address.")
        assert live.ask(PATH, {"messages": [asking("file:///etc/passwd")]})[0] == 400
        monkeypatch.setattr(intake, "fetch", fetched)
        by_address = complete(live, [asking("https://pictures.example/a.png", SECOND)])
        assert asked == [("https://pictures.example/a.png", 10 * 2**20, 10.0)]
        assert by_address.choices[0].message.content == complete(live, QUESTION).choices[0].message.content
        for url in ("https://bad.example/", "https://empty.example/"):
            status, answer, _ = live.ask(PATH, {"messages": [asking(FIRST, url)]})
            assert status == 400 and answer["error"]["code"] == "invalid_image"
            assert answer["error"]["param"] == "messages[0].content[1].image_url"


def test_a_name_that_is_looked_up_for_ever_ends(monkeypatch) -> None:
    monkeypatch.setattr(intake, "fetch", lambda *_: time.sleep(3))
    with serving(seeing_chat(), image_urls=True, image_seconds=0.2) as live:
        status, answer, _ = live.ask(PATH, {"messages": [asking("http://slow.example/")]})
        assert status == 400 and "did not come within" in answer["error"]["message"]
        assert live.ask(PATH, {"messages": QUESTION, "max_tokens": 1})[0] == 200


def test_concurrent_clients_get_what_they_would_alone(seer: Live) -> None:
    if not seer.service.worker.engine.batch_invariant:
        pytest.skip("no compiled kernels here; float32 layers of PyTorch depend on the batch")
    pictures = [url_of(encoded(seeing_model.picture(20 + 4 * (number % 3), 24, number % 5))) for number in range(16)]
    questions = [[asking(url, text=f"question {number % 4}")] for number, url in enumerate(pictures)]

    def answer(live: Live, question: list[dict]) -> str:
        return complete(live, question, seed=7, temperature=1).choices[0].message.content

    with serving(seeing_chat()) as fresh:
        alone = [answer(fresh, question) for question in questions]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda question: answer(seer, question), questions)) == alone
    assert len(set(alone)) > 4
