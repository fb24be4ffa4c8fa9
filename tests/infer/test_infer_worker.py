import threading
import time

import pytest
from test_infer_engine import GREEDY, engine, mixed_requests, random_ids

from foretell.core.errors import UserError
from foretell.infer.requests import Request, Update, completed
from foretell.infer.worker import EngineThread


class Answer:
    """Collects the updates of one request."""

    def __init__(self, worker: EngineThread, request: Request) -> None:
        self.updates: list[Update] = []
        self.done = threading.Event()
        self.number = worker.submit(request, self.take)

    def take(self, update: Update) -> None:
        self.updates.append(update)
        if update.finish:
            self.done.set()

    def wait(self):
        assert self.done.wait(30)
        return completed(self.updates)


def test_many_threads_get_the_answers_they_would_get_alone() -> None:
    requests = mixed_requests()
    expected = [engine().complete([request])[0] for request in requests]
    worker = EngineThread(engine())
    found: dict[int, object] = {}

    def ask(index: int) -> None:
        found[index] = Answer(worker, requests[index]).wait()

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index].tokens for index in range(len(requests))] == [answer.tokens for answer in expected]
    assert worker.counts.generated_tokens == sum(len(answer.tokens) for answer in expected)
    worker.stop(1)
    assert not worker.alive


def test_stopping_finishes_what_runs_and_cancels_what_takes_too_long() -> None:
    worker = EngineThread(engine())
    short, long = Answer(worker, Request(random_ids(10), 5, GREEDY)), Answer(worker, Request(random_ids(10), 390))
    short.wait()
    worker.stop(0)
    assert long.wait().finish in ("cancelled", "length") and not worker.alive
    with pytest.raises(RuntimeError, match="stopping"):
        worker.submit(Request(random_ids(10), 5), lambda update: None)


def test_cancelling_and_mistakes() -> None:
    worker = EngineThread(engine())
    long = Answer(worker, Request(random_ids(10), 390))
    worker.cancel(long.number)
    assert long.wait().finish == "cancelled"
    worker.cancel(long.number)
    with pytest.raises(UserError, match="empty"):
        worker.submit(Request((), 5), lambda update: None)
    assert Answer(worker, Request(random_ids(10), 5)).wait().finish == "length"
    worker.stop(1)


def test_a_failing_pass_ends_its_requests_and_nothing_else(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    worker = EngineThread(engine())
    states = worker.engine.decoder.states

    def broken(*_):
        raise ArithmeticError("a broken pass")

    monkeypatch.setattr(worker.engine.decoder, "states", broken)
    assert Answer(worker, Request(random_ids(10), 5)).wait().finish == "error"
    monkeypatch.setattr(worker.engine.decoder, "states", states)
    failing = worker.submit(Request(random_ids(10), 5, GREEDY), lambda update: 1 / 0)
    (expected,) = engine().complete([Request(random_ids(10), 5, GREEDY)])
    assert Answer(worker, Request(random_ids(10), 5, GREEDY)).wait().tokens == expected.tokens
    time.sleep(0.05)
    assert worker.counts.failures == 1 and worker.running == worker.waiting == 0 and failing >= 0
    assert "a broken pass" in capsys.readouterr().err
    worker.stop(1)


def test_a_thread_that_dies_tells_everybody_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    worker = EngineThread(engine())

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(worker.engine, "reset", no_memory)
    monkeypatch.setattr(worker.engine.decoder, "states", no_memory)
    assert Answer(worker, Request(random_ids(10), 5)).wait().finish == "error"
    worker._thread.join(10)
    with pytest.raises(RuntimeError, match="stopping"):
        worker.submit(Request(random_ids(10), 5), lambda update: None)
