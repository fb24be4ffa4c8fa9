"""The OpenAPI document says what is there; where schemathesis is installed, it tries to find what it gets wrong."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from live import TOOL_TEMPLATE, Live, serving, small_chat, small_model

from foretell.infer.engine import EngineOptions
from foretell.infer.loading import LoadedModel
from foretell.serve.body_schemas import _below

CONTEXT = 4096
EXAMPLES = 30
UNDESCRIBED = ("/", "/static/{name}", "/openapi.json")


def described(live: Live, path: str) -> dict:
    document = live.ask("/openapi.json")[1]
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]


def test_every_operation_is_described_and_no_other(live: Live) -> None:
    document = live.ask("/openapi.json")[1]
    assert document["openapi"].startswith("3.1") and "security" not in document
    names = {name: "x" for path in document["paths"] for name in re.findall(r"{(\w+)}", path)}
    for path, operations in document["paths"].items():
        status, answer, headers = live.ask(path.format(**names), method="PUT")
        assert status == 405 and answer["error"]["code"] == "method_not_allowed"
        assert headers["allow"].split(", ") == sorted(method.upper() for method in operations)
        for operation in operations.values():
            assert "500" in operation["responses"] and "400" in operation["responses"]
    routes = [route for route in live.server.config.app._app.routes if route.path not in UNDESCRIBED]
    found = {(route.path.replace(":path", ""), method.lower()) for route in routes for method in route.methods}
    assert found == {(path, method) for path, operations in document["paths"].items() for method in operations}


def test_limits_are_those_of_the_model(live: Live) -> None:
    chat = described(live, "/v1/chat/completions")
    properties = chat["properties"]
    assert properties["model"] == {"enum": ["small", None]} and properties["guided_json"] == {"type": "null"}
    assert properties["temperature"] == {"type": ["number", "null"], "minimum": 0.0, "maximum": 2.0}
    assert properties["tool_choice"] == {"enum": ["none", "auto", None]}
    shortest = {"messages": [{"role": "user", "content": ""}], "max_tokens": properties["max_tokens"]["maximum"]}
    assert live.ask("/v1/chat/completions", shortest)[0] == 200
    shortest["max_tokens"] += 1
    assert live.ask("/v1/chat/completions", shortest)[0] == 400
    with serving(small_chat(template=TOOL_TEMPLATE)) as with_tools:
        choice = described(with_tools, "/v1/chat/completions")["properties"]["tool_choice"]
        assert "required" in choice["anyOf"][0]["enum"]
    with serving(small_chat(template=None)) as plain:
        assert "/v1/chat/completions" not in plain.ask("/openapi.json")[1]["paths"]


def test_keys_are_described_where_they_are_asked_for() -> None:
    with serving(keys=("secret",)) as live:
        document = live.ask("/openapi.json", Authorization="Bearer secret")[1]
        assert document["security"] == [{"key": []}] and document["components"]["securitySchemes"]["key"]
        for path, operations in document["paths"].items():
            for operation in operations.values():
                is_open = path in ("/health", "/ready")
                assert ("401" in operation["responses"]) is not is_open and (operation.get("security") == []) is is_open


@pytest.mark.parametrize("limit", [2, 9, 10, 11, 100, 280, 1000, 1999])
def test_a_pattern_of_the_numbers_below_a_limit(limit: int) -> None:
    pattern = re.compile(_below(limit))
    assert [n for n in range(20 * limit) if pattern.fullmatch(str(n))] == list(range(limit))
    assert not any(pattern.fullmatch(text) for text in ("", "00", "01", "-1", "1.0", "a"))


def test_whole_numbers_may_be_written_as_floats(live: Live) -> None:
    given = {"prompt": [20.0, 21], "max_tokens": 2.0, "seed": 1.0, "top_k": 5.0}
    status, answer, _ = live.ask("/v1/completions", given)
    assert status == 200 and answer["usage"]["completion_tokens"] == 2
    assert live.ask("/detokenize", {"tokens": [20.0, 21]})[1] == live.ask("/detokenize", {"tokens": [20, 21]})[1]


def test_a_call_whose_arguments_are_no_json_is_kept_as_it_was_written() -> None:
    template = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}"
    )
    with serving(small_chat(template=template + "{% endfor %}{% endfor %}")) as live:
        for arguments, text in (('{"a"', '"{\\"a\\""'), ('{"a": 1}', '{"a": 1}'), ("", "{}"), (None, "{}"),
                                ({"b": []}, '{"b": []}'), ('"\\ud800"', '"\\"\\\\ud800\\""')):  # fmt: skip
            calls = [{"function": {"name": "f", "arguments": arguments}}]
            status, found, _ = live.ask("/tokenize", {"messages": [{"role": "assistant", "tool_calls": calls}]})
            assert status == 200
            assert live.ask("/detokenize", {"tokens": found["tokens"]})[1]["prompt"] == text


def terse() -> LoadedModel:
    """A model that has nearly always said everything, and room for long prompts."""
    model, decoder = small_chat(), small_model.decoder(context=CONTEXT)
    with torch.no_grad():
        for block in decoder.blocks:
            block.attention.output.weight.zero_()
            block.feed_forward.down.weight.zero_()
        decoder.embedding.weight[:, 0], decoder.norm.weight[0] = 1.0, 1.0
        decoder.head.weight[model.end_of_turn_ids[0]] = 0.0
        decoder.head.weight[model.end_of_turn_ids[0], 0] = 20.0
    return dataclasses.replace(model, name="terse", decoder=decoder, context=CONTEXT)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [(), ("secret",)], ids=["open", "with a key"])
def test_schemathesis_finds_nothing(tmp_path: Path, keys: tuple[str, ...]) -> None:
    command = shutil.which("schemathesis") or shutil.which("st")
    if command is None:
        pytest.skip("schemathesis is not on the path")
    with serving(terse(), EngineOptions(memory=2**27), keys=keys) as live:
        headers = [part for key in keys for part in ("--header", f"Authorization: Bearer {key}")]
        options = ["--max-examples", str(EXAMPLES), "--no-color", *headers]
        done = subprocess.run(
            [command, "run", f"{live.url}/openapi.json", *options], cwd=tmp_path, capture_output=True, text=True
        )
        print(done.stdout)
        assert done.returncode == 0, done.stdout[-6000:]
        live.wait_until_idle()
        assert live.service.worker.counts.failures == 0 and '"status": 500' not in "\n".join(live.log)
