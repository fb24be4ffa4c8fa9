"""Conversations: what is read and refused, what is learned, and how rows are packed and resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chats import Encoded, LetterChat, chat, write
from foretell.core.errors import UserError
from foretell.data.conversations import (
    Conversation,
    ConversationSet,
    encode_conversations,
    lines_in_words,
    read_conversations,
)
from foretell.data.packing import PADDING, PackedStream, first_fit, packed_batches
from foretell.data.stream import IGNORED


def encoded(count: int, seed: int = 0) -> ConversationSet:
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(1, count + 1):
        question, answer = "q" * int(generator.integers(1, 9)), f"{number}" * int(generator.integers(1, 5))
        rows.append(Conversation(number, chat(question, answer)["messages"]))
    return encode_conversations(rows, LetterChat(), 32)[0]


def test_content_is_a_text_or_a_list_of_text_parts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    path = write(tmp_path / "a.jsonl", chat("q", "a"), "", {**chat("q", "x"), "id": 3}, {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": parts},
                     {"role": "assistant", "content": "c"}]})  # fmt: skip
    found = read_conversations(path)
    assert [row.line for row in found] == [1, 3, 4]
    assert found[2].messages[1] == {"role": "user", "content": "ab"}


@pytest.mark.parametrize(
    ("row", "words"),
    [("{", "not JSON"), ("[1]", "messages is missing"), ({"messages": []}, "messages is missing or empty"),
     ({"messages": ["hello"]}, r"messages\[0\] has no role"),
     ({"messages": [{"content": "x"}]}, r"messages\[0\] has no role"),
     ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\[0\].role is 'robot'; system, user, assistant"),
     (chat(" ", "x"), r"messages\[0\] is empty"), (chat("x", ""), r"messages\[1\] is empty"),
     ({"messages": [{"role": "user"}]}, r"messages\[0\] is empty"),
     ({"messages": [{"role": "user", "content": []}]}, "empty"),
     ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "'image_url'"),
     ({"messages": [{"role": "user", "content": "x"}]}, "nothing to learn"),
     ({**chat("q", "a"), "tools": [{}]}, "tools are not part")],
)  # fmt: skip
def test_bad_rows_are_named_with_their_line(tmp_path: Path, row, words: str) -> None:
    path = write(tmp_path / "a.jsonl", chat("q", "a"), row)
    with pytest.raises(UserError, match=f"line 2: .*{words}"):
        read_conversations(path)


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 5: .*, and 3 more"):
        read_conversations(write(tmp_path / "a.jsonl", *["{"] * 8))
    with pytest.raises(UserError, match="is empty"):
        read_conversations(write(tmp_path / "b.jsonl", ""))
    with pytest.raises(UserError, match="is missing"):
        read_conversations(tmp_path / "c.jsonl")
    (tmp_path / "d.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not readable as text"):
        read_conversations(tmp_path / "d.jsonl")


def test_what_does_not_fit_is_named_and_what_marks_nothing_refused() -> None:
    rows = [Conversation(7, chat("q" * 40, "a")["messages"]), Conversation(9, chat("q", "a")["messages"])]
    kept, too_long = encode_conversations(rows, LetterChat(), 16)
    assert too_long == [7] and kept.lines.tolist() == [9]
    exact = len(LetterChat().encode_for_training(rows[0].messages).ids) - 1
    assert encode_conversations(rows, LetterChat(), exact)[1] == []
    with pytest.raises(UserError, match="None of 1 conversations fits"):
        encode_conversations(rows[:1], LetterChat(), 16)

    class Unmarked(LetterChat):
        def encode_for_training(self, messages):
            ids = super().encode_for_training(messages).ids
            return Encoded(ids, [False] * len(ids))

    class Refusing(LetterChat):
        def encode_for_training(self, messages):
            raise UserError("The chat template refuses these messages: roles must alternate.")

    with pytest.raises(UserError, match=r"line 9 cannot be written: .*alternate"):
        encode_conversations(rows[1:], Refusing(), 16)
    with pytest.raises(UserError, match=r"nothing to learn in 1 conversation \(line 9\)"):
        encode_conversations(rows[1:], Unmarked(), 16)
    assert lines_in_words(range(1, 9)) == "8 conversations (lines 1, 2, 3, 4, 5, ...)"


def test_labels_are_the_assistants_tokens_and_its_end_of_turn() -> None:
    conversations, _ = encode_conversations([Conversation(1, chat("hi", "ok")["messages"])], LetterChat(), 16)
    (batch,) = packed_batches(conversations, 12, 4)
    ids = [4, ord("h"), ord("i"), 0, 9, ord("o"), ord("k"), 0]
    assert batch.inputs[0].tolist() == [*ids[:-1], 0, 0, 0, 0, 0]
    assert batch.labels[0].tolist() == [IGNORED] * 4 + [ord("o"), ord("k"), 0] + [IGNORED] * 5
    assert batch.documents[0].tolist() == [0] * 7 + [PADDING] * 5
    assert batch.tokens == conversations.labels == 3


@given(st.lists(st.integers(1, 20), min_size=1, max_size=300), st.randoms())
def test_rows_hold_everything_once_and_overflow_never(lengths: list[int], random) -> None:
    order = list(range(len(lengths)))
    random.shuffle(order)
    rows = first_fit(np.asarray(lengths), order, 20)
    assert sorted(item for row in rows for item in row) == sorted(order)
    assert all(0 < sum(lengths[item] for item in row) <= 20 for row in rows)
    assert len(rows) <= 2 * sum(lengths) / 20 + len(lengths) / 64 + 1


def conversations_in(batches) -> list[list[int]]:
    return sorted(
        batch.inputs[row][batch.documents[row] == number].tolist()
        for batch in batches
        for row in range(len(batch.inputs))
        for number in batch.documents[row].unique().tolist()
        if number != PADDING
    )


def test_an_epoch_visits_every_conversation_once_in_an_order_of_the_seed() -> None:
    conversations = encoded(40)
    everything = conversations_in(packed_batches(conversations, 32, 8))
    assert len(everything) == 40
    first = PackedStream(conversations, 32, 1, seed=1)
    rows = [first.rows_of(epoch) for epoch in (1, 2, 3)]
    epochs = [[first.next_batch() for _ in range(count)] for count in np.diff([0, *rows])]
    assert all(conversations_in(epoch) == everything for epoch in epochs)
    assert not torch.equal(epochs[0][0].inputs, epochs[1][0].inputs)
    again, other = (PackedStream(conversations, 32, 1, seed=seed).next_batch() for seed in (1, 2))
    assert torch.equal(again.inputs, epochs[0][0].inputs) and not torch.equal(other.inputs, again.inputs)


@given(st.integers(0, 60), st.integers(1, 5))
def test_a_stream_goes_on_exactly(steps: int, rows: int) -> None:
    conversations = encoded(20)
    whole, broken = (PackedStream(conversations, 32, rows, seed=3) for _ in range(2))
    for _ in range(steps):
        whole.next_batch()
    broken.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for _ in range(3):
        one, other = whole.next_batch(), broken.next_batch()
        assert all(torch.equal(*pair) for pair in zip(one.tensors, other.tensors, strict=True))


def test_a_state_of_other_data_is_refused() -> None:
    stream = PackedStream(encoded(20), 32, 2, seed=3)
    for other in (PackedStream(encoded(21), 32, 2, seed=3), PackedStream(encoded(20), 31, 2, seed=3)):
        with pytest.raises(UserError, match="goes on with the data"):
            other.load_state_dict(stream.state_dict())
    with pytest.raises(UserError, match="number of rows"):
        stream.load_state_dict({**stream.state_dict(), "position": -1})
    with pytest.raises(UserError, match="no documents"):
        PackedStream(encoded(3).subset([]), 32, 1, seed=0)


def test_what_is_held_out_is_not_trained_on() -> None:
    questions = ["same" if number % 4 == 0 else f"q{number}" for number in range(40)]
    rows = [Conversation(number, chat(question, "a")["messages"]) for number, question in enumerate(questions)]
    conversations, _ = encode_conversations(rows, LetterChat(), 32)
    for seed in range(5):
        train, held = conversations.split(0.1, seed)
        assert len(train) + len(held) == 40 and 3 <= len(held) <= 12
        texts = [{part.one(index)[0].tobytes() for index in range(len(part))} for part in (train, held)]
        assert not texts[0] & texts[1]
    assert len(conversations.split(0.0, 0)[1]) == 0
    assert conversations.split(0.1, 1)[1].lines.tolist() == conversations.split(0.1, 1)[1].lines.tolist()
    with pytest.raises(UserError, match=r"held_out is 0\.5"):
        conversations.subset([0]).split(0.5, 0)
