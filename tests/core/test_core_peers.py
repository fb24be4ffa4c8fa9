import os

import pytest

from foretell.core.peers import Peer


class _Adder:
    def __init__(self, start: int) -> None:
        self.total = start

    def __call__(self, amount: int) -> tuple[int, int]:
        if amount < 0:
            os._exit(3)
        self.total += amount
        return self.total, os.getpid()


def test_each_keeps_its_own_state_in_a_process_of_its_own() -> None:
    with Peer(_Adder, 10) as one, Peer(_Adder, 100) as other:
        assert [one.ask(1)[0], other.ask(1)[0], one.ask(5)[0]] == [11, 101, 16]
        assert len({one.ask(0)[1], other.ask(0)[1], os.getpid()}) == 3


def test_a_process_that_ends_is_told_of() -> None:
    with Peer(_Adder, 0) as peer, pytest.raises(RuntimeError, match="has ended"):
        peer.ask(-1)
