"""Keys, full queues, large bodies, clients that go away, and the end of a server."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from live import Live, serving, until

import foretell.serve

MESSAGES = [{"role": "user", "content": "hello world"}]
LONG = {"messages": MESSAGES, "logit_bias": {"80": 100}, "max_tokens": 370}  # never ends by itself


def slow_down(live: Live, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    step = live.service.worker.engine.step

    def slow():
        time.sleep(seconds)
        return step()

    monkeypatch.setattr(live.service.worker.engine, "step", slow)


def test_keys() -> None:
    with serving(keys=("first", "second")) as live:
        import openai

        for key in ("first", "second"):
            assert live.client(api_key=key).models.list().data
        with pytest.raises(openai.AuthenticationError) as caught:
            live.client(api_key="third").models.list()
        assert caught.value.code == "invalid_api_key"
        for path in ("/v1/models", "/metrics", "/api/conversations", "/tokenize"):
            status, body, headers = live.ask(path)
            assert status == 401 and body["error"]["code"] == "missing_api_key" and headers["www-authenticate"]
        for path in ("/", "/health", "/ready"):
            assert live.ask(path)[0] == 200
        assert live.ask("/v1/models", Authorization="Bearer \xff")[0] == 401
        assert live.ask("/health", Host="any.example")[0] == 200


def test_a_full_queue_says_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(most_running=1, most_queued=1) as live:
        import openai

        slow_down(live, monkeypatch, 0.02)
        streams = [live.client().chat.completions.create(model="small", stream=True, **LONG) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as caught:
            live.client().chat.completions.create(model="small", messages=MESSAGES)
        assert caught.value.code == "queue_full" and 1 <= int(caught.value.response.headers["retry-after"]) <= 60
        assert live.ask("/ready")[0] == 429 and live.ask("/health")[0] == 200
        for stream in streams:
            stream.close()
        live.wait_until_idle()
        assert live.ask("/ready")[0] == 200
        retried = live.client().chat.completions.create(model="small", messages=MESSAGES, max_tokens=2)
        assert retried.choices


def test_large_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(body_bytes=1000) as live:
        big = {"messages": [{"role": "user", "content": "x" * 2000}]}
        status, body, _ = live.ask("/v1/chat/completions", big)
        assert status == 413 and body["error"]["code"] == "body_too_large" and "1,000 bytes" in body["error"]["message"]
        connection = http.client.HTTPConnection(live.server.address.removeprefix("http://"))
        connection.request("POST", "/v1/chat/completions", (b"x" * 400 for _ in range(5)),
                           {"Content-Type": "application/json"}, encode_chunked=True)  # fmt: skip
        assert connection.getresponse().status == 413
        status, _, _ = live.ask("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 1})
        assert status == 200


@pytest.mark.parametrize("stream", [True, False])
def test_who_goes_away_is_not_computed_for(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    with serving() as live:
        slow_down(live, monkeypatch, 0.02)
        host, port = live.server.address.removeprefix("http://").split(":")
        data = json.dumps(LONG | {"stream": stream, "n": 2}).encode()
        with socket.create_connection((host, int(port))) as client:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            if stream:
                assert b"200 OK" in client.recv(100)
            while live.service.worker.counts.generated_tokens < 4:
                time.sleep(0.01)
        live.wait_until_idle(3)
        until = time.monotonic() + 3
        while not live.log and time.monotonic() < until:
            time.sleep(0.01)
        assert json.loads(live.log[-1])["status"] == 499 and live.service.metrics.cancelled == 1
        assert live.service.worker.counts.generated_tokens < 300
        pool = live.service.worker.engine.pool
        assert pool.available == pool.count


def test_who_goes_away_while_asking_is_no_error(capsys) -> None:
    with serving() as live:
        host, port = live.server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Content-Length: 100\r\n\r\n{")  # fmt: skip
        until(lambda: live.log)
        assert json.loads(live.log[0])["status"] == 499
    assert "Traceback" not in capsys.readouterr().err


def test_an_answer_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(timeout=0.4, most_running=1) as live:
        slow_down(live, monkeypatch, 0.02)
        found: dict = {}
        first = threading.Thread(target=lambda: found.update(a=live.ask("/v1/chat/completions", LONG)))
        first.start()
        time.sleep(0.1)
        live.service.options = live.service.options.__class__(**{**vars(live.service.options), "timeout": 0.1})
        status, body, headers = live.ask("/v1/chat/completions", LONG)
        assert status == 503 and body["error"]["code"] == "timeout" and headers["retry-after"]
        first.join()
        status, body, _ = found["a"]
        assert status == 200 and body["choices"][0]["finish_reason"] == "length"
        assert 0 < body["usage"]["completion_tokens"] < 100


def test_stopping_finishes_a_running_stream_and_refuses_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(grace=20.0) as live:
        slow_down(live, monkeypatch, 0.01)
        stream = live.client().chat.completions.create(model="small", stream=True, **LONG | {"max_tokens": 60})
        chunks = [next(stream), next(stream)]
        live.server.begin_stop()
        status, body, headers = live.ask("/v1/chat/completions", {"messages": MESSAGES})
        assert status == 503 and body["error"]["code"] == "stopping" and headers["retry-after"]
        assert live.ask("/ready")[0] == 503 and live.ask("/health")[0] == 200
        chunks += list(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert len(text) == 60 and chunks[-1].choices[0].finish_reason == "length"
        live.thread.join(timeout=10)
        assert not live.thread.is_alive() and not live.service.worker.alive


def test_after_the_grace_a_stream_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(grace=0.2) as live:
        import openai

        slow_down(live, monkeypatch, 0.02)
        stream = live.client().chat.completions.create(model="small", stream=True, **LONG)
        next(stream)
        live.server.begin_stop()
        with pytest.raises(openai.APIError, match="stopped before"):
            list(stream)
        live.thread.join(timeout=10)
        assert not live.thread.is_alive()


def test_a_failing_pass_is_a_500_and_the_next_request_is_answered(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with serving() as live, monkeypatch.context() as patch:
        patch.setattr(live.service.worker.engine, "step", lambda: 1 / 0)
        status, body, _ = live.ask("/v1/chat/completions", {"messages": MESSAGES})
        assert status == 500 and body["error"] == {
            "message": "The model failed while it answered; this has been logged.", "type": "server_error",
            "param": None, "code": "engine_error",
        }  # fmt: skip
        patch.undo()
        assert live.ask("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 2})[0] == 200
        patch.setattr("foretell.serve.app.detokenize", lambda *_: 1 / 0)
        status, body, _ = live.ask("/detokenize", {"tokens": [20]})
        assert status == 500 and body["error"]["code"] == "internal_error" and "zero" not in str(body)


def test_metrics_and_the_log_count_what_happened() -> None:
    with serving(log_prompts=True) as live:
        live.ask("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 5, "seed": 1, "logit_bias": {"80": 100}})
        live.ask("/v1/chat/completions", {"messages": []})
        until(lambda: len(live.log) == 2)  # a request is logged when its answer has been sent
        text = live.ask("/metrics")[1]
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert values['foretell_requests_total{route="/v1/chat/completions",status="200"}'] == "1"
        assert values['foretell_requests_total{route="/v1/chat/completions",status="400"}'] == "1"
        assert values["foretell_generated_tokens_total"] == "5" and values["foretell_running"] == "0"
        assert values["foretell_time_to_first_token_seconds_count"] == "1"
        assert values['foretell_time_per_output_token_seconds_bucket{le="+Inf"}'] == "1"
        line = json.loads(live.log[0])
        assert line["status"] == 200 and line["completion_tokens"] == 5 and line["messages"] == MESSAGES
        assert len(line["answers"][0]) == 5 and line["id"].startswith("req_")
    with serving() as live:
        live.ask("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 5})
        until(lambda: live.log)
        assert "hello" not in live.log[0]


def test_the_page_asks_nobody_else_and_says_so() -> None:
    with serving() as live:
        status, page, headers = live.ask("/")
        policy = headers["content-security-policy"]
        assert status == 200 and "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        linked = re.findall(r'(?:src|href)="([^"#]+)"', page)
        assert len(linked) >= 5 and all(live.ask(path)[0] == 200 for path in linked)
        document = live.ask("/openapi.json")[1]
        for name in re.findall(r'"\$ref": "(.*?)"', json.dumps(document)):
            assert name.removeprefix("#/components/schemas/") in document["components"]["schemas"]
        body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert "messages" in body["required"] and '"422"' not in json.dumps(document)
    folder = Path(foretell.serve.__file__).parent / "page"
    for file in folder.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://\w|\.(innerHTML|outerHTML|insertAdjacentHTML)", text), file.name


def test_the_command_serves_and_stops_on_a_signal(tmp_path, small_folder) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "foretell", "serve", "--model", str(small_folder), "--port", str(port),
               "--cache-memory", "16MiB", "--database", str(tmp_path / "c.sqlite"), "--grace", "5"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "FORETELL_API_KEYS": "secret"})  # fmt: skip
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/v1/models", headers={"Authorization": "Bearer secret"})
                answer = connection.getresponse()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.1)
        assert answer.status == 200 and json.loads(answer.read())["data"][0]["id"] == small_folder.name
        connection.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in err, err
    assert json.loads(out.splitlines()[0])["route"] == "/v1/models"
