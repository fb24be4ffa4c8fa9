"""The cache's memory: taken as it is used, used again after a reset, and harmless whatever was in it before."""

import math
import os
from pathlib import Path

import pytest
import small_model
import torch
from test_infer_engine import engine, mixed_requests

from foretell.core.errors import UserError
from foretell.infer.blocks import BlockPool


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_a_cache_takes_the_memory_that_it_has_held() -> None:
    before, size = resident(), 2**28
    pool = BlockPool(small_model.config(), size)
    assert resident() - before < size / 16
    while (block := pool.take()) is not None:
        pool.keys[:, block] = 1.0
    assert size * 0.9 < resident() - before


def test_a_reset_begins_anew_in_the_same_memory() -> None:
    tried, requests = engine(), mixed_requests()
    expected = tried.complete(requests)
    keys, values = tried.pool.keys.data_ptr(), tried.pool.values.data_ptr()
    tried.submit(requests[0])
    tried.step()
    tried.reset()
    assert tried.idle and tried.pool.available == tried.pool.count
    assert (tried.pool.keys.data_ptr(), tried.pool.values.data_ptr()) == (keys, values)
    assert [answer.tokens for answer in tried.complete(requests)] == [answer.tokens for answer in expected]


@pytest.mark.parametrize("native", [True, False])
def test_what_was_in_a_block_before_is_of_no_effect(native: bool) -> None:
    """A model or an adapter that computes infinities must not reach the next request through the cache."""
    expected = engine(native).complete(mixed_requests())
    tried = engine(native)
    for stale in (math.nan, math.inf, -1e30):
        with torch.inference_mode():
            tried.pool.keys.fill_(stale)
            tried.pool.values.fill_(stale)
        tried.reset()
        assert [answer.tokens for answer in tried.complete(mixed_requests())] == [one.tokens for one in expected]


def test_more_memory_than_there_is_is_refused() -> None:
    with pytest.raises(UserError, match="which the system does not give"):
        BlockPool(small_model.config(), 2**52)
