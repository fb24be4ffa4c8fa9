"""Verdict of each item by the report's substrings and by 13-grams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from foretell.core.errors import UserError
from foretell.core.files import storage_errors, write_atomic
from foretell.data.overlap.build import Index
from foretell.data.overlap.scan import View
from foretell.data.overlap.search import Match, Passage, search
from foretell.evals.contamination.items import ItemText, grams, substrings

METHODS = {"substring": "letters", "ngram": "words"}
AT_ONCE = 20_000  # items whose passages are in memory together


@dataclass(frozen=True)
class Verdict:
    """What was found of one item, a row of the record.

    Attributes:
        characters: letters and digits of the item; 0 where there is nothing to compare.
        substring: whether a substring of it is in the corpus; None where that was not asked or there is nothing.
        substring_match: the one that is.
        substring_document: a document that holds it.
        ngram, ngram_match, ngram_document: the same of 13 words.
    """

    task: str
    item: str
    characters: int
    substring: bool | None = None
    substring_match: str | None = None
    substring_document: str | None = None
    ngram: bool | None = None
    ngram_match: str | None = None
    ngram_document: str | None = None

    def by(self, method: str) -> bool | None:
        """The verdict of ``substring`` or ``ngram``."""
        return self.substring if method == "substring" else self.ngram


def check_items(
    index: Index, items: Sequence[ItemText], methods: Sequence[str] = tuple(METHODS), seed: int = 0
) -> list[Verdict]:
    """Verdicts of items in their order.

    Args:
        index: of the training corpus.
        items: to look for.
        methods: ``substring`` (three random substrings of 50 letters and digits; an item is contaminated if any of them
            is a substring of any training document: GPT-4 Technical Report, Appendix C), ``ngram`` (any 13 words in
            a row: Brown et al. 2020, Appendix C), or both.
        seed: of the substrings.

    Raises:
        UserError: for another method.
    """
    for method in methods:
        if method not in METHODS:
            raise UserError(f"method is '{method}'; {' or '.join(METHODS)} is expected.")
    return [
        verdict
        for first in range(0, len(items), AT_ONCE)
        for verdict in _check(index, items[first : first + AT_ONCE], methods, seed)
    ]


def _check(index: Index, items: Sequence[ItemText], methods: Sequence[str], seed: int) -> Iterator[Verdict]:
    found: dict[str, dict[int, Match]] = {}
    asked: dict[str, set[int]] = {}
    for method in methods:
        view: View = "letters" if method == "substring" else "words"
        passages = [
            Passage(number, text)
            for number, item in enumerate(items)
            for text in (substrings(item, seed) if method == "substring" else grams(item))
        ]
        asked[method] = {passage.owner for passage in passages}
        found[method] = search(index, view, passages)
    for number, item in enumerate(items):
        cells: dict[str, Any] = {}
        for method in methods:
            match = found[method].get(number)
            cells[method] = match is not None if number in asked[method] else None
            cells[f"{method}_match"] = match.passage.text if match else None
            cells[f"{method}_document"] = match.document if match else None
        yield Verdict(item.task, item.item, sum(map(str.isalnum, item.text)), **cells)


SUFFIXES = (".jsonl", ".parquet")  # of a file of verdicts


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write a row for each item as .jsonl or .parquet, by the name.

    Raises:
        UserError: for another name, or where it cannot be written.
    """
    rows = [asdict(verdict) for verdict in verdicts]
    if path.suffix == ".jsonl":
        write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        types = {"characters": pyarrow.int64(), "substring": pyarrow.bool_(), "ngram": pyarrow.bool_()}
        schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in Verdict.__dataclass_fields__])
        buffer = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), buffer, compression="zstd")
        with storage_errors(path):
            write_atomic(path, buffer.getvalue().to_pybytes())
    else:
        raise UserError(f"{path} ends in '{path.suffix}'; .jsonl or .parquet is expected for the items' verdicts.")
