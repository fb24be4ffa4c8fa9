"""Token shards and the stream: nothing lost or repeated in an epoch, exact continuation, ranks, padding, speed."""

import itertools
import json
import random
import statistics
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.data.config import CorpusConfig, SourceConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.stream import TokenStream, heldout_batches
from foretell.data.tokenizer import Tokenizer
from foretell.data.tokens import TokenDataset, tokenize_corpus


class Documents:
    """A data set in memory whose tokens are all different, so that each label can be traced."""

    def __init__(self, lengths):
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.token_count, self.document_count = int(self.offsets[-1]), len(lengths)
        self.tokens = np.arange(1, self.token_count + 1, dtype=np.uint32)
        self.end_of_text_id, self.digest = 0, f"digest of {lengths}"


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def reference_epoch(dataset, context, batches):
    """Labels of the given rows, checked against the plain definition; returns every label that counts."""
    labels = []
    following = {}
    for start, end in itertools.pairwise(dataset.offsets):
        tokens = dataset.tokens[start:end].tolist()
        following.update(itertools.pairwise(tokens))
    starts = set(dataset.tokens[dataset.offsets[:-1]].tolist())
    for batch in batches:
        assert batch.inputs.shape == batch.labels.shape and batch.inputs.dtype == batch.labels.dtype == torch.int64
        assert batch.tokens == int((batch.labels != -100).sum())
        for given_token, label in zip(batch.inputs.flatten().tolist(), batch.labels.flatten().tolist(), strict=True):
            if label == -100:
                continue
            # inside a document the next token; at its end the start of another, or the last end of text
            assert label == following[given_token] if given_token in following else label in starts | {0}
            labels.append(label)
        for inputs, row in zip(batch.inputs.tolist(), batch.labels.tolist(), strict=True):
            pairs = [(i, n) for i, n in zip(inputs[1:], row, strict=False) if n != -100]
            assert all(i == n for i, n in pairs)
    return labels


def expected_labels(dataset, first):
    """All tokens but the one the epoch starts with, and the last end of text."""
    return sorted([0, *(set(dataset.tokens.tolist()) - {first})])


@given(LENGTHS, st.integers(1, 50), st.integers(1, 5), st.integers(0, 3), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=150)
def test_every_token_is_a_label_exactly_once_an_epoch(lengths, context, rows, seed, world):
    dataset = Documents(lengths)
    streams = [TokenStream(dataset, context, rows, seed, rank, world) for rank in range(world)]
    per_epoch = streams[0].rows_per_epoch
    assert per_epoch == -(-dataset.token_count // context)
    epochs = 2
    found = []
    while len(found) < epochs * per_epoch:
        batches = [stream.next_batch() for stream in streams]
        reference_epoch(dataset, context, batches)
        for row in range(rows):  # rank r has rows r, r + world, ...
            found += [batch.labels[row].tolist() for batch in batches]
    for stream in streams:
        stream.close()
    for epoch in range(epochs):
        rows_of_epoch = found[epoch * per_epoch : (epoch + 1) * per_epoch]
        labels = sorted(label for row in rows_of_epoch for label in row if label != -100)
        assert len(labels) == dataset.token_count
        missing = set(dataset.tokens.tolist()) - set(labels)
        assert len(missing) == 1 and missing <= set(dataset.tokens[dataset.offsets[:-1]].tolist())
        assert labels == expected_labels(dataset, missing.pop())


@given(LENGTHS, st.integers(1, 20), st.integers(1, 4), st.integers(0, 12), st.integers(0, 12))
@settings(deadline=None, max_examples=100)
def test_a_saved_position_goes_on_identically(lengths, context, rows, before, after):
    dataset = Documents(lengths)
    stream = TokenStream(dataset, context, rows, seed=7)
    for _ in range(before):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    expected = [next(stream) for _ in range(after)]
    stream.close()
    other = TokenStream(dataset, context, rows, seed=7)
    next(other)  # a batch is prepared already when the state arrives
    other.load_state_dict(state)
    assert other.state_dict() == state
    for batch in expected:
        again = next(other)
        assert torch.equal(batch.inputs, again.inputs) and torch.equal(batch.labels, again.labels)
    other.close()


def test_a_position_goes_on_with_other_ranks():
    dataset = Documents([7, 30, 2, 19])
    alone = TokenStream(dataset, 4, 4, seed=1)
    next(alone)
    expected = next(alone).labels
    ranks = [TokenStream(dataset, 4, 2, 1, rank, 2) for rank in range(2)]
    state = {"position": 4} | {key: value for key, value in alone.state_dict().items() if key != "position"}
    for stream in ranks:
        stream.load_state_dict(state)
    parts = [next(stream).labels for stream in ranks]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), expected)
    for stream in [alone, *ranks]:
        stream.close()


def test_epochs_and_seeds_differ():
    dataset = Documents([10] * 20)

    def epoch(stream):
        return [next(stream).labels.tolist() for _ in range(20)]

    stream = TokenStream(dataset, 10, 1, seed=0)
    first, second = epoch(stream), epoch(stream)
    other = TokenStream(dataset, 10, 1, seed=1)
    assert first != second and first != epoch(other)
    stream.close()
    other.close()


@given(LENGTHS, st.integers(1, 50), st.integers(1, 5))
@settings(deadline=None)
def test_heldout_predicts_every_token_once_in_order(lengths, context, rows):
    dataset = Documents(lengths)
    batches = list(heldout_batches(dataset, context, rows))
    labels = torch.cat([batch.labels for batch in batches]).flatten()
    assert labels[labels != -100].tolist() == [*dataset.tokens[1:].tolist(), 0]
    assert sum(batch.tokens for batch in batches) == dataset.token_count
    inputs = torch.cat([batch.inputs for batch in batches]).flatten()
    assert inputs[labels != -100].tolist() == dataset.tokens.tolist()
    assert all(batch.inputs.shape == (rows, context) for batch in batches)


