import small_model
from test_infer_engine import random_ids

from foretell.infer.blocks import BlockPool
from foretell.infer.requests import Request
from foretell.infer.schedule import Running, Scheduler
from foretell.infer.text import TextStream


def sequence(number: int, length: int) -> Running:
    return Running(number, Request(random_ids(length, number), 300), TextStream(small_model.tokenizer()))


def one_pass(scheduler: Scheduler) -> int:
    """Compute a batch, as far as the scheduler can tell; its tokens."""
    batch = scheduler.next_batch()
    for running, span in batch:
        scheduler.advance(running, span.count)
        if running.remaining == 0:
            running.ids.append(1)
    return sum(span.count for _, span in batch)


def test_prompts_are_read_however_many_answers_are_being_written() -> None:
    scheduler = Scheduler(BlockPool(small_model.config(), 2**22), most=16, chunk=8, long_chunk=48)
    writing = [sequence(number, 5) for number in range(12)]
    scheduler.waiting.extend(writing)
    for _ in range(40):
        one_pass(scheduler)
    assert all(one.generated for one in writing)
    late = sequence(12, 40)
    scheduler.waiting.append(late)
    before = [one.generated for one in writing]
    for _ in range(20):
        assert one_pass(scheduler) == 12 + 2  # a quarter of 8 beside all that are being written
    assert late.generated == 1
    assert [one.generated - count for one, count in zip(writing, before, strict=True)] == [20] * 12
