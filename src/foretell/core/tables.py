"""Tables that other programs wrote: CSV, TSV, JSONL and Parquet, read as rows with the place each came from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows of named cells.

    Attributes:
        path: the file.
        columns: names in the order of the file; every row has all of them, ``None`` or empty where a cell is missing.
        rows: the cells by name.
        numbers: where each row is: its line in a text file, its position from 1 in a Parquet file.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    numbers: tuple[int, ...]


def read_table(path: Path) -> Table:
    """Read a table by its suffix.

    Raises:
        UserError: where the file is missing, of another kind, not text, malformed (with its line) or without a row.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path} ends in '{path.suffix}'; a table in one of {', '.join(SUFFIXES)} is expected.")
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file.")
    found = list(_parquet(path) if suffix == ".parquet" else _text(path, suffix))
    if not found:
        raise UserError(f"{path} holds no rows.")
    columns = tuple(dict.fromkeys(name for _, row in found for name in row))
    rows = tuple({name: row.get(name) for name in columns} for _, row in found)
    return Table(path, columns, rows, tuple(number for number, _ in found))


def _text(path: Path, suffix: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}).") from error
    if "\0" in text:
        raise UserError(f"{path} is binary; a {suffix} table is text.")
    yield from _jsonl(path, text) if suffix == ".jsonl" else _delimited(path, text, "\t" if suffix == ".tsv" else None)


def _jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}, is not JSON ({error}).") from error
        except RecursionError as error:
            raise UserError(f"{path}, line {number}, is nested too deeply.") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}, holds a {type(row).__name__}; an object is expected.")
        yield number, row


def _delimited(path: Path, text: str, delimiter: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    header = text.partition("\n")[0]
    if delimiter is None:
        delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not any(columns):
            raise UserError(f"{path} has no line of column names.")
        twice = next((name for name in columns if name and columns.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{path} has two columns called '{twice}'.")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                raise UserError(
                    f"{path}, line {reader.line_num}, has {len(cells)} cells and its line of names has {len(columns)}."
                )
            yield reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}, is malformed ({error}).") from error


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow  # a tenth of a second that text tables need not wait for
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a Parquet file ({' '.join(str(error).split())}).") from error
    yield from enumerate(rows, 1)
