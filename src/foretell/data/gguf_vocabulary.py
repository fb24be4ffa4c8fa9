"""A tokenizer and its chat template as the metadata of a GGUF file."""

from __future__ import annotations

import json
from typing import Any

from foretell.core.errors import UserError
from foretell.data.gguf_tokenizer import GPT2, PRE_TOKENIZERS
from foretell.data.sentencepiece import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from foretell.data.tokenizer import Tokenizer

SINGLE = -1e9  # score of a piece that no merge makes


def _expressions(pre: dict[str, Any] | None) -> list[str | None]:
    """What a pre-tokenizer of ``tokenizer.json`` splits by, one after the other; ``None`` for what has no name."""
    if pre is None:
        return [None]
    kind = pre["type"]
    if kind == "Sequence":
        return [found for inner in pre["pretokenizers"] for found in _expressions(inner)]
    if kind == "Split" and pre["behavior"] == "Isolated" and not pre["invert"] and "Regex" in pre["pattern"]:
        return [pre["pattern"]["Regex"]]
    if kind == "Digits" and pre["individual_digits"]:
        return [r"\p{N}"]
    if kind == "ByteLevel" and not pre["add_prefix_space"]:
        return [GPT2] if pre["use_regex"] else []
    return [None]


def _pre_tokenizer_name(content: dict[str, Any]) -> str:
    found = tuple(_expressions(content["pre_tokenizer"]))
    name = next((name for name, expressions in PRE_TOKENIZERS.items() if expressions == found), None)
    if name is None:
        raise UserError(
            "The tokenizer's pre-tokenizer has no name in GGUF that is known here; "
            f"those of {', '.join(PRE_TOKENIZERS)} can be written."
        )
    return name


def _kinds(content: dict[str, Any], texts: list[str], falls_back: bool) -> list[int]:
    kinds = [BYTE if falls_back and len(text) == 6 and text.startswith("<0x") else NORMAL for text in texts]
    for token in content["added_tokens"]:
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    unknown = content["model"].get("unk_token")
    if falls_back and unknown in texts:
        kinds[texts.index(unknown)] = UNKNOWN
    return kinds


def _scores(texts: list[str], merges: list[str]) -> list[float]:
    """Scores under which the best merge is the earliest in the list of merges."""
    first: dict[str, float] = {}
    for rank, merge in enumerate(merges):
        first.setdefault(merge.replace(" ", ""), -float(rank))
    return [first.get(text, SINGLE) for text in texts]


def _prefixed(content: dict[str, Any]) -> bool:
    """Whether a text is given a leading space."""
    stated = json.dumps([content["normalizer"], content["pre_tokenizer"]])
    return '"Prepend"' in stated or '"prepend_scheme": "always"' in stated or '"prepend_scheme": "first"' in stated


def gguf_vocabulary(tokenizer: Tokenizer, size: int, end_of_turn_ids: tuple[int, ...]) -> dict[str, Any]:
    """The keys of a GGUF file that describe a BPE tokenizer; entries up to ``size``, the model's, are padding.

    Raises:
        UserError: where the tokenizer is not a BPE, splits in a way that llama.cpp has no name for, or is larger than
            the model.
    """
    content = json.loads(tokenizer.to_json())
    if content["model"]["type"] != "BPE":
        raise UserError(f"The tokenizer is a {content['model']['type']}; BPE is what can be written as GGUF.")
    if tokenizer.vocab_size > size:
        raise UserError(f"The tokenizer has {tokenizer.vocab_size} entries and the model {size}.")
    entries = content["model"]["vocab"] | {token["content"]: token["id"] for token in content["added_tokens"]}
    texts = [f"[PAD{number}]" for number in range(size)]
    for text, number in entries.items():
        texts[number] = text
    falls_back = bool(content["model"].get("byte_fallback"))
    kinds = _kinds(content, texts, falls_back)
    taken = set(entries.values())
    kinds = [kind if number in taken else UNUSED for number, kind in enumerate(kinds)]
    stated = content["model"]["merges"]  # pairs; in older files each is one string
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in stated]
    found: dict[str, Any] = {"tokens": texts, "token_type": kinds}
    if falls_back:
        found |= {"model": "llama", "pre": "default", "scores": _scores(texts, merges)}
        found["add_space_prefix"] = _prefixed(content)
    else:
        found |= {"model": "gpt2", "pre": _pre_tokenizer_name(content), "merges": merges}
    found |= _special_ids(tokenizer, end_of_turn_ids)
    keys = {f"tokenizer.ggml.{key}": value for key, value in found.items()}
    return keys | ({"tokenizer.chat_template": tokenizer.chat_template} if tokenizer.chat_template else {})


def _special_ids(tokenizer: Tokenizer, end_of_turn_ids: tuple[int, ...]) -> dict[str, Any]:
    named = tokenizer.named_tokens
    ids = {
        "bos": tokenizer.start_ids[0] if tokenizer.start_ids else _id(tokenizer, named.get("bos_token")),
        "eos": tokenizer.end_of_text_id,
        "unknown": _id(tokenizer, named.get("unk_token")),
        "padding": _id(tokenizer, named.get("pad_token")),
        "eot": next((number for number in end_of_turn_ids if number != tokenizer.end_of_text_id), None),
    }
    found: dict[str, Any] = {f"{kind}_token_id": number for kind, number in ids.items() if number is not None}
    return found | {"add_bos_token": bool(tokenizer.start_ids)}


def _id(tokenizer: Tokenizer, text: str | None) -> int | None:
    return None if text is None else tokenizer.special_token_id(text)
