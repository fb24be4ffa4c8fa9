"""Reading plain and compressed files as bytes, with a sentence for each way in which they can be broken."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow

from foretell.core.errors import UserError


def _open_zstd(path: Path) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")))


_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".zst": _open_zstd,
}


def is_compressed(path: Path) -> bool:
    """Whether the name ends in .gz, .xz, .bz2 or .zst."""
    return path.suffix.lower() in _OPENERS


def inner_suffix(path: Path) -> str:
    """The suffix without that of the compression, in lower case: ``.jsonl`` for ``a.jsonl.xz``."""
    return (Path(path.stem).suffix if is_compressed(path) else path.suffix).lower()


def read_up_to(stream: BinaryIO, limit: int) -> bytes:
    """The next ``limit`` bytes, or fewer at the end; memory is taken for what is there, not for the limit."""
    pieces = []
    while limit > 0 and (piece := stream.read(min(limit, 1 << 20))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed.

    Raises:
        UserError: where it is missing, not permitted, cut short or damaged (also while it is read in the block).
    """
    try:
        # Opened plainly first: a missing file or permission reads the same whatever the compression.
        with path.open("rb") as plain:
            opener = _OPENERS.get(path.suffix.lower())
            if opener is None:
                yield plain
                return
            with opener(path) as stream:
                yield stream
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist (any more).") from error
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: no permission.") from error
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if not is_compressed(path):
            raise UserError(f"{path} cannot be read ({error}).") from error
        raise UserError(f"{path} is cut short or is not a {path.suffix} file ({error}).") from error


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a .zip for reading.

    Raises:
        UserError: where it is missing or its list of members is damaged.
    """
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a .zip file ({error}).") from error


def zip_member(archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes:
    """A member of a .zip, its first ``most`` bytes where that is given.

    Raises:
        UserError: where it is missing, damaged, encrypted or compressed in a way that is not known; the archive and the
            name are for the caller to say.
    """
    try:
        with archive.open(name) as file:
            return file.read() if most is None else read_up_to(cast(BinaryIO, file), most)
    except KeyError as error:
        raise UserError("it is missing.") from error
    # RuntimeError is an encrypted member, and, as a subclass of it, one of an unknown compression.
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise UserError(f"it cannot be read ({error}).") from error
