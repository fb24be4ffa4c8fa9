"""The form in which texts are compared: words of letters and digits, in two views.

A normalised text is ``" w1 w2 ... wn "``: words are what white space parts, less all that is not a letter or a digit;
words that this leaves empty are dropped. Its *letters* are that without the spaces (GPT-4 Technical Report, Appendix C:
all spaces and symbols are removed, and only characters, numbers among them, are kept), its *words* that in lower case
(Brown et al. 2020, Appendix C: punctuation, white space and case are ignored).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

SPAN_LETTERS, SPAN_WORDS = 50, 13  # characters and words of a passage that the index finds without a scan
PIECE_CHARACTERS = 1 << 20  # of a long document that are normalised at once
LONGEST_WORD = 1 << 16  # characters; a longer run without white space may be cut in two words
CUT = "\0"  # begins what is left of a word whose beginning is in the piece before; no word of a query holds it

_REMOVED = re.compile(r"[^\w\s]+|_+")
_SPACES = bytes(code for code in range(128) if chr(code).isspace())
_ASCII = bytes.maketrans(_SPACES, b" " * len(_SPACES))
_ASCII_REMOVED = bytes(code for code in range(128) if not (chr(code).isalnum() or chr(code).isspace()))


def normalise(text: str) -> str:
    """``" w1 w2 ... wn "``, or the empty text where there is no letter and no digit."""
    if text.isascii():
        words = text.encode().translate(_ASCII, _ASCII_REMOVED).decode().split()
    else:
        words = _REMOVED.sub("", text).split()
    return f" {' '.join(words)} " if words else ""


def letters(normalised: str) -> str:
    """The letters and digits alone, in their own case."""
    return normalised.replace(" ", "")


def words(normalised: str) -> list[str]:
    """The words in lower case."""
    return normalised.lower().split(" ")[1:-1]


def pieces(chunks: Iterable[str]) -> Iterator[str]:
    """Normalise a document of any length; what is found in no piece is not in the document.

    Each piece begins with the last words of the one before it: at least 12 of them and 49 characters, so that every
    passage of ``SPAN_WORDS`` words or ``SPAN_LETTERS`` characters lies in one piece whole.
    """
    raw, before = "", ""
    for chunk in chunks:
        raw += chunk
        while len(raw) >= PIECE_CHARACTERS:
            cut = _last_space(raw, PIECE_CHARACTERS)
            piece = _join(before, normalise(raw[:cut]))
            raw = raw[cut:]
            if piece:
                yield piece
                before = _ending(piece)
    rest = normalise(raw)
    if rest:
        yield _join(before, rest)


def _last_space(text: str, end: int) -> int:
    for cut in range(end, max(0, end - LONGEST_WORD), -1):
        if text[cut - 1].isspace():
            return cut
    return end


def _join(before: str, piece: str) -> str:
    return before + piece if piece else ""


def _ending(piece: str) -> str:
    """The last words of a piece, without the space at its end."""
    tail = piece[-LONGEST_WORD - 1 : -1]
    start, count, size = len(tail), 0, 0
    while start > 0 and (count < SPAN_WORDS - 1 or size < SPAN_LETTERS - 1):
        space = tail.rfind(" ", 0, start)
        if space < 0:
            return f" {CUT}{tail}"
        count, size, start = count + 1, size + start - space - 1, space
    return tail[start:]
