"""Names and arguments of micro-code's functions."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

_WORDS = (
    "ant bee cat dog eel fox hen owl noon bear crab deer frog lion moth seal apple bread chair grape horse level "
    "maple ocean piano river table banana candle forest garden island kitten orange window blanket cabbage lantern "
    "Anna Otto"
)
_FUNCTIONS = "f g h run get make find give take apply solve value result answer compute check build work calc process"
WORDS, FUNCTIONS = _WORDS.split(), _FUNCTIONS.split()
OTHERS, LOOPED = ("out", "res", "total", "found", "acc", "current"), ("x", "item", "part", "each")
_NAMES = {
    "plain": "x n s v a y",
    "int": "a b n m k p q left right start other",
    "bool": "a b p q flag ok ready done",
    "word": "s t name word key label",
    "text": "text line string message",
    "ints": "items values numbers nums data",
    "words": "words names parts labels",
}
NAMES = {kind: names.split() for kind, names in _NAMES.items()}
NAMES |= {"natural": NAMES["int"], "positive": NAMES["int"], "index": NAMES["int"], "uniques": NAMES["ints"]}


def _text(random: Random) -> str:
    """Two to five words of different lengths, so that one is the longest."""
    by_length = {len(word): word for word in random.sample(WORDS, len(WORDS))}
    return " ".join(random.sample(sorted(by_length.values()), random.randint(2, 5)))


VALUES: dict[str, Callable[[Random], Any]] = {
    "plain": lambda random: random.randint(-9, 99),
    "int": lambda random: random.randint(-9, 12) if random.random() < 0.8 else random.randint(-99, 99),
    "natural": lambda random: random.randint(1, 9),
    "positive": lambda random: random.randint(10, 99),
    "index": lambda random: random.randint(0, 2),
    "bool": lambda random: random.random() < 0.5,
    "word": lambda random: random.choice(WORDS),
    "text": _text,
    "ints": lambda random: [random.randint(-9, 12) for _ in range(random.randint(3, 6))],
    "uniques": lambda random: random.sample(range(-9, 13), random.randint(3, 6)),
    "words": lambda random: random.sample(WORDS, random.randint(3, 5)),
}


def draw_names(kinds: tuple[str, ...], random: Random) -> dict[str, str]:
    """Different names for the parameters and the other variables of a function, and its numbers and word."""
    names: dict[str, str] = {}
    for letter, kind in zip("abc", kinds, strict=False):
        names[letter] = random.choice([name for name in NAMES[kind] if name not in names.values()])
    names["v"], names["i"] = random.choice(OTHERS), random.choice(LOOPED)
    names["k"], names["j"] = map(str, random.sample(range(2, 10), 2))
    names["w"] = random.choice([word for word in WORDS if len(word) <= 4 and word.islower()])
    return names
