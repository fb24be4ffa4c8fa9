"""Data of tasks on disk: files of a folder by their documented names, and the rows in them.

Every name is accepted as it is and with .gz, .xz, .bz2 or .zst; a .jsonl file also as a .parquet file of the same rows.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from foretell.core.errors import UserError
from foretell.core.wording import as_json, listed
from foretell.data.compression import inner_suffix, open_bytes
from foretell.data.rows import parse_jsonl

COMPRESSIONS = ("", ".gz", ".xz", ".bz2", ".zst")
LONGEST_INTEGER = 18  # characters of the text of one
LONGEST_CELL = 1 << 24  # characters of a CSV cell; passages of some sets exceed the csv module's own limit


class MissingDataError(UserError):
    """The data of a task is not in the folder, as opposed to damaged."""


@dataclass(frozen=True)
class Row:
    """Named cells and where they stand, so that what is wrong with them can be said."""

    place: str
    cells: Mapping[str, Any]

    def has(self, name: str) -> bool:
        """Whether the cell is there and not null."""
        return self.cells.get(name) is not None

    def value(self, *names: str) -> Any:
        """The first of these cells that is there.

        Raises:
            UserError: where none is.
        """
        for name in names:
            if self.has(name):
                return self.cells[name]
        found = listed([f"'{name}'" for name in self.cells]) if self.cells else "none"
        raise UserError(f"{self.place} has no field '{names[0]}'; its fields are {found}.")

    def text(self, *names: str) -> str:
        """A string, or a number as one.

        Raises:
            UserError: where it is missing or anything else.
        """
        value = self.value(*names)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self.fault(names[0], value, "a string")
        return value

    def texts(self, *names: str) -> list[str]:
        """A list of strings that is not empty.

        Raises:
            UserError: where it is missing or anything else.
        """
        value = self.value(*names)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise self.fault(names[0], value, "a list of strings")
        return value

    def accepted(self, name: str) -> list[str]:
        """Accepted answers: one string or number, or a list of strings.

        Raises:
            UserError: where it is missing, blank, no finite number or anything else.
        """
        value = self.value(name)
        found = self.texts(name) if isinstance(value, list) else [self.text(name)]
        if not all(text.strip() for text in found) or (isinstance(value, float) and not math.isfinite(value)):
            raise self.fault(name, value, "an answer (a text that is not blank or a finite number) or a list of texts")
        return found

    def place_of(self, name: str, size: int) -> int:
        """A place in a list of ``size``, counted from zero, given as an integer or the text of one.

        Raises:
            UserError: where it is missing, no integer or beyond the list.
        """
        number = self.integer(name)
        if not 0 <= number < size:
            raise self.fault(name, number, f"an integer from 0 to {size - 1}")
        return number

    def integer(self, *names: str) -> int:
        """An integer, or the text of one.

        Raises:
            UserError: where it is missing or anything else.
        """
        value = self.value(*names)
        if isinstance(value, str) and len(value) <= LONGEST_INTEGER and re.fullmatch(r"\s*-?[0-9]+\s*", value):
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(names[0], value, "an integer")
        return value

    def objects(self, *names: str) -> list[Row]:
        """A list of objects that is not empty, as rows.

        Raises:
            UserError: where it is missing or anything else.
        """
        value = self.value(*names)
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            raise self.fault(names[0], value, "a list of objects")
        return [Row(f"{self.place}, {names[0]} {number}", one) for number, one in enumerate(value, 1)]

    def fault(self, name: str, value: Any, expected: str) -> UserError:
        """The error of a cell that is not what it should be."""
        return UserError(f"{self.place}: the field '{name}' is {as_json(value)}; {expected} is expected.")


def find_file(folder: Path, *names: str) -> Path:
    """The first of ``names`` that is in the folder.

    Raises:
        MissingDataError: where none is, saying which are expected.
    """
    found = find_optional(folder, *names)
    if found is None:
        others = f", or one of {listed(names[1:])}," if len(names) > 1 else ""
        raise MissingDataError(
            f"{folder} has no file '{names[0]}'; it{others} is expected there, as it is or as .gz, .xz, .bz2 or .zst."
        )
    return found


def find_optional(folder: Path, *names: str) -> Path | None:
    """As :func:`find_file`, and None where there is none of them.

    Raises:
        UserError: where the folder itself is missing.
    """
    if not folder.is_dir():
        raise UserError(f"The data folder {folder} does not exist or is no folder.")
    tables = [re.sub(r"\.jsonl$", ".parquet", name) for name in names if name.endswith(".jsonl")]
    for name in (*names, *tables):
        for compression in COMPRESSIONS:
            path = folder / f"{name}{compression}"
            if path.is_file():
                return path
    return None


def read_rows(path: Path) -> list[Row]:
    """Rows of a .jsonl, .json, .csv, .tsv or .parquet file.

    A .json file holds a list of objects, an object with such a list under ``examples`` or ``data``, or objects by
    their identities, which then stand under ``id``.

    Raises:
        UserError: where it is missing, damaged, of another kind or without a row.
    """
    with open_bytes(path) as stream:
        return parse_rows(stream.read(), inner_suffix(path), str(path))


def parse_rows(data: bytes, suffix: str, place: str) -> list[Row]:
    """Rows of such a file's content.

    Args:
        data: decompressed.
        suffix: that says what it is.
        place: what errors call it.

    Raises:
        UserError: as :func:`read_rows`.
    """
    if suffix == ".jsonl":
        rows = [Row(f"{place} line {number}", cells) for number, cells in parse_jsonl(io.BytesIO(data), place)]
    elif suffix in (".csv", ".tsv"):
        rows = list(_csv_rows(as_text(data, place), place, "\t" if suffix == ".tsv" else ","))
    elif suffix == ".json":
        rows = [Row(f"{place} row {number}", cells) for number, cells in enumerate(_objects(data, place), 1)]
    elif suffix == ".parquet":
        rows = [Row(f"{place} row {number}", cells) for number, cells in enumerate(_parquet(data, place), 1)]
    else:
        raise UserError(f"{place} ends in '{suffix}'; .jsonl, .json, .csv, .tsv or .parquet is expected.")
    if not rows:
        raise UserError(f"{place} holds no rows.")
    return rows


def read_text(path: Path) -> str:
    """A file as UTF-8 text, decompressed.

    Raises:
        UserError: where it cannot be read as that.
    """
    with open_bytes(path) as stream:
        return as_text(stream.read(), str(path))


def as_text(data: bytes, place: str) -> str:
    """Bytes as UTF-8 text.

    Raises:
        UserError: where they are not.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{place} cannot be read as UTF-8 text (byte {error.start + 1}).") from error


