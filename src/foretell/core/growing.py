"""A table that another program is still writing: rows are read as they come, a half-written last line is waited for."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

from foretell.core.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl")
SETTLED_SECONDS = (
    5.0  # a last line without an end that is this old will not be finished: the writer leaves out the last end
)


class GrowingTable:
    """Follows a CSV, TSV or JSONL file.

    A file that was replaced or cut short, as a job does that goes back to a checkpoint, is read again from its start.

    Attributes:
        columns: names in the order they appeared.
        skipped: lines that could not be read, counted from 1; those that a killed writer left in two halves, usually.
        restarts: how often the file was read again from its start.

    Raises:
        UserError: where the suffix is another.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path} ends in '{path.suffix}'; a file in one of {', '.join(SUFFIXES)} is expected.")
        self.path = path
        self.restarts = 0
        self._identity: int | None = None
        self._rewind()

    def _rewind(self) -> None:
        self.columns: tuple[str, ...] = ()
        self.skipped: list[int] = []
        self._offset, self._line, self._delimiter = 0, 0, ","

    def read(self) -> list[dict[str, Any]]:
        """The rows that have come since the last call; none where the file does not exist yet.

        Raises:
            UserError: where the file is not UTF-8 text or not readable.
        """
        try:
            status = self.path.stat()
            if self._identity not in (None, status.st_ino) or status.st_size < self._offset:
                self._rewind()
                self.restarts += 1
            self._identity = status.st_ino
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error.strerror}).") from error
        settled = time.time() - status.st_mtime > SETTLED_SECONDS
        whole = len(content) if settled else content.rfind(b"\n") + 1
        begin = self._offset
        self._offset += whole
        try:
            text = content[:whole].decode("utf-8-sig" if self._line == 0 else "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not UTF-8 text (byte {begin + error.start + 1}).") from error
        if "\0" in text:
            raise UserError(f"{self.path} is binary; a {self.path.suffix} table is text.")
        lines = text.removesuffix("\n").split("\n") if text else []
        return [row for line in lines if (row := self._row(line)) is not None]

    def _row(self, line: str) -> dict[str, Any] | None:
        self._line += 1
        if not line.strip():
            return None
        row = self._object(line) if self.path.suffix.lower() == ".jsonl" else self._cells(line)
        if row:
            self.columns = tuple(dict.fromkeys([*self.columns, *row]))
        return row

    def _object(self, line: str) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            return row
        self.skipped.append(self._line)
        return None

    def _cells(self, line: str) -> dict[str, Any] | None:
        if not self.columns:
            self._delimiter = max(",;\t", key=line.count)
            try:
                names = [name.strip() for name in next(csv.reader([line], delimiter=self._delimiter))]
            except csv.Error as error:
                raise UserError(f"{self.path}, line {self._line}: names of columns are expected.") from error
            twice = next((name for name in names if name and names.count(name) > 1), None)
            if twice is not None:
                raise UserError(f"{self.path} has two columns called '{twice}'.")
            self.columns = tuple(names)
            return None
        try:
            cells = next(csv.reader([line], delimiter=self._delimiter, strict=True))
        except csv.Error:
            cells = []
        if len(cells) != len(self.columns):
            self.skipped.append(self._line)
            return None
        return dict(zip(self.columns, (cell.strip() for cell in cells), strict=True))
