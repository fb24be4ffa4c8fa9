"""Tables that other programs wrote: CSV, TSV, JSONL, Parquet and records, as rows with the place each came from."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
LONGEST_NESTED = 100_000  # characters of a text cell that is tried as a mapping
DEEPEST = 8  # levels of mappings in a cell that become columns
SHOWN = 5  # rows that a sentence names


@dataclass(frozen=True)
class Table:
    """Rows of named cells.

    Attributes:
        path: the file or folder.
        columns: names in the order of the file; every row has all of them, ``None`` or empty where a cell is missing.
        rows: the cells by name; a cell that is itself a mapping has become columns with dotted names.
        numbers: where each row is: its line in a text file, else its position from 1.
        labels: what to call each row where it is no line of a file but a run of a folder or chart; else empty.
        notes: sentences about what was not taken into the rows.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    numbers: tuple[int, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def name_rows(self, numbers: Iterable[int]) -> str:
        """``row 7``, ``rows 7 and 9``, or the first few and how many there are; runs by their names."""
        found = sorted(set(numbers))
        if self.labels:
            names = dict(zip(self.numbers, self.labels, strict=True))
            shown, kind = list(dict.fromkeys(names[number] for number in found)), "run"
        else:
            shown, kind = [str(number) for number in found], "row"
        if len(shown) == 1:
            return f"{kind} {shown[0]}"
        if len(shown) <= SHOWN:
            return f"{kind}s {', '.join(shown[:-1])} and {shown[-1]}"
        return f"{kind}s {', '.join(shown[:SHOWN])} and {len(shown) - SHOWN} more"


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
    return assemble(path, [row for _, row in found], numbers=[number for number, _ in found])


def assemble(
    path: Path,
    rows: Sequence[Mapping[Any, Any]],
    *,
    numbers: Sequence[int] | None = None,
    labels: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """A table of rows that need not have the same cells; nested mappings become dotted columns.

    Raises:
        UserError: where there is no row, or no cell in any.
    """
    if not rows:
        raise UserError(f"{path} holds no rows.")
    flat = [_flat(row) for row in rows]
    columns = tuple(dict.fromkeys(name for row in flat for name in row))
    if not columns:
        raise UserError(f"{path} holds rows without a cell.")
    filled = tuple({name: row.get(name) for name in columns} for row in flat)
    places = range(1, len(rows) + 1) if numbers is None else numbers
    return Table(path, columns, filled, tuple(places), tuple(labels), tuple(notes))


def read_records(records: Any, name: str = "runs") -> Table:
    """Rows that a program has in memory.

    Args:
        records: mappings of cells by name, one a row; a pandas, polars or pyarrow frame; or a mapping of columns.
        name: what messages call it.

    Raises:
        UserError: for anything else, and where there is no row.
    """
    accepted = "rows of named cells, a data frame or a file's path are expected"
    for method, arguments in (("to_dicts", ()), ("to_pylist", ()), ("to_dict", ("records",))):
        convert = getattr(records, method, None)
        if callable(convert) and not isinstance(records, Mapping):
            records = convert(*arguments)
            break
    if isinstance(records, Mapping):
        records = _transposed(records, name)
    if isinstance(records, str | bytes) or not isinstance(records, Iterable):
        raise UserError(f"{name} is a {type(records).__name__}; {accepted}.")
    rows = list(records)
    if not rows:
        raise UserError(f"There are no runs: {name} is empty; {accepted}.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise UserError(f"{name}, row {number}, is a {type(row).__name__}; {accepted}.")
        try:
            names = [str(key) for key in row]
        except ValueError as error:  # Python prints no integer of more than 4,300 digits
            raise UserError(f"{name}, row {number}, has a cell whose name cannot be printed ({error}).") from error
        if len(set(names)) < len(names):
            twice = next(key for key in names if names.count(key) > 1)
            raise UserError(f"{name}, row {number}, has two cells called '{twice}'.")
    return assemble(Path(name), rows)


def _transposed(columns: Mapping[Any, Any], name: str) -> list[dict[Any, Any]]:
    try:
        cells = {key: list(column) for key, column in columns.items() if not isinstance(column, str)}
    except TypeError:
        cells = {}
    if not cells or len(cells) < len(columns) or len({len(column) for column in cells.values()}) > 1:
        raise UserError(f"{name} is one mapping; rows of named cells, or columns of one length, are expected.")
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _flat(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row with nested mappings, or texts of such, as dotted columns; a column of that very name comes first."""
    own = {str(key) for key in row}
    flat: dict[str, Any] = {}
    for key, value in row.items():
        mapping = _mapping(value)
        if mapping is None:
            flat[str(key)] = value
        else:
            flat |= {name: leaf for name, leaf in _leaves(str(key), mapping, 1) if name not in own}
    return flat


def _leaves(prefix: str, mapping: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and depth < DEEPEST:
            yield from _leaves(f"{prefix}.{key}", value, depth + 1)
        else:
            yield f"{prefix}.{key}", value


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    """What a cell maps; Python's and JSON's text of a mapping is what table exports write for settings."""
    if isinstance(value, Mapping):
        return value
    if not (isinstance(value, str) and value[:1] == "{" and value[-1:] == "}" and len(value) <= LONGEST_NESTED):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, Mapping):
            return found
    return None


def _text(path: Path, suffix: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read as UTF-8 text (byte {error.start + 1}).") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
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
