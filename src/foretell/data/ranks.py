"""Byte-level BPE from a file of ranks, as tiktoken's encodings and Llama 3's ``tokenizer.model`` are.

Each line is a token's bytes in base64 and its rank, which is its id; of two possible merges the one whose result has
the lower rank comes first (https://github.com/openai/tiktoken).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models

from foretell.core.errors import UserError
from foretell.data.gguf_tokenizer import pre_tokenizer
from foretell.data.sentencepiece import NORMAL, Piece, begin_texts_with, merges_of
from foretell.data.tokenizer import Tokenizer, byte_characters

# Of Meta's llama-models, version 3.1, from the id after the last rank on; the others are reserved.
LLAMA3_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
LLAMA3_SPECIAL_COUNT = 256


def is_rank_file(path: Path) -> bool:
    """Whether a file begins with a token in base64 and its rank."""
    with path.open("rb") as file:
        parts = file.readline(1000).split()
    return len(parts) == 2 and parts[1].isdigit()


def from_ranks(path: Path, pre: str, special: Sequence[str], begin: str | None, end: str) -> Tokenizer:
    """Read a file of ranks.

    Args:
        path: the file.
        pre: the pre-tokenizer, by llama.cpp's name.
        special: special tokens, whose ids follow the ranks.
        begin: what is put before a text, if anything.
        end: the end-of-text token.

    Raises:
        UserError: where the file is missing, is not of that format, or lacks a rank.
    """
    letters = byte_characters()
    texts: dict[int, str] = {}
    try:
        for line in path.read_bytes().splitlines():
            encoded, rank = line.split()
            texts[int(rank)] = "".join(letters[byte] for byte in base64.b64decode(encoded, validate=True))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, binascii.Error) as error:
        raise UserError(f"{path} is not a file of ranks: line {len(texts) + 1} is not base64 and a number.") from error
    if sorted(texts) != list(range(len(texts))):
        raise UserError(f"{path} is not a file of ranks: they are not 0 to {len(texts) - 1}.")
    pieces = [Piece(texts[rank], -float(rank), NORMAL) for rank in range(len(texts))]
    vocabulary = {piece.text: rank for rank, piece in enumerate(pieces)}
    vocabulary |= {token: len(pieces) + number for number, token in enumerate(special)}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges_of(pieces), ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizer(pre)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "eos_token": end,
                "add_bos_token": begin is not None}  # fmt: skip
    if begin is not None:
        settings["bos_token"] = begin
        begin_texts_with(backend, begin)
    return Tokenizer(backend, settings, end)


def from_llama3(path: Path) -> Tokenizer:
    """Read Llama 3's ``tokenizer.model``. Errors are those of :func:`from_ranks`."""
    reserved = (f"<|reserved_special_token_{number}|>" for number in range(2, LLAMA3_SPECIAL_COUNT))
    special = [*LLAMA3_SPECIAL, *reserved][:LLAMA3_SPECIAL_COUNT]
    return from_ranks(path, "llama-bpe", special, LLAMA3_SPECIAL[0], LLAMA3_SPECIAL[1])
