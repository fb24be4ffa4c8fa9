"""Tokens to text as they come: characters are held back until they are whole, and text that may become a stop."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from foretell.data.tokenizer import Tokenizer


class TextStream:
    """The text of one answer.

    Args:
        tokenizer: whose ids come.
        stops: texts that end the answer and are not part of it.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def feed(self, ids: Sequence[int]) -> str:
        """The text that is certain once ``ids`` have come; after a stop there is none."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(self._tokenizer.decode_bytes(ids))
        return self._certain()

    def finish(self) -> str:
        """What was held back: the answer has ended otherwise."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(b"", final=True)
        rest = self._certain() + self._held
        self._held = ""
        return rest

    def _certain(self) -> str:
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = max((overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that ``stop`` begins with, less than the whole stop."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if stop.startswith(text[-n:])), 0)
