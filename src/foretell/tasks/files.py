"""Data of tasks on disk: files of a folder by their documented names, plain, compressed or in an archive.

Every name is accepted as it is and with .gz, .xz, .bz2 or .zst; a folder also as a .tar (compressed or not) or .zip.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow
import pyarrow.parquet
from PIL.Image import Image

from foretell.core.errors import UserError
from foretell.core.wording import as_json, listed
from foretell.data.compression import inner_suffix, open_bytes
from foretell.data.image_decoding import decode
from foretell.data.rows import read_jsonl

COMPRESSIONS = ("", ".gz", ".xz", ".bz2", ".zst")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip")
LONGEST_CELL = 1 << 24  # characters of a CSV cell; passages of some sets exceed the csv module's own limit
LARGEST_TAR = 1 << 30  # bytes of a tar's members, which are held in memory


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

    def place_of(self, name: str, size: int) -> int:
        """A place in a list of ``size``, counted from zero, given as an integer or the text of one.

        Raises:
            UserError: where it is missing, no integer or beyond the list.
        """
        value = self.value(name)
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < size:
            raise self.fault(name, value, f"an integer from 0 to {size - 1}")
        return number

    def fault(self, name: str, value: Any, expected: str) -> UserError:
        """The error of a cell that is not what it should be."""
        return UserError(f"{self.place}: the field '{name}' is {as_json(value)}; {expected} is expected.")


def find_file(folder: Path, *names: str) -> Path:
    """The first of ``names`` that is in the folder.

    Raises:
        UserError: where none is, saying which are expected.
    """
    found = find_optional(folder, *names)
    if found is None:
        others = f" (or {listed([f"'{name}'" for name in names[1:]])})" if len(names) > 1 else ""
        raise UserError(
            f"{folder} has no file '{names[0]}'{others}; it is expected there under that name, as it is or as .gz, .xz, "
            ".bz2 or .zst."
        )
    return found


def find_optional(folder: Path, *names: str) -> Path | None:
    """As :func:`find_file`, and None where there is none of them.

    Raises:
        UserError: where the folder itself is missing.
    """
    if not folder.is_dir():
        raise UserError(f"The data folder {folder} does not exist or is no folder.")
    for name in names:
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
    suffix = inner_suffix(path)
    if suffix == ".jsonl":
        rows = [Row(f"{path} line {number}", cells) for number, cells in read_jsonl(path)]
    elif suffix in (".csv", ".tsv"):
        rows = list(_csv_rows(path, read_text(path), "\t" if suffix == ".tsv" else ","))
    elif suffix == ".json":
        rows = [Row(f"{path} row {number}", cells) for number, cells in enumerate(_objects(path), 1)]
    elif suffix == ".parquet":
        rows = [Row(f"{path} row {number}", cells) for number, cells in enumerate(_parquet(path), 1)]
    else:
        raise UserError(f"{path} ends in '{suffix}'; .jsonl, .json, .csv, .tsv or .parquet is expected.")
    if not rows:
        raise UserError(f"{path} holds no rows.")
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


def _csv_rows(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    lines = csv_cells(text, str(path), delimiter)
    for number, cells in enumerate(lines[1:], 1):
        if len(cells) != len(lines[0]):
            raise UserError(f"{path} row {number} has {len(cells)} cells; {len(lines[0])} are expected, as in its header.")
        yield Row(f"{path} row {number}", dict(zip(lines[0], cells, strict=True)))


def _objects(path: Path) -> list[dict[str, Any]]:
    found = read_json(path)
    if isinstance(found, dict):
        held = next((found[name] for name in ("examples", "data") if isinstance(found.get(name), list)), None)
        found = [{"id": name, **cells} if isinstance(cells, dict) else cells for name, cells in found.items()] \
            if held is None else held
    if not isinstance(found, list) or not all(isinstance(cells, dict) for cells in found):
        raise UserError(f"{path} holds no list of objects; a row each is expected.")
    return found


def _parquet(path: Path) -> list[dict[str, Any]]:
    with open_bytes(path) as stream:
        try:
            return pyarrow.parquet.read_table(pyarrow.BufferReader(stream.read())).to_pylist()
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{path} is cut short or is not Parquet ({' '.join(str(error).split())}).") from error


class Folder:
    """Files by their names with slashes: a folder, or an archive of one, whose outermost folders need not be named."""

    def __init__(self, place: Path) -> None:
        """Open a folder or archive.

        Raises:
            UserError: where an archive is damaged or, a tar, larger than :data:`LARGEST_TAR`.
        """
        self.place = place
        self._held: dict[str, bytes] = {}
        self._zip: zipfile.ZipFile | None = None
        if place.is_dir():
            self.names = sorted(file.relative_to(place).as_posix() for file in place.rglob("*") if file.is_file())
        elif place.suffix.lower() == ".zip":
            try:
                self._zip = zipfile.ZipFile(place)
            except (OSError, zipfile.BadZipFile) as error:
                raise UserError(f"{place} cannot be read as a .zip file ({error}).") from error
            self.names = sorted(self._zip.namelist())
        else:
            self._held = _tar_members(place)
            self.names = sorted(self._held)
        self._by_file: dict[str, list[str]] = {}
        for name in self.names:
            self._by_file.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, *names: str) -> str | None:
        """The full name of the first of these that is there, in whatever outer folder; None where none is."""
        for name in names:
            for compression in COMPRESSIONS:
                wanted = PurePosixPath(f"{name}{compression}")
                fits = [full for full in self._by_file.get(wanted.name, ())
                        if PurePosixPath(full).parts[-len(wanted.parts):] == wanted.parts]
                if fits:
                    return min(fits, key=len)
        return None

    def require(self, *names: str) -> str:
        """As :meth:`find`.

        Raises:
            UserError: where none is.
        """
        found = self.find(*names)
        if found is None:
            raise UserError(f"{self.place} has no file '{names[0]}' in it; it is expected there.")
        return found

    def read(self, name: str) -> bytes:
        """A file's bytes, by a full name, decompressed where it is a file of a folder.

        Raises:
            UserError: where it is damaged.
        """
        if self._zip is not None:
            try:
                return self._zip.read(name)
            except (KeyError, OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
                raise UserError(f"{self.place}: {name} cannot be read ({error}).") from error
        if self._held:
            return self._held[name]
        with open_bytes(self.place / name) as stream:
            return stream.read()

    def text(self, name: str) -> str:
        """A file as UTF-8 text.

        Raises:
            UserError: where it is none.
        """
        return as_text(self.read(name), f"{self.place}: {name}")

    def image(self, *names: str) -> Image | Path:
        """A picture: its path in a folder, which is decoded when it is asked about, and itself out of an archive.

        Raises:
            UserError: where it is missing or, in an archive, damaged.
        """
        name = self.require(*names)
        if self._zip is None and not self._held:
            return self.place / name
        return decode(self.read(name), name=f"{self.place}: {name}")


def find_folder(folder: Path, *names: str) -> Folder:
    """The first of ``names`` that is a folder there, or an archive of one.

    Raises:
        UserError: where none is, saying which are expected.
    """
    if not folder.is_dir():
        raise UserError(f"The data folder {folder} does not exist or is no folder.")
    for name in names:
        if (folder / name).is_dir():
            return Folder(folder / name)
        for suffix in ARCHIVES:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return Folder(path)
    others = f" (or {listed([f"'{name}'" for name in names[1:]])})" if len(names) > 1 else ""
    raise UserError(f"{folder} has no folder '{names[0]}'{others}; it is expected there, or as {listed(ARCHIVES)}.")


def _tar_members(path: Path) -> dict[str, bytes]:
    held: dict[str, bytes] = {}
    total = 0
    with open_bytes(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    total += member.size if member.isreg() else 0
                    if total > LARGEST_TAR:
                        raise UserError(f"{path} holds more than {LARGEST_TAR:,} bytes; unpack it into a folder.")
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is not None:
                        held[member.name] = file.read()
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is cut short or is no tar file ({error}).") from error
    return held


def some(values: Sequence[str]) -> dict[str, str]:
    """Texts of options by their letters A, B, C, ..."""
    return {chr(ord("A") + place): value for place, value in enumerate(values)}
