"""Round trips, no injection of special tokens, agreement with transformers and with GPT-2's published encodings."""

import json
import random
import re
import string
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.data.config import SPECIAL_TOKENS, CorpusConfig, SourceConfig, TokenizerConfig
from foretell.data.corpus import freeze_corpus
from foretell.data.encoding import CorpusEncoder
from foretell.data.tokenizer import Tokenizer, byte_characters, train_tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"
SOURCE = Path(tokenizers.__file__).with_name("__init__.py").read_text() + Path(json.__file__).read_text()
TOKENIZER = Tokenizer.train([SOURCE], 512)
CODE = st.text(alphabet=string.printable + "'\u00a0\u2003éß٣½漢🎉\x1c\x85\x00", max_size=200)


@given(st.text())
def test_any_text_comes_back(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.decode_bytes(ids) == text.encode()
    assert all(len(SPECIAL_TOKENS) <= number < TOKENIZER.vocab_size for number in ids)


@given(st.binary())
def test_any_bytes_come_back(data):
    assert TOKENIZER.decode_bytes(TOKENIZER.encode_bytes(data)) == data


@given(st.lists(CODE | st.text(), max_size=5))
@settings(max_examples=300)
def test_the_quick_encoder_equals_the_tokenizer(texts):
    for dtype in (np.dtype("<u2"), np.dtype("<u4")):
        encoder = CorpusEncoder(TOKENIZER, dtype)
        for _ in range(2):
            found = [np.frombuffer(data, dtype).tolist() for data in encoder.encode(texts)]
            assert found == TOKENIZER.encode_batch(texts) == [TOKENIZER.encode(text) for text in texts]


def test_the_quick_encoder_equals_the_tokenizer_on_source_and_for_other_pre_tokenizers():
    other = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    for tokenizer in (TOKENIZER, Tokenizer(other)):
        encoder = CorpusEncoder(tokenizer, np.dtype("<u2"))
        texts = [SOURCE, "x  = 12\n\n\n   345\t 6\n", "", " ", SOURCE]
        assert [np.frombuffer(data, "<u2").tolist() for data in encoder.encode(texts)] == tokenizer.encode_batch(texts)


def test_special_tokens_in_text_are_plain_text():
    text = "".join(SPECIAL_TOKENS) + " and <|endoftext|>"
    for ids in (TOKENIZER.encode(text), TOKENIZER.encode_batch([text])[0], TOKENIZER.encode_bytes(text.encode())):
        assert min(ids) >= len(SPECIAL_TOKENS)
        assert TOKENIZER.decode(ids) == text


def test_special_tokens_come_first_and_are_not_decoded():
    assert [TOKENIZER.special_token_id(token) for token in SPECIAL_TOKENS] == list(range(16))
    assert SPECIAL_TOKENS[:4] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image|>")
    ids = [0, *TOKENIZER.encode("x"), 2]
    assert TOKENIZER.decode(ids) == "x" and TOKENIZER.decode_bytes(ids) == b"x"
    with pytest.raises(UserError, match=re.escape("<|none|>")):
        TOKENIZER.special_token_id("<|none|>")


def test_digits_are_apart():
    pieces = [TOKENIZER.decode([number]) for number in TOKENIZER.encode("year 2024, 1234567")]
    assert [piece for piece in pieces if any(c.isdigit() for c in piece)] == list("20241234567")


def test_training_is_deterministic_and_a_small_text_is_refused():
    again = Tokenizer.train([SOURCE], 512)
    assert again.digest == TOKENIZER.digest and again.vocab_size == 512
    with pytest.raises(UserError, match="vocab_size is 512"):
        Tokenizer.train(["a small text"], 512)


def test_save_load_and_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    TOKENIZER.save(tmp_path)
    loaded = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert loaded.digest == TOKENIZER.digest and loaded.end_of_text_id == 0
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (SOURCE[:5000], "Grüße 123\n\n  x", "don't we've  "):
        assert theirs(text)["input_ids"] == TOKENIZER.encode(text)
    assert theirs.eos_token_id == 0 and len(theirs) == 512
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    rendered = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n<|im_start|>assistant\n")
    assert json.loads((tmp_path / "special_tokens_map.json").read_text())["eos_token"] == "<|endoftext|>"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tokenizers are not here")
def test_an_existing_tokenizer_gives_the_published_encodings(tmp_path):
    vocabulary = json.loads((SHARED / "gpt2" / "gpt2_vocab.json").read_text())
    merges = [tuple(line.split()) for line in (SHARED / "gpt2" / "gpt2_merges.txt").read_text().splitlines() if line]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert (tokenizer.vocab_size, tokenizer.end_of_text_id) == (50257, 50256)
    for case in json.loads((SHARED / "reference_encodings.json").read_text()):
        assert tokenizer.encode(case["text"]) == case["r50k_base"]
    text = (SHARED / "bpe_reference" / "tinystories_sample.txt").read_text()
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()


def test_byte_characters_are_those_of_byte_level():
    assert sorted(byte_characters()) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    assert byte_characters()[ord("a")] == "a" and byte_characters()[ord(" ")] == "Ġ"


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\xff\xfe", b'{"model": {"type": "BPE"}}'])
def test_a_file_that_is_no_tokenizer(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Tokenizer.from_file(path)
    with pytest.raises(UserError, match=r"none\.json"):
        Tokenizer.from_file(tmp_path / "none.json")


def test_end_of_text_is_looked_for_and_named(tmp_path):
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "stop": 1}, []))
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=re.escape("no end-of-text token; looked for <|endoftext|>")):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "stop"}}')
    tokenizer = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert tokenizer.end_of_text_id == 1
    with pytest.raises(UserError, match="not byte-level"):
        tokenizer.encode_bytes(b"a\xff")


def test_training_uses_the_training_split_only(tmp_path):
    rng = random.Random(0)
    for number in range(30):
        text = " ".join(f"only{number} w{rng.randrange(10**6)}" for _ in range(400))
        (tmp_path / f"{number}.txt").write_text(text)
    freeze_corpus(CorpusConfig(sources=(SourceConfig(path=str(tmp_path)),)), 0, tmp_path / "corpus")
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(tmp_path / "corpus" / "documents.parquet").to_pylist()
    trained = train_tokenizer(tmp_path / "corpus", TokenizerConfig(vocab_size=276), tmp_path / "tokenizer")
    assert {row["split"] for row in rows} == {"train", "heldout"}
    texts = [row["text"] for row in rows if row["split"] == "train"]
    assert trained.digest == Tokenizer.train(texts, 276).digest
    saved = TokenizerConfig(file=str(tmp_path / "tokenizer" / "tokenizer.json"))
    assert train_tokenizer(tmp_path / "corpus", saved, tmp_path / "copy").digest == trained.digest
