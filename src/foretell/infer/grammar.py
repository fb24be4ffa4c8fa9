"""Answers of a given form, a JSON schema or a grammar in llguidance's dialect of Lark, as masks over the next token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from foretell.core.errors import UserError
from foretell.data.tokenizer import Tokenizer

if TYPE_CHECKING:
    import llguidance

# Flexible white space lets a small model write spaces for ever; these are what json.dumps writes.
JSON_STYLE: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class GrammarFactory:
    """Grammars over one tokenizer.

    Args:
        tokenizer: whose tokens are masked.
        vocab_size: of the model, whose table may be longer than the tokenizer's.
        ends: tokens that end an answer; allowed where the grammar is complete.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, ends: Sequence[int]) -> None:
        """Prepare the tokens, which takes about a second for 50,000.

        Raises:
            UserError: where llguidance is not installed.
        """
        try:
            import llguidance
        except ImportError as error:
            raise UserError("Answers of a given form need an extra: pip install 'foretell[serve]'.") from error
        self._matcher = llguidance.LLMatcher
        self._ends, self._vocab_size = list(ends), vocab_size
        vocabulary = llguidance.TokenizerWrapper(_Vocabulary(tokenizer, vocab_size, self._ends[0]))
        self._tokens = llguidance.LLTokenizer(vocabulary, n_vocab=vocab_size, eos_token=self._ends)

    def of_schema(self, schema: Any) -> MaskGrammar:
        """What is of a JSON schema.

        Raises:
            UserError: where the schema is not one, or of a kind that is not supported.
        """
        try:
            text = self._matcher.grammar_from_json_schema(json.dumps(schema), overrides=JSON_STYLE)
        except ValueError as error:
            raise UserError(f"The JSON schema cannot be used: {_in_a_line(error)}.") from error
        return self._built(text, "The JSON schema")

    def of_lark(self, text: str) -> MaskGrammar:
        """What a Lark grammar derives; ``%json {...}`` in it stands for a schema.

        Raises:
            UserError: where it is not one.
        """
        return self._built(self._matcher.grammar_from_lark(text), "The grammar")

    def _built(self, text: str, what: str) -> MaskGrammar:
        matcher = self._matcher(self._tokens, text, log_level=0)
        if matcher.is_error():
            raise UserError(f"{what} cannot be used: {_in_a_line(matcher.get_error())}.")
        return MaskGrammar(matcher, self._vocab_size, self._ends)


class MaskGrammar:
    """One answer's place in a grammar; a :class:`foretell.infer.requests.Grammar`."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int, ends: Sequence[int]) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size
        self._only_ends = torch.zeros(vocab_size, dtype=torch.bool)
        self._only_ends[list(ends)] = True

    @property
    def failed(self) -> bool:
        """Whether the answer cannot be of the grammar any more, or a limit of the grammar's size was reached."""
        return bool(self._matcher.is_error())

    def copy(self) -> MaskGrammar:
        """The same place for another answer."""
        copied = MaskGrammar.__new__(MaskGrammar)
        copied._matcher, copied._vocab_size = self._matcher.deep_copy(), self._vocab_size
        copied._only_ends = self._only_ends
        return copied

    def allowed(self) -> Tensor:
        """[V] booleans: what may come next; the ends alone where nothing else may."""
        if self._matcher.is_stopped():
            return self._only_ends
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = torch.from_numpy(np.unpackbits(bits, bitorder="little")[: self._vocab_size].astype(bool))
        return mask if bool(mask.any()) else self._only_ends

    def accept(self, token: int) -> None:
        """The token has been chosen."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end: int) -> None:
        special = {tokenizer.special_token_id(text): text for text in tokenizer.special_tokens}
        self.eos_token_id, self.bos_token_id = end, None
        self.special_token_ids = sorted(special)
        self.tokens = [
            special[number].encode() if number in special else tokenizer.decode_bytes([number])
            for number in range(vocab_size)
        ]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)


def _in_a_line(error: object) -> str:
    text = " ".join(str(error).split())
    return text[:200].rstrip(". ") or "it is not valid"