def read_json(path: Path) -> Any:
    """A .json file, decompressed.

    Raises:
        UserError: where it is missing or is not JSON.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, place: str) -> Any:
    """JSON.

    Raises:
        UserError: where the text is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON ({error}).") from error


def csv_cells(text: str, place: str, delimiter: str = ",") -> list[list[str]]:
    """Cells of every line that is not empty.

    Raises:
        UserError: where quotes do not match or a cell is beyond :data:`LONGEST_CELL`.
    """
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        return [cells for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if cells]
    except csv.Error as error:
        raise UserError(f"{place} is not readable as CSV ({error}).") from error
    finally:
        csv.field_size_limit(before)


def _csv_rows(text: str, place: str, delimiter: str) -> Iterator[Row]:
    lines = csv_cells(text, place, delimiter)
    for number, cells in enumerate(lines[1:], 1):
        if len(cells) != len(lines[0]):
            raise UserError(
                f"{place} row {number} has {len(cells)} cells; {len(lines[0])} are expected, as in its header."
            )
        yield Row(f"{place} row {number}", dict(zip(lines[0], cells, strict=True)))


def _objects(data: bytes, place: str) -> list[dict[str, Any]]:
    found = parse_json(as_text(data, place), place)
    if isinstance(found, dict):
        held = next((found[name] for name in ("examples", "data") if isinstance(found.get(name), list)), None)
        by_name = [{"id": name, **cells} if isinstance(cells, dict) else cells for name, cells in found.items()]
        found = by_name if held is None else held
    if not isinstance(found, list) or not all(isinstance(cells, dict) for cells in found):
        raise UserError(f"{place} holds no list of objects; a row each is expected.")
    return found


def _parquet(data: bytes, place: str) -> list[dict[str, Any]]:
    try:
        return pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{place} is cut short or is not Parquet ({' '.join(str(error).split())}).") from error
