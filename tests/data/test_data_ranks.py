"""Files of ranks: tiktoken's encodings give what tiktoken gives; Llama 3's special tokens have their ids."""

import base64
import json
import random
from pathlib import Path

import pytest

from foretell.core.errors import UserError
from foretell.data.ranks import from_llama3, from_ranks, is_rank_file

SHARED = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tokenizers are not here")
@pytest.mark.parametrize(("name", "pre"), [("r50k_base", "gpt-2"), ("cl100k_base", "llama-bpe")])
def test_published_encodings(name, pre):
    path = SHARED / "tiktoken" / f"{name}.tiktoken"
    tokenizer = from_ranks(path, pre, ["<|endoftext|>"], None, "<|endoftext|>")
    assert is_rank_file(path) and not is_rank_file(SHARED / "llama" / "tokenizer.model")
    assert tokenizer.start_ids == ()
    for case in json.loads((SHARED / "reference_encodings.json").read_text()):
        if name == "cl100k_base" and "\n\n" in case["text"]:
            continue  # Llama 3 takes runs of newlines together, GPT-4 does not
        assert tokenizer.encode(case["text"]) == case[name], case["text"]


def small_file(folder: Path) -> Path:
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"abc", b" a"]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    random.Random(0).shuffle(lines)
    (folder / "tokenizer.model").write_text("\n".join(lines) + "\n")
    return folder / "tokenizer.model"


def test_llama_3s_special_tokens(tmp_path):
    tokenizer = from_llama3(small_file(tmp_path))
    assert tokenizer.vocab_size == 259 + 256 and tokenizer.start_ids == (259,)
    # In the released models, with 128,000 ranks, these are 128006 and 128009.
    assert tokenizer.special_token_id("<|start_header_id|>") == 259 + 6
    assert tokenizer.special_token_id("<|eot_id|>") == 259 + 9
    assert tokenizer.encode("abc ab<|eot_id|>")[:3] == [257, ord(" "), 256]
    assert tokenizer.decode_bytes(tokenizer.encode("abc ü")) == "abc ü".encode()


def test_what_is_no_file_of_ranks(tmp_path):
    path = small_file(tmp_path)
    text = path.read_text()
    for content, words in ((text + "!!! 5\n", "line 260 is not base64"), (text + "QQ== 900\n", "are not 0 to 259")):
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            from_llama3(path)
    with pytest.raises(UserError, match="cannot be read"):
        from_llama3(tmp_path / "none")
