"""Sentencepiece's and GGUF's tokenizers against published encodings; damaged files get one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.core.errors import UserError
from foretell.core.gguf import GgufFile
from foretell.data.gguf_tokenizer import PRE_TOKENIZERS, pre_tokenizer, tokenizer_from_gguf
from foretell.data.sentencepiece import BYTE, CONTROL, NORMAL, UNKNOWN, from_llama2c, from_sentencepiece

DATA = Path(__file__).parents[3] / "shared" / "data"
LLAMA = DATA / "tokenizers" / "llama" / "tokenizer.model"
STORIES = DATA / "weights" / "stories260K"
needs_shared = pytest.mark.skipif(not DATA.is_dir(), reason="the shared tokenizers are not here")


def cases():
    return json.loads((DATA / "tokenizers" / "reference_encodings.json").read_text())


@needs_shared
def test_llamas_tokenizer_gives_the_published_encodings():
    tokenizer = from_sentencepiece(LLAMA)
    assert (tokenizer.vocab_size, tokenizer.start_ids, tokenizer.end_of_text_id) == (32000, (1,), 2)
    for case in cases():
        ids = tokenizer.encode(case["text"])
        assert ids == case["llama_sp"]
        assert tokenizer.decode(ids) == case["text"]
        assert tokenizer.decode_bytes(ids) == (b" " if case["text"] else b"") + case["text"].encode()
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(b"caf\xff\xfe")) == b" caf\xff\xfe"
    assert tokenizer.encode("<s></s>")[:1] != [1]


@needs_shared
def test_a_gguf_file_holds_llamas_tokenizer_as_well():
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(str(LLAMA))
    count = model.get_piece_size()
    tests = ((BYTE, model.is_byte), (CONTROL, model.is_control), (UNKNOWN, model.is_unknown))
    kinds = [next((kind for kind, test in tests if test(i)), NORMAL) for i in range(count)]
    metadata = {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in range(count)],
        "tokenizer.ggml.scores": [model.get_score(i) for i in range(count)], "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.chat_template": "x",
    }  # fmt: skip
    tokenizer = tokenizer_from_gguf(GgufFile(Path("x.gguf"), metadata, {}))
    assert (tokenizer.start_ids, tokenizer.end_of_text, tokenizer.chat_template) == ((1,), "</s>", "x")
    for case in cases():
        assert tokenizer.encode(case["text"]) == case["llama_sp"]
    bare = tokenizer_from_gguf(GgufFile(Path("x.gguf"), {**metadata, "tokenizer.ggml.add_space_prefix": False}, {}))
    assert bare.decode_bytes(bare.encode("word")) == b"word" == bare.decode(bare.encode("word")).encode()


@needs_shared
def test_stories_tokenizer_and_its_pieces(tmp_path):
    tokenizer = from_llama2c(STORIES / "tok512.bin")
    for entry in json.loads((STORIES / "tok512.vocab.json").read_text())[3:]:
        raw = bytes.fromhex(entry["bytes_hex"])
        expected = bytes([entry["id"] - 3]) if entry["id"] < 259 else raw
        assert tokenizer.decode_bytes([entry["id"]]) == expected
    (tmp_path / "tok.bin").write_bytes((STORIES / "tok512.bin").read_bytes()[:-1])
    with pytest.raises(UserError, match=r"is not a tokenizer.bin of llama2.c \(piece 511 has"):
        from_llama2c(tmp_path / "tok.bin")


@needs_shared
def test_gpt2s_entries_with_llamacpps_names_give_the_published_encodings():
    folder = DATA / "tokenizers" / "gpt2"
    vocabulary = json.loads((folder / "gpt2_vocab.json").read_text())
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    metadata = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [line for line in (folder / "gpt2_merges.txt").read_text().splitlines() if line],
        "tokenizer.ggml.token_type": [NORMAL] * 50256 + [CONTROL], "tokenizer.ggml.eos_token_id": 50256,
    }  # fmt: skip
    tokenizer = tokenizer_from_gguf(GgufFile(Path("x.gguf"), metadata, {}))
    assert tokenizer.start_ids == ()
    for case in cases():
        assert tokenizer.encode(case["text"]) == case["r50k_base"]
    for change, words in (
        ({"tokenizer.ggml.pre": "tekken"}, r"tokenizer.ggml.pre is 'tekken'; gpt-2, smollm, llama-bpe"),
        ({"tokenizer.ggml.model": "bert"}, "tokenizer.ggml.model is 'bert'; 'gpt2' and 'llama' are read"),
        ({"tokenizer.ggml.merges": ["no such"]}, "merges do not fit its tokens"),
        ({"tokenizer.ggml.eos_token_id": 60000}, "eos_token_id is 60000; an id below 50257"),
        ({"tokenizer.ggml.token_type": [1]}, "are not equally many"),
    ):
        with pytest.raises(UserError, match=words):
            tokenizer_from_gguf(GgufFile(Path("x.gguf"), {**metadata, **change}, {}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gpt-2", ["I", "'ll", " pay", " $", "12345", "...", "\n ", " OK"]),
     ("smollm", ["I", "'ll", " pay", " $", "1", "2", "3", "4", "5", "...", "\n ", " OK"]),
     ("llama-bpe", ["I", "'ll", " pay", " $", "123", "45", "...\n", " ", " OK"]),
     ("qwen2", ["I", "'ll", " pay", " $", "1", "2", "3", "4", "5", "...\n", " ", " OK"]),
     ("default", ["I", "'", "ll", " pay", " ", "$", "123", "45", "...", "\n ", " OK"])],
)  # fmt: skip
def test_pre_tokenizers_split_as_their_models_did(name, expected):
    text = "I'll pay $12345...\n  OK"
    found = [text[slice(*place)] for _, place in pre_tokenizer(name).pre_tokenize_str(text)]
    assert found == expected


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
@given(text=st.text())
def test_pre_tokenizers_lose_nothing(name, text):
    pieces = pre_tokenizer(name).pre_tokenize_str(text)
    assert "".join(text[slice(*place)] for _, place in dict.fromkeys(pieces)) == text


@needs_shared
def test_what_is_no_sentencepiece_model(tmp_path):
    for content, words in (
        (b"\xff\xff\xff", "is not a sentencepiece model"),
        (b"", "it has no pieces"),
        (LLAMA.read_bytes()[:5000], "is not a sentencepiece model|model_type is 0"),
    ):
        (tmp_path / "tokenizer.model").write_bytes(content)
        with pytest.raises(UserError, match=words):
            from_sentencepiece(tmp_path / "tokenizer.model")
    with pytest.raises(UserError, match="cannot be read"):
        from_sentencepiece(tmp_path / "none.model")
