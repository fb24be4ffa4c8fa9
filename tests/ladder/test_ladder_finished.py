"""Files of references: what is written is read, and what is not one is refused."""

from __future__ import annotations

import json
import lzma
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.ladder import finished
from foretell.ladder.finished import FEATURES, Finished


def reference(count: int, seed: int = 0) -> Finished:
    generator = np.random.default_rng(seed)
    features = generator.exponential(2.0, (count, len(FEATURES))).astype(np.float32)
    return Finished("naïve text", "key", "from", features, generator.exponential(2.0, count).astype(np.float32))


def whole(reference: Finished) -> np.ndarray:
    """Its tokens as they are kept, in an order of their own."""
    numbers = np.round(np.column_stack([reference.features, reference.nats]) * 256)
    return numbers[np.lexsort(numbers.T[::-1])]


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 500), seed=st.integers(0, 99))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int) -> None:
    path, made = tmp_path_factory.mktemp("kept") / "a.reference.xz", reference(count, seed)
    made.save(path)
    read = Finished.load(path)
    assert (read.name, read.recipe, read.sources) == (made.name, made.recipe, made.sources)
    assert read.features.flags.c_contiguous and np.array_equal(whole(read), whole(made))


def test_the_order_of_the_text_is_not_kept(tmp_path: Path) -> None:
    made, mixed = reference(200), np.random.default_rng(1).permutation(200)
    made.save(tmp_path / "a")
    replace(made, features=made.features[mixed], nats=made.nats[mixed]).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numbers_beyond_what_is_kept_are_the_largest_that_is(tmp_path: Path) -> None:
    made = reference(3)
    made.nats[:] = 1e9, -1.0, 2.0
    made.save(tmp_path / "a")
    assert sorted(Finished.load(tmp_path / "a").nats.tolist()) == pytest.approx(sorted([(2**16 - 1) / 256, 0.0, 2.0]))


def test_of_many_tokens_some_are_kept_that_cost_as_much(tmp_path: Path) -> None:
    made = reference(40_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finished, "MOST_KEPT", 1_000)
        made.save(tmp_path / "a")
    read = Finished.load(tmp_path / "a")
    assert len(read.nats) == 1_000 and read.nats.mean() == pytest.approx(made.nats.mean(), rel=2e-3)
    among = {tuple(row) for row in whole(made).tolist()}
    assert all(tuple(row) in among for row in whole(read).tolist())


def damaged(path: Path) -> list[bytes]:
    whole = lzma.decompress(path.read_bytes())
    header, _, numbers = whole.partition(b"\n")
    record = json.loads(header)
    fewer, shorter = {**record, "features": record["features"][1:]}, numbers[: -len(numbers) // (len(FEATURES) + 1)]

    def other(record: object, numbers: bytes = numbers) -> bytes:
        return lzma.compress(json.dumps(record).encode() + b"\n" + numbers)

    return [
        b"", b"not xz", path.read_bytes()[:-20], lzma.compress(b"text"), lzma.compress(whole[:-1]),
        lzma.compress(whole + b"x"), other([]), other({**record, "features": 3}), other(fewer, shorter),
        *(other({**record, "tokens": count}) for count in (0, -1, 2**40, "x", math.inf)), lzma.compress(b"[" * 60_000),
    ]  # fmt: skip


def test_what_is_no_reference_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.reference.xz"
    reference(50).save(path)
    for raw in damaged(path):
        path.write_bytes(raw)
        with pytest.raises(UserError, match=r"a\.reference\.xz is no reference that this version reads: .+"):
            Finished.load(path)
