"""Visual documents: encoded as a single question is, stored without loss, packed, swapped and blanked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foretell.core.errors import UserError
from foretell.core.packing import BRANCHES
from foretell.data.images import normalised, patch_bytes, prepare
from foretell.data.packing import PackedStream, packed_batches
from foretell.data.stream import IGNORED
from foretell.data.visual.documents import Exchange, VisualDocument
from foretell.data.visual.encode import VisualEncoder, encode_within
from foretell.data.visual.store import BLANK, VisualSet
from visual_documents import documents, visual_store, visual_tokenizer

TOKENIZER = visual_tokenizer()
ENCODER = VisualEncoder.of(TOKENIZER, patch=8, longest=32)


def alone(document: VisualDocument, number: int) -> VisualDocument:
    return VisualDocument(document.images, (document.exchanges[number],), document.identity)


def test_each_question_is_read_as_if_it_were_the_only_one() -> None:
    (document,) = documents(1)
    whole = ENCODER.encode(document)
    trunk = whole.branches == 0
    for number in range(2):
        single = ENCODER.encode(alone(document, number))
        mine = trunk | (whole.branches == number + 1)
        assert set(single.branches) == {0}
        np.testing.assert_array_equal(whole.inputs[mine], single.inputs)
        np.testing.assert_array_equal(whole.labels[mine], single.labels)
        np.testing.assert_array_equal(whole.positions[mine], single.positions)
        np.testing.assert_array_equal(single.positions, np.arange(len(single.inputs)))


def test_answers_and_nothing_else_are_learned() -> None:
    (document,) = documents(1)
    encoded = ENCODER.encode(document)
    for number, exchange in enumerate(document.exchanges, 1):
        labels = encoded.labels[(encoded.branches == number) & (encoded.labels != IGNORED)]
        assert TOKENIZER.decode(labels.tolist()) == exchange.answer
        assert labels[-1] == TOKENIZER.special_token_id("<|im_end|>")
    assert (encoded.labels[encoded.branches == 0] == IGNORED).all()


def test_a_spelled_answer_is_learned_a_character_at_a_time() -> None:
    (document,) = documents(1)
    asked = [replace(exchange, answer="green it is é") for exchange in document.exchanges]
    asked[1] = replace(asked[1], spelled=True)
    encoded = ENCODER.encode(replace(document, exchanges=tuple(asked)))
    first, second = (encoded.labels[(encoded.branches == n) & (encoded.labels != IGNORED)].tolist() for n in (1, 2))
    assert TOKENIZER.decode(first) == TOKENIZER.decode(second) == "green it is é"
    assert first[-1] == second[-1] and len(second) == len("green it is é".encode()) + 1 > len(first)


def test_images_stand_where_their_tokens_are() -> None:
    first, second = Image.new("RGB", (24, 8), (255, 0, 0)), Image.new("RGB", (8, 16), (0, 0, 255))
    asked = (Exchange("same?", "no"), Exchange("which is wider?", "first"))
    encoded = ENCODER.encode(VisualDocument((first, second), asked, "two"))
    assert encoded.grids == ((1, 3), (2, 1))
    assert (encoded.inputs == ENCODER.tokens.image).sum() == len(encoded.patches) == 5
    np.testing.assert_array_equal(encoded.patches[:3], patch_bytes(prepare(first, 8, 32), 8))
    assert (encoded.branches[encoded.inputs == ENCODER.tokens.image] == 0).all()


def test_long_documents_come_in_pieces() -> None:
    (document,) = documents(1)
    asked = tuple(Exchange(f"which colour is it number {n}?", "red") for n in range(20))
    long = VisualDocument(document.images, (*asked, Exchange("why? " * 100, "no")), "long")
    pieces = encode_within(ENCODER, long, 96)
    assert len(pieces) > 1 and all(len(encoded.inputs) <= 96 for _, encoded in pieces)
    assert [exchange for piece, _ in pieces for exchange in piece.exchanges] == list(asked)
    assert all(np.array_equal(encoded.patches, ENCODER.encode(document).patches) for _, encoded in pieces)


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    visual_store(tmp_path, TOKENIZER, sizes=(8, 16, 24))
    stored = VisualSet(tmp_path, "train")
    for batch in packed_batches(stored, 96, 4):
        there = batch.places[..., 0] >= 0
        assert torch.equal((batch.inputs == ENCODER.tokens.image).sum(1), there.sum(1))
    for number, document in enumerate(documents(120, 1, (8, 16, 24))):
        encoded = ENCODER.encode(document)
        batch = stored.batch([[number]], 96)
        length = len(encoded.inputs)
        assert batch.inputs[0, :length].tolist() == encoded.inputs.tolist()
        assert batch.labels[0, :length].tolist() == encoded.labels.tolist()
        assert (batch.documents[0, :length] % BRANCHES).tolist() == encoded.branches.tolist()
        np.testing.assert_array_equal(batch.patches[0].numpy(), normalised(encoded.patches))
    assert [question["answer"] for question in stored.questions[:2]] == [
        e.answer for e in next(documents(1, 1, (8, 16, 24))).exchanges
    ]


def test_a_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    visual_store(tmp_path, TOKENIZER)
    whole, broken = (PackedStream(VisualSet(tmp_path, "train"), 96, 3, 0) for _ in range(2))
    for _ in range(30):
        whole.next_batch()
    state = whole.state_dict()
    broken.load_state_dict(state)
    for one, other in zip(whole.next_batch().tensors, broken.next_batch().tensors, strict=True):
        assert torch.equal(one, other)


def test_other_images_and_none(tmp_path: Path) -> None:
    visual_store(tmp_path, TOKENIZER, sizes=(8, 16))
    stored = VisualSet(tmp_path, "heldout")
    swapped, blank = stored.swapped(0), stored.blank()
    assert (swapped.shown != stored.shown).all() and sorted(swapped.shown) == sorted(stored.shown)
    for number in range(len(stored.lengths)):
        other = int(swapped.shown[number])
        np.testing.assert_array_equal(swapped.pixels(number), stored.pixels(other))
        assert swapped.pixels(number).shape == stored.pixels(number).shape == blank.pixels(number).shape
        assert (blank.pixels(number) == BLANK).all()


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        VisualSet(tmp_path, "train")
    visual_store(tmp_path, TOKENIZER)
    (tmp_path / "train.pixels.bin").write_bytes(b"")
    with pytest.raises(UserError, match="no whole visual documents"):
        VisualSet(tmp_path, "train")
