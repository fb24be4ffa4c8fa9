"""How fast a corpus is indexed and items are checked, on text that is made for it, with items planted in it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from foretell.core.errors import UserError
from foretell.core.files import require_space
from foretell.core.hardware import available_cores, environment
from foretell.core.progress import meter
from foretell.data.overlap.build import build_index, open_index
from foretell.evals.contamination.check import METHODS, check_items
from foretell.evals.contamination.items import ItemText

VOCABULARY = 50_000
FILE_BYTES = 1 << 25
ITEM_WORDS = 60
DISK_SHARE = 3.5  # of the corpus: itself, its index, and room


def bench_contamination(corpus_bytes: int, items: int, seed: int = 0) -> dict[str, Any]:
    """Index ``corpus_bytes`` of generated text and check ``items``, every second of them planted in it.

    Words are drawn by Zipf's law from a made vocabulary, with sentences and lines, so that what is not planted is in
    the corpus only by a chance of nothing. Planted items are cuts of the text with other spaces and punctuation.

    Returns:
        ``index_seconds``, ``check_seconds`` by method, ``missed`` and ``false_alarms`` by method, sizes, environment.

    Raises:
        UserError: where a figure is too small, or the disk.
    """
    if corpus_bytes < 1_000_000 or items < 2:
        raise UserError(f"bytes is {corpus_bytes} and items is {items}; 1,000,000 and 2 are the least of them.")
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="foretell-") as name:
        folder = Path(name)
        require_space(folder, DISK_SHARE * corpus_bytes, "the corpus and its index")
        (folder / "corpus").mkdir()
        asked = _write_corpus(folder / "corpus", corpus_bytes, items, generator)
        start = time.perf_counter()
        summary = build_index([str(folder / "corpus")], folder / "index")
        indexed = time.perf_counter() - start
        index = open_index(folder / "index")
        start = time.perf_counter()
        index.verify()
        verified = time.perf_counter() - start
        seconds, missed, alarms = {}, {}, {}
        for method in METHODS:
            start = time.perf_counter()
            verdicts = check_items(index, asked, (method,))
            seconds[method] = round(time.perf_counter() - start, 2)
            found = {int(verdict.item) for verdict in verdicts if verdict.by(method)}
            missed[method] = len(set(range(0, items, 2)) - found)
            alarms[method] = len(found - set(range(0, items, 2)))
    return {
        "what": "contamination", "corpus_bytes": corpus_bytes, "index_bytes": summary["bytes"],
        "index_seconds": round(indexed, 2), "verify_seconds": round(verified, 2), "check_seconds": seconds,
        "items": items, "planted": (items + 1) // 2, "missed": missed, "false_alarms": alarms, "seed": seed,
        "environment": {**environment(), "threads": available_cores()},
    }  # fmt: skip


def _write_corpus(folder: Path, size: int, items: int, generator: np.random.Generator) -> list[ItemText]:
    lengths = generator.integers(2, 11, VOCABULARY)
    drawn = generator.integers(97, 123, int(lengths.sum()), dtype=np.uint8).tobytes().decode()
    ends = np.cumsum(lengths)
    vocabulary = [drawn[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
    weights = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1))
    files = max(1, -(-size // FILE_BYTES))
    share = [count.tolist() for count in np.array_split(np.arange(items), files)]
    asked: list[ItemText] = []
    with meter("making the corpus (bytes)", size) as shown:
        for number in range(files):
            wanted = min(FILE_BYTES, size - number * FILE_BYTES)
            count = wanted // 6 + 8 * ITEM_WORDS
            words = [vocabulary[index] for index in
                     np.searchsorted(weights, weights[-1] * generator.random(count)).tolist()]  # fmt: skip
            text = " ".join([f"{word}.\n" if place % 23 == 22 else word for place, word in enumerate(words)])[:wanted]
            (folder / f"{number:05d}.txt").write_text(text)
            for item in share[number]:
                if item % 2:
                    cut = [vocabulary[index] for index in generator.integers(0, VOCABULARY, ITEM_WORDS).tolist()]
                else:
                    # words of the first half are in the file whole, as words of seven bytes and more follow them
                    first = int(generator.integers(0, count // 2))
                    cut = words[first : first + ITEM_WORDS]
                asked.append(ItemText("made", str(item), ", ".join(cut)))
            shown.advance(wanted)
    return asked
