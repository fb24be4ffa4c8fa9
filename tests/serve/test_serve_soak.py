"""Half an hour of everything at once: good, cancelled, malformed and oversized requests, with an eye on memory.

``pytest -m slow tests/serve/test_serve_soak.py``; FORETELL_SOAK_SECONDS sets another length.
"""

import json
import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from live import Live, serving

SECONDS = float(os.environ.get("FORETELL_SOAK_SECONDS", "1800"))
WORKERS = 8
GROWTH = 1.10  # of resident memory after a tenth of the time


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cancelled(live: Live, draw: random.Random) -> None:
    host, port = live.url.removeprefix("http://").split(":")
    body = {"messages": [{"role": "user", "content": "x" * draw.randrange(200)}], "stream": draw.random() < 0.5}
    data = json.dumps(body).encode()
    with socket.create_connection((host, int(port))) as client:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[: draw.choice([10, len(data)])])
        time.sleep(draw.random() * 0.1)


def answered(live: Live, draw: random.Random) -> None:
    body: dict = {
        "messages": [{"role": "user", "content": "word " * draw.randrange(1, 30)}],
        "n": draw.randrange(1, 4),
        "max_tokens": draw.randrange(1, 60),
        "stream": draw.random() < 0.5,
        "logprobs": draw.random() < 0.3,
    }
    if draw.random() < 0.2:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": {"enum": ["a", "b"]}}}
    status, _, _ = live.ask("/v1/chat/completions", body)
    assert status in (200, 429), status


def malformed(live: Live, draw: random.Random) -> None:
    data = bytes(draw.randrange(256) for _ in range(draw.randrange(100)))
    assert live.ask("/v1/completions", data)[0] == 400
    assert live.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 3000}]})[0] in (400, 429)


def oversized(live: Live, draw: random.Random) -> None:
    assert live.ask("/v1/completions", {"prompt": "x" * 300_000})[0] == 413


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_hours_leave_no_trace() -> None:
    with serving(body_bytes=100_000, most_queued=16, most_running=8) as live:
        end, failures = time.monotonic() + SECONDS, list[BaseException]()

        def work(number: int) -> None:
            draw = random.Random(number)
            while time.monotonic() < end and not failures:
                try:
                    draw.choices([answered, cancelled, malformed, oversized], [6, 3, 2, 1])[0](live, draw)
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 10)
        settled, seen = resident(), []
        while time.monotonic() < end and not failures:
            time.sleep(min(5.0, SECONDS / 20))
            live.log.clear()
            seen.append(resident())
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        live.wait_until_idle()
        pool, counts = live.service.worker.engine.pool, live.service.worker.counts
        print(f"resident {settled / 2**20:.0f} MiB, at most {max(seen) / 2**20:.0f} MiB, {counts}")
        assert max(seen) < GROWTH * settled and counts.failures == 0 and pool.available == pool.count
        assert (
            live.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1})[0]
            == 200
        )
