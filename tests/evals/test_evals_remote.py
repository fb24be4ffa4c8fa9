"""Models at an address: this project's own server, and servers that lack something."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from answering import local, seeing_model
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.evals import http
from foretell.evals.models import Decoding, Prompt
from foretell.evals.remote import RemoteModel

sys.path.append(str(Path(__file__).parents[1] / "serve"))
live = pytest.importorskip("live", reason="the extra 'serve' is not installed")

PAIRS = [("some text for", " a tokenizer"), ("some text for", " it"), ("hello world,", " this"), ("more of it ", "123"),
         ("and", " then 123 some more")]  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[RemoteModel]:
    with live.serving(live.small_chat()) as server:
        yield RemoteModel(f"{server.url}/v1")


def answers(model, pairs):
    found = dict(model.likelihoods([(Prompt(context), text) for context, text in pairs]))
    return [found[place] for place in range(len(pairs))]


def test_our_server_gives_what_the_engine_gives(served: RemoteModel) -> None:
    for far, near in zip(answers(served, PAIRS), answers(local(), PAIRS), strict=True):
        assert far.value == pytest.approx(near.value, abs=1e-3) and far.greedy == near.greedy


def test_texts_and_chats_are_continued_as_by_the_engine(served: RemoteModel) -> None:
    prompts = [Prompt("some text for"), Prompt(({"role": "user", "content": "hello"},))]
    for decoding in (Decoding(tokens=12), Decoding(tokens=12, temperature=1.0, samples=2, seed=3)):
        assert dict(served.generate(prompts, decoding)) == dict(local().generate(prompts, decoding))


def test_images_go_along_with_a_chat() -> None:
    picture = seeing_model.picture()
    content = [{"type": "text", "text": "hello "}, {"type": "image"}]
    prompt = Prompt(({"role": "user", "content": content},), (picture,))
    other_prompt = Prompt(prompt.content, (seeing_model.picture(seed=5),))
    with live.serving(live.seeing_chat()) as server:
        model = RemoteModel(f"{server.url}/v1")
        (text,) = dict(model.generate([prompt], Decoding(tokens=8)))[0]
        (other,) = dict(model.generate([other_prompt], Decoding(tokens=8)))[0]
        assert text and text != other
        with pytest.raises(UserError, match="in a chat only"):
            list(model.generate([Prompt("hello <image>", (picture,))], Decoding(tokens=8)))


def test_the_digest_is_of_the_address_and_of_the_weights_there(served: RemoteModel) -> None:
    again = RemoteModel(served._client.url, served.name)
    assert again.digest == served.digest and again.digest_of == "address and a sample"
    assert RemoteModel(served._client.url, "another").digest != served.digest


def test_other_weights_at_the_same_address_are_another_model(
    served: RemoteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = live.small_chat()
    with torch.no_grad():
        changed.decoder.embedding.weight.mul_(-1)
    with live.serving(replace(changed, name="changed")) as server:
        said = RemoteModel(f"{server.url}/v1")._sample()
    assert said not in (None, served._sample())
    again = RemoteModel(served._client.url, served.name)
    monkeypatch.setattr(again, "_sample", lambda: said)  # as if the other weights were behind the first address
    assert again.digest != served.digest


def test_what_the_server_refuses_is_said(served: RemoteModel) -> None:
    with pytest.raises(UserError, match="plain text only"):
        list(served.likelihoods([(Prompt(({"role": "user", "content": "x"},)), " y")]))
    with pytest.raises(UserError, match=r"refuses \(404\)"):
        list(RemoteModel(served._client.url, "no-such-model").generate([Prompt("x")], Decoding(tokens=1)))
    with pytest.raises(UserError, match="one such as http://localhost:8000/v1"):
        RemoteModel("ftp://localhost")
    with pytest.raises(UserError, match="one such as http://localhost:8000/v1"):
        RemoteModel("http://[::1/v1")
    with pytest.raises(UserError, match="does not answer"):
        RemoteModel("http://127.0.0.1:9/v1")


@contextmanager
def answered_by(*replies: tuple[int, object]) -> Iterator[tuple[str, list[dict]]]:
    """A server that gives these statuses and bodies one after the other, the last one for ever."""
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = replies[min(len(asked), len(replies)) - 1]
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


REFUSAL = (400, {"error": {"message": "echo is not supported"}})


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (REFUSAL, r"echo and logprobs: echo is not supported\); tasks whose options are compared need them"),
        ((200, {"choices": [{"text": " 2", "logprobs": None}]}), "its answer has none"),
        ((200, {"choices": [{"logprobs": {"token_logprobs": [-1.0], "text_offset": [9], "top_logprobs": [{}]}}]}),
         "does not repeat the prompt"),
        ((200, b"<html>"), "no JSON"),
    ],
)  # fmt: skip
def test_a_server_without_log_likelihoods_is_told_in_one_sentence(reply, said: str) -> None:
    with answered_by(reply) as (url, asked), pytest.raises(UserError, match=said):
        answers(RemoteModel(url, "m"), PAIRS)
    assert len(asked) == 1


@pytest.mark.parametrize("logprobs", [
    {"token_logprobs": [], "text_offset": [], "top_logprobs": []},
    {"token_logprobs": None, "text_offset": None, "top_logprobs": None},
    {"token_logprobs": ["low"], "text_offset": [0], "top_logprobs": None},
    {"token_logprobs": [-1.0], "text_offset": ["0"], "top_logprobs": None},
    {"token_logprobs": [float("nan")], "text_offset": [0], "top_logprobs": None},
    "none",
])  # fmt: skip
def test_log_likelihoods_that_are_nonsense_are_told_in_one_sentence(logprobs: object) -> None:
    with (
        answered_by((200, {"choices": [{"logprobs": logprobs}]})) as (url, _),
        pytest.raises(UserError, match="does not tell log-probabilities"),
    ):
        answers(RemoteModel(url, "m"), PAIRS[:1])


def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)
    good = (200, {"choices": [{"text": "one. two. three"}]})
    with answered_by((429, {}), (503, b"wait"), good) as (url, asked):
        model = RemoteModel(url, "m")
        (text,) = dict(model.generate([Prompt("x")], Decoding(tokens=4, stop=("a", "b", "c", "d", "two"))))[0]
    assert text == "one. " and len(asked) == 3 and asked[-1]["stop"] == ["a", "b", "c", "d"]
    with answered_by((500, {"error": {"message": "broken"}})) as (url, asked), pytest.raises(UserError, match="broken"):
        list(RemoteModel(url, "m").generate([Prompt("x")], Decoding(tokens=4)))
    assert len(asked) == http.TRIES


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_tokens_that_end_within_the_continuation_are_summed(before: int, after: int, data: st.DataObject) -> None:
    context, continuation = "c" * before, " " + "d" * after
    cuts = sorted(data.draw(st.sets(st.integers(1, before + after), max_size=4)) | {before})
    offsets = [0, *cuts, before + after + 1]
    values = [None, *(-float(n) for n in range(1, len(offsets) - 1)), -99.0]
    best = [None, *({"x": value} for value in values[1:])]
    reply = {"choices": [{"logprobs": {"token_logprobs": values, "text_offset": offsets, "top_logprobs": best}}]}
    model = RemoteModel("http://localhost:1/v1", "m")
    model._echoes = True
    model._client.post = lambda path, body: reply
    (found,) = answers(model, [(context, continuation)])
    assert found.value == sum(values[n] for n in range(len(offsets) - 1) if offsets[n] >= before)
    assert found.greedy
