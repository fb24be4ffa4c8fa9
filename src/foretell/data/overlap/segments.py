"""Segments: the self-contained parts of an index, each of a bounded size.

Files of segment 7: ``00007.text`` (normalised pieces, each ``" w1 ... wn \\n"``, in UTF-8), ``00007.letters`` and
``00007.words`` (sorted postings, 64-bit little-endian: 36 bits of hash, 28 of position), ``00007.places.parquet``
(where each piece begins and which document it is of) and, written last, ``00007.json`` (sizes, CRC-32s, and where in
the corpus the next segment begins).
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from foretell.core.errors import UserError
from foretell.core.files import read_json, write_json
from foretell.data.overlap.anchors import POSITION_BITS, Hashes

LARGEST = 1 << POSITION_BITS  # bytes of a segment's text
PARTS = ("text", "letters", "words", "places.parquet")
CHECKED_BYTES = 1 << 24
WAITING = 4  # batches that are hashed while others are read; more would fill the memory
LEAST_BYTES = 4  # of text for each posting; usually there are ten, of "0 0 0 ..." two thirds of one, which take memory

Postings = tuple[Hashes, Hashes]  # of letters and of words
Position = tuple[int, int, int]  # input, document of it, piece of that: the first that a segment does not hold


def part_path(folder: Path, number: int, part: str) -> Path:
    """Where a part of a segment is."""
    return folder / f"{number:05d}.{part}"


class SegmentWriter:
    """Writes a segment; until :meth:`finish` it does not exist for readers.

    Attributes:
        bytes: of its text so far.
        postings: of all but the last few batches, which are waited for here.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        part_path(folder, number, "json").unlink(missing_ok=True)
        self._text = part_path(folder, number, "text").open("wb")
        self._postings: list[Future[Postings]] = []
        self._starts: list[int] = []
        self._locations: list[str] = []
        self.bytes = self.postings = 0

    def add(self, text: bytes, starts: Sequence[int], locations: Sequence[str], postings: Future[Postings]) -> None:
        """Append pieces that begin at ``starts`` of ``text``; their postings hold positions in the segment."""
        self._starts += [self.bytes + start for start in starts]
        self._locations += locations
        self._text.write(text)
        self._postings.append(postings)
        self.bytes += len(text)
        if len(self._postings) > WAITING:
            self.postings += sum(len(part) for part in self._postings[-1 - WAITING].result())

    def is_full(self, limit: int) -> bool:
        """Whether the text, or what is known of its postings, is as much as a segment of ``limit`` bytes may hold."""
        return self.bytes >= limit or self.postings * LEAST_BYTES >= limit

    def finish(self, following: Position) -> None:
        """Sort the postings, write everything to the disk and then the record that makes it count."""
        self._sync(self._text)
        for which, part in enumerate(("letters", "words")):
            whole = np.concatenate([future.result()[which] for future in self._postings])
            whole.sort()
            with part_path(self._folder, self._number, part).open("wb") as file:
                file.write(whole.astype("<u8", copy=False).data)
                self._sync(file)
        places = pyarrow.table({"start": pyarrow.array(self._starts, pyarrow.int64()), "location": self._locations})
        with part_path(self._folder, self._number, "places.parquet").open("wb") as file:
            pyarrow.parquet.write_table(places, file, compression="zstd")
            self._sync(file)
        files = {}
        for part in PARTS:
            path = part_path(self._folder, self._number, part)
            files[part] = {"bytes": path.stat().st_size, "crc32": checksum(path)}
        record = {"files": files, "pieces": len(self._starts), "next": list(following)}
        write_json(part_path(self._folder, self._number, "json"), record)

    def close(self) -> None:
        """Let go of the file of a segment that is not finished."""
        self._text.close()

    @staticmethod
    def _sync(file: Any) -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    with path.open("rb") as file:
        while data := file.read(CHECKED_BYTES):
            value = zlib.crc32(data, value)
    return value


@dataclass(frozen=True)
class Segment:
    """A finished segment, opened for reading; its files are mapped, not read."""

    folder: Path
    number: int
    record: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, number: int) -> Segment:
        """Open a segment whose record is there.

        Raises:
            UserError: naming the file that is missing, cut short or not what the index wrote.
        """
        path = part_path(folder, number, "json")
        record = read_json(path)
        try:
            sizes = {part: int(record["files"][part]["bytes"]) for part in PARTS}
            whole = len(record["next"]) == 3 and all(isinstance(value, int) for value in record["next"])
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, "it is no record of a segment") from error
        if not whole:
            raise damaged(path, "it is no record of a segment")
        for part, size in sizes.items():
            file = part_path(folder, number, part)
            if not file.is_file():
                raise damaged(file, "it is missing")
            if file.stat().st_size != size:
                raise damaged(file, f"it has {file.stat().st_size:,} bytes of {size:,}")
        return cls(folder, number, record)

    @property
    def bytes(self) -> int:
        """Of the text and the postings."""
        return sum(file["bytes"] for file in self.record["files"].values())

    def verify(self) -> None:
        """Read every byte and compare checksums.

        Raises:
            UserError: naming the first file that differs.
        """
        for part in PARTS:
            path = part_path(self.folder, self.number, part)
            if checksum(path) != self.record["files"][part]["crc32"]:
                raise damaged(path, "its checksum is another")

    @cached_property
    def text(self) -> mmap.mmap:
        """Bytes of the text."""
        with part_path(self.folder, self.number, "text").open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def postings(self, part: str) -> Hashes:
        """Sorted postings of ``letters`` or ``words``, mapped."""
        path = part_path(self.folder, self.number, part)
        if path.stat().st_size == 0:
            return np.empty(0, np.uint64)
        return np.memmap(path, dtype="<u8", mode="r")

    @cached_property
    def _places(self) -> tuple[np.ndarray[Any, Any], Any]:
        table = pyarrow.parquet.read_table(part_path(self.folder, self.number, "places.parquet"))
        return table["start"].to_numpy(), table["location"]

    def location(self, position: int) -> str:
        """The document that the byte at ``position`` of the text is of."""
        starts, locations = self._places
        return str(locations[int(np.searchsorted(starts, position, "right")) - 1].as_py())


def damaged(path: Path, why: str) -> UserError:
    """The sentence about an index that cannot be relied on."""
    return UserError(f"The index is damaged at {path} ({why}); remove the folder {path.parent} and index again.")