def test_an_error_in_the_background_reaches_the_consumer():
    dataset = Documents([50, 50])
    stream = TokenStream(dataset, 5, 2, seed=0)
    next(stream)
    dataset.tokens = dataset.tokens[:3]
    with pytest.raises(IndexError):
        for _ in range(3):
            next(stream)
    stream.close()


def test_close_ends_the_thread():
    before = threading.active_count()
    stream = TokenStream(Documents([50]), 5, 2, seed=0)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "seed 5"),
        ({"context": 9}, "context 9"),
        ({"digest": "x"}, "digest 'x'"),
        ({"position": -1}, "position"),
        ({"position": None}, "position"),
    ],
)
def test_a_foreign_state_is_refused(change, message):
    stream = TokenStream(Documents([50]), 5, 2, seed=0)
    with pytest.raises(UserError, match=message):
        stream.load_state_dict(stream.state_dict() | change)
    stream.close()


@pytest.mark.parametrize(
    "arguments", [(0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, 0, 0, 0), (1, 1, 0, 2, 2), (1, 1, 0, -1, 2)]
)
def test_sizes_are_checked(arguments):
    with pytest.raises(UserError, match="expected"):
        TokenStream(Documents([5]), *arguments)


def test_building_a_batch_is_quick():
    rng = np.random.default_rng(0)
    dataset = Documents(rng.integers(100, 5000, size=2000))
    stream = TokenStream(dataset, 256, 16, seed=0)
    next(stream)
    times = []
    for step in range(1, 101):
        start = time.perf_counter()
        stream._build(step * 16)
        times.append(time.perf_counter() - start)
    stream.close()
    assert statistics.median(times) < 2e-3


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    rng = random.Random(0)
    (folder / "in").mkdir()
    for number in range(40):
        text = " ".join(rng.choice(["Grüße", "word", "x = 1", "\n\n", "漢字"]) + str(rng.random()) for _ in range(100))
        (folder / "in" / f"{number}.txt").write_text(text)
    source = SourceConfig(path=str(folder / "in"))
    freeze_corpus(CorpusConfig(sources=(source,)), 0, folder / "corpus")
    return folder / "corpus"


def rows_of(folder, split):
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(folder / "documents.parquet").to_pylist()
    return [row for row in rows if row["split"] == split]


@pytest.fixture(scope="module")
def tokenized(frozen):
    tokenizer = Tokenizer.train([row["text"] for row in rows_of(frozen, "train")], 280)
    index = tokenize_corpus(frozen, tokenizer, frozen.parent / "tokens")
    return frozen, tokenizer, frozen.parent / "tokens", index


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_shards_hold_every_document_after_its_separator(tokenized, split):
    corpus, tokenizer, folder, index = tokenized
    dataset = TokenDataset(folder, split)
    rows = rows_of(corpus, split)
    assert dataset.document_count == len(rows) > 0
    for row, start, end in zip(rows, dataset.offsets[:-1], dataset.offsets[1:], strict=True):
        document = dataset.tokens[start:end].tolist()
        assert document[0] == tokenizer.end_of_text_id
        assert tokenizer.decode(document) == row["text"]
    assert dataset.tokens.dtype == np.uint16 and isinstance(dataset.tokens, np.memmap)
    assert dataset.bytes == sum(row["bytes"] for row in rows)
    assert dataset.words == sum(row["words"] for row in rows)
    assert index["splits"][split]["tokens"] == dataset.token_count == len(dataset.tokens)
    assert index["tokenizer_digest"] == tokenizer.digest


def test_a_large_vocabulary_takes_four_bytes(frozen, tmp_path):
    small = Tokenizer.train([row["text"] for row in rows_of(frozen, "train")], 280)
    content = json.loads(small.to_json())
    content["model"]["vocab"] |= {f"unused {n}": n for n in range(280, 70_000)}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    large = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert large.vocab_size == 70_000
    tokenize_corpus(frozen, large, tmp_path / "large")
    tokenize_corpus(frozen, small, tmp_path / "small")
    one, two = TokenDataset(tmp_path / "large", "train"), TokenDataset(tmp_path / "small", "train")
    assert one.tokens.dtype == np.uint32 and np.array_equal(one.tokens, two.tokens)


@pytest.mark.parametrize("name", ["train.bin", "train.offsets.npy", "index.json"])
def test_cut_and_missing_files_are_named(tokenized, tmp_path, name):
    *_, folder, _ = tokenized
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (tmp_path / name).read_bytes()
    for broken in (content[:-9], content[: len(content) // 2], b""):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(UserError, match=name):
            TokenDataset(tmp_path, "train")
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=name):
        TokenDataset(tmp_path, "train")
    with pytest.raises(UserError, match="split 'test' is unknown"):
        TokenDataset(folder, "test")


def test_a_damaged_corpus_is_named(tokenized, tmp_path):
    corpus, tokenizer, _, _ = tokenized
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "documents.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"documents\.parquet"):
        tokenize_corpus(tmp_path, tokenizer, tmp_path / "tokens")
    assert not (tmp_path / "tokens").exists()
    path.unlink()
    with pytest.raises(UserError, match=r"documents\.parquet is missing"):
        tokenize_corpus(tmp_path, tokenizer, tmp_path / "tokens")
