"""Log-probabilities in the shapes of the OpenAI API, held back as long as the text that they belong to."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from foretell.data.tokenizer import Tokenizer
from foretell.infer.requests import TokenLogprob, Update


class TokenTexts:
    """How single tokens are shown."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = {tokenizer.special_token_id(text): text for text in tokenizer.special_tokens}

    def of_bytes(self, token: int) -> bytes:
        """A token's bytes; of a special one, those of its name."""
        special = self._special.get(token)
        return special.encode() if special is not None else self.in_text(token)

    def in_text(self, token: int) -> bytes:
        """What a token adds to a text; of a special one, nothing."""
        return self._tokenizer.decode_bytes([token])

    def byte_list(self, token: int) -> list[int] | None:
        """Its bytes as OpenAI lists them; ``None`` for a special token, which is no part of a text."""
        return None if token in self._special else list(self.in_text(token))

    def text(self, token: int) -> str:
        """A token as text, with U+FFFD for what is half a character."""
        return self.of_bytes(token).decode(errors="replace")

    def unique(self, token: int) -> str:
        """As text where that says all, else as ``bytes:\\xe2\\x82``."""
        data = self.of_bytes(token)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


class HeldLogprobs:
    """Log-probabilities of one answer, given out with the text of their tokens.

    Args:
        ends: tokens that end an answer and are not part of it; empty to give them out too.
    """

    def __init__(self, ends: Iterable[int] = ()) -> None:
        self._ends, self._held = frozenset(ends), list[TokenLogprob]()

    def feed(self, update: Update) -> list[TokenLogprob]:
        """What belongs to the text of this update."""
        self._held += [one for one in update.logprobs if one.token not in self._ends]
        # With a stop text, tokens whose text was held back until it was found are no part of the answer.
        stopped = update.finish == "stop" and not (update.tokens and update.tokens[-1] in self._ends)
        if update.text or (update.finish is not None and (not stopped or not self._ends)):
            given, self._held = self._held, []
            return given
        return []


def chat_logprobs(found: Iterable[TokenLogprob], texts: TokenTexts) -> dict[str, Any]:
    """The ``logprobs`` of a chat choice."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        return {"token": texts.text(token), "logprob": _finite(logprob), "bytes": texts.byte_list(token)}

    content = [
        {**entry(one.token, one.logprob), "top_logprobs": [entry(token, value) for token, value in one.top]}
        for one in found
    ]
    return {"content": content, "refusal": None}


class CompletionLogprobs:
    """The ``logprobs`` of one choice of plain completions, with offsets that go on from chunk to chunk."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts, self._offset = texts, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def of(self, found: Sequence[TokenLogprob], first: int | None = None) -> dict[str, Any]:
        """The next tokens; ``first`` is a prompt's first one, which has no probability."""
        tokens = ([] if first is None else [first]) + [one.token for one in found]
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(self._texts.in_text(token)))
        unknown: list[Any] = [] if first is None else [None]
        return {
            "tokens": [self._texts.unique(token) for token in tokens],
            "token_logprobs": unknown + [_finite(one.logprob) for one in found],
            "top_logprobs": unknown + [self._top(one) for one in found],
            "text_offset": offsets,
        }

    def _top(self, one: TokenLogprob) -> dict[str, float]:
        found: dict[str, float] = {}
        for token, value in [*one.top, (one.token, one.logprob)]:
            found.setdefault(self._texts.unique(token), _finite(value))
        return found


def _finite(value: float) -> float:
    return max(value, -9999.0)
