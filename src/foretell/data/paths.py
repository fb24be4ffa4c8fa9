"""Files, folders and globs as a source."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foretell.core.errors import UserError
from foretell.data.compression import inner_suffix, open_bytes, read_up_to
from foretell.data.config import SourceConfig
from foretell.data.documents import Document, Item, Listing, Unreadable, decode_text, keyed_hash
from foretell.data.rows import read_jsonl, read_parquet, row_document

SECTION_CHARACTERS = 32 * 1024
WHOLE_CHARACTERS = 128 * 1024
READ_AT_LEAST = 64 << 20
SNIFFED_BYTES = 8192
COMPILED = "__pycache__"
ROW_SUFFIXES = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    relative: str
    project: str


def list_path(config: SourceConfig, seed: int, read_at_most: int) -> Listing:
    """List the files that ``config.path`` names, in the seed's order.

    A text file longer than 128 Ki characters is cut into sections of about 32 Ki. Its project, as that of any file, is
    the first folder below the root of the source, or the file itself where it lies in the root.

    Args:
        config: a source with ``path``.
        seed: orders the files.
        read_at_most: bytes after which a text file that is longer is cut off.

    Raises:
        UserError: where no file matches; while ``items`` is read, where a file is damaged or not permitted.
    """
    pattern = str(config.path)
    root, paths = expand_path(pattern)
    files = [_File(path, relative, _project(relative)) for path, relative in _relative(root, paths)]
    if not files:
        raise UserError(
            f"The source {pattern!r} matches no file; a file, a folder or a glob such as 'texts/**/*.txt' is expected."
        )
    files.sort(key=lambda file: (keyed_hash(seed, file.relative), file.relative))
    items = (item for file in files for item in _read(file, config, read_at_most))
    return Listing(files_found=len(files), read_at_least=READ_AT_LEAST, items=items)


def expand_path(pattern: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    path = Path(pattern).expanduser()
    try:
        if path.is_dir():
            return path, list(_walk(path))
        if path.exists():
            return path.parent, [path]
    except PermissionError as error:
        raise UserError(f"{pattern} cannot be read: no permission.") from error
    if not glob.has_magic(pattern):
        return path, []
    fixed: list[str] = []
    for part in path.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob refuses absolute patterns)
    return Path(*fixed), [file for name in found if (file := Path(name)).is_file() and COMPILED not in file.parts]


def _walk(root: Path) -> Iterator[Path]:
    """Every file below ``root``, hidden ones and compiled Python left out."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != COMPILED)
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file():
                yield file


def _relative(root: Path, paths: list[Path]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        yield path, path.relative_to(root).as_posix()


def _project(relative: str) -> str:
    return relative.split("/")[0]


def _read(file: _File, config: SourceConfig, read_at_most: int) -> Iterator[Item]:
    suffix = inner_suffix(file.path)
    if suffix in ROW_SUFFIXES or suffix == ".parquet":
        rows = read_parquet(file.path, config.text_field) if suffix == ".parquet" else read_jsonl(file.path)
        unit = "row" if suffix == ".parquet" else "line"
        for number, row in rows:
            identity = f"{file.relative}#{number}"
            yield row_document(row, config.text_field, f"{file.path} {unit} {number}", identity, config.licence)
        return
    yield from _read_text(file, config.licence, read_at_most)


def _read_text(file: _File, licence: str | None, read_at_most: int) -> Iterator[Item]:
    with open_bytes(file.path) as stream:
        data = stream.read(SNIFFED_BYTES)
        if b"\0" not in data:
            data += read_up_to(stream, read_at_most - len(data))
            whole = not stream.read(1)
        else:
            whole = True
    if not whole:  # end on a whole line: the cut may lie inside a character
        data = data[: data.rfind(b"\n") + 1] or data[: len(data) - 4]
    text = decode_text(data)
    if text is None:
        yield Unreadable(str(file.path), file.path.stat().st_size)
    elif len(text) <= WHOLE_CHARACTERS:
        yield Document(text, file.project, str(file.path), licence, file.relative)
    else:
        for number, section in enumerate(cut_sections(text)):
            yield Document(section, file.project, f"{file.path}#{number}", licence, f"{file.relative}#{number}")


def cut_sections(text: str, size: int = SECTION_CHARACTERS) -> Iterator[str]:
    """Cut a text at blank lines, else at line ends, else anywhere; the sections joined are the text.

    Each section has between half of ``size`` and ``size`` characters, the last one at most 1.5 times ``size``.
    """
    start = 0
    while len(text) - start > size + size // 2:
        end = start + size
        for mark in ("\n\n", "\n"):
            cut = text.rfind(mark, start + size // 2, end)
            if cut >= 0:
                end = cut + len(mark)
                break
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
