"""Bodies of a megabyte that are made to be expensive: each gets one short sentence, and nothing grows with them."""

import difflib
import json
import threading
import tracemalloc

import pytest
from live import Live

from foretell.serve import bodies, http
from foretell.serve.bodies import ChatBody, CompletionBody, DetokenizeBody, NewConversation
from foretell.serve.errors import APIError

USER = {"role": "user", "content": "x"}
SIZE = 10**6
MOST_MEMORY = 64 * SIZE  # JSON's own objects take up to fifty times their text
PATHS = {ChatBody: "/v1/chat/completions", CompletionBody: "/v1/completions", DetokenizeBody: "/detokenize",
         NewConversation: "/api/conversations"}  # fmt: skip


def chat(**fields) -> tuple:
    return ChatBody, {"messages": [USER], **fields}


HOSTILE = {
    "numbers for messages": (ChatBody, {"messages": [1] * (SIZE // 2)}),
    "nothing for messages": (ChatBody, {"messages": [None] * (SIZE // 5)}),
    "empty messages": (ChatBody, {"messages": [{}] * (SIZE // 3)}),
    "messages as an object": (ChatBody, {"messages": {str(n): n for n in range(SIZE // 14)}}),
    "messages as a string": (ChatBody, {"messages": "x" * SIZE}),
    "parts": chat(messages=[{"role": "user", "content": [{}] * (SIZE // 3)}]),
    "tools": chat(tools=["a"] * (SIZE // 4)),
    "modalities": chat(modalities=[1] * (SIZE // 2)),
    "biases": chat(logit_bias={str(n): "x" for n in range(SIZE // 12)}),
    "stops": chat(stop=["x"] * (SIZE // 4)),
    "lists for a name": chat(model=[[]] * (SIZE // 3)),
    "a long name": chat(model="x" * SIZE),
    "misspelt fields": chat(n=0, **{f"temperatur{n}": 1 for n in range(SIZE // 18)}),
    "misspelt options": chat(stream=True, stream_options={f"include_usag{n}": 1 for n in range(SIZE // 20)}),
    "a long field": chat(n=0, **{"temperature" * (SIZE // 11): 1}),
    "prompts": (CompletionBody, {"prompt": [[]] * (SIZE // 3)}),
    "a prompt": (CompletionBody, {"prompt": [*[1] * (SIZE // 2), "a"]}),
    "many prompts": (CompletionBody, {"prompt": ["a"] * (SIZE // 4)}),
    "negative tokens": (DetokenizeBody, {"tokens": [-1] * (SIZE // 3)}),
    "texts for tokens": (DetokenizeBody, {"tokens": ["a"] * (SIZE // 4)}),
    "a title": (NewConversation, {"title": "x" * SIZE}),
    "a list": (ChatBody, [1] * (SIZE // 2)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_large_bad_body_gets_one_short_sentence(live: Live, name: str) -> None:
    model, body = HOSTILE[name]
    status, answer, _ = live.ask(PATHS[model], json.dumps(body, separators=(",", ":")).encode())
    assert status in (400, 404), answer
    message = answer["error"]["message"]
    assert len(message) < 300 and message.endswith((".", "?")) and "\n" not in message


@pytest.mark.parametrize("name", HOSTILE)
def test_parsing_takes_a_few_times_the_memory_of_the_body(name: str) -> None:
    model, body = HOSTILE[name]
    data = json.dumps(body, separators=(",", ":")).encode()
    assert 0.8 * SIZE < len(data) < 1.2 * SIZE
    tracemalloc.start()
    try:
        bodies.parse(model, data)
    except APIError as error:
        assert error.status == 400
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_MEMORY


def test_few_unknown_fields_are_compared_with_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    real = difflib.get_close_matches
    monkeypatch.setattr(difflib, "get_close_matches", lambda *a, **k: compared.append(a[0]) or real(*a, **k))
    fields = {"y" * 10_000: 1, **{f"unlike{n}": 1 for n in range(10_000)}}
    bodies.parse(ChatBody, json.dumps({"messages": [USER], **fields}).encode())
    assert 0 < len(compared) <= bodies.MOST_LOOKED_AT and max(map(len, compared)) <= bodies.LONGEST_NAME
    with pytest.raises(APIError, match="grammar is not supported"):
        bodies.parse(ChatBody, json.dumps({"messages": [USER], **fields, "grammar": "x"}).encode())


def test_large_bodies_are_parsed_beside_the_loop(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    real = http.parse
    monkeypatch.setattr(http, "parse", lambda *a: threads.append(threading.current_thread()) or real(*a))
    for text in ("x", "x" * 200_000):
        live.ask("/detokenize", {"tokens": text})
    assert threads[0] is live.thread and threads[1] is not live.thread
