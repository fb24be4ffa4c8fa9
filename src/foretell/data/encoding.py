"""Encoding a corpus quickly: each distinct piece goes through the tokenizer once.

BPE works within the pieces of its pre-tokenizer, and text repeats its pieces: 60 MB of Python have 16 million of them,
of which one in a hundred is new. Looking a piece up costs far less than encoding it. The pattern of Foretell's own
tokenizers is known, and for ASCII it can be said with the standard library's ``re``; words with other characters, and
texts for any other tokenizer, go through the tokenizer itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from foretell.data.tokenizer import Tokenizer, own_pre_tokenizer

REMEMBERED_PIECES = 1_000_000
# GPT-2's pattern with every digit apart: white space in front of a digit is a piece whole.
_SPACE = r"\t\n\x0b\x0c\r "
_PIECE = re.compile(
    r"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+|[0-9]"
    rf"| ?[^{_SPACE}A-Za-z0-9]+|[{_SPACE}]+(?![^{_SPACE}0-9])|[{_SPACE}]+"
)
# No piece goes from a character over to white space after it, so a text may be cut there.
_WORD = re.compile(r"[ \t\n\r]*[^ \t\n\r]+|[ \t\n\r]+")
_OTHER_SPACE = re.compile(r"[^\S \t\n\r]")


class CorpusEncoder:
    """Texts to the bytes of their ids."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype[Any]) -> None:
        settings = json.loads(tokenizer.to_json())
        self._tokenizer, self._dtype = tokenizer, dtype
        self._by_piece = (
            settings["pre_tokenizer"] == own_pre_tokenizer()
            and settings["normalizer"] is None
            and all(token["special"] for token in settings["added_tokens"])
        )
        self._known: dict[str, bytes] = {}

    def encode(self, texts: Sequence[str]) -> list[bytes]:
        """The ids of each text as the bytes of an array of the encoder's dtype; equal to those of the tokenizer."""
        if len(self._known) > REMEMBERED_PIECES:
            self._known.clear()
        known = self._known
        pieces = [_pieces(text) if self._by_piece else [text] for text in texts]
        fresh = sorted(set(chain.from_iterable(pieces)).difference(known))
        known.update(zip(fresh, map(self._pack, self._tokenizer.encode_batch(fresh)), strict=True))
        packed = [b"".join(map(known.__getitem__, text)) for text in pieces]
        if not self._by_piece:  # whole texts do not come again
            known.clear()
        return packed

    def _pack(self, ids: list[int]) -> bytes:
        return np.asarray(ids, dtype=self._dtype).tobytes()


def _pieces(text: str) -> list[str]:
    """Cut a text where the pre-tokenizer does, though not everywhere it does."""
    if text.isascii():
        return _PIECE.findall(text)
    if _OTHER_SPACE.search(text):
        return [text]
    return [piece for word in _WORD.findall(text) for piece in (_PIECE.findall(word) if word.isascii() else (word,))]
