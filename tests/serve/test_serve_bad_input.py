"""Bad bodies as seriously as good ones: each gets 400, the field's name, and a sentence; and none gets a 500."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from live import Live

USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f"}}
CHAT = {"messages": [USER], "max_tokens": 2}
TEXT = {"prompt": "hello", "max_tokens": 2}

BAD_CHATS = [
    ({"messages": None}, "messages", "a list is expected"),
    ({"messages": []}, "messages", "at least one message"),
    ({"messages": "hi"}, "messages", 'messages is "hi"; a list is expected'),
    ({"messages": [3]}, "messages[0]", "an object is expected"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing; one of system, developer, user"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "'king'"),
    ({"messages": [USER, {"role": "user"}]}, "messages[1].content", "missing"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "is 3; a string"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages[0].content[0]", "'image_url'; this model reads parts of type text"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "type text"),
    ({"messages": [{"role": "user", "content": "x", "name": 3}]}, "messages[0].name", "a string"),
    ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content", "missing"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function.name", "missing"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": 3}]}, "messages[0].tool_calls", "assistant"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 3}}]}]},
     "messages[0].tool_calls[0].function.arguments", "is 3; JSON in a string"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"id": 3, "function": {"name": "f"}}]}]},
     "messages[0].tool_calls[0].id", "is 3; a string"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom", "function": {"name": "f"}}]}]},
     "messages[0].tool_calls[0].type", "'custom'; function is accepted"),
    ({"temperature": 2.5}, "temperature", "temperature is 2.5; a number from 0 to 2 is accepted."),
    ({"temperature": "0.5"}, "temperature", "a number is expected"),
    ({"temperature": True}, "temperature", "a number is expected"),
    ({"top_p": 0}, "top_p", "above 0 to 1"),
    ({"top_k": -1}, "top_k", "from 0 on"),
    ({"top_k": 1.5}, "top_k", "a whole number"),
    ({"min_p": 2}, "min_p", "from 0 to 1"),
    ({"presence_penalty": 3}, "presence_penalty", "from -2 to 2"),
    ({"frequency_penalty": -3}, "frequency_penalty", "from -2 to 2"),
    ({"repetition_penalty": 0}, "repetition_penalty", "above 0 to 2"),
    ({"logit_bias": {"999": 1}}, "logit_bias", "ids from 0 to 279"),
    ({"logit_bias": {"a": 1}}, "logit_bias", "token ids are expected"),
    ({"logit_bias": {"5": 101}}, "logit_bias", "-100 to 100"),
    ({"logit_bias": [1]}, "logit_bias", "an object is expected"),
    ({"seed": 2**70}, "seed", "a whole number of 64 bits is accepted"),
    ({"seed": 1.5}, "seed", "a whole number"),
    ({"n": 0}, "n", "from 1 to 128"),
    ({"n": "two"}, "n", "a whole number"),
    ({"max_tokens": 0}, "max_tokens", "from 1 on"),
    ({"max_tokens": -1}, "max_tokens", "from 1 on"),
    ({"max_tokens": 100_000}, "messages", "the model's context is 400 tokens"),
    ({"max_completion_tokens": 2}, "max_tokens", "are both given; one of them"),
    ({"max_completion_tokens": "x"}, "max_completion_tokens", "a whole number"),
    ({"messages": [{"role": "user", "content": "hello " * 500}], "max_tokens": None}, "messages", "context is 400"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
    ({"stop": [""]}, "stop", "none of them empty"),
    ({"stop": 3}, "stop", "a string or a list of strings"),
    ({"stream": "yes"}, "stream", "true or false"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "without stream"),
    ({"stream": True, "stream_options": {"include_usage": 3}}, "stream_options.include_usage", "true or false"),
    ({"top_logprobs": 3}, "top_logprobs", "without logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
    ({"logprobs": 3}, "logprobs", "true or false"),
    ({"response_format": "json"}, "response_format", "an object"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "text, json_object or json_schema"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema", "missing"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "foo"}}}},
     "response_format", "foo"),
    ({"tools": [TOOL]}, "tools", "knows no tools"),
    ({"tools": [{"type": "retrieval"}]}, "tools[0]", "functions are accepted"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "letters"),
    ({"tools": [{"function": {"name": "f", "parameters": 3}}]}, "tools[0].function.parameters", "schema"),
    ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters", "schema"),
    ({"tools": [{"function": {"name": "f", "description": 3}}]}, "tools[0].function.description", "a string"),
    ({"tools": 3}, "tools", "a list"),
    ({"tool_choice": "required"}, "tool_choice", "tools is empty"),
    ({"tool_choice": 3}, "tool_choice", "by its name"),
    ({"modalities": ["audio"]}, "modalities", "text"),
    ({"functions": [{}]}, "functions", "not supported here"),
    ({"audio": {"voice": "x"}}, "audio", "not supported here"),
    ({"guided_json": {}}, "guided_json", "not supported here"),
    ({"temprature": 1}, "temprature", "did you mean temperature?"),
    ({"max_token": 1}, "max_token", "did you mean max_tokens?"),
]  # fmt: skip
BAD_TEXTS = [
    ({"prompt": None}, "prompt", "a string, a list of strings"),
    ({"prompt": []}, "prompt", "a string, a list of strings"),
    ({"prompt": [1, "a"]}, "prompt", "a string, a list of strings"),
    ({"prompt": [[]]}, "prompt", "a string, a list of strings"),
    ({"prompt": [-1]}, "prompt", "a string, a list of strings"),
    ({"prompt": [10**30]}, "prompt", "a string, a list of strings"),
    ({"prompt": [280]}, "prompt", "280; ids from 0 to 279"),
    ({"prompt": [True]}, "prompt", "a string, a list of strings"),
    ({"suffix": "x"}, "suffix", "not supported here"),
    ({"best_of": 1, "n": 2}, "best_of", "at least n"),
    ({"best_of": 2, "stream": True}, "best_of", "best_of is 2; with stream 1 is accepted"),
    ({"best_of": 21}, "best_of", "from 1 to 20"),
    ({"prompt": [1.5]}, "prompt", "a string, a list of strings"),
    ({"logprobs": 50}, "logprobs", "from 0 to 20"),
    ({"max_tokens": 400}, "prompt", "context is 400"),
    ({"max_tokens": -1}, "max_tokens", "from 0 on"),
    ({"n": 128, "prompt": ["a", "b", "c"]}, "n", "at most 288"),
]


@pytest.mark.parametrize(("change", "param", "sentence"), BAD_CHATS)
def test_bad_chats(live: Live, change: dict, param: str, sentence: str) -> None:
    check(*live.ask("/v1/chat/completions", CHAT | change)[:2], param, sentence)


@pytest.mark.parametrize(("change", "param", "sentence"), BAD_TEXTS)
def test_bad_completions(live: Live, change: dict, param: str, sentence: str) -> None:
    check(*live.ask("/v1/completions", TEXT | change)[:2], param, sentence)


def check(status: int, body: dict, param: str, sentence: str) -> None:
    assert status == 400, body
    error = body["error"]
    assert error["type"] == "invalid_request_error" and set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param and sentence in error["message"], error
    assert error["message"].endswith((".", "?")) and "\n" not in error["message"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "an object is expected"),
        (b"3", "an object is expected"),
        (b"{}", "messages is missing"),
        (b"\xff\xfe", "not JSON"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "not JSON"),
        (b'{"temperature": NaN, "messages": []}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"messages": ' + b"[" * 3000 + b"]" * 3000 + b"}", "JSON"),
        (b'{"messages": [], "seed": ' + b"9" * 5000 + b"}", "out of range"),
        (b'{"messages": [], "seed": ' + b"9" * 4000 + b"}", "seed"),
        (b'{"messages": [], "temperature": 1' + b"0" * 400 + b"}", "temperature"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_bad_bytes(live: Live, data: bytes, sentence: str) -> None:
    status, body, _ = live.ask("/v1/chat/completions", data)
    assert status == 400 and sentence in body["error"]["message"], body


def test_other_mistakes(live: Live) -> None:
    assert live.ask("/v1/chat/completions", b"{}", Content_Type="text/plain")[0] == 400
    status, body, _ = live.ask("/v1/chat/completions", CHAT | {"model": "gpt-4"})
    assert status == 404 and body["error"]["code"] == "model_not_found" and "small" in body["error"]["message"]
    status, body, headers = live.ask("/v1/chat/completions")
    assert status == 405 and headers["allow"] == "POST" and body["error"]["code"] == "method_not_allowed"
    assert live.ask("/v1/nothing")[0] == live.ask("/static/../app.py")[0] == live.ask("/static/app.py")[0] == 404
    for body in ({"tokens": [280]}, {"tokens": [-1]}, {"tokens": "x"}, {}):
        assert live.ask("/detokenize", body)[0] == 400
    for body in ({}, {"prompt": "a", "messages": [USER]}, {"messages": []}, {"prompt": 3}):
        assert live.ask("/tokenize", body)[0] == 400
    assert live.ask("/health", Host="evil.example")[0] == 400
    assert live.ask("/health", Host="localhost:1")[0] == 200


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS = ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/api/conversations"]
NAMES = ["model", "messages", "prompt", "n", "seed", "stop", "max_tokens", "max_completion_tokens", "temperature",
         "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias",
         "logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "echo", "best_of", "stream",
         "stream_options", "user", "tokens", "parallel_tool_calls", "title", "settings", "parent", "role", "leaf",
         "content", "details"]  # fmt: skip
SCHEMAS = some.fixed_dictionaries({}, optional={
    "type": some.sampled_from(["object", "string", "array", "integer", "foo"]) | JSON, "properties": JSON,
    "enum": JSON, "items": JSON, "pattern": some.text(max_size=8), "$ref": some.text(max_size=8), "anyOf": JSON,
})  # fmt: skip
VALUES = JSON | some.sampled_from([[USER], "hello", [1, 2], [[1]], [TOOL]]) | SCHEMAS.map(
    lambda schema: {"type": "json_schema", "json_schema": {"schema": schema}}
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    path=some.sampled_from(PATHS),
    base=some.sampled_from([CHAT, TEXT, {}]),
    changes=some.dictionaries(some.sampled_from(NAMES) | some.text(max_size=6), VALUES, max_size=3),
)
def test_no_body_gets_a_500(live: Live, path: str, base: dict, changes: dict) -> None:
    body = base | changes
    if body.get("max_tokens") is None:
        body["max_tokens"] = 2
    status, answer, _ = live.ask(path, json.dumps(body).encode())
    assert status in (200, 201, 400, 404), (status, answer)
    if status >= 400:
        assert set(answer["error"]) == {"message", "type", "param", "code"} and answer["error"]["message"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=some.binary(max_size=40) | some.text(max_size=40).map(lambda text: ('{"prompt": "' + text + '"}').encode()))
def test_no_bytes_get_a_500(live: Live, data: bytes) -> None:
    assert live.ask("/v1/completions", data)[0] in (200, 400)


def test_the_service_is_as_it_was(live: Live) -> None:
    live.wait_until_idle()
    assert live.service.worker.counts.failures == 0 and live.ask("/health")[0] == 200
    assert not [line for line in live.log if '"status": 500' in line]
