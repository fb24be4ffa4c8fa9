"""Half an hour of everything at once: good, cancelled, malformed and oversized requests, with an eye on memory.

``pytest -s -m slow tests/serve/test_serve_soak.py`` prints memory over time; FORETELL_SOAK_SECONDS sets another length.
"""

import collections
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
WARM_UP = 0.1  # of the time: threads, their heaps and the caches of grammars and templates come to be
GROWTH = 1.05  # of resident memory after the warm-up
LINES = 30  # of the log


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


class Log:
    """Memory and what was asked for so far, a line at a time."""

    def __init__(self, live: Live, asked: collections.Counter[str]) -> None:
        self.live, self.asked, self.start = live, asked, time.monotonic()
        self.seen: list[int] = []

    def read(self) -> None:
        """Take and print a line."""
        self.seen.append(resident())
        worker = self.live.service.worker
        minutes, kinds = (time.monotonic() - self.start) / 60, ", ".join(f"{n} {k}" for k, n in self.asked.items())
        print(f"{minutes:6.2f} min  {self.seen[-1] / 2**20:7.1f} MiB resident  {worker.counts.generated_tokens:9,} "
              f"tokens  {worker.running} running, {worker.waiting} waiting  requests: {kinds}", flush=True)  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_hours_leave_no_trace() -> None:
    with serving(body_bytes=100_000, most_queued=16, most_running=8) as live:
        end, failures, asked = time.monotonic() + SECONDS, list[BaseException](), collections.Counter[str]()

        def work(number: int) -> None:
            draw = random.Random(number)
            while time.monotonic() < end and not failures:
                (kind,) = draw.choices([answered, cancelled, malformed, oversized], [6, 3, 2, 1])
                try:
                    kind(live, draw)
                except BaseException as error:
                    failures.append(error)
                asked[kind.__name__] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        log = Log(live, asked)
        print()
        time.sleep(SECONDS * WARM_UP)
        while time.monotonic() < end and not failures:
            log.read()
            live.log.clear()
            time.sleep(SECONDS * (1 - WARM_UP) / LINES)
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        live.wait_until_idle()
        log.read()
        pool, counts = live.service.worker.engine.pool, live.service.worker.counts
        print(f"from {log.seen[0] / 2**20:.1f} MiB after the warm-up to {max(log.seen) / 2**20:.1f} MiB at most, "
              f"{max(log.seen) / log.seen[0] - 1:+.1%}; {counts}")  # fmt: skip
        assert max(log.seen) < GROWTH * log.seen[0] and counts.failures == 0 and pool.available == pool.count
        last = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
        assert live.ask("/v1/chat/completions", last)[0] == 200
