"""Rows of .jsonl and .parquet files, and of hub data sets, as documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow
import pyarrow.parquet

from foretell.core.errors import UserError
from foretell.data.compression import is_compressed, open_bytes
from foretell.data.documents import Document

PROJECT_FIELDS = ("project", "repo", "source", "domain")
LICENCE_FIELDS = ("licence", "license")
BATCH_ROWS = 256


def row_document(row: Mapping[str, Any], text_field: str, place: str, identity: str, licence: str | None) -> Document:
    """Make a document of a row.

    The project is the row's ``project``, ``repo``, ``source`` or ``domain``, else the host of its ``url``, else the row
    itself; ``url`` is its location and ``licence`` or ``license`` its licence where they are given.

    Raises:
        UserError: where the text field is missing or holds no string.
    """
    if text_field not in row:
        found = ", ".join(f"'{name}'" for name in row) or "none"
        raise UserError(f"{place} has no field '{text_field}'; its fields are {found}; set text_field to one of them.")
    text = row[text_field]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise UserError(f"{place}: the field '{text_field}' holds a {type(text).__name__}; a string is expected.")
    url = _string(row, ("url",))
    project = _string(row, PROJECT_FIELDS) or (urlsplit(url).hostname if url else None) or identity
    return Document(text, project, url or place, _string(row, LICENCE_FIELDS) or licence, identity)


def _string(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if isinstance(value := row.get(name), str) and value), None)


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers (from 1) and objects; blank lines are passed over.

    Raises:
        UserError: naming file and line, where a line is not UTF-8, not JSON, or not an object.
    """
    with open_bytes(path) as stream:
        yield from parse_jsonl(stream, str(path))


def parse_jsonl(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """As :func:`read_jsonl`, of lines that are already there; ``name`` is what errors call them.

    Raises:
        UserError: naming the line, where one is not UTF-8, not JSON, or not an object.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name} line {number} is not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise UserError(f"{name} line {number} holds a {type(row).__name__}; an object per line is expected.")
        yield number, row


def read_parquet(path: Path, text_field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield row numbers (from 1) and the columns that a document is made of.

    Raises:
        UserError: where the file is cut short, damaged or not Parquet, or has no column ``text_field``.
    """
    wanted = {text_field, "url", *PROJECT_FIELDS, *LICENCE_FIELDS}
    with open_bytes(path) as stream:
        try:
            source = pyarrow.BufferReader(stream.read()) if is_compressed(path) else stream
            table = pyarrow.parquet.ParquetFile(source)
            names = table.schema_arrow.names
            if text_field not in names:
                raise UserError(
                    f"{path} has no column '{text_field}'; its columns are {', '.join(names)}; "
                    "set text_field to one of them."
                )
            number = 0
            for batch in table.iter_batches(BATCH_ROWS, columns=[name for name in names if name in wanted]):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            detail = " ".join(str(error).split())
            raise UserError(f"{path} is cut short or is not Parquet ({detail}).") from error
