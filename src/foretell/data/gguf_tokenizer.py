"""The tokenizer and the chat template inside a GGUF file.

Keys and pre-tokenizers: llama.cpp's ``llama-vocab.cpp``, which names them after the models that brought them.
"""

from __future__ import annotations

from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from foretell.core.errors import UserError
from foretell.core.gguf import GgufFile
from foretell.data.sentencepiece import NORMAL, Piece, add_tokens, backend_of, begin_texts_with
from foretell.data.tokenizer import Tokenizer

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Expressions that split a text one after the other.
PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "gpt-2": (GPT2,),
    "smollm": (r"\p{N}", GPT2),
    "llama-bpe": (rf"{_SUFFIXES}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",),
    "qwen2": (rf"{_SUFFIXES}|{_WORDS}|\p{{N}}|{_REST}",),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
# Entries of the vocabulary that are found whole even where no merges lead to them.
_WHOLE_ENTRIES = ("llama-bpe",)
# Texts begin with a beginning-of-text token unless the file says otherwise.
_BEGUN = ("llama-bpe",)
# transformers' Qwen2 tokenizer composes characters first, and so were the models trained.
_COMPOSED = ("qwen2",)
_NAMED = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer that llama.cpp calls ``name``, one of :data:`PRE_TOKENIZERS`."""
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name]]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def tokenizer_from_gguf(file: GgufFile) -> Tokenizer:
    """The tokenizer of a GGUF file, its chat template among its settings.

    Raises:
        UserError: where the file has none, or one of a kind that is not read.
    """
    kind = file.require("tokenizer.ggml.model")
    texts = file.require("tokenizer.ggml.tokens")
    kinds = file.metadata.get("tokenizer.ggml.token_type") or [NORMAL] * len(texts)
    scores = file.metadata.get("tokenizer.ggml.scores") or [0.0] * len(texts)
    if len({len(texts), len(kinds), len(scores)}) > 1:
        raise UserError(f"{file.path}: tokens, scores and types of the tokenizer are not equally many.")
    pieces = [Piece(*entry) for entry in zip(texts, scores, kinds, strict=True)]
    if kind == "gpt2":
        backend = _byte_level(file, pieces)
    elif kind == "llama":
        backend = backend_of(pieces, prefix=file.metadata.get("tokenizer.ggml.add_space_prefix", True))
    else:
        raise UserError(f"{file.path}: tokenizer.ggml.model is {kind!r}; 'gpt2' and 'llama' are read.")
    adds_begin = kind == "llama" or file.metadata.get("tokenizer.ggml.pre") in _BEGUN
    settings = _settings(file, pieces, adds_begin)
    if settings["add_bos_token"] and "bos_token" in settings:
        begin_texts_with(backend, settings["bos_token"])
    return Tokenizer(backend, settings, settings.get("eos_token"))


def _byte_level(file: GgufFile, pieces: list[Piece]) -> tokenizers.Tokenizer:
    pre = file.metadata.get("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise UserError(f"{file.path}: tokenizer.ggml.pre is {pre!r}; {', '.join(PRE_TOKENIZERS)} are read.")
    vocabulary = {piece.text: number for number, piece in enumerate(pieces)}
    merges = [tuple(merge.split(" ", 1)) for merge in file.require("tokenizer.ggml.merges")]
    try:
        model = models.BPE(vocabulary, merges, ignore_merges=pre in _WHOLE_ENTRIES)  # type: ignore[arg-type]
    except Exception as error:  # the Rust library raises plain exceptions
        raise UserError(f"{file.path}: the tokenizer's merges do not fit its tokens ({error}).") from error
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizer(pre)
    backend.decoder = decoders.ByteLevel()
    if pre in _COMPOSED:
        backend.normalizer = normalizers.NFC()
    add_tokens(backend, pieces)
    return backend


def _settings(file: GgufFile, pieces: list[Piece], adds_begin: bool) -> dict[str, Any]:
    """What ``tokenizer_config.json`` would say."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": file.metadata.get("tokenizer.ggml.add_bos_token", adds_begin),
    }
    for theirs, ours in _NAMED.items():
        number = file.metadata.get(f"tokenizer.ggml.{theirs}_token_id")
        if number is not None:
            if not 0 <= number < len(pieces):
                raise UserError(
                    f"{file.path}: tokenizer.ggml.{theirs}_token_id is {number}; an id below {len(pieces)} is expected."
                )
            settings[ours] = pieces[number].text
    template = file.metadata.get("tokenizer.chat_template")
    return settings | ({"chat_template": template} if template else {})
